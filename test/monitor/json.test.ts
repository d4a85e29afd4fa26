import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonStream, MAX_MESSAGE } from '../../core/monitor/qmp/json-stream.ts';
import { MAX_NESTING, parseJson, prettyJson, stringifyJson } from '../../core/monitor/qmp/json.ts';
import type { Json } from '../../core/monitor/qmp/json.ts';

const encoder = new TextEncoder();

/** All items of a stream that comes in the given pieces. */
function feed(...pieces: (string | Uint8Array)[]): unknown[] {
  const stream = new JsonStream();
  return pieces.flatMap((piece) => [...stream.feed(typeof piece === 'string' ? encoder.encode(piece) : piece)]);
}

const values = (...given: Json[]): unknown[] => given.map((value) => ({ value }));

describe('JSON of QMP', () => {
  it('reads what it writes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        // Keys that JSON.parse treats alike, -0 and halves of surrogates written as JSON.stringify does.
        const clean = JSON.parse(JSON.stringify(value)) as Json;
        expect(JSON.parse(stringifyJson(clean))).toEqual(clean);
        expect(JSON.parse(stringifyJson(parseJson(stringifyJson(clean))))).toEqual(clean);
        expect(JSON.parse(prettyJson(clean))).toEqual(clean);
      }),
    );
  });

  it('keeps whole numbers of 64 bits', () => {
    expect(parseJson('[18446744073709551615, -9223372036854775808, 9007199254740991]')).toEqual([
      18446744073709551615n,
      -9223372036854775808n,
      9007199254740991,
    ]);
    expect(stringifyJson({ addr: 18446744073709551615n })).toBe('{"addr": 18446744073709551615}');
  });

  it('writes ASCII', () => {
    expect(stringifyJson('grün\u007f\u2028')).toBe('"gr\\u00fcn\\u007f\\u2028"');
  });

  it('reads strings in single quotes, as QEMU does', () => {
    expect(parseJson(`{'execute': 'a "b" \\'c\\''}`)).toEqual({ execute: `a "b" 'c'` });
  });

  it.each([
    ['{"execute":"stop","execute":"cont"}', 'JSON parse error, duplicate key'],
    ['{"execute":"query-name",}', 'JSON parse error, expecting value'],
    ['{"execute":"query-name"]', 'JSON parse error, expected separator in dict'],
    ['{"execute" "query-name"}', 'JSON parse error, missing : in object pair'],
    ['{"execute":nope}', "JSON parse error, invalid keyword 'nope'"],
    ['[1 2]', 'JSON parse error, expected separator in list'],
    ['[01]', 'JSON parse error, invalid number'],
    ['["\\x"]', "JSON parse error, invalid escape sequence '\\x'"],
  ])('says of %s: %s', (text, message) => {
    expect(() => parseJson(text)).toThrow(message);
  });

  it('takes "__proto__" for a name', () => {
    expect(Object.keys(parseJson('{"__proto__": {"a": 1}}') as object)).toEqual(['__proto__']);
    expect(({} as { a?: number }).a).toBeUndefined();
  });
});

describe('a stream of JSON', () => {
  it('finds values however it is cut, with anything or nothing between them', () => {
    const between = fc.constantFrom('', '\n', '\r\n', '  ', '\n\n');
    const values = fc.array(
      fc.tuple(
        fc.jsonValue({ maxDepth: 3 }).map((v) => ({ execute: v }) as Json),
        between,
      ),
    );
    fc.assert(
      fc.property(values, fc.array(fc.nat(400)), (list, cuts) => {
        const bytes = encoder.encode(list.map(([value, gap]) => JSON.stringify(value) + gap).join(''));
        const places = [...new Set([0, ...cuts.filter((cut) => cut < bytes.length), bytes.length])].sort(
          (a, b) => a - b,
        );
        const pieces = places.slice(1).map((end, index) => bytes.slice(places[index], end));
        const found = feed(...pieces) as { value: Json }[];
        expect(found.map(({ value }) => JSON.parse(stringifyJson(value)) as Json)).toEqual(
          list.map(([value]) => JSON.parse(JSON.stringify(value)) as Json),
        );
      }),
    );
  });

  it('takes values that are no objects, too: the session complains', () => {
    expect(feed('[1] "x" 7 true\n')).toEqual(values([1], 'x', 7, true));
  });

  it('goes on after an error at the next line', () => {
    expect(feed('{"a": nope} [1]\n')).toEqual([{ error: "JSON parse error, invalid keyword 'nope'" }, { value: [1] }]);
    expect(feed(', rest of the line\n[1]\n')).toEqual([{ error: "JSON parse error, stray ','" }, { value: [1] }]);
    expect(feed('"a line end\n[1]\n')).toEqual([{ error: "JSON parse error, stray '\\x0a'" }, { value: [1] }]);
  });

  it('forgets a value at a byte that is no UTF-8, which clients send to be understood again', () => {
    expect(feed('{"a": ', Uint8Array.of(0xff), '[1]\n')).toEqual([
      { error: 'JSON parse error, the value was given up' },
      { value: [1] },
    ]);
    expect(feed(Uint8Array.of(0xff), '[1]\n')).toEqual(values([1]));
  });

  it('refuses broken UTF-8', () => {
    expect(feed('"', Uint8Array.of(0xc3, 0x28), '"\n[1]\n')).toEqual([
      { error: 'JSON parse error, invalid UTF-8 sequence in string' },
      { value: [1] },
    ]);
  });

  it('does not keep a value that never ends', () => {
    const stream = new JsonStream();
    const piece = encoder.encode('a'.repeat(1 << 16));
    const items = [...stream.feed(encoder.encode('"'))];
    for (let sent = 0; sent < 8 * MAX_MESSAGE; sent += piece.length) items.push(...stream.feed(piece));
    expect(items).toEqual([{ error: 'JSON token size limit exceeded' }]);
    expect([...stream.feed(encoder.encode('"\n[1]\n'))]).toEqual(values([1]));
  });

  it('does not follow endless nesting', () => {
    const deep = '['.repeat(MAX_NESTING);
    expect(feed(`${deep}${']'.repeat(MAX_NESTING)}\n`)).toHaveLength(1);
    expect(feed(`[${deep}\n[1]\n`)).toEqual([{ error: 'JSON nesting depth limit exceeded' }, { value: [1] }]);
  });

  it('bears any bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 })), (pieces) => {
        for (const item of feed(...pieces)) {
          expect(item).toSatisfy((found: object) => 'value' in found || 'error' in found);
        }
        // Whatever came before, it can be brought back.
        const stream = new JsonStream();
        for (const piece of pieces) for (const _ of stream.feed(piece));
        const items = [...stream.feed(Uint8Array.of(0xff, ...encoder.encode('\n[1]\n')))];
        expect(items.at(-1)).toEqual({ value: [1] });
      }),
    );
  });
});
