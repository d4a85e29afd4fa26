/**
 * WebAssembly's instructions as far as translated code has them, with room around it: MVP, sign extension, saturating
 * truncation, tail calls, bulk memory, atomics (threads), and of SIMD what fused arithmetic takes.
 */

/** What follows an opcode in the binary format. */
export type Immediate =
  | 'none'
  | 'blockType'
  | 'label'
  | 'labels'
  | 'local'
  | 'global'
  | 'function'
  /** Type, then table. */
  | 'indirect'
  /** Alignment, then offset. */
  | 'memory'
  | 'i32'
  | 'i64'
  | 'f32'
  | 'f64'
  /** One byte. */
  | 'byte'
  /** Two bytes. */
  | 'bytes2'
  /** A count, then value types. */
  | 'types';

export interface Opcode {
  name: string;
  immediate: Immediate;
  /** Values taken from the stack and put there; not said of calls and of what changes the flow of control. */
  pops: number;
  pushes: number;
}

const table = new Map<number, Opcode>();

/** Opcodes with a prefix byte have their place at prefix << 16 | number. */
export const prefixed = (prefix: number, code: number): number => (prefix << 16) | code;

function add(code: number, name: string, pops = 0, pushes = 0, immediate: Immediate = 'none'): void {
  table.set(code, { name, immediate, pops, pushes });
}
/** Names for successive opcodes; '-' leaves one out. */
function run(first: number, names: string, pops: number, pushes: number, immediate: Immediate = 'none'): void {
  names.split(' ').forEach((name, i) => name !== '-' && add(first + i, name, pops, pushes, immediate));
}
const each = (prefix: string, names: string): string =>
  names
    .split(' ')
    .map((name) => `${prefix}.${name}`)
    .join(' ');

// Control.
run(0x00, 'unreachable nop', 0, 0);
run(0x02, 'block loop', 0, 0, 'blockType');
add(0x04, 'if', 1, 0, 'blockType');
run(0x05, 'else', 0, 0);
add(0x0b, 'end');
add(0x0c, 'br', 0, 0, 'label');
add(0x0d, 'br_if', 1, 0, 'label');
add(0x0e, 'br_table', 1, 0, 'labels');
add(0x0f, 'return');
add(0x10, 'call', 0, 0, 'function');
add(0x11, 'call_indirect', 1, 0, 'indirect');
add(0x12, 'return_call', 0, 0, 'function');
add(0x13, 'return_call_indirect', 1, 0, 'indirect');
add(0x1a, 'drop', 1, 0);
add(0x1b, 'select', 3, 1);
add(0x1c, 'select', 3, 1, 'types');
// Variables.
add(0x20, 'local.get', 0, 1, 'local');
add(0x21, 'local.set', 1, 0, 'local');
add(0x22, 'local.tee', 1, 1, 'local');
add(0x23, 'global.get', 0, 1, 'global');
add(0x24, 'global.set', 1, 0, 'global');
// Memory.
run(0x28, 'i32.load i64.load f32.load f64.load', 1, 1, 'memory');
run(0x2c, each('i32', 'load8_s load8_u load16_s load16_u'), 1, 1, 'memory');
run(0x30, each('i64', 'load8_s load8_u load16_s load16_u load32_s load32_u'), 1, 1, 'memory');
run(0x36, 'i32.store i64.store f32.store f64.store i32.store8 i32.store16', 2, 0, 'memory');
run(0x3c, each('i64', 'store8 store16 store32'), 2, 0, 'memory');
add(0x3f, 'memory.size', 0, 1, 'byte');
add(0x40, 'memory.grow', 1, 1, 'byte');
// Constants.
add(0x41, 'i32.const', 0, 1, 'i32');
add(0x42, 'i64.const', 0, 1, 'i64');
add(0x43, 'f32.const', 0, 1, 'f32');
add(0x44, 'f64.const', 0, 1, 'f64');
// Comparisons.
const INTEGER_TESTS = 'eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u';
const FLOAT_TESTS = 'eq ne lt gt le ge';
add(0x45, 'i32.eqz', 1, 1);
run(0x46, each('i32', INTEGER_TESTS), 2, 1);
add(0x50, 'i64.eqz', 1, 1);
run(0x51, each('i64', INTEGER_TESTS), 2, 1);
run(0x5b, each('f32', FLOAT_TESTS), 2, 1);
run(0x61, each('f64', FLOAT_TESTS), 2, 1);
// Arithmetic.
const INTEGER_BINARY = 'add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr';
const FLOAT_UNARY = 'abs neg ceil floor trunc nearest sqrt';
const FLOAT_BINARY = 'add sub mul div min max copysign';
run(0x67, each('i32', 'clz ctz popcnt'), 1, 1);
run(0x6a, each('i32', INTEGER_BINARY), 2, 1);
run(0x79, each('i64', 'clz ctz popcnt'), 1, 1);
run(0x7c, each('i64', INTEGER_BINARY), 2, 1);
run(0x8b, each('f32', FLOAT_UNARY), 1, 1);
run(0x92, each('f32', FLOAT_BINARY), 2, 1);
run(0x99, each('f64', FLOAT_UNARY), 1, 1);
run(0xa0, each('f64', FLOAT_BINARY), 2, 1);
// Conversions.
run(0xa7, each('i32', 'wrap_i64 trunc_f32_s trunc_f32_u trunc_f64_s trunc_f64_u'), 1, 1);
run(0xac, each('i64', 'extend_i32_s extend_i32_u trunc_f32_s trunc_f32_u trunc_f64_s trunc_f64_u'), 1, 1);
run(0xb2, each('f32', 'convert_i32_s convert_i32_u convert_i64_s convert_i64_u demote_f64'), 1, 1);
run(0xb7, each('f64', 'convert_i32_s convert_i32_u convert_i64_s convert_i64_u promote_f32'), 1, 1);
run(0xbc, 'i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64', 1, 1);
run(0xc0, 'i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s', 1, 1);
// 0xfc: saturating truncation, bulk memory.
const SATURATING = 'trunc_sat_f32_s trunc_sat_f32_u trunc_sat_f64_s trunc_sat_f64_u';
run(prefixed(0xfc, 0), each('i32', SATURATING), 1, 1);
run(prefixed(0xfc, 4), each('i64', SATURATING), 1, 1);
add(prefixed(0xfc, 10), 'memory.copy', 3, 0, 'bytes2');
add(prefixed(0xfc, 11), 'memory.fill', 3, 0, 'byte');
// 0xfd: SIMD, relaxed SIMD.
add(prefixed(0xfd, 0), 'v128.load', 1, 1, 'memory');
add(prefixed(0xfd, 11), 'v128.store', 2, 0, 'memory');
run(prefixed(0xfd, 15), 'i8x16.splat i16x8.splat i32x4.splat i64x2.splat f32x4.splat f64x2.splat', 1, 1);
add(prefixed(0xfd, 27), 'i32x4.extract_lane', 1, 1, 'byte');
add(prefixed(0xfd, 29), 'i64x2.extract_lane', 1, 1, 'byte');
add(prefixed(0xfd, 31), 'f32x4.extract_lane', 1, 1, 'byte');
add(prefixed(0xfd, 33), 'f64x2.extract_lane', 1, 1, 'byte');
const RELAXED = 'f32x4.relaxed_madd f32x4.relaxed_nmadd f64x2.relaxed_madd f64x2.relaxed_nmadd';
run(prefixed(0xfd, 0x105), RELAXED, 3, 1);
// 0xfe: threads.
add(prefixed(0xfe, 0), 'memory.atomic.notify', 2, 1, 'memory');
run(prefixed(0xfe, 1), 'memory.atomic.wait32 memory.atomic.wait64', 3, 1, 'memory');
add(prefixed(0xfe, 3), 'atomic.fence', 0, 0, 'byte');
const ATOMIC = ['i32.atomic.', 'i64.atomic.'];
const [A32, A64] = ATOMIC;
const WIDTHS = [A32, A64, `${A32}8`, `${A32}16`, `${A64}8`, `${A64}16`, `${A64}32`];
/** Seven widths of one operation: `rmw16.add_u` and the like. */
function atomic(
  first: number,
  prefix: string,
  operation: string,
  unsigned: string,
  pops: number,
  pushes: number,
): void {
  WIDTHS.forEach((width, i) => {
    const [, type, bits] = /^(i\d+\.atomic\.)(\d*)$/.exec(width)!;
    const name = `${type}${prefix}${bits}${operation}${bits === '' ? '' : unsigned}`;
    add(prefixed(0xfe, first + i), name, pops, pushes, 'memory');
  });
}
atomic(0x10, 'load', '', '_u', 1, 1);
atomic(0x17, 'store', '', '', 2, 0);
'add sub and or xor xchg'.split(' ').forEach((operation, i) => {
  atomic(0x1e + i * 7, 'rmw', `.${operation}`, '_u', 2, 1);
});
atomic(0x48, 'rmw', '.cmpxchg', '_u', 3, 1);

/** By opcode; those with a prefix at `prefixed(prefix, number)`. */
export const OPCODES: ReadonlyMap<number, Opcode> = table;
