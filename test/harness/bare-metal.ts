/**
 * Harts, RAM and nothing else: the engine as it is built, driven without a machine around it. A program ends by writing to
 * the test finisher; what it has left in RAM and in its harts is then read from outside.
 */
import { engineModule, instantiateEngine, monotonicNow } from '../../core/engine.ts';
import type { Engine } from '../../core/engine.ts';
import { ControlPage } from '../../core/machine/control-page.ts';
import { HartGroup } from '../../core/machine/hart-group.ts';
import type { JitOptions } from '../../core/machine/hart-group.ts';
import { MROM_PHYS, RAM_PHYS, TEST_PHYS, VIRTIO_SLOTS } from '../../core/machine/virt-map.ts';
import type { JitCache } from '../../core/worker/jit-messages.ts';
import type { JitStatistics } from '../../core/worker/jit-stats.ts';
import * as L from '../../core/worker/layout.ts';
import { Program, X } from './asm.ts';

const MIB = 2 ** 20;

export interface BareMetalOptions {
  /** Bytes. */
  ramSize?: number;
  harts?: number;
  /** IRQCHIP_*; default: a PLIC. */
  irqchip?: number;
  /** Default: RINGSIDE_ACCEL, else jit. With RINGSIDE_ACCEL=hot all is translated before it is executed. */
  accel?: 'jit' | 'interp';
  jit?: JitOptions;
  /** Where regions are kept; default: nowhere. */
  jitCache?: JitCache;
}

const ACCEL = process.env['RINGSIDE_ACCEL'] === 'interp' ? 'interp' : 'jit';
const JIT: JitOptions = process.env['RINGSIDE_ACCEL'] === 'hot' ? { threshold: 1, eager: true, synchronous: true } : {};

/** What a hart is at, when it is parked. */
export interface HartState {
  pc: bigint;
  priv: number;
  x: bigint[];
  /** Instructions retired since reset. */
  retired: bigint;
}

export class BareMetal implements AsyncDisposable {
  readonly harts: number;
  readonly ramSize: number;
  /** What the user would have been told. */
  readonly messages: string[] = [];
  readonly #memory: WebAssembly.Memory;
  readonly #control: ControlPage;
  readonly #engine: Engine;
  readonly #data: DataView;
  #group!: HartGroup;
  #finish: ((value: number) => void) | null = null;
  #crash: ((error: Error) => void) | null = null;
  #closed = false;

  private constructor(memory: WebAssembly.Memory, engine: Engine, harts: number, ramSize: number) {
    this.#memory = memory;
    this.#engine = engine;
    this.harts = harts;
    this.ramSize = ramSize;
    this.#control = new ControlPage(memory);
    this.#data = new DataView(memory.buffer);
  }

  static async create({
    ramSize = 32 * MIB,
    harts = 1,
    irqchip = L.IRQCHIP_PLIC,
    accel = ACCEL,
    jit = JIT,
    jitCache,
  }: BareMetalOptions = {}): Promise<BareMetal> {
    const memory = new WebAssembly.Memory({ initial: (L.RAM_OFFSET + ramSize) / 65536, maximum: 65536, shared: true });
    const module = await engineModule();
    const engine = await instantiateEngine(module, memory);
    const bare = new BareMetal(memory, engine, harts, ramSize);
    const control = bare.#control;
    control.setU64(L.CONTROL_BASE + L.CTL_RAM_SIZE, BigInt(ramSize));
    control.store(L.CONTROL_BASE + L.CTL_HARTS, harts);
    control.store(L.CONTROL_BASE + L.CTL_FIRMWARE, L.FIRMWARE_M_MODE);
    control.store(L.CONTROL_BASE + L.CTL_IRQCHIP, irqchip);
    control.store(L.CONTROL_BASE + L.CTL_VIRTIO_SLOTS, VIRTIO_SLOTS);
    bare.reset();
    bare.#group = await HartGroup.create({
      control,
      engine,
      module,
      memory,
      harts,
      accel,
      jit,
      jitCache: jitCache ?? null,
      onMessage: (text) => bare.messages.push(text),
      devices: {
        read: () => 0,
        write: (address, _size, value) => {
          if (address === TEST_PHYS) bare.#finish?.(Number(value));
        },
      },
      onCrash: (error) => bare.#crash?.(error),
    });
    void bare.#watch();
    return bare;
  }

  /** Serves the harts' wishes. */
  async #watch(): Promise<void> {
    const { words } = this.#control;
    const index = (L.CONTROL_BASE + L.CTL_ATTENTION) >> 2;
    while (!this.#closed) {
      const seen = Atomics.load(words, index);
      this.#group.service();
      const wait = Atomics.waitAsync(words, index, seen);
      if (wait.async) await wait.value;
      else await Promise.resolve();
    }
  }

  /** Power-on state: all harts in M-mode at the reset vector, which jumps to the start of RAM with a0 = hart id. RAM stays. */
  reset(): void {
    const control = this.#control;
    const vector = new Program(MROM_PHYS)
      .op('csrrs', { rd: X['a0']!, imm: 0xf14 })
      .li(X['t0']!, RAM_PHYS)
      .op('jalr', { rd: 0, rs1: X['t0']! });
    new Uint8Array(this.#memory.buffer, L.MROM_BASE).set(vector.assemble());
    control.setClockBase(monotonicNow());
    this.#engine.clockReset();
    this.#engine.irqchipReset();
    this.#engine.uartReset();
    for (let hart = 0; hart < this.harts; hart++) this.#engine.resetHart(hart, hart === 0 ? 1 : 0);
  }

  /** Guest RAM at a guest physical address. */
  ram(address: number | bigint, length: number): Uint8Array<ArrayBufferLike> {
    const offset = Number(address) - RAM_PHYS;
    if (offset < 0 || offset + length > this.ramSize) throw new RangeError(`no RAM at 0x${address.toString(16)}`);
    return new Uint8Array(this.#memory.buffer, L.RAM_OFFSET + offset, length);
  }

  /** Copies bytes to a guest physical address. */
  load(address: number | bigint, bytes: Uint8Array): void {
    this.ram(address, bytes.length).set(bytes);
  }

  readU64(address: number | bigint): bigint {
    const { byteOffset } = this.ram(address, 8);
    return this.#data.getBigUint64(byteOffset, true);
  }

  writeU64(address: number | bigint, value: bigint): void {
    const { byteOffset } = this.ram(address, 8);
    this.#data.setBigUint64(byteOffset, BigInt.asUintN(64, value), true);
  }

  /** What the translator has done; null when harts only interpret. */
  statistics(): JitStatistics | null {
    return this.#group.statistics();
  }

  hart(index: number): HartState {
    const block = this.#control.hart(index);
    return {
      pc: this.#control.getU64(block + L.H_PC),
      priv: this.#control.load(block + L.H_PRIV),
      x: Array.from({ length: 32 }, (_, i) => this.#control.getU64(block + L.H_X + i * 8)),
      retired: this.#control.getU64(block + L.H_INSTRET),
    };
  }

  /**
   * Lets the harts run until the program writes to the test finisher, and parks them.
   * @returns what was written
   * @throws Error when that takes longer than `limit` ms; it tells where the harts were
   */
  async run(limit = 5000): Promise<number> {
    const finished = new Promise<number>((resolve, reject) => {
      this.#finish = resolve;
      this.#crash = reject;
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), limit);
    });
    this.#group.run();
    const value = await Promise.race([finished, late]).finally(() => clearTimeout(timer));
    this.#finish = null;
    this.#crash = null;
    await this.#group.park();
    if (value !== null) return value;
    const where = Array.from(
      { length: this.harts },
      (_, i) => `hart ${i} at 0x${this.hart(i).pc.toString(16)}, mode ${this.hart(i).priv}`,
    );
    throw new Error(`the program has not ended after ${limit} ms: ${where.join('; ')}`);
  }

  /** Gives a hart the state, all but interrupt lines, that it has in another machine, and RAM as it is there. Both are parked. */
  setHart(index: number, other: BareMetal): void {
    const block = this.#control.hart(index);
    const from = new Uint8Array(other.#memory.buffer);
    const to = new Uint8Array(this.#memory.buffer);
    to.set(from.subarray(block + L.H_X, block + L.H_IRQ), block + L.H_X);
    to.set(from.subarray(L.RAM_OFFSET, L.RAM_OFFSET + this.ramSize), L.RAM_OFFSET);
  }

  /** Lets the harts run until park(). */
  start(): void {
    this.#group.run();
  }
  park(): Promise<void> {
    return this.#group.park();
  }

  /** One instruction of a parked hart; false when it is not started. */
  step(hart: number): boolean {
    return this.#engine.stepHart(hart) !== 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#group.end();
    this.#closed = true;
    Atomics.notify(this.#control.words, (L.CONTROL_BASE + L.CTL_ATTENTION) >> 2);
  }
}
