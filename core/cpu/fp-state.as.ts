/** mstatus.FS on behalf of floating-point instructions. */
import { H_MSTATUS } from '../worker/layout';
import { CAUSE_ILLEGAL, MS_FS, raise } from './state.as';

/** FS is Initial or Clean: makes it Dirty. FS is Off: raises an illegal instruction and returns false. */
export function enableFp(block: usize, insn: u32): bool {
  const mstatus = load<u64>(block + H_MSTATUS);
  if (!(mstatus & MS_FS)) {
    raise(block, CAUSE_ILLEGAL, insn);
    return false;
  }
  store<u64>(block + H_MSTATUS, mstatus | MS_FS);
  return true;
}
