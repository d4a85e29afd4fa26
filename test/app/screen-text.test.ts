/** The last screen of a console, as text. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { COLUMNS, ROWS, screenText } from '../../main/app/screen-text.ts';

const shown = (text: string) => screenText(Buffer.from(text));

describe('what a terminal shows', () => {
  test.each<[string, string, string[]]>([
    ['nothing', '', []],
    ['lines', 'a\r\nb\r\n', ['a', 'b']],
    ['a progress bar', '10 %\r20 %\r30 %', ['30 %']],
    ['backspaces', 'abc\b\bX', ['aXc']],
    ['tabs', 'a\tb', ['a       b']],
    ['colours', '\x1b[1;32mok\x1b[0m', ['ok']],
    ['a title', '\x1b]0;title\x07text', ['text']],
    ['a screen that is cleared', 'old\r\nold\x1b[2J\x1b[Hnew', ['new']],
    ['a cursor that is placed', '\x1b[3;5Hx', ['', '', '    x']],
    ['the rest of a line erased', 'abcdef\x1b[4D\x1b[K', ['ab']],
    ['other letters', 'größer 日本', ['größer 日本']],
  ])('%s', (_, text, lines) => {
    expect(shown(text)).toEqual(lines);
  });

  test('what does not fit scrolls and wraps', () => {
    const text = Array.from({ length: 40 }, (_, at) => `line ${at}`).join('\r\n');
    expect(shown(text)).toHaveLength(ROWS);
    expect(shown(text).at(-1)).toBe('line 39');
    expect(shown('x'.repeat(COLUMNS + 3))).toEqual(['x'.repeat(COLUMNS), 'xxx']);
  });
});

test('whatever a guest writes, the screen is of its size', () => {
  const bits = fc.constantFrom(
    '\x1b[',
    '999',
    ';',
    'H',
    'J',
    'P',
    'K',
    'C',
    '\x1b]',
    '\x1b',
    '\r',
    '\n',
    '\t',
    'text',
    '\0',
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(bits, fc.string()), { maxLength: 60 }), (parts) => {
      const lines = shown(parts.join(''));
      expect(lines.length).toBeLessThanOrEqual(ROWS);
      for (const line of lines) expect([...line].length).toBeLessThanOrEqual(COLUMNS);
    }),
  );
});
