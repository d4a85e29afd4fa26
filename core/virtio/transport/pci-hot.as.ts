/**
 * The virtio-pci registers that a hart serves by itself (virtio 1.3, 4.1.4.4, 4.1.4.5, 4.1.4.10): queue notification and ISR
 * status. Where they are mapped is in shared words (pci-map.ts); all others are the control thread's.
 */
import { DEVICE_BASE, DEV_INTX, VIRTIO_BASE, VIRTIO_STRIDE, VQ_INTX_GATE, VQ_IRQ, VQ_ISR } from '../../worker/layout';
import {
  FIRST_PCI_SLOT, LEGACY_ISR, LEGACY_QUEUE_NOTIFY, PCI_ISR_OFFSET, PCI_MAP, PCI_MAP_ENTRY, PCI_MAP_LEGACY,
  PCI_MAP_MODERN, PCI_MAP_SLOTS, PCI_MODERN_BAR_SIZE, PCI_NOTIFY_MULTIPLIER, PCI_NOTIFY_OFFSET,
} from './pci-layout';
import { intxFollow } from '../../pci/intx.as';
import { NOT_HOT, ringDoorbell } from './mmio-hot.as';

const MAP: usize = DEVICE_BASE + DEV_INTX + PCI_MAP;
const SLOTS: usize = DEVICE_BASE + DEV_INTX + PCI_MAP_SLOTS;
const NONE: i32 = -1;

/** The slot whose entry's word at `field` is at most `size` - 1 below `pa`. */
// @ts-ignore: decorator
@inline
function slotAt(pa: u64, field: usize, size: u64): i32 {
  const slots = atomic.load<i32>(SLOTS);
  for (let slot = FIRST_PCI_SLOT; slot < slots; slot++) {
    if (pa - atomic.load<u64>(MAP + <usize>slot * PCI_MAP_ENTRY + field) < size) return slot;
  }
  return NONE;
}

// @ts-ignore: decorator
@inline
function slotBase(slot: i32): usize {
  return <usize>VIRTIO_BASE + <usize>slot * VIRTIO_STRIDE;
}

// @ts-ignore: decorator
@inline
function placeOf(slot: i32, field: usize): u64 {
  return atomic.load<u64>(MAP + <usize>slot * PCI_MAP_ENTRY + field);
}

/** Reading it clears it, and the interrupt with it. */
function takeIsr(slot: i32): i64 {
  const base = slotBase(slot);
  const before = atomic.xchg<u32>(base + VQ_ISR, 0);
  if (before != 0) intxFollow(load<u32>(base + VQ_IRQ), base + VQ_ISR, base + VQ_INTX_GATE);
  return <i64>(before & 0xff);
}

/** A read of `size` bytes in a memory window of the host bridge: the value, or NOT_HOT. */
export function pciHotMemoryRead(pa: u64, size: i32): i64 {
  if (size != 1) return NOT_HOT;
  const slot = slotAt(pa, PCI_MAP_MODERN, PCI_MODERN_BAR_SIZE);
  if (slot == NONE || pa - placeOf(slot, PCI_MAP_MODERN) != PCI_ISR_OFFSET) return NOT_HOT;
  return takeIsr(slot);
}

/** A write in a memory window; false if it is not served here. */
export function pciHotMemoryWrite(pa: u64, size: i32, value: u32): bool {
  if (size != 2 && size != 4) return false;
  const slot = slotAt(pa, PCI_MAP_MODERN, PCI_MODERN_BAR_SIZE);
  if (slot == NONE) return false;
  const offset = <u32>(pa - placeOf(slot, PCI_MAP_MODERN));
  if (offset < <u32>PCI_NOTIFY_OFFSET || offset >= <u32>PCI_MODERN_BAR_SIZE) return false;
  ringDoorbell(slotBase(slot), (offset - <u32>PCI_NOTIFY_OFFSET) / <u32>PCI_NOTIFY_MULTIPLIER, value);
  return true;
}

/** A read in the I/O window. */
export function pciHotPortRead(pa: u64, size: i32): i64 {
  if (size != 1) return NOT_HOT;
  const slot = slotAt(pa - LEGACY_ISR, PCI_MAP_LEGACY, 1);
  return slot == NONE ? NOT_HOT : takeIsr(slot);
}

/** A write in the I/O window. */
export function pciHotPortWrite(pa: u64, size: i32, value: u32): bool {
  if (size != 2) return false;
  const slot = slotAt(pa - LEGACY_QUEUE_NOTIFY, PCI_MAP_LEGACY, 1);
  if (slot == NONE) return false;
  ringDoorbell(slotBase(slot), value & 0xffff, value);
  return true;
}
