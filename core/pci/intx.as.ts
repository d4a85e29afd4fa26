/** The INTx lines as shared state: any thread drives its inputs (intx.ts), the source of the interrupt controller follows. */
import { DEVICE_BASE, DEV_INTX } from '../worker/layout';
import { PCIE_IRQ } from '../machine/virt-map';
import { irqSetLevel } from '../irqchip/irqchip.as';
import { lock, unlock } from '../memory/lock.as';
import { INTX_INPUT, INTX_LINE_INPUTS, INTX_LINES } from './intx';

const STATE: usize = DEVICE_BASE + DEV_INTX;
const LOCK: usize = STATE;
/** A bit for each input of a line, INTX_LINE_INPUTS / 8 bytes a line. */
const ASSERTED: usize = STATE + 0x40;
const LINE_BYTES: usize = INTX_LINE_INPUTS / 8;

/** Lock held. */
function setInput(input: u32, high: bool): void {
  const line: u32 = input / INTX_LINE_INPUTS;
  const bits: usize = ASSERTED + <usize>line * LINE_BYTES;
  const word: usize = bits + ((input % INTX_LINE_INPUTS) >> 5) * 4;
  const bit: u32 = <u32>1 << (input & 31);
  const before = load<u32>(word);
  const after = high ? before | bit : before & ~bit;
  if (before == after) return;
  store<u32>(word, after);
  irqSetLevel(PCIE_IRQ + line, (load<u64>(bits) | load<u64>(bits + 8)) != 0 ? 1 : 0);
}

/** Drives input `irq` (from INTX_INPUT on) to `level`. Any thread. */
export function intxSetLevel(irq: u32, level: i32): void {
  const input = irq - INTX_INPUT;
  if (input >= <u32>INTX_LINES * INTX_LINE_INPUTS) return;
  lock(LOCK);
  setInput(input, level != 0);
  unlock(LOCK);
}

/**
 * Makes input `irq` high when the i32 atomic words `status` and `gate` are both not 0. As irqFollow: the words are read
 * under the lock.
 */
export function intxFollow(irq: u32, status: usize, gate: usize): void {
  const input = irq - INTX_INPUT;
  if (input >= <u32>INTX_LINES * INTX_LINE_INPUTS) return;
  lock(LOCK);
  setInput(input, atomic.load<i32>(status) != 0 && atomic.load<i32>(gate) != 0);
  unlock(LOCK);
}
