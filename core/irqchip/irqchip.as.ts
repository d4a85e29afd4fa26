/**
 * The board's interrupt controllers behind one face: a PLIC, or an APLIC with or without IMSICs (CTL_IRQCHIP). Wired
 * devices set levels of numbered sources, whatever is behind them; devices with MSI write messages.
 */
import {
  CONTROL_BASE, CTL_FIRMWARE, CTL_IRQCHIP, CTL_RAM_SIZE, FIRMWARE_SBI, IRQCHIP_IMSIC, IRQCHIP_PLIC, RAM_OFFSET,
} from '../worker/layout';
import {
  APLIC_M_PHYS, APLIC_S_PHYS, APLIC_SIZE, IMSIC_FILE_SIZE, IMSIC_M_PHYS, IMSIC_S_PHYS, PLIC_PHYS, PLIC_SIZE, RAM_PHYS,
} from '../machine/virt-map';
import { aplicFollow, aplicHandOver, aplicRead, aplicReset, aplicSetLevel, aplicWrite, SETIPNUM_LE } from './aplic.as';
import { DOMAIN_M, DOMAIN_S } from './aplic-state.as';
import { imsicAccepts, imsicReset, imsicWrite } from './imsic.as';
import { plicFollow, plicRead, plicReset, plicSetLevel, plicWrite } from './plic.as';

// @ts-ignore: decorator
@inline
function chip(): i32 {
  return load<i32>(CONTROL_BASE + CTL_IRQCHIP);
}

/** Sets the level of an interrupt source (1..95, which all controllers have). Any thread. For a level that mirrors a shared word: irqFollow. */
export function irqSetLevel(irq: i32, level: i32): void {
  if (chip() == IRQCHIP_PLIC) plicSetLevel(irq, level);
  else aplicSetLevel(irq, level != 0);
}

/**
 * Makes a source's level that of an i32 atomic word (high when it is not 0). Call it after each change of the word from
 * or to 0, from whichever thread made it: the word is read under the controller's lock, so however such calls interleave
 * the level ends up right. irqSetLevel would not do: between a thread's change and its call another one's may come.
 */
export function irqFollow(irq: i32, word: usize): void {
  if (chip() == IRQCHIP_PLIC) plicFollow(irq, word);
  else aplicFollow(irq, word);
}

// @ts-ignore: decorator
@inline
function within(pa: u64, base: u64, size: u64): bool {
  return pa - base < size;
}

/** Whether a controller has registers at `pa`. They take aligned accesses of 32 bits, nothing else. */
export function irqchipAccepts(pa: u64): bool {
  if (chip() == IRQCHIP_PLIC) return within(pa, PLIC_PHYS, PLIC_SIZE);
  if (within(pa, APLIC_S_PHYS, APLIC_SIZE) || within(pa, APLIC_M_PHYS, APLIC_SIZE)) return true;
  return chip() == IRQCHIP_IMSIC && imsicAccepts(pa);
}

/** A 32-bit read at `pa` (a multiple of 4, irqchipAccepts holds). */
export function irqchipRead(pa: u64): u32 {
  if (chip() == IRQCHIP_PLIC) return plicRead(<u32>(pa - PLIC_PHYS));
  if (within(pa, APLIC_S_PHYS, APLIC_SIZE)) return aplicRead(DOMAIN_S, <u32>(pa - APLIC_S_PHYS));
  if (within(pa, APLIC_M_PHYS, APLIC_SIZE)) return aplicRead(DOMAIN_M, <u32>(pa - APLIC_M_PHYS));
  return 0;
}

/** A 32-bit write at `pa`, likewise. */
export function irqchipWrite(pa: u64, value: u32): void {
  if (chip() == IRQCHIP_PLIC) plicWrite(<u32>(pa - PLIC_PHYS), value);
  else if (within(pa, APLIC_S_PHYS, APLIC_SIZE)) aplicWrite(DOMAIN_S, <u32>(pa - APLIC_S_PHYS), value);
  else if (within(pa, APLIC_M_PHYS, APLIC_SIZE)) aplicWrite(DOMAIN_M, <u32>(pa - APLIC_M_PHYS), value);
  else imsicWrite(pa, value);
}

/**
 * A device's message-signalled interrupt: a 32-bit write to guest physical `address`, a whole number. It may go to an
 * interrupt file, to an APLIC domain's setipnum_le, or, as any write of a bus master may, to RAM; elsewhere, or unaligned,
 * it is lost. Any thread.
 */
export function msiWrite(address: f64, data: u32): void {
  // 2^52 and more is no address of this board, NaN and what is negative neither.
  if (!(address >= 0 && address < 4503599627370496.0)) return;
  const pa = <u64>address;
  if ((pa & 3) != 0) return;
  const offset = pa - RAM_PHYS;
  // RAM is a multiple of 1 MiB.
  if (offset < load<u64>(CONTROL_BASE + CTL_RAM_SIZE)) atomic.store<u32>(<usize>RAM_OFFSET + <usize>offset, data);
  else if (chip() == IRQCHIP_PLIC) return;
  else if (chip() == IRQCHIP_IMSIC && imsicAccepts(pa)) imsicWrite(pa, data);
  else if (pa == <u64>APLIC_S_PHYS + SETIPNUM_LE) aplicWrite(DOMAIN_S, SETIPNUM_LE, data);
  else if (pa == <u64>APLIC_M_PHYS + SETIPNUM_LE) aplicWrite(DOMAIN_M, SETIPNUM_LE, data);
}

/**
 * Power-on state of whichever controller the board has. Under the built-in SBI an APLIC is left as firmware leaves it:
 * everything delegated to S-mode. Only while no hart and no I/O worker runs.
 */
export function irqchipReset(): void {
  plicReset();
  aplicReset();
  imsicReset();
  if (chip() == IRQCHIP_PLIC || load<i32>(CONTROL_BASE + CTL_FIRMWARE) != FIRMWARE_SBI) return;
  aplicHandOver(IMSIC_M_PHYS / IMSIC_FILE_SIZE, IMSIC_S_PHYS / IMSIC_FILE_SIZE);
}
