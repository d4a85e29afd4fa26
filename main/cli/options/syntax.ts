/**
 * The syntax of QEMU's options: `-name value`, where a value is often a list `first,key=value,flag` with `,,` for a comma
 * inside a value. Every error is one line that names the option and says what is allowed.
 */
import { didYouMean } from '../../../core/did-you-mean.ts';
import { RingsideError } from '../../../core/errors.ts';

export function badOption(option: string, problem: string): RingsideError {
  return new RingsideError('bad-option', `${option}: ${problem}`);
}

export function isHelp(argument: string): boolean {
  return /^(--?help|-h|--?\?)$/.test(argument);
}

/** How one value of a list is read. `parse` throws an Error whose message says what is allowed. */
export interface Key<T> {
  readonly help: string;
  /** What stands after `=` in the help. */
  readonly shape: string;
  parse(value: string): T;
  /** Whether the key may stand alone, meaning on. */
  readonly bare?: boolean;
}

export function text(shape: string, help: string): Key<string> {
  return {
    shape,
    help,
    parse(value) {
      if (value === '') throw new Error(`needs a value: ${shape}`);
      return value;
    },
  };
}

export function choice<const T extends string>(values: readonly T[], help: string): Key<T> {
  return {
    shape: values.join('|'),
    help,
    parse(value) {
      const found = values.find((candidate) => candidate === value);
      if (found === undefined) throw new Error(`"${value}" is not allowed: ${values.join(', ')}`);
      return found;
    },
  };
}

export function onOff(help: string): Key<boolean> {
  return {
    shape: 'on|off',
    help,
    bare: true,
    parse(value) {
      if (/^(on|yes|true|y)$/.test(value)) return true;
      if (/^(off|no|false|n)$/.test(value)) return false;
      throw new Error(`"${value}" is not allowed: on, off`);
    },
  };
}

export function count(shape: string, min: number, max: number, help: string): Key<number> {
  return {
    shape,
    help,
    parse(value) {
      const number = /^\d{1,9}$/.test(value) ? Number(value) : NaN;
      if (!(number >= min && number <= max)) throw new Error(`"${value}" is not a number from ${min} to ${max}`);
      return number;
    },
  };
}

const UNITS: Record<string, number> = { b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** A size in bytes, written as QEMU does: a number, maybe with a fraction, and B, K, M, G or T (`defaultUnit` without). */
export function size(defaultUnit: 'b' | 'm', help: string): Key<number> {
  return {
    shape: 'SIZE',
    help,
    parse(value) {
      const match = /^(\d{1,15}(?:\.\d{1,9})?)([bkmgt]?)$/i.exec(value);
      const unit = UNITS[match?.[2].toLowerCase() || defaultUnit];
      const bytes = Number(match?.[1]) * unit;
      if (match === null || !Number.isSafeInteger(bytes)) {
        throw new Error(`"${value}" is not a size: a number with K, M or G after it, such as 512M or 1G`);
      }
      return bytes;
    },
  };
}

export type KeyTable = Record<string, Key<unknown>>;
export type Values<T extends KeyTable> = { [K in keyof T]?: T[K] extends Key<infer V> ? V : never };

/** The entries of `a,b=c,d=e,,f`: [a], [b, c], [d, 'e,f']. */
export function splitList(value: string): { key: string; value?: string }[] {
  const parts: string[] = [''];
  for (let i = 0; i < value.length; i++) {
    if (value[i] !== ',') parts[parts.length - 1] += value[i];
    else if (value[i + 1] === ',') {
      parts[parts.length - 1] += ',';
      i++;
    } else parts.push('');
  }
  return parts.map((part) => {
    const equals = part.indexOf('=');
    return equals < 0 ? { key: part } : { key: part.slice(0, equals), value: part.slice(equals + 1) };
  });
}

/**
 * Reads a list by a table of keys. `implied` is the key of a first entry that has no `=`.
 * @throws RingsideError bad-option: an unknown key, a key given twice, a value that is not allowed
 */
export function parseList<T extends KeyTable>(option: string, value: string, keys: T, implied?: string): Values<T> {
  const found: Record<string, unknown> = {};
  for (const [index, entry] of splitList(value).entries()) {
    if (entry.key === '' && entry.value === undefined) throw badOption(option, 'an empty entry between commas');
    let { key, value: given } = entry;
    if (index === 0 && given === undefined && implied !== undefined) [key, given] = [implied, entry.key];
    if (!Object.hasOwn(keys, key)) {
      const names = Object.keys(keys);
      throw badOption(option, `unknown "${key}"${didYouMean(key, names)}; allowed: ${names.join(', ')}`);
    }
    if (Object.hasOwn(found, key)) throw badOption(option, `${key} is given twice`);
    if (given === undefined) {
      if (!keys[key].bare) throw badOption(option, `${key} needs a value: ${key}=${keys[key].shape}`);
      given = 'on';
    }
    try {
      found[key] = keys[key].parse(given);
    } catch (error) {
      throw badOption(option, `${key}: ${(error as Error).message}`);
    }
  }
  return found as Values<T>;
}
