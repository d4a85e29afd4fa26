/** Property values: every kind from text and from JSON, bounds, and what is said of a wrong one. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { RingsideError } from '../../core/errors.ts';
import type { PropertySpec, PropertyValue } from '../../core/qom/property.ts';
import { formatDefault, formatValue, propertyTypeName, readProperty } from '../../core/qom/property-value.ts';

/** A property of a kind, with what else the test is about. */
const spec = (kind: PropertySpec['kind'], more: object = {}): PropertySpec =>
  ({ name: 'p', kind, description: 'a property', default: null, ...more }) as PropertySpec;

function refusal(property: PropertySpec, input: unknown): string {
  try {
    readProperty(property, input);
  } catch (error) {
    expect(error).toBeInstanceOf(RingsideError);
    expect((error as RingsideError).kind).toBe('bad-option');
    expect((error as Error).message).not.toContain('\n');
    return (error as Error).message;
  }
  throw new Error(`${String(input)} was taken`);
}

describe('numbers', () => {
  const ranges = [
    ['u8', 0n, 255n],
    ['u16', 0n, 65535n],
    ['u32', 0n, 2n ** 32n - 1n],
    ['u64', 0n, 2n ** 64n - 1n],
    ['i32', -(2n ** 31n), 2n ** 31n - 1n],
    ['i64', -(2n ** 63n), 2n ** 63n - 1n],
    ['size', 0n, 2n ** 64n - 1n],
  ] as const;

  test.each(ranges)('%s: all that fit, decimal and hexadecimal, as text and JSON', (kind, min, max) => {
    const property = spec(kind);
    fc.assert(
      fc.property(fc.bigInt(min, max), (value) => {
        const read = (input: unknown) => BigInt(readProperty(property, input) as bigint);
        expect(read(value.toString())).toBe(value);
        if (value >= 0n) expect(read(`0x${value.toString(16)}`)).toBe(value);
        expect(read(value)).toBe(value);
        if (value >= -(2n ** 53n) && value < 2n ** 53n) expect(read(Number(value))).toBe(value);
      }),
    );
  });

  test.each(ranges)('%s: none that do not', (kind, min, max) => {
    for (const value of [min - 1n, max + 1n, 2n ** 70n]) {
      // A size cannot be negative at all.
      const reason = kind === 'size' && value < 0n ? 'is not a size' : `is not from ${min} to ${max}`;
      expect(refusal(spec(kind), value.toString())).toContain(reason);
    }
  });

  test('bounds of their own, and powers of 2', () => {
    const property = spec('u16', { min: 4, max: 1024, powerOf2: true });
    expect(readProperty(property, '256')).toBe(256);
    expect(refusal(property, '3')).toBe('p: "3" is not from 4 to 1024');
    expect(refusal(property, 2048)).toBe('p: "2048" is not from 4 to 1024');
    expect(refusal(property, '100')).toBe('p: "100" is not a power of 2');
  });

  test.each(['', ' 1', '1 ', '1.5', '1e3', '+1', '0x', '-', '１', 'on', '1'.repeat(41)])('not "%s"', (text) => {
    expect(refusal(spec('u32'), text)).toMatch(/^p: ".*" is not a whole number$/);
  });

  test.each([[true], [null], [1.5], [NaN], [Infinity], [[]], [{}], [undefined]])('not JSON %s', (value) => {
    expect(refusal(spec('u64'), value)).toMatch(/^p: .* is not a whole number$/);
  });

  test('a JSON number that is not exact is not guessed at', () => {
    expect(refusal(spec('u64'), 2 ** 60)).toContain('write it as a string');
  });
});

describe('sizes', () => {
  test.each([
    ['0', 0n],
    ['512', 512n],
    ['1b', 1n],
    ['4k', 4096n],
    ['4K', 4096n],
    ['1M', 2n ** 20n],
    ['1.5G', 3n * 2n ** 29n],
    ['2T', 2n ** 41n],
    ['15E', 15n * 2n ** 60n],
    ['0x1000', 4096n],
  ])('%s', (text, bytes) => {
    expect(readProperty(spec('size'), text)).toBe(bytes);
  });

  test.each(['K', '1KB', '-1', '1.K', '1..5K', '0x1K', ''])('not "%s"', (text) => {
    expect(refusal(spec('size'), text)).toContain('is not a size');
  });

  test('not half a byte', () => {
    expect(refusal(spec('size'), '0.5')).toBe('p: "0.5" is not a whole number of bytes');
  });

  test('what is shown of a value is the value', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 64n - 1n), (value) => {
        expect(formatValue(spec('size'), value).split(' ')[0]).toBe(value.toString());
      }),
    );
  });
});

describe('switches', () => {
  test.each(['on', 'yes', 'true', 'y'])('%s', (text) => {
    expect(readProperty(spec('bool'), text)).toBe(true);
    expect(readProperty(spec('bit'), text)).toBe(true);
    expect(readProperty(spec('on-off-auto'), text)).toBe('on');
  });

  test.each(['off', 'no', 'false', 'n'])('%s', (text) => {
    expect(readProperty(spec('bool'), text)).toBe(false);
    expect(readProperty(spec('on-off-auto'), text)).toBe('off');
  });

  test('auto, JSON, and nothing else', () => {
    expect(readProperty(spec('on-off-auto'), 'auto')).toBe('auto');
    expect(readProperty(spec('on-off-auto'), true)).toBe('on');
    expect(readProperty(spec('bool'), false)).toBe(false);
    expect(refusal(spec('bool'), 'auto')).toBe('p: "auto" is not allowed: on, off');
    expect(refusal(spec('on-off-auto'), 'maybe')).toBe('p: "maybe" is not allowed: on, off, auto');
    expect(refusal(spec('bool'), 'constructor')).toContain('not allowed');
    expect(refusal(spec('bool'), 1)).toBe('p: 1 is not allowed: true, false');
  });
});

describe('text, enums, links, arrays', () => {
  test('text is counted in bytes and has no NUL', () => {
    const property = spec('string', { maxBytes: 4 });
    expect(readProperty(property, 'üü')).toBe('üü');
    expect(readProperty(property, '')).toBe('');
    expect(readProperty(property, null)).toBe(null);
    expect(refusal(property, 'üüx')).toBe('p: "üüx" is longer than 4 bytes');
    expect(refusal(property, 'a\0')).toContain('NUL');
    expect(refusal(property, 5)).toBe('p: 5 is not a string');
  });

  test('an enum says what was probably meant', () => {
    const property = spec('enum', { values: ['report', 'ignore', 'stop'], default: 'stop' });
    expect(readProperty(property, 'ignore')).toBe('ignore');
    expect(refusal(property, 'reprot')).toBe('p: "reprot" is not allowed (did you mean report?): report, ignore, stop');
    expect(refusal(property, null)).toBe('p: null is not a string');
  });

  test('a link is an id or the path of an object', () => {
    const property = spec('link', { target: 'iothread' });
    expect(readProperty(property, 'io0')).toBe('io0');
    expect(readProperty(property, '/objects/io0')).toBe('io0');
    expect(readProperty(property, null)).toBe(null);
    expect(refusal(property, '')).toBe('p: needs the id of an object (iothread)');
    expect(refusal(spec('link', { target: 'drive' }), '')).toBe('p: needs the id of a -drive');
  });

  test('an array has elements of its kind, and not too many', () => {
    const property = spec('array', { element: 'u8', maxLength: 3, default: [] });
    expect(readProperty(property, '1:0x2:3')).toEqual([1, 2, 3]);
    expect(readProperty(property, '')).toEqual([]);
    expect(readProperty(property, [1, '2'])).toEqual([1, 2]);
    expect(refusal(property, '1:256')).toBe('p: "256" is not from 0 to 255');
    expect(refusal(property, [1, 2, 3, 4])).toBe('p: 4 values are too many: at most 3');
    expect(refusal(property, 7)).toBe('p: 7 is not an array');
  });

  test('a list of structures is JSON, with all fields that must be and no others', () => {
    const fields = [
      { name: 'who', kind: 'string', default: null, description: '', required: true },
      { name: 'which', kind: 'array', element: 'u8', default: [], description: '' },
    ];
    const property = spec('struct-list', { fields, typeName: 'Things', default: [] });
    const things: Record<string, PropertyValue>[] = [{ who: 'a' }, { who: 'b', which: [1, 2] }];
    expect(readProperty(property, things)).toEqual(things);
    expect(readProperty(property, JSON.stringify(things))).toEqual(things);
    expect(readProperty(property, [])).toEqual([]);
    expect(refusal(property, 'a')).toBe('p: "a" is not JSON: a list such as [{...}, {...}]');
    expect(refusal(property, '{}')).toBe('p: {} is not a list');
    expect(refusal(property, [1])).toBe('p: item 0: 1 is not an object');
    expect(refusal(property, [{ which: [] }])).toBe('p: item 0: who is missing');
    expect(refusal(property, [{ who: 'a', wich: [] }])).toBe(
      'p: item 0: there is no "wich" (did you mean which?): who, which',
    );
    expect(refusal(property, [{ who: 'a' }, { who: 'b', which: [256] }])).toBe(
      'p: item 1: which: "256" is not from 0 to 255',
    );
    expect(refusal(property, [{ who: 'a', which: '1:2' }])).toBe('p: item 0: which: "1:2" is not allowed');
    expect(formatValue(property, things)).toBe('[{"who":"a"}, {"who":"b","which":[1,2]}]');
  });

  test('any input is taken or refused in one line', () => {
    const kinds = ['bool', 'on-off-auto', 'u8', 'i32', 'u64', 'size', 'string', 'link', 'struct-list'] as const;
    fc.assert(
      fc.property(fc.constantFrom(...kinds), fc.oneof(fc.string(), fc.jsonValue()), (kind, input) => {
        const property = spec(kind, {
          target: 'drive',
          fields: [{ name: 'x', kind: 'u8', default: 0, description: '' }],
        });
        try {
          readProperty(property, input);
        } catch (error) {
          expect(error).toBeInstanceOf(RingsideError);
        }
      }),
    );
  });
});

describe('as QEMU shows them', () => {
  test.each([
    [spec('u16'), 1, '1 (0x1)'],
    [spec('size'), 4096n, '4096 (4 KiB)'],
    [spec('size'), 0n, '0 (0 B)'],
    [spec('size'), 512n, '512 (512 B)'],
    [spec('size'), 2n ** 64n - 1n, '18446744073709551615 (16 EiB)'],
    [spec('bool'), true, 'true'],
    [spec('on-off-auto'), 'auto', '"auto"'],
    [spec('string'), null, '""'],
    [spec('i32'), -1, '-1'],
  ])('%o %s is %s', (property, value, shown) => {
    expect(formatValue(property, value)).toBe(shown);
  });

  test('names of types, and defaults', () => {
    expect(propertyTypeName(spec('u8'))).toBe('uint8');
    expect(propertyTypeName(spec('bit'))).toBe('bool');
    expect(propertyTypeName(spec('link', { target: 'iothread' }))).toBe('link<iothread>');
    expect(propertyTypeName(spec('link', { target: 'drive' }))).toBe('str');
    expect(propertyTypeName(spec('enum', { values: [], typeName: 'BlockdevOnError' }))).toBe('BlockdevOnError');
    expect(formatDefault(null)).toBe(null);
    expect(formatDefault('auto')).toBe('"auto"');
    expect(formatDefault([])).toBe(null);
    expect(formatDefault([1, 2])).toBe('[1, 2]');
  });
});
