/**
 * The built-in SBI (RISC-V Supervisor Binary Interface 2.0, with FWFT of 3.0): what an ecall from S-mode does when no
 * M-mode firmware runs. A hart serves its own calls; what a call does to other harts goes through their shared words.
 */
import {
  CONTROL_BASE, CTL_EXIT, CTL_EXIT_CODE, CTL_HARTS, CTL_RAM_SIZE,
  EXIT_FAIL, EXIT_NONE, EXIT_POWEROFF, EXIT_RESET, FENCE_I, FENCE_VMA, RAM_OFFSET, RING_TAIL,
  H_HSM, H_HSM_ADDR, H_HSM_ARG, H_IRQ, H_MEDELEG, H_MENVCFG, H_MIP, H_X,
} from '../worker/layout';
import { RAM_PHYS } from '../machine/virt-map';
import { callControl, hartBlock, kickHart, lowerLines, raiseLines } from '../cpu/hart.as';
import { setStimecmp } from '../cpu/clock.as';
import { remoteFence } from '../cpu/fence.as';
import { ENV_ADUE, fault } from '../cpu/state.as';
import { loadSlow } from '../cpu/mmu.as';
import { outRing } from '../chardev/ring.as';
import { uartPutByte, uartPutBytes, uartTakeByte } from '../devices/uart16550.as';
import { lock, unlock } from '../memory/lock.as';
import {
  HSM_START_PENDING, HSM_STOPPED, HSM_SUSPENDED, perHart, P_FWFT_LOCKED, P_NON_RETENTIVE, SBI_LOCK,
} from './sbi-hart.as';

// ---- what sbiCall returns -------------------------------------------------------------------------------------

/** Go on after the ecall. */
export const SBI_CONTINUE = 0;
/** The hart has stopped or suspended itself (H_HSM): wait, then sbiWake, then go on at H_PC. */
export const SBI_STOP = 1;
/** The machine ends (CTL_EXIT); the hart is stopped and need only wait. */
export const SBI_EXIT = 2;
/** A blocking console call could not proceed: execute the same ecall again (after looking at CTL_RUN and interrupts). */
export const SBI_RETRY = 3;
/** A legacy call's hart mask could not be read: take the exception in state.as's `fault`, sepc at the ecall. */
export const SBI_FAULT = 4;

// ---- the SBI specification's numbers --------------------------------------------------------------------------

const SUCCESS: i64 = 0;
const ERR_NOT_SUPPORTED: i64 = -2;
const ERR_INVALID_PARAM: i64 = -3;
const ERR_DENIED: i64 = -4;
const ERR_INVALID_ADDRESS: i64 = -5;
const ERR_ALREADY_AVAILABLE: i64 = -6;
const ERR_DENIED_LOCKED: i64 = -14;

const EID_LEGACY_SET_TIMER: u64 = 0;
const EID_LEGACY_PUTCHAR: u64 = 1;
const EID_LEGACY_GETCHAR: u64 = 2;
const EID_LEGACY_CLEAR_IPI: u64 = 3;
const EID_LEGACY_SEND_IPI: u64 = 4;
const EID_LEGACY_FENCE_I: u64 = 5;
const EID_LEGACY_SFENCE: u64 = 6;
const EID_LEGACY_SFENCE_ASID: u64 = 7;
const EID_LEGACY_SHUTDOWN: u64 = 8;
const EID_BASE: u64 = 0x10;
const EID_TIME: u64 = 0x54494d45;
const EID_IPI: u64 = 0x735049;
const EID_RFENCE: u64 = 0x52464e43;
const EID_HSM: u64 = 0x48534d;
const EID_SRST: u64 = 0x53525354;
const EID_DBCN: u64 = 0x4442434e;
const EID_FWFT: u64 = 0x46574654;

const SPEC_VERSION: u64 = 0x2000000;
/** "RSDE"; ours alone, no number is registered for it. */
const IMPLEMENTATION_ID: u64 = 0x52534445;
const IMPLEMENTATION_VERSION: u64 = 1;

const SUSPEND_RETENTIVE: u32 = 0;
const SUSPEND_NON_RETENTIVE: u32 = 0x80000000;

const RESET_SHUTDOWN: u32 = 0;
const RESET_WARM_REBOOT: u32 = 2;
const REASON_SYSTEM_FAILURE: u32 = 1;

const FWFT_MISALIGNED_EXC_DELEG: u32 = 0;
const FWFT_PTE_AD_HW_UPDATING: u32 = 4;
const FWFT_LAST_DEFINED: u32 = 5;
const FWFT_LOCK: u64 = 1;
/** medeleg bits of load and store address misaligned. */
const MISALIGNED_CAUSES: u64 = (1 << 4) | (1 << 6);

const ALL_HARTS: u64 = u64.MAX_VALUE;
const SSIP = 1 << 1;

/** How long a blocking console call sleeps for the host before it lets the hart look around. */
const CONSOLE_NAP_NS: i64 = 1000000;

// @ts-ignore: decorator
@inline
function argument(block: usize, n: i32): u64 {
  return load<u64>(block + H_X + ((10 + <usize>n) << 3));
}

// @ts-ignore: decorator
@inline
function setA0(block: usize, value: u64): void {
  store<u64>(block + H_X + 80, value);
}

function answer(block: usize, error: i64, value: u64): i32 {
  setA0(block, error);
  store<u64>(block + H_X + 88, value);
  return SBI_CONTINUE;
}

// @ts-ignore: decorator
@inline
function fail(block: usize, error: i64): i32 {
  return answer(block, error, 0);
}

function hartCount(): i32 {
  return load<i32>(CONTROL_BASE + CTL_HARTS);
}

/** Linear address of guest memory [pa, pa + size), 0 if it is not all RAM. */
function ram(pa: u64, size: u64): usize {
  const offset = pa - RAM_PHYS;
  const total = load<u64>(CONTROL_BASE + CTL_RAM_SIZE);
  return offset < total && size <= total - offset ? <usize>RAM_OFFSET + <usize>offset : 0;
}

// ---- hart masks -----------------------------------------------------------------------------------------------

function allHarts(): u64 {
  return ((<u64>1) << hartCount()) - 1;
}

/** Bits by hart id from (hart_mask, hart_mask_base); 0 with `badMask` set if it names a hart that is not there. */
let badMask: bool = false;
function hartMask(mask: u64, base: u64): u64 {
  badMask = false;
  if (base == ALL_HARTS) return allHarts();
  if (mask == 0) return 0;
  const harts: u64 = base < 64 ? mask << base : 0;
  badMask = harts >> (base & 63) != mask || base >= 64 || (harts & ~allHarts()) != 0;
  return badMask ? 0 : harts;
}

/** A legacy hart mask: virtual address of the bits (up to 64 harts: one word), null for all. May set `fault`. */
function legacyMask(block: usize, address: u64): u64 {
  if (address == 0) return allHarts();
  return loadSlow(block, address, 8) & allHarts();
}

// ---- IPI, remote fences ---------------------------------------------------------------------------------------

/**
 * Software interrupts are sent as bit 1 (SSIP) of the targets' H_IRQ, an atomic word: the target merges it into
 * mip.SSIP, moving it to H_MIP, which is its own.
 */
function sendIpi(harts: u64): void {
  for (; harts != 0; harts &= harts - 1) raiseLines(hartBlock(<i32>ctz<u64>(harts)), SSIP);
}

function ipiCall(block: usize, fid: u64): i32 {
  if (fid != 0) return fail(block, ERR_NOT_SUPPORTED);
  const harts = hartMask(argument(block, 0), argument(block, 1));
  if (badMask) return fail(block, ERR_INVALID_PARAM);
  sendIpi(harts);
  return answer(block, SUCCESS, 0);
}

/** Ranges and ASIDs are not looked at: a whole flush serves them all. hfence (3..6) needs the H extension. */
function rfenceCall(block: usize, fid: u64): i32 {
  if (fid > 2) return fail(block, ERR_NOT_SUPPORTED);
  const harts = hartMask(argument(block, 0), argument(block, 1));
  if (badMask) return fail(block, ERR_INVALID_PARAM);
  remoteFence(block, harts, fid == 0 ? FENCE_I : FENCE_VMA);
  return answer(block, SUCCESS, 0);
}

// ---- timer ----------------------------------------------------------------------------------------------------

/** set_timer clears a pending interrupt unless the time has come already; under Sstc that is what writing stimecmp does. */
function setTimer(block: usize, time: u64): void {
  setStimecmp(block, time);
}

// ---- hart state management ------------------------------------------------------------------------------------

function hartStart(block: usize, id: u64, address: u64, opaque: u64): i64 {
  if (id >= <u64>hartCount()) return ERR_INVALID_PARAM;
  if (ram(address, 2) == 0 || (address & 1) != 0) return ERR_INVALID_ADDRESS;
  const target = hartBlock(<i32>id);
  lock(SBI_LOCK);
  const stopped = atomic.load<i32>(target + H_HSM) == HSM_STOPPED;
  if (stopped) {
    store<u64>(target + H_HSM_ADDR, address);
    store<u64>(target + H_HSM_ARG, opaque);
    atomic.store<i32>(target + H_HSM, HSM_START_PENDING);
  }
  unlock(SBI_LOCK);
  if (!stopped) return ERR_ALREADY_AVAILABLE;
  kickHart(target);
  return SUCCESS;
}

function hartSuspend(block: usize, type: u32, address: u64, opaque: u64): i32 {
  if (type != SUSPEND_RETENTIVE && type != SUSPEND_NON_RETENTIVE) return fail(block, ERR_INVALID_PARAM);
  if (type == SUSPEND_NON_RETENTIVE) {
    if (ram(address, 2) == 0 || (address & 1) != 0) return fail(block, ERR_INVALID_ADDRESS);
    store<u64>(block + H_HSM_ADDR, address);
    store<u64>(block + H_HSM_ARG, opaque);
  }
  store<i32>(perHart(block) + P_NON_RETENTIVE, type == SUSPEND_NON_RETENTIVE ? 1 : 0);
  answer(block, SUCCESS, 0);
  atomic.store<i32>(block + H_HSM, HSM_SUSPENDED);
  return SBI_STOP;
}

function hsmCall(block: usize, fid: u64): i32 {
  if (fid == 0) return fail(block, hartStart(block, argument(block, 0), argument(block, 1), argument(block, 2)));
  if (fid == 1) {
    atomic.store<i32>(block + H_HSM, HSM_STOPPED);
    return SBI_STOP;
  }
  if (fid == 2) {
    const id = argument(block, 0);
    if (id >= <u64>hartCount()) return fail(block, ERR_INVALID_PARAM);
    return answer(block, SUCCESS, atomic.load<i32>(hartBlock(<i32>id) + H_HSM));
  }
  if (fid == 3) return hartSuspend(block, <u32>argument(block, 0), argument(block, 1), argument(block, 2));
  return fail(block, ERR_NOT_SUPPORTED);
}

// ---- system reset ---------------------------------------------------------------------------------------------

function exitMachine(block: usize, kind: i32, code: i32): i32 {
  lock(SBI_LOCK);
  // The code is in place before the kind can be seen; the first caller's stays.
  if (atomic.load<i32>(CONTROL_BASE + CTL_EXIT) == EXIT_NONE) {
    store<i32>(CONTROL_BASE + CTL_EXIT_CODE, code);
    atomic.cmpxchg<i32>(CONTROL_BASE + CTL_EXIT, EXIT_NONE, kind);
  }
  unlock(SBI_LOCK);
  // The call does not return: until the control thread has stopped the machine, this hart stands still.
  atomic.store<i32>(block + H_HSM, HSM_STOPPED);
  callControl();
  return SBI_EXIT;
}

function resetCall(block: usize, fid: u64): i32 {
  if (fid != 0) return fail(block, ERR_NOT_SUPPORTED);
  const type = <u32>argument(block, 0);
  const reason = <u32>argument(block, 1);
  if (type > RESET_WARM_REBOOT || reason > REASON_SYSTEM_FAILURE) return fail(block, ERR_INVALID_PARAM);
  if (type != RESET_SHUTDOWN) return exitMachine(block, EXIT_RESET, reason);
  return exitMachine(block, reason == REASON_SYSTEM_FAILURE ? EXIT_FAIL : EXIT_POWEROFF, reason);
}

// ---- console --------------------------------------------------------------------------------------------------

/** Sleeps until the host has read from the console, or for a moment. */
function consoleNap(): void {
  const tail = outRing(0) + RING_TAIL;
  atomic.wait<i32>(tail, atomic.load<i32>(tail), CONSOLE_NAP_NS);
}

function consoleCall(block: usize, fid: u64): i32 {
  if (fid == 2) {
    if (uartPutByte(<u32>argument(block, 0) & 0xff)) return answer(block, SUCCESS, 0);
    consoleNap();
    return SBI_RETRY;
  }
  if (fid > 2) return fail(block, ERR_NOT_SUPPORTED);
  const count = argument(block, 0);
  const at = ram(argument(block, 1), count);
  if (argument(block, 2) != 0 || at == 0) return fail(block, ERR_INVALID_PARAM);
  // RAM is smaller than 4 GiB, and so is count.
  let done: u32 = 0;
  if (fid == 0) {
    done = uartPutBytes(at, <u32>count);
    // The caller will try again at once: let the host get on first.
    if (done == 0 && count != 0) consoleNap();
  } else {
    for (; done < <u32>count; done++) {
      const byte = uartTakeByte();
      if (byte < 0) break;
      store<u8>(at + done, <u8>byte);
    }
  }
  return answer(block, SUCCESS, done);
}

// ---- base, firmware features ----------------------------------------------------------------------------------

function supported(eid: u64): bool {
  return (
    eid <= EID_LEGACY_SHUTDOWN || eid == EID_BASE || eid == EID_TIME || eid == EID_IPI || eid == EID_RFENCE ||
    eid == EID_HSM || eid == EID_SRST || eid == EID_DBCN || eid == EID_FWFT
  );
}

function baseCall(block: usize, fid: u64): i32 {
  if (fid == 0) return answer(block, SUCCESS, SPEC_VERSION);
  if (fid == 1) return answer(block, SUCCESS, IMPLEMENTATION_ID);
  if (fid == 2) return answer(block, SUCCESS, IMPLEMENTATION_VERSION);
  if (fid == 3) return answer(block, SUCCESS, supported(argument(block, 0)) ? 1 : 0);
  // mvendorid, marchid, mimpid: as the CSRs, 0.
  if (fid <= 6) return answer(block, SUCCESS, 0);
  return fail(block, ERR_NOT_SUPPORTED);
}

function featureError(feature: u32): i64 {
  if (feature == FWFT_MISALIGNED_EXC_DELEG || feature == FWFT_PTE_AD_HW_UPDATING) return SUCCESS;
  return feature <= FWFT_LAST_DEFINED ? ERR_NOT_SUPPORTED : ERR_DENIED;
}

function featureGet(block: usize, feature: u32): u64 {
  if (feature == FWFT_PTE_AD_HW_UPDATING) return (load<u64>(block + H_MENVCFG) & ENV_ADUE) != 0 ? 1 : 0;
  return (load<u64>(block + H_MEDELEG) & MISALIGNED_CAUSES) != 0 ? 1 : 0;
}

function featureSet(block: usize, feature: u32, value: u64, flags: u64): i64 {
  const error = featureError(feature);
  if (error != SUCCESS) return error;
  if (value > 1 || (flags & ~FWFT_LOCK) != 0) return ERR_INVALID_PARAM;
  const locked = perHart(block) + P_FWFT_LOCKED;
  if (value != featureGet(block, feature)) {
    if ((load<i32>(locked) & (1 << feature)) != 0) return ERR_DENIED_LOCKED;
    // Harts access misaligned memory themselves, so nobody would serve the exceptions that devices raise.
    if (feature == FWFT_MISALIGNED_EXC_DELEG) return ERR_DENIED;
    const others = load<u64>(block + H_MENVCFG) & ~ENV_ADUE;
    atomic.store<u64>(block + H_MENVCFG, value != 0 ? others | ENV_ADUE : others);
  }
  if ((flags & FWFT_LOCK) != 0) store<i32>(locked, load<i32>(locked) | (1 << feature));
  return SUCCESS;
}

function featureCall(block: usize, fid: u64): i32 {
  const feature = <u32>argument(block, 0);
  if (fid == 0) return fail(block, featureSet(block, feature, argument(block, 1), argument(block, 2)));
  if (fid != 1) return fail(block, ERR_NOT_SUPPORTED);
  const error = featureError(feature);
  return error != SUCCESS ? fail(block, error) : answer(block, SUCCESS, featureGet(block, feature));
}

// ---- legacy extensions (SBI 0.1): a1 is preserved, a0 is the whole answer -------------------------------------

function legacyCall(block: usize, eid: u64): i32 {
  if (eid == EID_LEGACY_SHUTDOWN) return exitMachine(block, EXIT_POWEROFF, 0);
  let result: i64 = 0;
  if (eid == EID_LEGACY_SET_TIMER) {
    setTimer(block, argument(block, 0));
  } else if (eid == EID_LEGACY_PUTCHAR) {
    if (!uartPutByte(<u32>argument(block, 0) & 0xff)) {
      consoleNap();
      return SBI_RETRY;
    }
  } else if (eid == EID_LEGACY_GETCHAR) {
    result = uartTakeByte();
  } else if (eid == EID_LEGACY_CLEAR_IPI) {
    const pending = (load<u64>(block + H_MIP) | <u64>atomic.load<u32>(block + H_IRQ)) & SSIP;
    lowerLines(block, SSIP);
    store<u64>(block + H_MIP, load<u64>(block + H_MIP) & ~(<u64>SSIP));
    result = pending != 0 ? 1 : 0;
  } else {
    const harts = legacyMask(block, argument(block, 0));
    if (fault != 0) return SBI_FAULT;
    if (eid == EID_LEGACY_SEND_IPI) sendIpi(harts);
    else remoteFence(block, harts, eid == EID_LEGACY_FENCE_I ? FENCE_I : FENCE_VMA);
  }
  setA0(block, result);
  return SBI_CONTINUE;
}

/**
 * Serves an ecall from S-mode: a7 the extension, a6 the function, a0.. the arguments, all from H_X; answers in a0, a1.
 * Returns SBI_*. Before it runs guest code again the hart must take in what may have changed: H_REMOTE_FENCE, H_IRQ,
 * H_MENVCFG.
 */
export function sbiCall(block: usize): i32 {
  const eid = argument(block, 7);
  const fid = argument(block, 6);
  if (eid == EID_TIME) {
    if (fid != 0) return fail(block, ERR_NOT_SUPPORTED);
    setTimer(block, argument(block, 0));
    return answer(block, SUCCESS, 0);
  }
  if (eid == EID_IPI) return ipiCall(block, fid);
  if (eid == EID_RFENCE) return rfenceCall(block, fid);
  if (eid == EID_HSM) return hsmCall(block, fid);
  if (eid == EID_DBCN) return consoleCall(block, fid);
  if (eid <= EID_LEGACY_SHUTDOWN) return legacyCall(block, eid);
  if (eid == EID_BASE) return baseCall(block, fid);
  if (eid == EID_SRST) return resetCall(block, fid);
  if (eid == EID_FWFT) return featureCall(block, fid);
  return fail(block, ERR_NOT_SUPPORTED);
}
