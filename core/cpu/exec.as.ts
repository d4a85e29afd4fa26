/** System instructions: fn(block, insn, pc) -> SYS_*. Named in the instruction table. */
import {
  CONTROL_BASE, CTL_FIRMWARE, FIRMWARE_SBI, H_BARRIER, H_MENVCFG, H_MEPC, H_MSTATUS, H_PC, H_PRIV, H_SENVCFG, H_SEPC, H_STAT_WFI,
} from '../worker/layout';
import { SBI_CONTINUE, SBI_FAULT, SBI_RETRY, sbiCall } from '../firmware/sbi.as';
import { newEpoch, staleEpoch } from './code.as';
import { csrIllegal, csrRead, csrRefresh, csrWrite, setTouched } from './csr.as';
import { blockAddress, flushPage, flushSpaces, refreshContexts } from './mmu.as';
import {
  ACCESS_LOAD, ACCESS_STORE, CAUSE_BREAKPOINT, CAUSE_ECALL_U, CAUSE_ILLEGAL, CAUSE_STORE_ACCESS, ENV_CBCFE, ENV_CBIE, ENV_CBZE, fault, MS_MIE,
  MS_MPIE, MS_MPP, MS_MPP_SHIFT, MS_MPRV, MS_SIE, MS_SPIE, MS_SPP, MS_TSR, MS_TVM, MS_TW, PRIV_M, PRIV_S, PRIV_U, raise, SYS_FAULT,
  SYS_LEAVE, SYS_NEXT, SYS_PC, SYS_REFRESH,
} from './state.as';

function illegal(block: usize, insn: u32): i32 {
  raise(block, CAUSE_ILLEGAL, insn);
  return SYS_FAULT;
}

export function execCsr(block: usize, insn: u32, pc: u64): i32 {
  const csr = <i32>(insn >> 20);
  const rd = (insn >> 7) & 31;
  const field = (insn >> 15) & 31;
  const f3 = (insn >> 12) & 7;
  const source: u64 = f3 & 4 ? field : load<u64>(block + (<usize>field << 3));
  const kind = f3 & 3;
  const writes = kind == 1 || field != 0;
  // csrrw with rd = x0 does not read; no CSR here has a side effect of reading, so reading it all the same is the check.
  const old = csrRead(block, csr);
  if (csrIllegal) return illegal(block, insn);
  if (writes) {
    setTouched(kind == 1 ? ~0 : source);
    csrWrite(block, csr, kind == 1 ? source : kind == 2 ? old | source : old & ~source);
    if (csrIllegal) return illegal(block, insn);
  }
  if (rd != 0) store<u64>(block + (<usize>rd << 3), old);
  if (!writes || !csrRefresh) return SYS_NEXT;
  refreshContexts(block);
  return SYS_REFRESH;
}

/**
 * A full barrier. A read-modify-write of a word nobody else touches orders everything around it, and V8 charges a sixth
 * of what it charges for atomic.fence (3.9 against 25 ns).
 */
// @ts-ignore: decorator
@inline
function barrier(block: usize): void {
  atomic.add<i32>(block + H_BARRIER, 1);
}

export function execFence(block: usize, insn: u32, pc: u64): i32 {
  // pause is a fence with an empty successor set (Zihintpause).
  if ((insn >> 20) & 15) barrier(block);
  return SYS_NEXT;
}

export function execFenceI(block: usize, insn: u32, pc: u64): i32 {
  barrier(block);
  newEpoch(block);
  return SYS_REFRESH;
}

export function execEcall(block: usize, insn: u32, pc: u64): i32 {
  const priv = load<i32>(block + H_PRIV);
  if (priv == PRIV_S && load<i32>(CONTROL_BASE + CTL_FIRMWARE) == FIRMWARE_SBI) {
    store<u64>(block + H_PC, pc + 4);
    switch (sbiCall(block)) {
      case SBI_CONTINUE: return SYS_REFRESH;
      case SBI_FAULT: return SYS_FAULT;
      case SBI_RETRY:
        // The call could not be served yet (the console is full): it is made again.
        store<u64>(block + H_PC, pc);
        return SYS_PC;
      default: return SYS_LEAVE;
    }
  }
  raise(block, CAUSE_ECALL_U + priv, 0);
  return SYS_FAULT;
}

export function execEbreak(block: usize, insn: u32, pc: u64): i32 {
  raise(block, CAUSE_BREAKPOINT, pc);
  return SYS_FAULT;
}

export function execSret(block: usize, insn: u32, pc: u64): i32 {
  const priv = load<i32>(block + H_PRIV);
  let mstatus = load<u64>(block + H_MSTATUS);
  if (priv < PRIV_S || (priv == PRIV_S && mstatus & MS_TSR)) return illegal(block, insn);
  store<i32>(block + H_PRIV, mstatus & MS_SPP ? PRIV_S : PRIV_U);
  mstatus = (mstatus & ~(MS_SIE | MS_SPP | MS_MPRV)) | (mstatus & MS_SPIE ? MS_SIE : 0) | MS_SPIE;
  store<u64>(block + H_MSTATUS, mstatus);
  store<u64>(block + H_PC, load<u64>(block + H_SEPC));
  refreshContexts(block);
  return SYS_PC;
}

export function execMret(block: usize, insn: u32, pc: u64): i32 {
  if (load<i32>(block + H_PRIV) != PRIV_M) return illegal(block, insn);
  let mstatus = load<u64>(block + H_MSTATUS);
  const target = <i32>((mstatus >> MS_MPP_SHIFT) & 3);
  store<i32>(block + H_PRIV, target);
  mstatus = (mstatus & ~(MS_MIE | MS_MPP)) | (mstatus & MS_MPIE ? MS_MIE : 0) | MS_MPIE;
  if (target != PRIV_M) mstatus &= ~MS_MPRV;
  store<u64>(block + H_MSTATUS, mstatus);
  store<u64>(block + H_PC, load<u64>(block + H_MEPC));
  refreshContexts(block);
  return SYS_PC;
}

export function execWfi(block: usize, insn: u32, pc: u64): i32 {
  const priv = load<i32>(block + H_PRIV);
  // In U-mode wfi may time out at once, which is an illegal instruction where S-mode exists (3.3.3); QEMU does the same.
  if (priv == PRIV_U || (priv == PRIV_S && load<u64>(block + H_MSTATUS) & MS_TW)) return illegal(block, insn);
  store<u64>(block + H_PC, pc + 4);
  store<u64>(block + H_STAT_WFI, load<u64>(block + H_STAT_WFI) + 1);
  return SYS_LEAVE;
}

export function execSfenceVma(block: usize, insn: u32, pc: u64): i32 {
  const priv = load<i32>(block + H_PRIV);
  if (priv < PRIV_S || (priv == PRIV_S && load<u64>(block + H_MSTATUS) & MS_TVM)) return illegal(block, insn);
  const rs1 = (insn >> 15) & 31;
  const rs2 = (insn >> 20) & 31;
  if (rs1 == 0 && rs2 == 0) {
    // A kernel that maps new code without fence.i (xv6) gets away with it on QEMU, whose translations follow stores. It
    // cannot map it without this, so here cached code is checked too; the retired contexts make the ITLB miss.
    staleEpoch(block);
  }
  if (rs1 != 0) flushPage(block, load<u64>(block + (<usize>rs1 << 3)));
  else flushSpaces(block, rs2 == 0 ? -1 : <i64>(load<u64>(block + (<usize>rs2 << 3)) & 0xffff));
  refreshContexts(block);
  return SYS_REFRESH;
}

export function execSfenceInval(block: usize, insn: u32, pc: u64): i32 {
  if (load<i32>(block + H_PRIV) < PRIV_S) return illegal(block, insn);
  return SYS_NEXT;
}

/** cbo.inval 0, cbo.clean 1, cbo.flush 2, cbo.zero 4: caches are coherent here, so the first three only check. */
export function execCbo(block: usize, insn: u32, pc: u64): i32 {
  const which = insn >> 20;
  const priv = load<i32>(block + H_PRIV);
  const bit: u64 = which == 4 ? ENV_CBZE : which == 0 ? ENV_CBIE : ENV_CBCFE;
  if (priv != PRIV_M && !(load<u64>(block + H_MENVCFG) & bit)) return illegal(block, insn);
  if (priv == PRIV_U && !(load<u64>(block + H_SENVCFG) & bit)) return illegal(block, insn);
  const va = load<u64>(block + (<usize>((insn >> 15) & 31) << 3)) & ~(<u64>63);
  if (which == 4) {
    const at = blockAddress(block, va, ACCESS_STORE);
    if (at != 0) memory.fill(at, 0, 64);
    else if (!fault) raise(block, CAUSE_STORE_ACCESS, va);
    return fault ? SYS_FAULT : SYS_NEXT;
  }
  // Management needs a readable or writable block; its faults are reported as a store's (cbo chapter of the manual).
  blockAddress(block, va, ACCESS_LOAD);
  if (fault) {
    const cause = fault - 1;
    raise(block, cause == 13 ? 15 : cause == 5 ? 7 : cause, va);
    return SYS_FAULT;
  }
  return SYS_NEXT;
}
