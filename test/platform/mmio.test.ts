import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  CLINT_PHYS,
  MROM_PHYS,
  PCIE_ECAM_PHYS,
  PCIE_HIGH_MMIO_PHYS,
  PCIE_IRQ,
  PCIE_PIO_PHYS,
  PLIC_PHYS,
  RTC_PHYS,
  TEST_PHYS,
  UART_PHYS,
  VIRTIO_PHYS,
} from '../../core/machine/virt-map.ts';
import {
  CONTROL_BASE,
  CTL_ATTENTION,
  H_MBOX_ADDR,
  H_MBOX_FAULT,
  H_MBOX_SIZE,
  H_MBOX_STATE,
  H_MBOX_VALUE,
  H_MBOX_WRITE,
  H_STAT_MMIO,
  IOTHREAD_BASE,
  IOT_SLEEPING,
  IOT_WAKE,
  MBOX_DONE,
  MBOX_IDLE,
  MBOX_REQUEST,
  MROM_BASE,
  VIRTIO_BASE,
  VIRTIO_STRIDE,
  VQ_CONFIG_GENERATION,
  VQ_DOORBELL,
  VQ_DOORBELL_IOTHREAD,
  VQ_INTX_GATE,
  VQ_IRQ,
  VQ_ISR,
  VQ_NOTIFY_DATA,
  VQ_NUM_QUEUES,
  VQ_PRESENT,
} from '../../core/worker/layout.ts';
import { INTX_INPUT, INTX_LINE_INPUTS } from '../../core/pci/intx.ts';
import {
  LEGACY_ISR,
  LEGACY_QUEUE_NOTIFY,
  PCI_ISR_OFFSET,
  PCI_NOTIFY_MULTIPLIER,
  PCI_NOTIFY_OFFSET,
} from '../../core/virtio/transport/pci-layout.ts';
import { PciMap } from '../../core/virtio/transport/pci-map.ts';
import { Board, compilePlatform } from './build.ts';

const QUEUE_NOTIFY = 0x50;
const INTERRUPT_STATUS = 0x60;
const INTERRUPT_ACK = 0x64;
const CONFIG_GENERATION = 0xfc;
const MAGIC = 0;
const CONFIG = 0x100;

let module: WebAssembly.Module;
let board: Board;
let control: Worker | undefined;
beforeAll(async () => {
  module = await compilePlatform();
}, 60_000);
beforeEach(async () => {
  await control?.terminate();
  control = undefined;
  board = await Board.create(module);
});
afterAll(() => control?.terminate());

/** undefined: access fault. */
function read(pa: number, size: number): bigint | undefined {
  const value = BigInt.asUintN(64, board.platform.mmioRead(board.hart(0), BigInt(pa), size));
  return board.platform.mmioFault.value ? undefined : value;
}

/** Whether the write was taken. */
function write(pa: number, size: number, value: bigint): boolean {
  board.platform.mmioWrite(board.hart(0), BigInt(pa), size, value);
  return board.platform.mmioFault.value === 0;
}

/** A control thread that answers reads with the address (but one: fault), and remembers the last request. */
async function startControl(): Promise<void> {
  const code = `
    const { parentPort, workerData: { memory, at } } = require('node:worker_threads');
    parentPort.postMessage('ready');
    const words = new Int32Array(memory.buffer), longs = new BigInt64Array(memory.buffer);
    for (;;) {
      const seen = Atomics.load(words, at.attention);
      if (Atomics.load(words, at.state) !== ${MBOX_REQUEST}) Atomics.wait(words, at.attention, seen);
      if (Atomics.load(words, at.state) !== ${MBOX_REQUEST}) continue;
      const pa = longs[at.addr];
      words[at.log] = words[at.write]; words[at.log + 1] = words[at.size];
      longs[at.logLong] = pa; longs[at.logLong + 1] = longs[at.value];
      if (pa === 0x10003ffcn) words[at.fault] = 1; else if (!words[at.write]) longs[at.value] = pa;
      Atomics.store(words, at.state, ${MBOX_DONE});
      Atomics.notify(words, at.state);
    }`;
  const block = board.hart(0);
  const log = board.hart(7) + 0x20000;
  const at = {
    state: (block + H_MBOX_STATE) / 4,
    write: (block + H_MBOX_WRITE) / 4,
    size: (block + H_MBOX_SIZE) / 4,
    fault: (block + H_MBOX_FAULT) / 4,
    addr: (block + H_MBOX_ADDR) / 8,
    value: (block + H_MBOX_VALUE) / 8,
    attention: (CONTROL_BASE + CTL_ATTENTION) / 4,
    log: log / 4,
    logLong: log / 8 + 1,
  };
  control = new Worker(code, { eval: true, workerData: { memory: board.memory, at } });
  await new Promise((resolve) => control!.once('message', resolve));
}

/** The last request that the control thread got. */
function request(): { write: number; size: number; pa: bigint; value: bigint } {
  const log = board.hart(7) + 0x20000;
  return { write: board.word(log), size: board.word(log + 4), pa: board.long(log + 8), value: board.long(log + 16) };
}

describe('the address map', () => {
  it('has access faults where nothing is', () => {
    for (const pa of [0, 0xfff, 0x10000, 0xff000, 0x102000, 0x2010000, 0x3010000, 0x4000000, 0xbfffffc, 0xc600000]) {
      expect(read(pa, 4), pa.toString(16)).toBeUndefined();
      expect(write(pa, 4, 0n), pa.toString(16)).toBe(false);
    }
    for (const pa of [UART_PHYS + 8, VIRTIO_PHYS + 0x8000, 0x10100000, 0x20000000, 0x2ffffff8]) {
      expect(read(pa, 8), pa.toString(16)).toBeUndefined();
      expect(write(pa, 8, 0n), pa.toString(16)).toBe(false);
    }
    for (const pa of [2n ** 32n, 2n ** 34n - 8n, 2n ** 35n, 2n ** 63n, 2n ** 64n - 8n, 2n ** 32n + BigInt(UART_PHYS)]) {
      board.platform.mmioRead(board.hart(0), pa, 8);
      expect(board.platform.mmioFault.value, pa.toString(16)).toBe(1);
    }
  });

  it('takes the sizes that each device takes', () => {
    const taken = (pa: number): number[] => [1, 2, 4, 8].filter((size) => read(pa, size) !== undefined);
    expect(taken(PLIC_PHYS)).toEqual([4]);
    expect(taken(CLINT_PHYS)).toEqual([4]);
    expect(taken(CLINT_PHYS + 0x4000)).toEqual([4, 8]);
    expect(taken(CLINT_PHYS + 0xc000)).toEqual([]);
    expect(taken(UART_PHYS)).toEqual([1, 2, 4, 8]);
    expect(taken(MROM_PHYS)).toEqual([1, 2, 4, 8]);
    expect([read(PLIC_PHYS + 2, 4), read(CLINT_PHYS + 0x4004, 8), read(UART_PHYS + 5, 2)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('reads the mask ROM, and ignores writes to it', () => {
    board.setLong(MROM_BASE, 0x1122334455667788n);
    expect(read(MROM_PHYS, 8)).toBe(0x1122334455667788n);
    expect(write(MROM_PHYS, 8, 0n)).toBe(true);
    expect([read(MROM_PHYS, 1), read(MROM_PHYS + 2, 2), read(MROM_PHYS + 4, 4)]).toEqual([0x88n, 0x5566n, 0x11223344n]);
  });

  it('counts accesses for the hart', () => {
    read(UART_PHYS, 1);
    write(UART_PHYS, 1, 0n);
    expect(board.long(board.hart(0) + H_STAT_MMIO)).toBe(2n);
  });
});

describe('the mailbox', () => {
  it('takes what the control thread serves there and back', async () => {
    await startControl();
    expect(read(TEST_PHYS, 4)).toBe(BigInt(TEST_PHYS));
    expect(read(RTC_PHYS + 4, 4)).toBe(BigInt(RTC_PHYS + 4));
    expect(write(TEST_PHYS, 4, 0xffff_ffff_0000_5555n)).toBe(true);
    expect(request()).toEqual({ write: 1, size: 4, pa: BigInt(TEST_PHYS), value: 0x5555n });
    expect(write(VIRTIO_PHYS + CONFIG, 1, 0x1ffn)).toBe(true);
    expect(request()).toEqual({ write: 1, size: 1, pa: BigInt(VIRTIO_PHYS + CONFIG), value: 0xffn });
    expect(board.word(board.hart(0) + H_MBOX_STATE)).toBe(MBOX_IDLE);
  });

  it('splits 8-byte accesses to virtio into two, low half first', async () => {
    await startControl();
    expect(read(VIRTIO_PHYS + CONFIG, 8)).toBe(
      (BigInt(VIRTIO_PHYS + CONFIG + 4) << 32n) | BigInt(VIRTIO_PHYS + CONFIG),
    );
    write(VIRTIO_PHYS + CONFIG, 8, 0x1111_2222_3333_4444n);
    expect(request()).toMatchObject({ size: 4, pa: BigInt(VIRTIO_PHYS + CONFIG + 4), value: 0x1111_2222n });
  });

  it('hands faults on', async () => {
    await startControl();
    expect(read(0x10003ffc, 4)).toBeUndefined();
    expect(write(0x10003ffc, 4, 0n)).toBe(false);
    expect(read(TEST_PHYS, 4)).toBe(BigInt(TEST_PHYS));
  });

  it('is not asked for sizes that RTC and finisher do not take', () => {
    expect([
      read(RTC_PHYS, 8),
      read(RTC_PHYS, 1),
      read(RTC_PHYS + 0x24, 4),
      read(TEST_PHYS, 1),
      read(TEST_PHYS, 8),
    ]).toEqual(Array.from({ length: 5 }));
  });
});

describe('virtio-mmio in the hart', () => {
  const SLOT = 3;
  const IRQ = 4;
  const base = VIRTIO_BASE + SLOT * VIRTIO_STRIDE;
  const registers = VIRTIO_PHYS + SLOT * 0x1000;
  const IOTHREAD = IOTHREAD_BASE + 64;

  beforeEach(() => {
    board.setWord(base + VQ_PRESENT, 1);
    board.setWord(base + VQ_IRQ, IRQ);
    board.setWord(base + VQ_NUM_QUEUES, 2);
    board.setWord(base + VQ_DOORBELL_IOTHREAD + 4, IOTHREAD);
  });

  it('rings the doorbell of the queue, with its data, and the I/O worker', () => {
    expect(write(registers + QUEUE_NOTIFY, 4, 0xabcd_0001n)).toBe(true);
    expect([board.word(base + VQ_DOORBELL), board.word(base + VQ_DOORBELL + 4)]).toEqual([0, 1]);
    expect(board.word(base + VQ_NOTIFY_DATA + 4) >>> 0).toBe(0xabcd_0001);
    expect(board.word(IOTHREAD + IOT_WAKE)).toBe(1);
    write(registers + QUEUE_NOTIFY, 4, 0n);
    expect([board.word(base + VQ_DOORBELL), board.word(IOTHREAD + IOT_WAKE)]).toEqual([1, 1]);
  });

  it('wakes an I/O worker that sleeps', async () => {
    board.setWord(IOTHREAD + IOT_SLEEPING, 1);
    const woken = Atomics.waitAsync(board.words, (IOTHREAD + IOT_WAKE) / 4, 0, 5000);
    write(registers + QUEUE_NOTIFY, 4, 1n);
    expect(await woken.value).toBe('ok');
  });

  it('ignores notifications of queues that are not there', () => {
    for (const value of [2n, 255n, 256n, 0xffffn, 0x0001_0002n])
      expect(write(registers + QUEUE_NOTIFY, 4, value)).toBe(true);
    board.setWord(base + VQ_NUM_QUEUES, 0x7fff_ffff);
    for (const value of [256n, 0xffffn]) write(registers + QUEUE_NOTIFY, 4, value);
    for (let queue = 0; queue < 256; queue++) expect(board.word(base + VQ_DOORBELL + queue * 4)).toBe(0);
  });

  it('shows and acknowledges interrupts, and lowers the line with the last', () => {
    const pending = (): number => board.platform.plicRead(0x1000) & (1 << IRQ);
    board.platform.plicWrite(IRQ * 4, 1);
    board.platform.plicWrite(0x2000, 1 << IRQ);
    board.setWord(base + VQ_ISR, 3);
    board.platform.plicFollow(IRQ, base + VQ_ISR);
    expect([read(registers + INTERRUPT_STATUS, 4), pending()]).toEqual([3n, 1 << IRQ]);
    expect(board.platform.plicRead(0x200004)).toBe(IRQ);
    write(registers + INTERRUPT_ACK, 4, 1n);
    expect(read(registers + INTERRUPT_STATUS, 4)).toBe(2n);
    // Still high: completion makes it pending again.
    board.platform.plicWrite(0x200004, IRQ);
    expect(board.platform.plicRead(0x200004)).toBe(IRQ);
    write(registers + INTERRUPT_ACK, 4, 0xffff_ffffn);
    board.platform.plicWrite(0x200004, IRQ);
    expect([read(registers + INTERRUPT_STATUS, 4), pending()]).toEqual([0n, 0]);
  });

  it('reads the configuration generation', () => {
    board.setWord(base + VQ_CONFIG_GENERATION, 77);
    expect(read(registers + CONFIG_GENERATION, 4)).toBe(77n);
  });

  it('leaves other registers, other sizes and empty slots to the control thread', async () => {
    await startControl();
    for (const [offset, size] of [
      [MAGIC, 4],
      [INTERRUPT_STATUS, 1],
      [INTERRUPT_STATUS, 2],
      [QUEUE_NOTIFY, 4],
    ] as const) {
      expect(read(registers + offset, size)).toBe(BigInt.asUintN(size * 8, BigInt(registers + offset)));
      expect(request()).toMatchObject({ pa: BigInt(registers + offset), size });
    }
    expect(read(VIRTIO_PHYS + INTERRUPT_STATUS, 4)).toBe(BigInt(VIRTIO_PHYS + INTERRUPT_STATUS));
  });
});

describe('virtio-pci in the hart', () => {
  const SLOT = 9;
  const LINE = 1;
  const INPUT = INTX_INPUT + LINE * INTX_LINE_INPUTS + SLOT;
  const base = VIRTIO_BASE + SLOT * VIRTIO_STRIDE;
  const IOTHREAD = IOTHREAD_BASE + 64;
  const MODERN = PCIE_HIGH_MMIO_PHYS + 0x8000;
  const LEGACY = PCIE_PIO_PHYS + 0x40;
  const pending = (): number => board.platform.plicRead(0x1004) & (1 << (PCIE_IRQ + LINE - 32));

  beforeEach(() => {
    board.setWord(base + VQ_IRQ, INPUT);
    board.setWord(base + VQ_NUM_QUEUES, 3);
    board.setWord(base + VQ_INTX_GATE, 1);
    board.setWord(base + VQ_DOORBELL_IOTHREAD + 8, IOTHREAD);
    new PciMap(board.memory).set(SLOT, { modern: MODERN, legacy: LEGACY });
  });

  it('rings the doorbell that the address names, with its data, and the I/O worker', () => {
    expect(write(MODERN + PCI_NOTIFY_OFFSET + 2 * PCI_NOTIFY_MULTIPLIER, 4, 0xabcd_0002n)).toBe(true);
    expect(board.word(base + VQ_DOORBELL + 8)).toBe(1);
    expect(board.word(base + VQ_NOTIFY_DATA + 8) >>> 0).toBe(0xabcd_0002);
    expect(board.word(IOTHREAD + IOT_WAKE)).toBe(1);
    write(MODERN + PCI_NOTIFY_OFFSET, 2, 2n);
    expect([board.word(base + VQ_DOORBELL), board.word(base + VQ_DOORBELL + 8)]).toEqual([1, 1]);
    write(LEGACY + LEGACY_QUEUE_NOTIFY, 2, 2n);
    expect(board.word(base + VQ_DOORBELL + 8)).toBe(2);
    // Queues that there are not.
    write(MODERN + PCI_NOTIFY_OFFSET + 3 * PCI_NOTIFY_MULTIPLIER, 2, 0n);
    write(LEGACY + LEGACY_QUEUE_NOTIFY, 2, 0xffffn);
    expect(board.word(base + VQ_DOORBELL + 12)).toBe(0);
  });

  it.each([
    ['memory', MODERN + PCI_ISR_OFFSET],
    ['an I/O port', LEGACY + LEGACY_ISR],
  ])('reads and clears ISR status in %s, and lowers INTx with it', (_what, address) => {
    board.setWord(base + VQ_ISR, 3);
    board.platform.intxSetLevel(INPUT, 1);
    expect(pending()).not.toBe(0);
    board.platform.plicWrite((PCIE_IRQ + LINE) * 4, 1);
    board.platform.plicWrite(0x2004, 1 << (PCIE_IRQ + LINE - 32));
    expect(board.platform.plicRead(0x200004)).toBe(PCIE_IRQ + LINE);
    expect([read(address, 1), board.word(base + VQ_ISR), read(address, 1)]).toEqual([3n, 0, 0n]);
    board.platform.plicWrite(0x200004, PCIE_IRQ + LINE);
    expect(pending()).toBe(0);
  });

  it('shares a line among inputs', () => {
    const other = INPUT + 64;
    board.platform.intxSetLevel(INPUT, 1);
    board.platform.intxSetLevel(other, 1);
    board.platform.plicWrite((PCIE_IRQ + LINE) * 4, 1);
    board.platform.plicWrite(0x2004, 1 << (PCIE_IRQ + LINE - 32));
    const serve = (): void => board.platform.plicWrite(0x200004, board.platform.plicRead(0x200004));
    board.platform.intxSetLevel(INPUT, 0);
    serve();
    expect(pending()).not.toBe(0);
    board.platform.intxSetLevel(other, 0);
    serve();
    expect(pending()).toBe(0);
    board.platform.intxSetLevel(INTX_INPUT - 1, 1);
    board.platform.intxSetLevel(INTX_INPUT + 4 * INTX_LINE_INPUTS, 1);
  });

  it('leaves the rest, and all that is nowhere, to the control thread', async () => {
    await startControl();
    const asked = (address: number, size: number): void => {
      expect(read(address, size)).toBe(BigInt.asUintN(8 * size, BigInt(address)));
      expect(request()).toMatchObject({ pa: BigInt(address), size });
    };
    for (const address of [MODERN, MODERN + PCI_NOTIFY_OFFSET, MODERN + 0x4000, LEGACY, PCIE_ECAM_PHYS])
      asked(address, 4);
    asked(MODERN + PCI_ISR_OFFSET, 4);
    new PciMap(board.memory).clear(SLOT);
    asked(MODERN + PCI_ISR_OFFSET, 1);
    asked(LEGACY + LEGACY_ISR, 1);
    write(MODERN + PCI_NOTIFY_OFFSET, 2, 1n);
    expect(request()).toMatchObject({ write: 1, pa: BigInt(MODERN + PCI_NOTIFY_OFFSET) });
  });
});
