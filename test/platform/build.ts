/**
 * The board's AssemblyScript pieces compiled on their own, on a shared memory as a machine's. What the tests call that
 * the engine does not export is exported here.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { main as asc } from 'assemblyscript/asc';
import { ASC_OPTIONS } from '../../core/build.ts';
import {
  CHARDEV_BASE,
  CONTROL_BASE,
  CTL_FIRMWARE,
  CTL_HARTS,
  CTL_IRQCHIP,
  CTL_RAM_SIZE,
  CTL_RUN,
  CTL_VIRTIO_SLOTS,
  FIRMWARE_M_MODE,
  HART_BASE,
  HART_STRIDE,
  H_ID,
  H_IRQ,
  H_X,
  IRQCHIP_PLIC,
  MAX_HARTS,
  RAM_OFFSET,
  RING_DATA,
  RING_HEAD,
  RING_IN,
  RING_OUT,
  RING_SIZE,
  RING_TAIL,
  RUN_RUNNING,
} from '../../core/worker/layout.ts';

const root = join(import.meta.dirname, '../..');
const PAGE = 0x10000;
const RAM_SIZE = 16 * 2 ** 20;

const ENTRY = `
export { intxSetLevel } from '../../core/pci/intx.as';
export { mmioRead, mmioWrite, mmioFault } from '../../core/memory/mmio.as';
export { plicRead, plicWrite, plicReset, plicSetLevel, plicFollow } from '../../core/irqchip/plic.as';
export { aplicRead, aplicWrite } from '../../core/irqchip/aplic.as';
export { imsicClaim, imsicHas, imsicReadRegister, imsicTop, imsicWriteRegister } from '../../core/irqchip/imsic.as';
export { irqchipReset, irqFollow, irqSetLevel, msiWrite } from '../../core/irqchip/irqchip.as';
export { clockTick, clockReset, mtime, setStimecmp, updateTimerLines } from '../../core/cpu/clock.as';
export { uartBreak, uartRead, uartWrite, uartReset, uartPoll } from '../../core/devices/uart16550.as';
export { virtioHotRead, virtioHotWrite } from '../../core/virtio/transport/mmio-hot.as';
export { sbiCall } from '../../core/firmware/sbi.as';
export { sbiResetHart, sbiWake } from '../../core/firmware/sbi-hart.as';
export { serveFences } from '../../core/cpu/fence.as';
export { resetMmu } from '../../core/cpu/mmu.as';
export { resetCode } from '../../core/cpu/code.as';
export { fault } from '../../core/cpu/state.as';
export { lock, unlock } from '../../core/memory/lock.as';
`;

/** Exports; u64 values are BigInts (signed when they come back), i32 and u32 numbers (signed when they come back). */
export interface Platform {
  mmioRead(block: number, pa: bigint, size: number): bigint;
  mmioWrite(block: number, pa: bigint, size: number, value: bigint): void;
  mmioFault: { readonly value: number };
  plicRead(offset: number): number;
  plicWrite(offset: number, value: number): void;
  plicReset(): void;
  plicSetLevel(irq: number, level: number): void;
  intxSetLevel(irq: number, level: number): void;
  plicFollow(irq: number, word: number): void;
  aplicRead(domain: number, offset: number): number;
  aplicWrite(domain: number, offset: number, value: number): void;
  imsicClaim(hart: number, level: number, identity: number): void;
  imsicHas(register: number): number;
  imsicReadRegister(hart: number, level: number, register: number): bigint;
  imsicTop(hart: number, level: number): number;
  imsicWriteRegister(hart: number, level: number, register: number, value: bigint, mask: bigint): void;
  irqchipReset(): void;
  irqFollow(irq: number, word: number): void;
  irqSetLevel(irq: number, level: number): void;
  msiWrite(address: number, data: number): void;
  clockTick(): bigint;
  clockReset(): void;
  mtime(): bigint;
  setStimecmp(block: number, value: bigint): void;
  updateTimerLines(block: number): bigint;
  uartRead(offset: number): number;
  uartWrite(offset: number, value: number): void;
  uartReset(): void;
  uartPoll(): void;
  uartBreak(): void;
  virtioHotRead(slot: number, offset: number): bigint;
  virtioHotWrite(slot: number, offset: number, value: number): number;
  sbiCall(block: number): number;
  sbiResetHart(block: number, hart: number, boot: number): void;
  sbiWake(block: number): void;
  serveFences(block: number): void;
  resetMmu(block: number): void;
  resetCode(block: number, hart: number, harts: number): void;
  fault: { readonly value: number };
  lock(word: number): void;
  unlock(word: number): void;
}

/** Compiles the pieces with the engine's own options. */
export async function compilePlatform(): Promise<WebAssembly.Module> {
  if (!existsSync(join(root, 'core/cpu/generated/decode.as.ts'))) {
    throw new Error('the engine has not been built: run "node core/build.ts" first');
  }
  const entry = 'test/platform/entry.as.ts';
  const messages: string[] = [];
  const say = { write: (text: unknown) => void messages.push(String(text)) };
  let binary: Uint8Array<ArrayBuffer> | undefined;
  const { error } = await asc([entry, '--baseDir', root, '--outFile', 'platform.wasm', ...ASC_OPTIONS], {
    readFile: (name) => (name === entry ? ENTRY : readFile(join(root, name), 'utf8').catch(() => null)),
    writeFile: (_name, contents) => {
      binary = contents as Uint8Array<ArrayBuffer>;
    },
    listFiles: () => [],
    stdout: say,
    stderr: say,
  });
  if (error || !binary) throw new Error(`asc failed: ${error?.message}\n${messages.join('')}`);
  return WebAssembly.compile(binary);
}

/** The pieces on a memory. `now` is the host's clock in milliseconds. */
export async function instantiatePlatform(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  now: () => number,
): Promise<Platform> {
  const instance = await WebAssembly.instantiate(module, { env: { memory, now } });
  return instance.exports as unknown as Platform;
}

/** A board with no harts running: the test plays hart, host and I/O worker. */
export class Board {
  readonly platform: Platform;
  readonly memory: WebAssembly.Memory;
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly longs: BigUint64Array<SharedArrayBuffer>;
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  /** The host's clock, milliseconds. */
  readonly clock: { now: number };

  private constructor(platform: Platform, memory: WebAssembly.Memory, clock: { now: number }) {
    const buffer = memory.buffer as SharedArrayBuffer;
    this.platform = platform;
    this.memory = memory;
    this.clock = clock;
    this.words = new Int32Array(buffer);
    this.longs = new BigUint64Array(buffer);
    this.bytes = new Uint8Array(buffer);
  }

  /** A board with 16 MiB of RAM, reset; `irqchip` is IRQCHIP_*, `firmware` FIRMWARE_*. */
  static async create(
    module: WebAssembly.Module,
    harts = 2,
    { irqchip = IRQCHIP_PLIC, firmware = FIRMWARE_M_MODE } = {},
  ): Promise<Board> {
    const pages = (RAM_OFFSET + RAM_SIZE) / PAGE;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: 65536, shared: true });
    const clock = { now: 0 };
    const board = new Board(await instantiatePlatform(module, memory, () => clock.now), memory, clock);
    board.setWord(CONTROL_BASE + CTL_HARTS, harts);
    board.setWord(CONTROL_BASE + CTL_VIRTIO_SLOTS, 8);
    board.setWord(CONTROL_BASE + CTL_IRQCHIP, irqchip);
    board.setWord(CONTROL_BASE + CTL_FIRMWARE, firmware);
    board.setWord(CONTROL_BASE + CTL_RUN, RUN_RUNNING);
    board.setLong(CONTROL_BASE + CTL_RAM_SIZE, BigInt(RAM_SIZE));
    for (let hart = 0; hart < MAX_HARTS; hart++) board.setWord(board.hart(hart) + H_ID, hart);
    board.platform.irqchipReset();
    board.platform.clockReset();
    board.platform.uartReset();
    return board;
  }

  /** Address of a hart's block. */
  hart(hart: number): number {
    return HART_BASE + hart * HART_STRIDE;
  }

  word(address: number): number {
    return Atomics.load(this.words, address >>> 2);
  }

  setWord(address: number, value: number): void {
    Atomics.store(this.words, address >>> 2, value);
  }

  long(address: number): bigint {
    return Atomics.load(this.longs, address >>> 3);
  }

  setLong(address: number, value: bigint): void {
    Atomics.store(this.longs, address >>> 3, BigInt.asUintN(64, value));
  }

  /** Bits of mip that devices drive on a hart, e.g. 1 << 9 for SEIP. */
  lines(hart: number): number {
    return this.word(this.hart(hart) + H_IRQ);
  }

  /** Integer register of a hart. */
  x(hart: number, register: number): bigint {
    return this.long(this.hart(hart) + H_X + register * 8);
  }

  setX(hart: number, register: number, value: bigint): void {
    this.setLong(this.hart(hart) + H_X + register * 8, value);
  }

  /** What the guest has written to chardev 0 so far; takes it, as the host does. */
  takeOutput(limit = RING_SIZE): string {
    const ring = CHARDEV_BASE + RING_OUT;
    const head = this.word(ring + RING_HEAD);
    let tail = this.word(ring + RING_TAIL);
    let text = '';
    for (; tail !== head && text.length < limit; tail = (tail + 1) | 0) {
      text += String.fromCharCode(this.bytes[ring + RING_DATA + (tail & (RING_SIZE - 1))]!);
    }
    this.setWord(ring + RING_TAIL, tail);
    return text;
  }

  /** Types on chardev 0. */
  type(text: string): void {
    const ring = CHARDEV_BASE + RING_IN;
    let head = this.word(ring + RING_HEAD);
    for (const byte of new TextEncoder().encode(text)) {
      this.bytes[ring + RING_DATA + (head & (RING_SIZE - 1))] = byte;
      head = (head + 1) | 0;
    }
    this.setWord(ring + RING_HEAD, head);
    this.platform.uartPoll();
  }
}
