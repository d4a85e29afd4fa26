/**
 * Differences between two JSON values, so that a watched machine costs what changes and not what it is. A list of
 * replacements; arrays of the same length and objects with the same keys are entered, anything else is replaced whole.
 */
import { z } from 'zod';

export const deltaOp = z.strictObject({
  path: z.array(z.union([z.string(), z.number().int().min(0)])).max(32),
  value: z.unknown(),
});
export type DeltaOp = z.infer<typeof deltaOp>;

type Path = (string | number)[];
type Json = Record<string, unknown>;

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What turns `before` into `after`; empty when they are equal. */
export function diff(before: unknown, after: unknown): DeltaOp[] {
  const ops: DeltaOp[] = [];
  walk(before, after, [], ops);
  return ops;
}

function walk(before: unknown, after: unknown, path: Path, ops: DeltaOp[]): void {
  if (Object.is(before, after)) return;
  if (Array.isArray(before) && Array.isArray(after) && before.length === after.length) {
    after.forEach((value, at) => walk(before[at], value, [...path, at], ops));
    return;
  }
  if (isObject(before) && isObject(after)) {
    const keys = Object.keys(after);
    if (keys.length === Object.keys(before).length && keys.every((key) => Object.hasOwn(before, key))) {
      for (const key of keys) walk(before[key], after[key], [...path, key], ops);
      return;
    }
  }
  ops.push({ path, value: after });
}

/**
 * `base` with `ops` applied; shares what did not change with `base`, which is left alone.
 * @throws when an op names a place that `base` does not have (the two ends have lost step).
 */
export function patch(base: unknown, ops: readonly DeltaOp[]): unknown {
  return ops.reduce<unknown>((value, op) => replace(value, op.path, 0, op.value), base);
}

function replace(node: unknown, path: Path, at: number, value: unknown): unknown {
  if (at === path.length) return value;
  const key = path[at];
  if (Array.isArray(node) && typeof key === 'number' && key < node.length) {
    const copy = node.slice();
    copy[key] = replace(node[key], path, at + 1, value);
    return copy;
  }
  if (isObject(node) && typeof key === 'string' && Object.hasOwn(node, key)) {
    return { ...node, [key]: replace(node[key], path, at + 1, value) };
  }
  throw new Error(`delta does not fit: no ${path.slice(0, at + 1).join('.')}`);
}
