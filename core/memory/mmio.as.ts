/**
 * Physical accesses outside RAM. What a hart can do by itself is done here and now; the rest of the board (test
 * finisher, RTC, virtio configuration) is asked of the control thread through the hart's mailbox. An access to nothing,
 * or of a size or alignment that a device does not take, is an access fault, as in QEMU.
 */
import {
  CONTROL_BASE, CTL_RUN, CTL_VIRTIO_SLOTS, MROM_BASE, MROM_SIZE, RUN_QUIT,
  H_MBOX_ADDR, H_MBOX_FAULT, H_MBOX_SIZE, H_MBOX_STATE, H_MBOX_VALUE, H_MBOX_WRITE, H_STAT_MMIO,
  MBOX_DONE, MBOX_IDLE, MBOX_REQUEST,
} from '../worker/layout';
import {
  CLINT_PHYS, CLINT_SIZE, MROM_PHYS, PCIE_ECAM_PHYS, PCIE_ECAM_SIZE, PCIE_HIGH_MMIO_PHYS, PCIE_HIGH_MMIO_SIZE,
  PCIE_MMIO_PHYS, PCIE_MMIO_SIZE, PCIE_PIO_PHYS, PCIE_PIO_SIZE, RTC_PHYS, RTC_SIZE, TEST_PHYS, TEST_SIZE, UART_PHYS,
  UART_SIZE, VIRTIO_PHYS, VIRTIO_SLOT_SIZE,
} from '../machine/virt-map';
import { callControl } from '../cpu/hart.as';
import { aclintAccepts, aclintRead, aclintWrite } from '../irqchip/aclint.as';
import { irqchipAccepts, irqchipRead, irqchipWrite } from '../irqchip/irqchip.as';
import { uartRead, uartWrite } from '../devices/uart16550.as';
import {
  pciHotMemoryRead, pciHotMemoryWrite, pciHotPortRead, pciHotPortWrite,
} from '../virtio/transport/pci-hot.as';
import { NOT_HOT, virtioHotRead, virtioHotWrite } from '../virtio/transport/mmio-hot.as';

/** After mmioRead and mmioWrite: 1 if the access must raise an access fault, else 0. */
export let mmioFault: i32 = 0;

/** How long a hart waits for the control thread before it looks whether the machine is being torn down. */
const ANSWER_CHECK_NS: i64 = 100000000;

const WORD: u64 = 0xffffffff;

/** All but PCI's upper window is below 4 GiB, so offsets are u32. False: `pa` is not in the region. */
// @ts-ignore: decorator
@inline
function within(pa: u64, base: u64, size: u64): bool {
  return pa - base < size;
}

// @ts-ignore: decorator
@inline
function countAccess(block: usize): void {
  store<u64>(block + H_STAT_MMIO, load<u64>(block + H_STAT_MMIO) + 1);
}

// @ts-ignore: decorator
@inline
function sizeMask(size: i32): u64 {
  return u64.MAX_VALUE >> (64 - (size << 3));
}

function fault(): u64 {
  mmioFault = 1;
  return 0;
}

/**
 * Has the control thread do the access. It always answers, also while the machine is being paused (the hart parks after
 * this instruction); only when the machine quits may it not, and then nothing depends on the value any more.
 */
function askControl(block: usize, pa: u64, size: i32, isWrite: i32, value: u64): u64 {
  store<i32>(block + H_MBOX_WRITE, isWrite);
  store<i32>(block + H_MBOX_SIZE, size);
  store<i32>(block + H_MBOX_FAULT, 0);
  store<u64>(block + H_MBOX_ADDR, pa);
  store<u64>(block + H_MBOX_VALUE, value);
  const state = block + H_MBOX_STATE;
  atomic.store<i32>(state, MBOX_REQUEST);
  callControl();
  while (atomic.load<i32>(state) != MBOX_DONE) {
    atomic.wait<i32>(state, MBOX_REQUEST, ANSWER_CHECK_NS);
    if (atomic.load<i32>(CONTROL_BASE + CTL_RUN) == RUN_QUIT) break;
  }
  const answer = load<u64>(block + H_MBOX_VALUE) & sizeMask(size);
  mmioFault = load<i32>(block + H_MBOX_FAULT);
  atomic.store<i32>(state, MBOX_IDLE);
  return answer;
}

/** Whether the control thread has something at [pa, pa + size). */
function controlAccepts(pa: u64, size: i32): bool {
  if (within(pa, TEST_PHYS, TEST_SIZE)) return size == 2 || size == 4;
  return within(pa, RTC_PHYS, RTC_SIZE) && size == 4;
}

// @ts-ignore: decorator
@inline
function virtioSize(): u64 {
  return <u64>load<u32>(CONTROL_BASE + CTL_VIRTIO_SLOTS) * VIRTIO_SLOT_SIZE;
}

function romRead(offset: usize, size: i32): u64 {
  const at = <usize>MROM_BASE + offset;
  if (size == 1) return load<u8>(at);
  if (size == 2) return load<u16>(at);
  if (size == 4) return load<u32>(at);
  return load<u64>(at);
}

function virtioRead(block: usize, pa: u64, size: i32): u64 {
  if (size == 8) {
    const low = virtioRead(block, pa, 4);
    return mmioFault != 0 ? 0 : low | (virtioRead(block, pa + 4, 4) << 32);
  }
  if (size == 4) {
    const offset = <u32>(pa - VIRTIO_PHYS);
    const value = virtioHotRead(offset / VIRTIO_SLOT_SIZE, offset % VIRTIO_SLOT_SIZE);
    if (value != NOT_HOT) return value;
  }
  return askControl(block, pa, size, 0, 0);
}

function virtioWrite(block: usize, pa: u64, size: i32, value: u64): void {
  if (size == 8) {
    virtioWrite(block, pa, 4, value & WORD);
    if (mmioFault == 0) virtioWrite(block, pa + 4, 4, value >> 32);
    return;
  }
  if (size == 4) {
    const offset = <u32>(pa - VIRTIO_PHYS);
    if (virtioHotWrite(offset / VIRTIO_SLOT_SIZE, offset % VIRTIO_SLOT_SIZE, <u32>value)) return;
  }
  askControl(block, pa, size, 1, value);
}

// @ts-ignore: decorator
@inline
function inPciMemory(pa: u64): bool {
  return within(pa, PCIE_MMIO_PHYS, PCIE_MMIO_SIZE) || within(pa, PCIE_HIGH_MMIO_PHYS, PCIE_HIGH_MMIO_SIZE);
}

/** Whether `pa` is configuration space or a window of the PCI host bridge: all of it answers. */
function inPci(pa: u64): bool {
  return inPciMemory(pa) || within(pa, PCIE_ECAM_PHYS, PCIE_ECAM_SIZE) || within(pa, PCIE_PIO_PHYS, PCIE_PIO_SIZE);
}

function pciRead(block: usize, pa: u64, size: i32): u64 {
  if (size == 8) {
    const low = pciRead(block, pa, 4);
    return mmioFault != 0 ? 0 : low | (pciRead(block, pa + 4, 4) << 32);
  }
  let value = NOT_HOT;
  if (inPciMemory(pa)) value = pciHotMemoryRead(pa, size);
  else if (within(pa, PCIE_PIO_PHYS, PCIE_PIO_SIZE)) value = pciHotPortRead(pa, size);
  return value != NOT_HOT ? value : askControl(block, pa, size, 0, 0);
}

function pciWrite(block: usize, pa: u64, size: i32, value: u64): void {
  if (size == 8) {
    pciWrite(block, pa, 4, value & WORD);
    if (mmioFault == 0) pciWrite(block, pa + 4, 4, value >> 32);
    return;
  }
  if (inPciMemory(pa)) {
    if (pciHotMemoryWrite(pa, size, <u32>value)) return;
  } else if (within(pa, PCIE_PIO_PHYS, PCIE_PIO_SIZE)) {
    if (pciHotPortWrite(pa, size, <u32>value)) return;
  }
  askControl(block, pa, size, 1, value);
}

/**
 * Reads `size` (1, 2, 4, 8) bytes at guest physical `pa`, zero-extended, on behalf of the hart whose block is `block`.
 * `pa` is not in RAM. Look at mmioFault afterwards.
 */
export function mmioRead(block: usize, pa: u64, size: i32): u64 {
  mmioFault = 0;
  countAccess(block);
  if ((pa & (size - 1)) != 0) return fault();
  if (irqchipAccepts(pa)) return size == 4 ? irqchipRead(pa) : fault();
  if (within(pa, UART_PHYS, UART_SIZE)) return uartRead(<u32>(pa - UART_PHYS));
  if (within(pa, VIRTIO_PHYS, virtioSize())) return virtioRead(block, pa, size);
  if (within(pa, CLINT_PHYS, CLINT_SIZE)) {
    const offset = <u32>(pa - CLINT_PHYS);
    return aclintAccepts(offset, size) ? aclintRead(offset, size) : fault();
  }
  if (within(pa, MROM_PHYS, MROM_SIZE)) return romRead(<usize>(pa - MROM_PHYS), size);
  if (inPci(pa)) return pciRead(block, pa, size);
  return controlAccepts(pa, size) ? askControl(block, pa, size, 0, 0) : fault();
}

/** Writes the low `size` (1, 2, 4, 8) bytes of `value` at guest physical `pa`; as mmioRead otherwise. */
export function mmioWrite(block: usize, pa: u64, size: i32, value: u64): void {
  mmioFault = 0;
  countAccess(block);
  if ((pa & (size - 1)) != 0) {
    fault();
    return;
  }
  value &= sizeMask(size);
  if (irqchipAccepts(pa)) {
    if (size == 4) irqchipWrite(pa, <u32>value);
    else fault();
  } else if (within(pa, UART_PHYS, UART_SIZE)) {
    uartWrite(<u32>(pa - UART_PHYS), <u32>value);
  } else if (within(pa, VIRTIO_PHYS, virtioSize())) {
    virtioWrite(block, pa, size, value);
  } else if (within(pa, CLINT_PHYS, CLINT_SIZE)) {
    const offset = <u32>(pa - CLINT_PHYS);
    if (aclintAccepts(offset, size)) aclintWrite(offset, size, value);
    else fault();
  } else if (within(pa, MROM_PHYS, MROM_SIZE)) {
    // Writes to the mask ROM go nowhere, as in QEMU.
  } else if (inPci(pa)) {
    pciWrite(block, pa, size, value);
  } else if (controlAccepts(pa, size)) {
    askControl(block, pa, size, 1, value);
  } else {
    fault();
  }
}
