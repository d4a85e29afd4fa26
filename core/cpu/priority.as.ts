/**
 * Which of several major interrupts comes first: by default order (privileged manual 3.1.9), with the AIA by priority
 * numbers (RISC-V AIA 1.0, 5.2.2 and 5.4.2).
 */
import { CONTROL_BASE, CTL_IRQCHIP, H_ID, H_IRQ, H_MIPRIO, H_SIPRIO, IRQCHIP_IMSIC } from '../worker/layout';
import { FILE_M, imsicTop } from '../irqchip/imsic.as';

const MEI = 11;
const SEI = 9;

/** MEI, MSI, MTI, SEI, SSI, STI: a nibble each, the first in the lowest. */
const DEFAULT_ORDER: u64 = 0x51973b;
const MAJORS: u64 = 6;

/** Priority of an external interrupt that no interrupt file has raised (5.4.2), and of what has a number above 255. */
const BEYOND: u32 = 256;
/** Priority number 0 of an interrupt that comes after the external one by default, as all do here. */
const LOWEST: u32 = 257;
const IPRIO_LAST: u32 = 255;

function priorityOf(block: usize, number: u32, level: u32): u32 {
  const external = level == FILE_M ? MEI : SEI;
  if (number != external) {
    const iprio = load<u8>(block + (level == FILE_M ? H_MIPRIO : H_SIPRIO) + number);
    return iprio == 0 ? LOWEST : iprio;
  }
  // mip's own bit, which software sets, has no identity.
  if ((atomic.load<i32>(block + H_IRQ) & (1 << external)) == 0) return BEYOND;
  const identity = imsicTop(load<u32>(block + H_ID), level);
  return identity == 0 ? BEYOND : identity;
}

/** mtopi or stopi for the interrupts in `ready`: number << 16 | priority; 0 when there are none. */
export function topMajor(block: usize, ready: u64, level: u32): u64 {
  if (ready == 0) return 0;
  let best: u32 = 0;
  let bestPriority: u32 = LOWEST + 1;
  for (let i: u64 = 0; i < MAJORS; i++) {
    const number = <u32>((DEFAULT_ORDER >> (i * 4)) & 15);
    if (((ready >> number) & 1) == 0) continue;
    const priority = priorityOf(block, number, level);
    if (priority < bestPriority) {
      best = number;
      bestPriority = priority;
    }
  }
  return (<u64>best << 16) | min<u32>(bestPriority, IPRIO_LAST);
}

/** The number of the interrupt in `ready` (not 0) that is to be taken at a level. */
export function firstMajor(block: usize, ready: u64, level: u32): i32 {
  if (load<i32>(CONTROL_BASE + CTL_IRQCHIP) == IRQCHIP_IMSIC) return <i32>(topMajor(block, ready, level) >> 16);
  for (let i: u64 = 0; i < MAJORS; i++) {
    const number = <u32>((DEFAULT_ORDER >> (i * 4)) & 15);
    if ((ready >> number) & 1) return number;
  }
  return -1;
}
