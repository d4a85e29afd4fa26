/** Harts as the GUI shows them. */
import type { MachineSnapshot } from '../api/machine.ts';
import * as L from '../worker/layout.ts';
import type { ControlPage } from './control-page.ts';

const PRIVILEGE = ['U', 'S', '?', 'M'];
/** SBI HSM numbering. */
const HSM = ['started', 'stopped', 'start pending', 'stop pending', 'suspended', 'suspend pending', 'resume pending'];

/** Registers are exact for parked harts; of a running one pc and instret are those of its last return to the run loop. */
export function hartSnapshots(control: ControlPage, harts: number): MachineSnapshot['harts'] {
  return Array.from({ length: harts }, (_, id) => {
    const block = control.hart(id);
    const hsm = HSM[control.load(block + L.H_HSM)] ?? 'unknown';
    const parked = control.load(block + L.H_IS_PARKED) === 1;
    const sleeping = control.load(block + L.H_SLEEPING) === 1;
    return {
      id,
      state: hsm !== 'started' ? hsm : parked ? 'paused' : sleeping ? 'waiting (wfi)' : 'running',
      privilege: PRIVILEGE[control.load(block + L.H_PRIV)] ?? '?',
      pc: `0x${control.getU64(block + L.H_PC).toString(16)}`,
      instret: Number(control.getU64(block + L.H_INSTRET)),
      traps: Number(control.getU64(block + L.H_STAT_TRAPS)),
      mmio: Number(control.getU64(block + L.H_STAT_MMIO)),
    };
  });
}
