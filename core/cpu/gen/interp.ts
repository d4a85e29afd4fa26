/** Prints the interpreter: one function, one case a handler, made from each instruction's meaning. */
import type { Expr, Insn, Stmt } from '../isa/dsl.ts';
import { HANDLERS, SPECIAL } from './handlers.ts';
import type { Handler } from './handlers.ts';

const PC = '(pageVa + <u64>((ip - base) >> 3))';

/** Operators as AssemblyScript; a and b are printed operands (i64 or i32, signed). */
const PRINT: Record<string, (a: string, b: string) => string> = {
  add: (a, b) => `(${a} + ${b})`,
  sub: (a, b) => `(${a} - ${b})`,
  mul: (a, b) => `(${a} * ${b})`,
  and: (a, b) => `(${a} & ${b})`,
  or: (a, b) => `(${a} | ${b})`,
  xor: (a, b) => `(${a} ^ ${b})`,
  shl: (a, b) => `(${a} << ${b})`,
  shr_s: (a, b) => `(${a} >> ${b})`,
  eq: (a, b) => `i32(${a} == ${b})`,
  ne: (a, b) => `i32(${a} != ${b})`,
  lt_s: (a, b) => `i32(${a} < ${b})`,
  ge_s: (a, b) => `i32(${a} >= ${b})`,
  div_s: (a, b) => `(${a} / ${b})`,
  rem_s: (a, b) => `(${a} % ${b})`,
};

function printOp(op: string, a: string[]): string {
  const [type, name] = op.split('.') as [string, string];
  const [x, y] = a as [string, string];
  const u = type === 'i64' ? 'u64' : 'u32';
  const plain = PRINT[name];
  if (plain !== undefined) return plain(x, y);
  switch (name) {
    case 'shr_u':
      return `${type}(${u}(${x}) >> ${u}(${y}))`;
    case 'lt_u':
      return `i32(${u}(${x}) < ${u}(${y}))`;
    case 'ge_u':
      return `i32(${u}(${x}) >= ${u}(${y}))`;
    case 'div_u':
      return `${type}(${u}(${x}) / ${u}(${y}))`;
    case 'rem_u':
      return `${type}(${u}(${x}) % ${u}(${y}))`;
    case 'rotl':
    case 'rotr':
      return `${name}<${type}>(${x}, ${y})`;
    case 'clz':
    case 'ctz':
    case 'popcnt':
      return `${name}<${type}>(${x})`;
    case 'eqz':
      return `i32(${x} == 0)`;
    case 'extend8_s':
      return `i64(i8(${x}))`;
    case 'extend16_s':
      return `i64(i16(${x}))`;
    case 'extend32_s':
      return `i64(i32(${x}))`;
    case 'wrap_i64':
      return `i32(${x})`;
    case 'extend_i32_s':
      return `i64(i32(${x}))`;
    case 'extend_i32_u':
      return `i64(u32(${x}))`;
    default:
      throw new Error(`no way to print ${op}`);
  }
}

const REG_SLOT = { rd: 2, rs1: 4, rs2: 6, rs3: 10 } as const;

function print(e: Expr, insn: Insn): string {
  const go = (x: Expr): string => print(x, insn);
  switch (e.k) {
    case 'reg':
      return `load<i64>(block + load<u16>(ip, ${REG_SLOT[e.reg]}))`;
    case 'imm':
      return 'i64(load<i32>(ip, 8))';
    case 'rm':
      return 'mode';
    case 'pc':
      return `i64(${PC})`;
    case 'next':
      throw new Error('next is printed by its statement');
    case 'const':
      return e.type === 'i64' ? `i64(${BigInt.asIntN(64, e.value)})` : `i32(${e.value})`;
    case 'op':
      return printOp(e.op, e.a.map(go));
    case 'select':
      return `select<${e.type}>(${go(e.a)}, ${go(e.b)}, ${go(e.cond)} != 0)`;
    case 'if':
      return `(${go(e.cond)} != 0 ? ${go(e.a)} : ${go(e.b)})`;
    case 'call':
      return `i64(${e.fn}(${e.a.map((x) => (x.type === 'i64' ? `u64(${go(x)})` : go(x))).join(', ')}))`;
    case 'tmp':
      return `t${e.id}`;
  }
}

/** load<T> for a width, and the AssemblyScript type that widens rightly. */
const LOAD_TYPE = { 1: ['i8', 'u8'], 2: ['i16', 'u16'], 4: ['i32', 'u32'], 8: ['i64', 'i64'] } as const;
const STORE_TYPE = { 1: 'u8', 2: 'u16', 4: 'u32', 8: 'i64' } as const;

const SET_RD = (value: string): string => `store<i64>(block + load<u16>(ip, 2), ${value});`;
/** The page-number bits and the bits below the access size: what a TLB tag is compared with. */
const tagMask = (bytes: number): string => `~(<u64>${0xfff ^ (bytes - 1)})`;
const ENTRY = 'block + H_DTLB + (<usize>(va >> 7) & 0x1ffe0)';

/** Where an atomic finds its address and operand, what it does with a fault and with its result. */
interface AmoPlaces {
  address: string;
  operand: string;
  fault: string;
  result: (value: string) => string;
}

function rmw(op: string, bytes: 4 | 8, operand: string): string {
  const type = bytes === 4 ? 'i32' : 'i64';
  const value = `${type}(${operand})`;
  const plain = { swap: 'xchg', add: 'add', and: 'and', or: 'or', xor: 'xor' }[op];
  if (plain !== undefined) return `const old = atomic.${plain}<${type}>(at, ${value});`;
  const signed = op === 'min' || op === 'max';
  const cmp = signed ? type : type.replace('i', 'u');
  const better = op.startsWith('min') ? '<' : '>';
  // No such WebAssembly instruction: compare and swap until nobody has come between.
  return `const operand = ${value}; let old = atomic.load<${type}>(at);
      for (;;) {
        const next = ${cmp}(operand) ${better} ${cmp}(old) ? operand : old;
        const seen = atomic.cmpxchg<${type}>(at, old, next);
        if (seen == old) break;
        old = seen;
      }`;
}

/** An atomic instruction's statement: in the interpreter's cases and in what translated code calls. */
export function printAmo(s: Extract<Stmt, { s: 'amo' | 'loadReserved' | 'storeConditional' }>, at: AmoPlaces): string {
  const type = s.bytes === 4 ? 'i32' : 'i64';
  const access = s.s === 'loadReserved' ? 'ACCESS_LOAD' : 'ACCESS_STORE';
  const address = `const at = atomicAddress(block, ${at.address}, ${s.bytes}, ${access});
      if (at == 0) ${at.fault}`;
  switch (s.s) {
    case 'amo':
      return `${address}
      ${rmw(s.op, s.bytes, at.operand)}
      ${at.result('i64(old)')}`;
    case 'loadReserved':
      return `${address}
      // Through a variable: asc turns i64(atomic.load<i32>()) into i64.atomic.load32_u, which does not extend the sign.
      const r = atomic.load<${type}>(at); const v = i64(r);
      store<u64>(block + H_RES_ADDR, at); store<i64>(block + H_RES_VALUE, v);
      ${at.result('v')}`;
    case 'storeConditional':
      return `${address}
      const expected = <${type}>load<i64>(block + H_RES_VALUE);
      const ok = load<u64>(block + H_RES_ADDR) == at && atomic.cmpxchg<${type}>(at, expected, <${type}>${at.operand}) == expected;
      store<u64>(block + H_RES_ADDR, ~0);
      ${at.result('i64(ok ? 0 : 1)')}`;
  }
}

const FAULT = '{ why = WHY_FAULT; break; }';

/** A jump inside the page. One backward may be a loop's, whose head grows hot. */
const LOCAL_JUMP = `const d = load<i32>(ip, 8); ip += d;
      if (d < 0) {
        const heat = base + ((ip - base) >> 3); const n = <u32>load<u16>(heat, PAGE_HEAT) + 1; store<u16>(heat, <u16>n, PAGE_HEAT);
        if (n == load<u32>(block + H_JIT_THRESHOLD)) { why = WHY_HOT; break; }
      }
      if (load<i32>(block + H_POLL) == 0) continue; why = WHY_POLL; break;`;

/** jalr that is a return (unprivileged manual 2.5.1): rd is x0 (its slot says 0x100, the sink), rs1 is x1 or x5. */
const IS_RETURN = `(load<u32>(ip, 2) & ~${(1 ^ 5) << 19}) == ${(8 << 16) | 0x100}`;

function printStmt(s: Stmt, h: Handler): string {
  const { insn, length, local } = h;
  const go = (e: Expr): string => print(e, insn);
  switch (s.s) {
    case 'let':
      return `const t${s.id} = ${go(s.e)};`;
    case 'set':
      return SET_RD(go(s.e));
    case 'load': {
      const [signed, unsigned] = LOAD_TYPE[s.bytes];
      const type = s.signed ? signed : unsigned;
      const value = s.box ? 'i64(v) | 0xffffffff00000000' : 'i64(v)';
      return `const va = u64(${go(s.addr)}); const e = ${ENTRY}; let v: ${type};
      if (load<u64>(e) == ((va & ${tagMask(s.bytes)}) | dc)) v = load<${type}>(<usize>va + load<u32>(e, 16));
      else { v = <${type}>loadSlow(block, va, ${s.bytes}); if (fault) ${FAULT} }
      ${SET_RD(value)}`;
    }
    case 'store': {
      const type = STORE_TYPE[s.bytes];
      return `const va = u64(${go(s.addr)}); const e = ${ENTRY}; const v = ${go(s.value)};
      if (load<u64>(e, 8) == ((va & ${tagMask(s.bytes)}) | dc)) store<${type}>(<usize>va + load<u32>(e, 16), <${type}>v);
      else { storeSlow(block, va, ${s.bytes}, <u64>v); if (fault) ${FAULT} }`;
    }
    case 'branch': {
      const taken = local ? LOCAL_JUMP : `target = ${PC} + <u64>i64(load<i32>(ip, 8)); why = WHY_JUMP; break;`;
      return `if (${go(s.cond)}) { ${taken} }`;
    }
    case 'jump': {
      const link = `store<u64>(block + load<u16>(ip, 2), ${PC} + ${length});`;
      return local
        ? `${link} ${LOCAL_JUMP}`
        : `target = ${PC} + <u64>i64(load<i32>(ip, 8)); ${link} why = WHY_JUMP; break;`;
    }
    case 'jumpReg':
      return `target = u64(${go(s.target)}); store<u64>(block + load<u16>(ip, 2), ${PC} + ${length});
      if (${IS_RETURN}) why = WHY_RETURN;
      else { why = WHY_JUMP; noteTarget(block, ip, <i64>(target - ${PC})); }
      break;`;
    case 'amo':
    case 'loadReserved':
    case 'storeConditional':
      return printAmo(s, {
        address: 'load<u64>(block + load<u16>(ip, 4))',
        operand: 'load<i64>(block + load<u16>(ip, 6))',
        fault: FAULT,
        result: SET_RD,
      });
    case 'system':
      return `store<u64>(block + H_INSTRET, count);
      const r = ${s.fn}(block, load<u32>(ip, 12), ${PC});
      if (r != SYS_NEXT) { store<u64>(block + H_NEXT_PC, ${PC} + ${length}); why = WHY_SYSTEM + r; break; }`;
  }
}

/** Floating-point instructions need FS on; those that write FP state make it dirty. An invalid frm is illegal too. */
function printFp(insn: Insn): string {
  if (insn.fp === 'no') return '';
  const want = insn.fp === 'write' ? '!= MS_FS' : '== 0';
  let text = `if ((load<u64>(block + H_MSTATUS) & MS_FS) ${want} && !enableFp(block, load<u32>(ip, 12))) ${FAULT}`;
  if (insn.rm) {
    text += `
      let mode: i32 = load<u16>(ip, 8); if (mode == 7) { mode = load<i32>(block + H_FRM); if (mode > 4) { raise(block, CAUSE_ILLEGAL, load<u32>(ip, 12)); ${FAULT.slice(1)} }`;
  }
  return text;
}

function printHandler(h: Handler): string {
  const body = h.insn.body.map((s) => printStmt(s, h)).join('\n      ');
  const last = h.insn.body[h.insn.body.length - 1];
  const falls = last.s !== 'jump' && last.s !== 'jumpReg';
  const fp = printFp(h.insn);
  return `    case ${h.id}: { // ${h.insn.name}${h.length === 2 ? ' (c)' : ''}${h.local ? ' (in page)' : ''}
      ${fp ? fp + '\n      ' : ''}${body}
      ${falls ? `ip += ${h.length * 8}; continue;` : ''}
    }`;
}

/** Engine functions that meanings call, and where they live. */
function imports(): string {
  const calls = new Set<string>();
  const systems = new Set<string>();
  const visit = (e: Expr): void => {
    if (e.k === 'call') calls.add(e.fn);
    if (e.k === 'op' || e.k === 'call') e.a.forEach(visit);
    if (e.k === 'select' || e.k === 'if') [e.cond, e.a, e.b].forEach(visit);
  };
  for (const { insn } of HANDLERS) {
    for (const s of insn.body) {
      if (s.s === 'system') systems.add(s.fn);
      if (s.s === 'let' || s.s === 'set') visit(s.e);
    }
  }
  const alu = [...calls].filter((c) => /^(mulh|clmul|orcB|rev8)/.test(c));
  const fpu = [...calls].filter((c) => !alu.includes(c));
  return `import { ${alu.join(', ')} } from '../alu.as';
import { ${fpu.join(', ')}, fpFlags, setFpFlags } from '../fpu/index.as';
import { ${[...systems].join(', ')} } from '../exec.as';`;
}

export function printInterpreter(): string {
  return `// Made by core/cpu/gen/interp.ts from the instruction table. Do not edit.
import {
  H_DTLB, H_FFLAGS, H_FRM, H_INSTRET, H_ITLB, H_MSTATUS, H_NEXT_PC, H_PC, H_POLL, H_RES_ADDR, H_RES_VALUE, H_SCRATCH,
} from '../../worker/layout';
import { cachedPage, decodeAlone, decodeSlot, decodeStraddling, fetchPage } from '../code.as';
import { enableFp } from '../fp-state.as';
import { atomicAddress, dataContext, fetchContext, fetchIsPartial, loadSlow, storeSlow } from '../mmu.as';
import {
  ACCESS_LOAD, ACCESS_STORE, CAUSE_ILLEGAL, fault, MS_FS, raise, SYS_FAULT, SYS_LEAVE, SYS_NEXT, SYS_PC, SYS_REFRESH,
} from '../state.as';
import { H_JIT_THRESHOLD, PAGE_HEAT, PAGE_JIT } from '../jit/abi';
import { requestRegion } from '../jit/request.as';
import { declined, enterRegion } from '../jit/runtime.as';
import { noteTarget } from '../jit/targets.as';
import { takeFault, takeInterrupt } from '../trap.as';
${imports()}

const WHY_FAULT = 0;
const WHY_POLL = 1;
/** A loop's head has become hot. */
const WHY_HOT = 2;
const WHY_RETURN = 3;
const WHY_JUMP = 4;
const WHY_SYSTEM = 5;

/** Scratch slots of instructions in pages that may be executed only in part. */
const ALONE: usize = 128;

/** Why the interpreter returned: it was asked to (H_POLL), or the hart leaves guest code (wfi, stopped, machine exit). */
export const LEFT_POLL = 0;
export const LEFT_WAIT = 1;

/** One instruction is to be run: it is before us, or it has been run. H_POLL is set meanwhile. */
const STEP_BEFORE = 1;
const STEP_BEHIND = 2;

/**
 * Runs a hart from H_PC until it is polled or leaves guest code; with \`step\` = 1 and H_POLL set, until one instruction has
 * been executed, or has trapped. All state is in the hart block when it returns.
 */
export function interpret(block: usize, step: i32): i32 {
  let ip: usize = 0;
  let base: usize = 0;
  let pageVa: u64 = 1;
  let target: u64 = load<u64>(block + H_PC);
  let count: u64 = load<u64>(block + H_INSTRET);
  let dc: u64 = dataContext;
  let why: i32 = WHY_JUMP;
  setFpFlags(load<i32>(block + H_FFLAGS));
  for (;;) {
    // Leaving straight-line code: what comes next?
    for (;;) {
      if (why == WHY_FAULT) {
        count--;
        store<u64>(block + H_INSTRET, count);
        takeFault(block, ${PC});
        target = load<u64>(block + H_PC);
        dc = dataContext;
        pageVa = 1;
      } else if (why == WHY_POLL) {
        store<u64>(block + H_PC, ${PC});
        break;
      } else if (why == WHY_SYSTEM + SYS_FAULT) {
        // ecall and ebreak do not retire either (privileged manual 3.3.1).
        why = WHY_FAULT;
        continue;
      } else if (why > WHY_JUMP) {
        if (why != WHY_SYSTEM + SYS_PC && why != WHY_SYSTEM + SYS_LEAVE) store<u64>(block + H_PC, load<u64>(block + H_NEXT_PC));
        if (why == WHY_SYSTEM + SYS_LEAVE) break;
        takeInterrupt(block);
        target = load<u64>(block + H_PC);
        dc = dataContext;
        pageVa = 1;
      } else if (why == WHY_HOT) {
        target = ${PC};
        requestRegion(block, base, target);
        // It has been counted.
        why = WHY_RETURN;
      }
      // On every way in: a guest may go from trap to trap and never take a branch.
      if (load<i32>(block + H_POLL) != 0) {
        if (step != STEP_BEFORE) {
          store<u64>(block + H_PC, target);
          break;
        }
        step = STEP_BEHIND;
        store<u64>(block + H_ITLB + (<usize>(target >> 8) & 0x3ff0), 0);
      }
      // Enter \`target\`.
      const va = target & ~(<u64>4095);
      if (va != pageVa) {
        const entry = block + H_ITLB + (<usize>(target >> 8) & 0x3ff0);
        if (load<u64>(entry) == (va | fetchContext)) base = load<u32>(entry, 8);
        else {
          base = fetchPage(block, target);
          const alone = base != 0 && (fetchIsPartial || step == STEP_BEHIND);
          if (alone && !decodeAlone(block, block + H_SCRATCH + ALONE, target, base)) base = 0;
          if (base == 0) {
            takeFault(block, target);
            target = load<u64>(block + H_PC);
            dc = dataContext;
            pageVa = 1;
            why = WHY_JUMP;
            continue;
          }
          if (alone) {
            // As if in a page of its own that begins one byte before it: no target is ever in that page.
            pageVa = target - 1;
            ip = block + H_SCRATCH + ALONE;
            base = ip - 8;
            why = -1;
            break;
          }
        }
        pageVa = va;
      }
      const offset = <usize>(target & 4095);
      ip = base + (offset << 3);
      if (why != WHY_RETURN) {
        const n = <u32>load<u16>(base + offset, PAGE_HEAT) + 1;
        store<u16>(base + offset, <u16>n, PAGE_HEAT);
        if (n == load<u32>(block + H_JIT_THRESHOLD)) {
          requestRegion(block, base, target);
          // What was asked for may be there already. It has been counted.
          why = WHY_RETURN;
          continue;
        }
      }
      why = -1;
      break;
    }
    if (why >= 0) break;

    for (;;) {
    count++;
    switch (load<u16>(ip)) {
    case ${SPECIAL.DECODE}: { count--; decodeSlot(block, ip, base); continue; }
    default:
    case ${SPECIAL.ILLEGAL}: { raise(block, CAUSE_ILLEGAL, load<u32>(ip, 12)); why = WHY_FAULT; break; }
    case ${SPECIAL.PAGE_END}: { count--; target = ${PC}; why = WHY_JUMP; break; }
    case ${SPECIAL.JIT}: {
      count--;
      const pc = ${PC};
      target = enterRegion(block, pc, load<u32>(base + (<usize>(pc & 4095) << 1), PAGE_JIT) >> 16, count);
      // It may have changed anything: contexts, and what the page at \`base\` is used for.
      dc = dataContext;
      const before = count;
      count = load<u64>(block + H_INSTRET);
      why = WHY_JUMP;
      if (target & 1) {
        takeFault(block, target & ~(<u64>1));
        target = load<u64>(block + H_PC);
        dc = dataContext;
      } else if (target == pc && count == before && declined(block, pc)) {
        // Here, as if in a page of its own; see below.
        base = cachedPage(block, pc);
        if (!decodeAlone(block, block + H_SCRATCH + ALONE, pc, base)) {
          takeFault(block, pc);
          target = load<u64>(block + H_PC);
          dc = dataContext;
        } else {
          pageVa = pc - 1;
          ip = block + H_SCRATCH + ALONE;
          base = ip - 8;
          continue;
        }
      }
      pageVa = 1;
      break;
    }
    case ${SPECIAL.STRADDLE}: {
      // The scratch slots stand for no page: pageVa becomes the instruction's own address, which no page has.
      count--;
      const pc = ${PC};
      if (!decodeStraddling(block, block + H_SCRATCH, pc, base)) { count++; why = WHY_FAULT; break; }
      pageVa = pc; base = block + H_SCRATCH; ip = base;
      continue;
    }
${HANDLERS.map(printHandler).join('\n')}
    }
    break;
    }
  }
  store<u64>(block + H_INSTRET, count);
  store<i32>(block + H_FFLAGS, fpFlags);
  return why == WHY_SYSTEM + SYS_LEAVE ? LEFT_WAIT : LEFT_POLL;
}
`;
}
