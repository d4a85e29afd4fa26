/**
 * Prints the translator's templates: for each handler what kind of instruction it is, which operands it reads and writes, and
 * the WebAssembly that its meaning becomes.
 */
import type { Expr, Insn, Operator, Stmt } from '../isa/dsl.ts';
import { INSTRUCTIONS } from '../isa/table.ts';
import * as opcodes from '../jit/opcodes.ts';
import { HANDLERS } from './handlers.ts';
import { HELPERS } from './jit-helpers.ts';
import type { Helper } from './jit-helpers.ts';
import { FP_TEMPLATES } from './translate-fp.ts';

/** What the control-flow builder must know of an instruction. */
export const KIND = {
  /** Goes on after itself; nothing can leave the region in it. */
  PLAIN: 0,
  /** Goes on after itself, or faults. */
  ACCESS: 1,
  BRANCH: 2,
  JUMP: 3,
  JUMP_REG: 4,
  /** Done by jitSystem. */
  SYSTEM: 5,
  FENCE: 6,
  /** Left to the interpreter. */
  LEAVE: 7,
} as const;

/** Functions of system instructions that a region may call without leaving. */
const INLINE_SYSTEM = new Set(['execCsr', 'execCbo', 'execSfenceInval']);

/** What jit/opcodes.ts calls an operator's opcode. */
function opcodeName(operator: Operator): string {
  const name = operator.replace('.', '_').toUpperCase();
  if (!Object.hasOwn(opcodes, name)) throw new Error(`no opcode of ${operator}`);
  return `w.${name}`;
}

/** Types of functions in a module: regions first, then what helpers need. */
const signature = (h: Pick<Helper, 'params' | 'result'>): string => `${h.params.join(',')}:${h.result ?? ''}`;
const REGION = 'i32,i64,i32:i64';
const LOOKUP = 'i32,i64:i32';
const TYPES = [...new Set([REGION, LOOKUP, ...HELPERS.map(signature)])];

export function helperIndex(name: string): number {
  const index = HELPERS.findIndex((h) => h.name === name);
  if (index < 0) throw new Error(`there is no helper ${name}`);
  return index;
}
/** AssemblyScript that emits a call of a helper whose operands are on the stack. */
export const helperCall = (name: string): string => {
  const index = helperIndex(name);
  return `callHelper(${index}, ${TYPES.indexOf(signature(HELPERS[index]!))});`;
};

function typeSection(): number[] {
  const byte = { i32: opcodes.TYPE_I32, i64: opcodes.TYPE_I64 } as const;
  const list = (text: string): number[] => {
    const names = text === '' ? [] : (text.split(',') as ('i32' | 'i64')[]);
    return [names.length, ...names.map((n) => byte[n])];
  };
  const bytes = TYPES.flatMap((t) => {
    const [params, result] = t.split(':') as [string, string];
    return [opcodes.TYPE_FUNC, ...list(params), ...list(result)];
  });
  return [TYPES.length, ...bytes];
}

class Printer {
  readonly #insn: Insn;
  /** Temporaries: id of the meaning -> which of the emitter's. */
  readonly #temps = new Map<number, number>();

  constructor(insn: Insn) {
    this.#insn = insn;
  }

  expr(e: Expr): string {
    switch (e.k) {
      case 'reg':
        return `getReg(load<u16>(slot, ${{ rd: 2, rs1: 4, rs2: 6, rs3: 10 }[e.reg]}));`;
      case 'imm':
        return 'i64Const(load<i32>(slot, 8));';
      case 'rm':
        return 'roundingMode(load<u16>(slot, 8));';
      case 'pc':
        return 'pcConst(at);';
      case 'next':
        throw new Error('next is emitted by its statement');
      case 'const':
        return e.type === 'i64' ? `i64Const(${BigInt.asIntN(64, e.value)});` : `i32Const(${e.value});`;
      case 'op':
        return `${e.a.map((x) => this.expr(x)).join(' ')} op(${opcodeName(e.op)});`;
      case 'select':
        return `${this.expr(e.a)} ${this.expr(e.b)} ${this.expr(e.cond)} op(w.SELECT);`;
      case 'if':
        return `${this.expr(e.cond)} openIf(w.TYPE_${e.type === 'i64' ? 'I64' : 'I32'}); ${this.expr(e.a)} elseIf(); ${this.expr(e.b)} closeIf();`;
      case 'call':
        return `${e.a.map((x) => this.expr(x)).join(' ')} ${helperCall(e.fn)}`;
      case 'tmp':
        return `localGet(LOCAL_TEMP + ${this.#temps.get(e.id)});`;
    }
  }

  stmt(s: Stmt): string {
    switch (s.s) {
      case 'let': {
        if (s.e.type !== 'i32') throw new Error(`${this.#insn.name}: temporaries are i32`);
        this.#temps.set(s.id, this.#temps.size);
        return `${this.expr(s.e)} localSet(LOCAL_TEMP + ${this.#temps.get(s.id)});`;
      }
      case 'set':
        return `${this.expr(s.e)} setReg(load<u16>(slot, 2));`;
      case 'load':
        return `if (!groupOpen()) { ${this.expr(s.addr)} } emitLoad(slot, at, ${s.bytes}, ${s.signed}, ${s.box});`;
      case 'store':
        return `if (!groupOpen()) { ${this.expr(s.addr)} } emitStore(slot, at, ${s.bytes});`;
      case 'amo':
      case 'loadReserved':
      case 'storeConditional': {
        const name = `jit_${this.#insn.name.replaceAll('.', '_')}`;
        return `beginAtomic(slot); ${helperCall(name)} endAtomic(slot, at);`;
      }
      case 'branch':
        return this.expr(s.cond);
      case 'jumpReg':
        return this.expr(s.target);
      case 'jump':
      case 'system':
        return '';
    }
  }
}

function kindOf(insn: Insn): number {
  for (const s of insn.body) {
    if (s.s === 'branch') return KIND.BRANCH;
    if (s.s === 'jump') return KIND.JUMP;
    if (s.s === 'jumpReg') return KIND.JUMP_REG;
    if (s.s === 'system') return s.fn === 'execFence' ? KIND.FENCE : INLINE_SYSTEM.has(s.fn) ? KIND.SYSTEM : KIND.LEAVE;
    if (['load', 'store', 'amo', 'loadReserved', 'storeConditional'].includes(s.s)) return KIND.ACCESS;
  }
  return KIND.PLAIN;
}

/**
 * Bit 0..2 kind, bit 3 length is 4, bits 4..7 has rd, rs1, rs2, rs3 (rs3: FMA), then in
 * the second byte: bit 0 uses FP, bits 1..3 log2 of a load's or store's bytes plus 1, bit 4 it stores.
 */
function meta(): number[] {
  const bytes: number[] = [];
  for (const h of HANDLERS) {
    const o = h.insn.operands;
    let flags = kindOf(h.insn) | (h.length === 4 ? 8 : 0);
    if (o.rd !== undefined) flags |= 16;
    if (o.rs1 !== undefined) flags |= 32;
    if (o.rs2 !== undefined) flags |= 64;
    if (o.rs3 !== undefined) flags |= 128;
    bytes[h.id * 2] = flags;
    const access = h.insn.body.find((s) => s.s === 'load' || s.s === 'store');
    const size = access === undefined ? 0 : Math.log2(access.bytes) + 1;
    bytes[h.id * 2 + 1] = (h.insn.fp === 'no' ? 0 : 1) | (size << 1) | (access?.s === 'store' ? 16 : 0);
  }
  return Array.from({ length: bytes.length }, (_, i) => bytes[i] ?? KIND.LEAVE);
}

function emitCase(insn: Insn): string {
  const ids = HANDLERS.filter((h) => h.insn === insn).map((h) => `case ${h.id}:`);
  const special = FP_TEMPLATES[insn.name];
  const printer = new Printer(insn);
  const body = special?.(helperCall) ?? insn.body.map((s) => printer.stmt(s)).join('\n      ');
  return `    ${ids.join(' ')} { // ${insn.name}
      ${body}
      return;
    }`;
}

const bytesOf = (list: number[]): string => `memory.data<u8>([${list.join(', ')}])`;

export function printTranslator(): string {
  const cases = INSTRUCTIONS.filter((i) => kindOf(i) !== KIND.LEAVE && kindOf(i) !== KIND.SYSTEM).filter(
    (i) => kindOf(i) !== KIND.FENCE && kindOf(i) !== KIND.JUMP,
  );
  const constants = Object.entries(KIND).map(([name, value]) => `export const KIND_${name} = ${value};`);
  const helpers = ['jitLoad', 'jitStore', 'jitSystem', 'jitGuard', 'jitFpLimit'].map((name) => {
    const index = helperIndex(name);
    const upper = name.replace(/[A-Z]/g, (c) => `_${c}`).toUpperCase();
    return `export const HELPER_${upper} = ${index};\nexport const TYPE_${upper} = ${TYPES.indexOf(signature(HELPERS[index]!))};`;
  });
  const types = typeSection();
  return `// Made by core/cpu/gen/translate.ts from the instruction table. Do not edit.
import { fmaFused } from '../fpu/arith.as';
import { beginAtomic, emitLoad, emitStore, endAtomic, groupOpen } from '../jit/access.as';
import { callHelper, fpLimitReload, getF, getReg, pcConst, roundingMode, setF, setReg } from '../jit/emit.as';
import { LOCAL_FP, LOCAL_LIMIT, LOCAL_TEMP } from '../jit/locals';
import * as w from '../jit/opcodes';
import {
  closeIf, elseIf, f64Const, i32Const, i64Const, localGet, localSet, localTee, op, op2, openIf, openLikely,
} from '../jit/pen.as';

${constants.join('\n')}
${helpers.join('\n')}
export const TYPE_REGION = ${TYPES.indexOf(REGION)};
export const TYPE_LOOKUP = ${TYPES.indexOf(LOOKUP)};

/** Two bytes a handler: see meta() in core/cpu/gen/translate.ts. */
export const META: usize = ${bytesOf(meta())};
/** Contents of the type section. */
export const TYPE_SECTION: usize = ${bytesOf(types)};
export const TYPE_SECTION_SIZE = ${types.length};

/**
 * Emits what an instruction does; for a branch its condition (i32), for an indirect jump its target (i64). \`at\`: distance of its
 * address from the region's entry.
 */
export function emitInsn(slot: usize, at: i32): void {
  switch (load<u16>(slot)) {
${cases.map(emitCase).join('\n')}
    default:
      unreachable();
  }
}
`;
}
