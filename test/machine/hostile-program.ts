/**
 * A bare-metal guest that does to the board whatever comes to its mind: loads and stores of all sizes at random addresses,
 * registers of devices most of all. Now and then it brings a virtio device up as a driver should, and gives it requests
 * made of random descriptors, so that there is something to disturb. All harts run it, each with random numbers of its own,
 * on the same devices and the same memory.
 */
import {
  CLINT_PHYS,
  CLINT_SIZE,
  MROM_PHYS,
  PLIC_PHYS,
  PLIC_SIZE,
  RAM_PHYS,
  RTC_PHYS,
  TEST_PHYS,
  TEST_SIZE,
  UART_PHYS,
  VIRTIO_PHYS,
  VIRTIO_SLOTS,
  VIRTIO_SLOT_SIZE,
} from '../../core/machine/virt-map.ts';
import * as reg from '../../core/virtio/spec/mmio.ts';
import { Program, X } from '../harness/asm.ts';

const MIB = 2 ** 20;
/** Queues, two of each slot in the legacy layout (section 2.7.2), and what they point at. */
const RINGS = RAM_PHYS + 8 * MIB;
const RING_SHIFT = 13;
const QUEUES = 2;
const QUEUE_SIZE = 8;
const AVAIL_OFFSET = 16 * QUEUE_SIZE;
const USED_OFFSET = 4096;
const SCRATCH = RINGS + 256 * 1024;
const SCRATCH_SIZE = 64 * 1024;
const MTVEC = 0x305;
const MEPC = 0x341;

interface Target {
  base: number;
  size: number;
  /** Bits that are set in all that is written there. */
  set?: number;
  /** Lots in the draw. */
  lots: number;
}

/** @param ramSize bytes */
function targets(ramSize: number): Target[] {
  const registers = Array.from({ length: VIRTIO_SLOTS }, (_, slot) => ({
    base: VIRTIO_PHYS + slot * VIRTIO_SLOT_SIZE,
    size: 0x140,
    lots: 4,
  }));
  return [
    ...registers,
    { base: VIRTIO_PHYS, size: VIRTIO_SLOTS * VIRTIO_SLOT_SIZE, lots: 2 },
    { base: SCRATCH, size: SCRATCH_SIZE, lots: 24 },
    { base: RINGS, size: (VIRTIO_SLOTS * QUEUES) << RING_SHIFT, lots: 2 },
    // No command of the test finisher has this bit: the machine is not to end.
    { base: TEST_PHYS, size: TEST_SIZE, set: 0x8000, lots: 1 },
    { base: RTC_PHYS, size: 0x30, lots: 1 },
    { base: CLINT_PHYS, size: CLINT_SIZE, lots: 2 },
    // Software interrupts and compare values of the harts that there are and of some that there are not.
    { base: CLINT_PHYS, size: 64, lots: 1 },
    { base: CLINT_PHYS + 0x4000, size: 128, lots: 1 },
    { base: PLIC_PHYS, size: PLIC_SIZE, lots: 1 },
    { base: PLIC_PHYS, size: 0x200, lots: 1 },
    { base: PLIC_PHYS + 0x2000, size: 0x400, lots: 1 },
    { base: PLIC_PHYS + 0x200000, size: 0x5000, lots: 2 },
    { base: UART_PHYS, size: 8, lots: 1 },
    { base: MROM_PHYS, size: 0x10000, lots: 1 },
    // What lies between, and behind RAM.
    { base: 0x8000000, size: 0x8000000, lots: 1 },
    { base: 0x20000000, size: 0x60000000, lots: 1 },
    { base: RAM_PHYS + ramSize - 64, size: 128, lots: 1 },
  ];
}

/** Bytes of an entry of the table of targets: base, size, bits to set. */
const ENTRY = 24;

export function hostileProgram(seed: number, ramSize: number): Uint8Array {
  const { a0, a1, a2, a3, a4, t0, t1, t2, t6, s0, s1, s2, s3, s4, s5, zero } = X;
  const table = targets(ramSize).flatMap((target) => new Array<Target>(target.lots).fill(target));
  const p = new Program(RAM_PHYS);

  /** The next random number in s0 (xorshift64). */
  const next = (): void => {
    p.op('slli', { rd: t0, rs1: s0, imm: 13 }).op('xor', { rd: s0, rs1: s0, rs2: t0 });
    p.op('srli', { rd: t0, rs1: s0, imm: 7 }).op('xor', { rd: s0, rs1: s0, rs2: t0 });
    p.op('slli', { rd: t0, rs1: s0, imm: 17 }).op('xor', { rd: s0, rs1: s0, rs2: t0 });
  };

  p.li(s0, BigInt(seed) * 0x9e3779b97f4a7c15n).op('addi', { rd: a0, rs1: a0, imm: 1 });
  p.li(t0, 0x2545f4914f6cdd1dn).op('mul', { rd: t0, rs1: t0, rs2: a0 }).op('xor', { rd: s0, rs1: s0, rs2: t0 });
  p.la(t0, 'trap').op('csrrw', { rd: zero, rs1: t0, imm: MTVEC });
  p.la(s1, 'table').li(s2, table.length).li(s3, SCRATCH).la(s4, 'accesses').li(s5, RINGS);

  p.label('round');
  next();
  // One of 64 rounds brings a device up, four of them give one requests.
  p.op('srli', { rd: t1, rs1: s0, imm: 48 }).op('andi', { rd: t1, rs1: t1, imm: 63 });
  p.op('beq', { rs1: t1, rs2: zero }, 'bring up').op('sltiu', { rd: t1, rs1: t1, imm: 5 });
  p.op('bne', { rs1: t1, rs2: zero }, 'requests');
  // a1: an address in one of the targets; a4: bits to set.
  p.op('srli', { rd: t1, rs1: s0, imm: 8 }).op('remu', { rd: t1, rs1: t1, rs2: s2 });
  p.li(t0, ENTRY).op('mul', { rd: t1, rs1: t1, rs2: t0 }).op('add', { rd: t1, rs1: t1, rs2: s1 });
  p.op('ld', { rd: a1, rs1: t1 }).op('ld', { rd: a2, rs1: t1, imm: 8 }).op('ld', { rd: a4, rs1: t1, imm: 16 });
  next();
  p.op('remu', { rd: t1, rs1: s0, rs2: a2 }).op('add', { rd: a1, rs1: a1, rs2: t1 });
  next();
  // One in eight is left misaligned; the others are made multiples of 8 or of 4.
  p.op('andi', { rd: t1, rs1: s0, imm: 7 }).op('beq', { rs1: t1, rs2: zero }, 'aligned');
  p.op('andi', { rd: a1, rs1: a1, imm: -4 }).op('andi', { rd: t1, rs1: t1, imm: 4 });
  p.op('beq', { rs1: t1, rs2: zero }, 'aligned').op('andi', { rd: a1, rs1: a1, imm: -8 });
  p.label('aligned');
  // a3: a small number, an address of the scratch area, or anything.
  p.op('srli', { rd: a3, rs1: s0, imm: 32 }).op('andi', { rd: t1, rs1: s0, imm: 0x18 });
  p.op('beq', { rs1: t1, rs2: zero }, 'value').op('andi', { rd: a3, rs1: a3, imm: 15 });
  p.op('andi', { rd: t1, rs1: s0, imm: 0x10 }).op('beq', { rs1: t1, rs2: zero }, 'value');
  p.op('srli', { rd: a3, rs1: s0, imm: 50 })
    .op('slli', { rd: a3, rs1: a3, imm: 2 })
    .op('add', { rd: a3, rs1: a3, rs2: s3 });
  p.label('value').op('or', { rd: a3, rs1: a3, rs2: a4 });
  // One of eight accesses, of the width that registers have most of all.
  next();
  p.op('srli', { rd: t1, rs1: s0, imm: 20 }).op('andi', { rd: t1, rs1: t1, imm: 15 });
  p.op('slli', { rd: t1, rs1: t1, imm: 3 }).op('add', { rd: t1, rs1: t1, rs2: s4 }).op('jalr', { rd: zero, rs1: t1 });
  p.label('accesses');
  const kinds = ['lb', 'lh', 'lwu', 'ld', 'sb', 'sh', 'sw', 'sd', 'lw', 'lw', 'sw', 'sw', 'sw', 'sw', 'sw', 'sd'];
  for (const kind of kinds) {
    p.op(kind, kind.startsWith('l') ? { rd: t1, rs1: a1 } : { rs1: a1, rs2: a3 }).op('jal', { rd: zero }, 'round');
  }

  /** a1: registers of one of the slots; a2: rings of its queue 0; both drawn from s0. */
  const chooseSlot = (): void => {
    p.op('srli', { rd: t1, rs1: s0, imm: 24 }).op('andi', { rd: t1, rs1: t1, imm: VIRTIO_SLOTS - 1 });
    // The devices are in the upper ones.
    p.op('ori', { rd: t1, rs1: t1, imm: 4 });
    p.op('slli', { rd: a1, rs1: t1, imm: 12 }).li(t2, VIRTIO_PHYS).op('add', { rd: a1, rs1: a1, rs2: t2 });
    p.op('slli', { rd: a2, rs1: t1, imm: RING_SHIFT + 1 }).op('add', { rd: a2, rs1: a2, rs2: s5 });
  };
  const set = (offset: number, value: number): void => {
    p.li(t1, value).op('sw', { rs1: a1, rs2: t1, imm: offset });
  };

  // Sections 3.1.1 and 4.2.3.1, and their legacy forms: what a device has no register for it ignores.
  p.label('bring up');
  next();
  chooseSlot();
  for (const status of [0, 1, 3]) set(reg.MMIO_STATUS, status);
  for (const word of [0, 1]) {
    set(reg.MMIO_DEVICE_FEATURES_SEL, word);
    p.op('lw', { rd: a3, rs1: a1, imm: reg.MMIO_DEVICE_FEATURES });
    set(reg.MMIO_DRIVER_FEATURES_SEL, word);
    // Of word 0 any that are offered; of word 1 all, or the device is none of version 1.
    if (word === 0) p.op('srli', { rd: t1, rs1: s0, imm: 16 }).op('and', { rd: a3, rs1: a3, rs2: t1 });
    p.op('sw', { rs1: a1, rs2: a3, imm: reg.MMIO_DRIVER_FEATURES });
  }
  set(reg.MMIO_STATUS, 0xb);
  set(reg.MMIO_GUEST_PAGE_SIZE, 4096);
  for (let queue = 0; queue < QUEUES; queue++) {
    set(reg.MMIO_QUEUE_SEL, queue);
    set(reg.MMIO_QUEUE_SIZE, QUEUE_SIZE);
    set(reg.MMIO_QUEUE_ALIGN, USED_OFFSET);
    // Its indices begin at 0.
    p.op('sw', { rs1: a2, rs2: zero, imm: AVAIL_OFFSET }).li(t2, USED_OFFSET).op('add', { rd: t2, rs1: t2, rs2: a2 });
    p.op('sw', { rs1: t2, rs2: zero });
    p.op('sw', { rs1: a1, rs2: t2, imm: reg.MMIO_QUEUE_DEVICE_LOW });
    p.op('sw', { rs1: a1, rs2: a2, imm: reg.MMIO_QUEUE_DESC_LOW }).op('addi', { rd: t2, rs1: a2, imm: AVAIL_OFFSET });
    p.op('sw', { rs1: a1, rs2: t2, imm: reg.MMIO_QUEUE_DRIVER_LOW });
    for (const high of [reg.MMIO_QUEUE_DESC_HIGH, reg.MMIO_QUEUE_DRIVER_HIGH, reg.MMIO_QUEUE_DEVICE_HIGH]) set(high, 0);
    set(reg.MMIO_QUEUE_READY, 1);
    p.op('srli', { rd: t2, rs1: a2, imm: 12 }).op('sw', { rs1: a1, rs2: t2, imm: reg.MMIO_QUEUE_PFN });
    p.li(t2, 1 << RING_SHIFT).op('add', { rd: a2, rs1: a2, rs2: t2 });
  }
  set(reg.MMIO_STATUS, 0xf);
  p.op('jal', { rd: zero }, 'round');

  p.label('requests');
  next();
  chooseSlot();
  // One of its queues: a3.
  p.op('andi', { rd: a3, rs1: s0, imm: QUEUES - 1 }).op('slli', { rd: t1, rs1: a3, imm: RING_SHIFT });
  p.op('add', { rd: a2, rs1: a2, rs2: t1 });
  for (let i = 0; i < QUEUE_SIZE; i++) {
    // A descriptor: an address in the scratch area, a length up to 2047, any flags or none, mostly the next one behind it.
    next();
    p.op('slli', { rd: t1, rs1: s0, imm: 48 }).op('srli', { rd: t1, rs1: t1, imm: 48 });
    p.op('add', { rd: t1, rs1: t1, rs2: s3 }).op('sd', { rs1: a2, rs2: t1, imm: 16 * i });
    p.op('srli', { rd: t1, rs1: s0, imm: 16 }).op('andi', { rd: t1, rs1: t1, imm: 0x7ff });
    p.op('sw', { rs1: a2, rs2: t1, imm: 16 * i + 8 });
    p.op('srli', { rd: t1, rs1: s0, imm: 32 }).op('andi', { rd: t1, rs1: t1, imm: i % 4 === 3 ? 2 : 3 });
    p.op('sh', { rs1: a2, rs2: t1, imm: 16 * i + 12 });
    p.op('srli', { rd: t1, rs1: s0, imm: 58 }).op('slti', { rd: t1, rs1: t1, imm: 62 });
    p.op('addi', { rd: t1, rs1: t1, imm: i }).op('sh', { rs1: a2, rs2: t1, imm: 16 * i + 14 });
    // An entry of the available ring.
    p.op('srli', { rd: t1, rs1: s0, imm: 40 }).op('andi', { rd: t1, rs1: t1, imm: QUEUE_SIZE - 1 });
    p.op('sh', { rs1: a2, rs2: t1, imm: AVAIL_OFFSET + 4 + 2 * i });
  }
  // What a blk request begins with: a type, a sector that mostly exists.
  next();
  p.op('andi', { rd: t1, rs1: s0, imm: 0x7f0 }).op('add', { rd: t2, rs1: t1, rs2: s3 });
  p.op('srli', { rd: t1, rs1: s0, imm: 16 }).op('andi', { rd: t1, rs1: t1, imm: 15 }).op('sw', { rs1: t2, rs2: t1 });
  p.op('srli', { rd: t1, rs1: s0, imm: 51 }).op('sd', { rs1: t2, rs2: t1, imm: 8 });
  p.op('sd', { rs1: a2, rs2: t2 }).li(t1, 16).op('sw', { rs1: a2, rs2: t1, imm: 8 });
  p.li(t1, 1).op('sh', { rs1: a2, rs2: t1, imm: 12 }).op('sh', { rs1: a2, rs2: t1, imm: 14 });
  p.op('sh', { rs1: a2, rs2: zero, imm: AVAIL_OFFSET + 4 });
  // Up to three more of them are available.
  p.op('lhu', { rd: t1, rs1: a2, imm: AVAIL_OFFSET + 2 }).op('srli', { rd: t2, rs1: s0, imm: 60 });
  p.op('andi', { rd: t2, rs1: t2, imm: 3 }).op('add', { rd: t1, rs1: t1, rs2: t2 });
  p.op('sh', { rs1: a2, rs2: t1, imm: AVAIL_OFFSET + 2 }).op('sw', { rs1: a1, rs2: a3, imm: reg.MMIO_QUEUE_NOTIFY });
  p.op('jal', { rd: zero }, 'round');

  // On behind whatever faulted.
  p.align(4).label('trap').op('csrrs', { rd: t6, imm: MEPC }).op('addi', { rd: t6, rs1: t6, imm: 4 });
  p.op('csrrw', { rd: zero, rs1: t6, imm: MEPC }).op('mret');
  p.align(8).label('table');
  for (const { base, size, set = 0 } of table) p.quad(BigInt(base), BigInt(size), BigInt(set));
  return p.assemble();
}
