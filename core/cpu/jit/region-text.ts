/** A translated region for people: the guest's instructions, and the WebAssembly made of them with names from this machine. */
import * as L from '../../worker/layout.ts';
import { HELPERS } from '../gen/jit-helpers.ts';
import { disassemble, F_NAMES, X_NAMES } from '../isa/disassemble.ts';
import * as ABI from './abi.ts';
import * as LOCALS from './locals.ts';
import { functionText } from './wasm-text.ts';
import type { FunctionText, Names, WasmFunction, WasmModule } from './wasm-text.ts';

/** What a region was made of. */
export interface RegionSource {
  fn: number;
  /** Guest physical and virtual address of the entry, the latter as the hart had it that asked. */
  pa: bigint;
  va: bigint;
  /** What became of which instruction: offset in the function's body, distance from the entry. Ascending by offset. */
  marks: readonly { offset: number; distance: number }[];
  /** Locals that hold guest registers: local -> x 0..31, f 32..63. */
  registers: ReadonlyMap<number, number>;
  /** Guest code at a distance from the entry: 16 bits; null where the region has none. */
  halfword(distance: number): number | null;
  /** Hart block that its code is for; 0: that of any hart. */
  block: number;
}

const hex = (n: bigint | number): string => `0x${n.toString(16)}`;
const registerName = (register: number): string => (register < 32 ? X_NAMES[register]! : F_NAMES[register - 32]!);

/** Offsets in the hart block: name of what begins there. */
const FIELDS = new Map<number, string>(
  [...Object.entries(L), ...Object.entries(ABI)]
    .filter(([name, value]) => name.startsWith('H_') && typeof value === 'number')
    .map(([name, value]) => [value as number, name]),
);
const TLB_ENTRY = 32;

function fieldName(offset: number): string | null {
  if (offset % 8 === 0 && offset >= L.H_X && offset < L.H_X + 256) return X_NAMES[(offset - L.H_X) / 8]!;
  if (offset % 8 === 0 && offset >= L.H_F && offset < L.H_F + 256) return F_NAMES[(offset - L.H_F) / 8]!;
  for (const [name, start] of [
    ['H_DTLB', L.H_DTLB],
    ['H_ITLB', L.H_ITLB],
  ] as const)
    if (offset >= start && offset < start + TLB_ENTRY) return offset === start ? name : `${name} + ${offset - start}`;
  return FIELDS.get(offset) ?? null;
}

/** Parameters and temporaries, in order; a name of several is that of the first. */
const TEMPORARIES = Object.entries(LOCALS)
  .map(([name, first]) => ({ name: name.slice('LOCAL_'.length).toLowerCase(), first }))
  .sort((a, b) => a.first - b.first);

function temporaryName(index: number): string | null {
  if (index >= LOCALS.LOCAL_FIRST) return null;
  const named = TEMPORARIES.findLast(({ first }) => first <= index);
  if (named === undefined) return null;
  return index === named.first ? named.name : `${named.name}${index - named.first}`;
}

interface GuestLine {
  address: bigint;
  encoding: string;
  text: string;
}

function instruction(source: RegionSource, distance: number): GuestLine {
  const address = BigInt.asUintN(64, source.va + BigInt(distance));
  const low = source.halfword(distance);
  const high = source.halfword(distance + 2);
  if (low === null) return { address, encoding: '', text: '(not kept)' };
  // What is no instruction is left to the interpreter by its first half.
  if ((low & 3) === 3 && high === null) return { address, encoding: low.toString(16), text: `.half ${hex(low)}` };
  const word = (low | ((high ?? 0) << 16)) >>> 0;
  const { length, text } = disassemble(word, address);
  const bits = length === 4 ? word : low;
  return { address, encoding: bits.toString(16).padStart(length * 2, '0'), text };
}

/** Where a region is, in a few words. */
export function place({ fn, pa, va }: RegionSource): string {
  return `region ${fn}, physical ${hex(pa)}${va === pa ? '' : `, virtual ${hex(va)}`}`;
}

/** The guest's instructions by address, after a heading. */
export function guestText(source: RegionSource): string[] {
  const distances = [...new Set(source.marks.map(({ distance }) => distance))].sort((a, b) => a - b);
  const lines = distances.map((distance) => {
    const { address, encoding, text } = instruction(source, distance);
    return `${hex(address)}:  ${encoding.padEnd(8)}  ${text}`;
  });
  return [`IN: ${place(source)}, ${lines.length} instructions`, ...lines];
}

/** @param self the region's own index in its module */
function names(source: RegionSource, self: number): Names {
  const comments = new Map<number, string[]>();
  for (const { offset, distance } of source.marks) {
    const { address, text } = instruction(source, distance);
    comments.set(offset, [...(comments.get(offset) ?? []), `${hex(address)}: ${text}`]);
  }
  const { block } = source;
  return {
    local: (index) => {
      const register = source.registers.get(index);
      if (register !== undefined) return registerName(register);
      return temporaryName(index);
    },
    function: (index) => (index === 0 ? 'lookup' : index === self ? `region${source.fn}` : null),
    element: (index) => {
      if (index === ABI.FN_MISS) return 'miss';
      return HELPERS[index - ABI.FN_HELPERS]?.name ?? `region ${index}`;
    },
    constant: (value) => (block !== 0 && value === block ? 'hart block' : null),
    address: (offset, base) => {
      if (block !== 0) return offset >= block ? fieldName(offset - block) : null;
      if (base === null || !('local' in base)) return null;
      return base.local === LOCALS.LOCAL_BLOCK || base.local === LOCALS.LOCAL_ENTRY ? fieldName(offset) : null;
    },
    comments: (offset) => comments.get(offset) ?? [],
  };
}

/** The region's function in the text format, after a heading. */
export function regionText(module: WasmModule, fn: WasmFunction, source: RegionSource): FunctionText {
  const self = module.imported + module.functions.indexOf(fn);
  const text = functionText(module, fn, `region${source.fn}`, names(source, self));
  return { ...text, lines: [`OUT: ${place(source)}, ${fn.body.length} bytes of WebAssembly`, ...text.lines] };
}
