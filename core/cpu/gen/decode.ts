/** Prints the decoder: instruction word -> slot. */
import type { Compressed, ImmField, Insn, Operands, RegField } from '../isa/dsl.ts';
import { BY_NAME, DECODE_NARROW, DECODE_WIDE } from '../isa/table.ts';
import { handlerOf, hasStaticTarget, SPECIAL } from './handlers.ts';

const hex = (n: number): string => `0x${(n >>> 0).toString(16)}`;

/** Offset of a register into the hart block: x at 0, f at 0x200; as a destination x0 goes to the sink at 0x100. */
function regOffset(field: RegField | undefined, destination: boolean): string {
  if (field === undefined) return destination ? '0x100' : '0';
  const base = field.file === 'f' ? ' + 0x200' : '';
  if ('fixed' in field) {
    if (destination && field.file === 'x' && field.fixed === 0) return '0x100';
    return `${field.fixed * 8}${base}`;
  }
  const mask = 2 ** field.width - 1;
  const number = `((insn >> ${field.lo}) & ${mask})`;
  const offset = `(${number}${field.base ? ` + ${field.base}` : ''}) * 8${base}`;
  return destination && field.file === 'x' && field.base === 0 ? `destination(${number})` : offset;
}

function immValue(field: ImmField | undefined): string {
  if (field === undefined) return '0';
  const parts = field.segments.map(([hi, lo, at]) => {
    const mask = hex((2 ** (hi - lo + 1) - 1) * 2 ** lo);
    const shift = at - lo;
    const bits = `(insn & ${mask})`;
    return shift === 0 ? bits : shift > 0 ? `(${bits} << ${shift})` : `(${bits} >> ${-shift})`;
  });
  if (parts.length === 0) return '0';
  const value = parts.join(' | ');
  const fill = 32 - field.width;
  return field.signed && fill > 0 ? `(<i32>((${value}) << ${fill})) >> ${fill}` : `<i32>(${value})`;
}

function emit(insn: Insn, operands: Operands, length: 2 | 4): string {
  const lines: string[] = [];
  const set = (offset: number, what: string): void => void lines.push(`store<u16>(slot, <u16>(${what}), ${offset});`);
  set(2, regOffset(operands.rd, true));
  set(4, regOffset(operands.rs1, false));
  set(6, regOffset(operands.rs2, false));
  lines.push(`store<u32>(slot, insn, 12);`);
  if (hasStaticTarget(insn)) {
    const local = handlerOf(insn.name, length, true).id;
    const far = handlerOf(insn.name, length, false).id;
    lines.push(`target(slot, ${immValue(operands.imm)}, offset, inPage, ${local}, ${far});`);
    return lines.join(' ');
  }
  const { id } = handlerOf(insn.name, length, false);
  if (insn.rm) {
    // Modes 5 and 6 are reserved. The immediate's place holds the mode and, for fused operations, rs3.
    lines.push(`const mode = (insn >> 12) & 7; if (mode == 5 || mode == 6) { illegal(slot, insn); return; }`);
    lines.push(`store<u16>(slot, <u16>mode, 8);`);
    if (operands.rs3 !== undefined) set(10, regOffset(operands.rs3, false));
  } else {
    lines.push(`store<i32>(slot, ${immValue(operands.imm)}, 8);`);
  }
  lines.push(`store<u16>(slot, ${id});`);
  return lines.join(' ');
}

function wideCase(insn: Insn): string {
  return `if ((insn & ${hex(insn.mask)}) == ${hex(insn.match)}) { /* ${insn.name} */ ${emit(insn, insn.operands, 4)} return; }`;
}

function narrowCase(c: Compressed): string {
  const base = BY_NAME.get(c.base);
  if (base === undefined) throw new Error(`${c.name}: no ${c.base}`);
  const tests = [`(insn & ${hex(c.mask)}) == ${hex(c.match)}`, ...c.nonzero.map((m) => `(insn & ${hex(m)}) != 0`)];
  return `if (${tests.join(' && ')}) { /* ${c.name} */ ${emit(base, c.operands, 2)} return; }`;
}

/** Groups by major opcode, and inside it by funct3 where an entry fixes it. */
function wideSwitch(): string {
  const out: string[] = ['switch ((insn >> 2) & 31) {'];
  for (let opcode = 0; opcode < 32; opcode++) {
    const group = DECODE_WIDE.filter((i) => ((i.match >>> 2) & 31) === opcode);
    if (group.length === 0) continue;
    out.push(`case ${opcode}:`);
    if (group.length <= 8) {
      out.push(...group.map((i) => '  ' + wideCase(i)), '  break;');
      continue;
    }
    out.push('  switch ((insn >> 12) & 7) {');
    for (let f3 = 0; f3 < 8; f3++) {
      const fits = group.filter((i) => ((f3 << 12) & i.mask & 0x7000) === (i.match & 0x7000 & i.mask));
      if (fits.length > 0) out.push(`  case ${f3}:`, ...fits.map((i) => '    ' + wideCase(i)), '    break;');
    }
    out.push('  }', '  break;');
  }
  out.push('}');
  return out.join('\n');
}

function narrowSwitch(): string {
  const out: string[] = ['switch (((insn & 3) << 3) | (insn >> 13)) {'];
  for (let quadrant = 0; quadrant < 3; quadrant++) {
    for (let f3 = 0; f3 < 8; f3++) {
      const group = DECODE_NARROW.filter((c) => (c.match & 3) === quadrant && c.match >> 13 === f3);
      if (group.length > 0)
        out.push(`case ${(quadrant << 3) | f3}:`, ...group.map((c) => '  ' + narrowCase(c)), '  break;');
    }
  }
  out.push('}');
  return out.join('\n');
}

export function printDecoder(): string {
  return `// Made by core/cpu/gen/decode.ts from the instruction table. Do not edit.
export const OP_DECODE = ${SPECIAL.DECODE};
export const OP_ILLEGAL = ${SPECIAL.ILLEGAL};
export const OP_PAGE_END = ${SPECIAL.PAGE_END};
export const OP_STRADDLE = ${SPECIAL.STRADDLE};
export const OP_JIT = ${SPECIAL.JIT};

// @ts-ignore: decorator
@inline
function destination(number: u32): u32 {
  return number == 0 ? 0x100 : number * 8;
}

function illegal(slot: usize, insn: u32): void {
  store<u32>(slot, insn, 12);
  store<u16>(slot, OP_ILLEGAL);
}

/** A target inside the page becomes a distance in slots' bytes; one outside stays a distance in bytes of the guest. */
function target(slot: usize, distance: i32, offset: i32, inPage: bool, local: i32, far: i32): void {
  const to = offset + distance;
  if (inPage && to >= 0 && to < 4096) {
    store<i32>(slot, distance * 8, 8);
    store<u16>(slot, <u16>local);
  } else {
    store<i32>(slot, distance, 8);
    store<u16>(slot, <u16>far);
  }
}

/** insn: the word; offset: of the instruction in its page; inPage: whether targets in the page may be resolved. */
export function decodeWide(slot: usize, insn: u32, offset: i32, inPage: bool): void {
${wideSwitch()}
illegal(slot, insn);
}

export function decodeNarrow(slot: usize, insn: u32, offset: i32, inPage: bool): void {
${narrowSwitch()}
illegal(slot, insn);
}
`;
}
