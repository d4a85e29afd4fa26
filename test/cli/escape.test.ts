import { describe, expect, test } from 'vitest';
import { EscapeFilter } from '../../main/cli/escape.ts';

/** What comes out for pieces of typing: text for the guest, and commands as [command]. */
function typed(...pieces: string[]): (string | [string])[] {
  const filter = new EscapeFilter();
  const out: (string | [string])[] = [];
  for (const piece of pieces) {
    for (const part of filter.feed(Buffer.from(piece, 'latin1'))) {
      out.push(typeof part === 'string' ? [part] : Buffer.from(part).toString('latin1'));
    }
  }
  return out;
}

describe('Ctrl-A', () => {
  test.each([
    ['plain text passes', ['ls -l\r'], ['ls -l\r']],
    ['nothing gives nothing', [''], []],
    ['x ends', ['\x01x'], [['quit']]],
    ['h helps', ['\x01h'], [['help']]],
    ['? helps', ['\x01?'], [['help']]],
    ['b breaks', ['\x01b'], [['break']]],
    ['p pauses', ['\x01p'], [['pause']]],
    ['c is the monitor', ['\x01c'], [['monitor']]],
    ['twice is one for the guest', ['\x01\x01'], ['\x01']],
    ['four times are two', ['\x01\x01\x01\x01'], ['\x01', '\x01']],
    ['three times and x: one for the guest, then the end', ['\x01\x01\x01x'], ['\x01', ['quit']]],
    ['an unknown key is swallowed', ['a\x01zb'], ['a', 'b']],
    ['text around a command keeps its order', ['ab\x01hcd'], ['ab', ['help'], 'cd']],
    ['the state lasts from one piece to the next', ['ab\x01', 'x'], ['ab', ['quit']]],
    ['and so does a pair', ['a\x01', '\x01b'], ['a', '\x01b']],
    ['capital X is no command', ['\x01X'], []],
    ['other control characters are the guest’s', ['\x03\x1a\x1c\0\xff'], ['\x03\x1a\x1c\0\xff']],
  ])('%s', (_, pieces, expected) => {
    expect(typed(...pieces)).toEqual(expected);
  });

  test('however typing is cut into pieces, the same comes out', () => {
    const text = 'one\x01\x01two\x01hthree\x01zfour\x01p\x01\x01\x01x';
    const join = (parts: (string | [string])[]) =>
      parts.map((part) => (typeof part === 'string' ? part : `<${part[0]}>`)).join('');
    for (let cut = 0; cut <= text.length; cut++) {
      expect(join(typed(text.slice(0, cut), text.slice(cut)))).toBe(join(typed(text)));
    }
    expect(join(typed(...text))).toBe(join(typed(text)));
  });
});
