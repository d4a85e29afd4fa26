/** "info mtree": the tree of memory regions, and the flat view that comes of it (system/memory.c of QEMU). */
import type { AddressSpace, MemoryRegion } from './target.ts';

const LAST = 2n ** 64n - 1n;
const hex = (value: bigint): string => BigInt.asUintN(64, value).toString(16).padStart(16, '0');

function shownKind({ kind }: MemoryRegion): string {
  return kind === 'container' ? 'i/o' : kind;
}

function ownerOf(region: MemoryRegion, owners: boolean): string {
  return owners && region.owner !== '' ? ` ${region.owner}` : '';
}

function treeLines(
  region: MemoryRegion,
  base: bigint,
  depth: number,
  { owners, disabled }: TreeOptions,
  aliased: Set<MemoryRegion>,
): string {
  const start = base + region.offset;
  const end = start + region.size - 1n;
  let what = region.name;
  if (region.alias !== undefined) {
    aliased.add(region.alias.target);
    const { target, offset } = region.alias;
    what = `alias ${region.name} @${target.name} ${hex(offset)}-${hex(offset + region.size - 1n)}`;
  }
  const indent = '  '.repeat(depth);
  let text = `${indent}${hex(start)}-${hex(end > LAST ? LAST : end)} (prio ${region.priority}, ${shownKind(region)}): `;
  text += `${what}${ownerOf(region, owners)}${region.enabled === false ? ' [disabled]' : ''}\n`;
  // Highest priority first among those that overlap; otherwise by address.
  const children = region.children
    .filter(({ enabled }) => disabled || enabled !== false)
    .sort((a, b) => (a.offset < b.offset ? -1 : a.offset > b.offset ? 1 : b.priority - a.priority));
  for (const child of children) text += treeLines(child, start, depth + 1, { owners, disabled }, aliased);
  return text;
}

export interface TreeOptions {
  /** -o */
  readonly owners: boolean;
  /** -D: those that are not enabled, too. */
  readonly disabled: boolean;
}

export function memoryTree(spaces: readonly AddressSpace[], options: TreeOptions): string {
  const aliased = new Set<MemoryRegion>();
  let text = '';
  for (const [root, names] of byRoot(spaces)) {
    for (const name of names) text += `address-space: ${name}\n`;
    if (root !== null) text += `${treeLines(root, 0n, 1, options, aliased)}\n`;
  }
  // A set that grows while it is walked is walked to its end.
  for (const region of aliased) {
    text += `memory-region: ${region.name}\n${treeLines(region, 0n, 1, options, aliased)}\n`;
  }
  return text;
}

/** Address spaces that show the same belong together. */
function byRoot(spaces: readonly AddressSpace[]): Map<MemoryRegion | null, string[]> {
  const found = new Map<MemoryRegion | null, string[]>();
  for (const { name, root } of spaces) found.set(root, [...(found.get(root) ?? []), name]);
  return found;
}

export interface FlatRange {
  /** Both inclusive. */
  start: bigint;
  end: bigint;
  region: MemoryRegion;
  /** Of `start` in the region. */
  offset: bigint;
}

/** What an access reaches, address by address. */
export function flatView(root: MemoryRegion): FlatRange[] {
  const ranges: FlatRange[] = [];
  render(ranges, root, 0n, 0n, LAST, 0);
  return ranges;
}

/** Regions inside regions, aliases of aliases: more is a mistake. */
const DEPTH = 32;

/** Adds what of a region is in [low, high] and not hidden by what is there already. `base`: where offset 0 of its parent is. */
function render(
  ranges: FlatRange[],
  region: MemoryRegion,
  base: bigint,
  low: bigint,
  high: bigint,
  depth: number,
): void {
  if (depth > DEPTH || region.enabled === false) return;
  const start = base + region.offset;
  const end = start + region.size - 1n;
  const from = start > low ? start : low;
  const to = end < high ? end : high;
  if (from > to) return;
  if (region.alias !== undefined) {
    const { target, offset } = region.alias;
    // Where the target would have to be for its byte `offset` to be at `start`.
    render(ranges, target, start - offset - target.offset, from, to, depth + 1);
    return;
  }
  for (const child of [...region.children].sort((a, b) => b.priority - a.priority)) {
    render(ranges, child, start, from, to, depth + 1);
  }
  if (region.kind !== 'container') fill(ranges, region, start, from, to);
}

/** Puts the region into the holes of [from, to]. */
function fill(ranges: FlatRange[], region: MemoryRegion, start: bigint, from: bigint, to: bigint): void {
  let at = from;
  for (let index = 0; index <= ranges.length && at <= to; index++) {
    const next = ranges[index];
    const holeEnd = next === undefined || next.start > to ? to : next.start - 1n;
    if (next !== undefined && next.end < at) continue;
    if (at <= holeEnd) ranges.splice(index, 0, { start: at, end: holeEnd, region, offset: at - start });
    if (next === undefined) return;
    at = next.end + 1n;
    if (ranges[index] !== next) index++;
  }
}

/** What a flat view is made from: a container that only shows another region whole is as that, one that is empty is nothing. */
function flatRoot(region: MemoryRegion | null): MemoryRegion | null {
  let at = region;
  for (let depth = 0; at !== null && depth < DEPTH; depth++) {
    const { alias, offset, size, kind } = at;
    if (alias !== undefined && alias.offset === 0n && offset === 0n && size >= alias.target.size) {
      at = alias.target;
      continue;
    }
    if (kind !== 'container' || alias !== undefined) return at;
    const shown = at.children.filter(({ enabled }) => enabled !== false);
    if (shown.length === 0) return null;
    if (shown.length > 1 || shown[0].offset !== 0n || shown[0].size < size) return at;
    at = shown[0];
  }
  return at;
}

/** Address spaces whose flat views are one, with what that is made from; null: nothing. */
export function flatGroups(spaces: readonly AddressSpace[]): { root: MemoryRegion | null; spaces: AddressSpace[] }[] {
  const views = new Map<MemoryRegion | null, AddressSpace[]>();
  for (const space of spaces) {
    const root = flatRoot(space.root);
    views.set(root, [...(views.get(root) ?? []), space]);
  }
  return [...views].map(([root, shown]) => ({ root, spaces: shown }));
}

export function flatViews(spaces: readonly AddressSpace[], owners: boolean): string {
  let text = '';
  let number = 0;
  for (const { root, spaces: shown } of flatGroups(spaces)) {
    text += `FlatView #${number++}\n`;
    for (const space of shown) text += ` AS "${space.name}", root: ${space.root?.name ?? '(none)'}\n`;
    text += ` Root memory region: ${root?.name ?? '(none)'}\n`;
    const ranges = root === null ? [] : flatView(root);
    if (ranges.length === 0) text += '  No rendered FlatView\n';
    for (const { start, end, region, offset } of ranges) {
      const at = offset === 0n ? '' : ` @${hex(offset)}`;
      text += `  ${hex(start)}-${hex(end)} (prio ${region.priority}, ${shownKind(region)}): ${region.name}${at}`;
      text += `${ownerOf(region, owners)}\n`;
    }
    text += '\n';
  }
  return text;
}
