/** What the interpreter does to enter regions, and what regions call back (core/cpu/gen/jit-helpers.ts has the list). */
import { H_FRM, H_INSTRET, H_POLL } from '../../worker/layout';
import { cachedPage, fetchPage } from '../code.as';
import { execCbo, execCsr, execFence, execSfenceInval } from '../exec.as';
import { FLAG_NX, fpFlags } from '../fpu/state.as';
import { fetchContext, fetchIsPartial, loadSlow, storeSlow } from '../mmu.as';
import { clearFault, fault, SYS_FAULT } from '../state.as';
import { nextInterrupt } from '../trap.as';
import {
  H_FP_LIMIT, H_JIT_FAULT, H_STAT_JIT_DECLINED, H_STAT_JIT_ENTRIES, H_STAT_JIT_RETIRED, PAGE_HEAT, PAGE_VERSION,
} from './abi';
import { jitDetach } from './attach.as';

/** What a declined entry adds to its slot's heat. When the heat runs over, the region goes. */
const DECLINED_HEAT = 64;

/** Function 0 of the table: the region of code that has none. */
export function jitMiss(block: i32, pc: i64, depth: i32): i64 {
  return pc;
}

/** Runs region `fn`, whose entry is at `pc`. */
export function enterRegion(block: usize, pc: u64, fn: u32, count: u64): u64 {
  store<u64>(block + H_INSTRET, count);
  store<u64>(block + H_STAT_JIT_ENTRIES, load<u64>(block + H_STAT_JIT_ENTRIES) + 1);
  jitFpLimit(<i32>block);
  const target = <u64>call_indirect<i64>(fn, <i32>block, <i64>pc, 0);
  const retired = load<u64>(block + H_INSTRET) - count;
  store<u64>(block + H_STAT_JIT_RETIRED, load<u64>(block + H_STAT_JIT_RETIRED) + retired);
  if (target & 1) store<i32>(block + H_JIT_FAULT, 0);
  return target;
}

/**
 * The region at `pc` has retired nothing. One that keeps doing so (a page beside its own has other contents now) is taken out.
 * @returns whether the instruction at `pc` is to be interpreted; false: enter `pc` anew
 */
export function declined(block: usize, pc: u64): bool {
  store<u64>(block + H_STAT_JIT_DECLINED, load<u64>(block + H_STAT_JIT_DECLINED) + 1);
  const page = cachedPage(block, pc);
  // What it fetched may have taken its own page's place.
  if (page == 0) return false;
  const offset = <usize>(pc & 4095);
  if (load<i32>(block + H_POLL) == 0) {
    const heat = <u32>load<u16>(page + offset, PAGE_HEAT) + DECLINED_HEAT;
    store<u16>(page + offset, <u16>heat, PAGE_HEAT);
    if (heat > 0xffff) {
      jitDetach(page, offset);
      return false;
    }
  }
  return true;
}

function noteFault(block: i32): void {
  if (fault) store<i32>(block, 1, H_JIT_FAULT);
}

/** A load that misses the TLB, zero-extended. */
export function jitLoad(block: i32, va: i64, size: i32): i64 {
  const value = loadSlow(block, <u64>va, size);
  noteFault(block);
  return <i64>value;
}

/** A store that misses the TLB. */
export function jitStore(block: i32, va: i64, size: i32, value: i64): void {
  storeSlow(block, <u64>va, size, <u64>value);
  noteFault(block);
}

const OPCODE_MISC_MEM: u32 = 0x0f;

/** Go on after the instruction; leave the region and go on after it; an exception is pending. */
const SYSTEM_NEXT = 0;
const SYSTEM_LEAVE = 1;
const SYSTEM_FAULT = 2;

/**
 * A CSR instruction, a fence, sfence.w.inval and sfence.inval.ir, or a cache-block operation. H_INSTRET must count all that
 * retired before it and, as in the interpreter, the instruction itself; a counter that is read takes it off.
 */
export function jitSystem(block: i32, insn: i32, pc: i64): i32 {
  const word = <u32>insn;
  const f3 = (word >> 12) & 7;
  const context = fetchContext;
  let result: i32;
  if ((word & 0x7f) == OPCODE_MISC_MEM) result = f3 == 0 ? execFence(block, word, <u64>pc) : execCbo(block, word, <u64>pc);
  else result = f3 == 0 ? execSfenceInval(block, word, <u64>pc) : execCsr(block, word, <u64>pc);
  if (result == SYS_FAULT) {
    noteFault(block);
    return SYSTEM_FAULT;
  }
  jitFpLimit(block);
  if (nextInterrupt(block) >= 0) {
    // The dispatcher has it taken.
    store<i32>(block, 1, H_POLL);
    return SYSTEM_LEAVE;
  }
  return fetchContext == context ? SYSTEM_NEXT : SYSTEM_LEAVE;
}

/** Whether the page of `va` can be fetched now and has the contents whose version is at `guard`. */
export function jitGuard(block: i32, va: i64, guard: i32): i32 {
  let page = cachedPage(block, <u64>va);
  if (page == 0) {
    page = fetchPage(block, <u64>va);
    if (page == 0) {
      clearFault();
      return 0;
    }
    if (fetchIsPartial) return 0;
  }
  return i32(load<u32>(page, PAGE_VERSION) == load<u32>(guard));
}

/** Tells regions whether native arithmetic will do (H_FP_LIMIT). */
export function jitFpLimit(block: i32): void {
  const native = (load<i32>(block, H_FRM) | (~fpFlags & FLAG_NX)) == 0;
  store<f64>(block, native ? Infinity : -1, H_FP_LIMIT);
}
