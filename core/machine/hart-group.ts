/**
 * The machine's harts and its clock: their workers, running and parking them, and the accesses they hand over to the
 * control thread.
 */
import { MessageChannel, Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import {
  FN_FIRST,
  FN_LIMIT,
  H_JIT_THRESHOLD,
  H_STAT_JIT_DECLINED,
  H_STAT_JIT_ENTRIES,
  JIT_EAGER,
  JIT_FLAGS,
  JIT_MARKS,
  JIT_SYNCHRONOUS,
  H_STAT_JIT_RETIRED,
  JIT_WAKE,
} from '../cpu/jit/abi.ts';
import { errorLine, RingsideError } from '../errors.ts';
import { translatorModule } from '../engine.ts';
import type { Engine } from '../engine.ts';
import type { ClockWorkerData } from '../worker/clock.ts';
import type { HartWorkerData } from '../worker/hart.ts';
import type { JitCache } from '../worker/jit-messages.ts';
import type { JitLogOptions } from '../worker/jit-log.ts';
import type { JitLimits, JitReport, JitWorkerData } from '../worker/jit-messages.ts';
import { JitStats } from '../worker/jit-stats.ts';
import type { JitStatistics } from '../worker/jit-stats.ts';
import * as L from '../worker/layout.ts';
import type { ControlPage } from './control-page.ts';

/** How long a worker has to end by itself, ms. */
const QUIT_LIMIT = 2000;

/** A register access that the control thread serves. Throwing means an access fault. */
export interface DeviceAccess {
  /** The value read; zero-extended. */
  read(address: number, size: number): number | bigint | Promise<number | bigint>;
  write(address: number, size: number, value: bigint): void | Promise<void>;
}

/** How often the interpreter comes to a place before it is translated. */
const JIT_THRESHOLD = 4000;
/** Bytes of modules at which all translated code is dropped. */
const JIT_MODULE_BYTES = 48 * 2 ** 20;

/** The translator's settings. */
export interface JitOptions extends Partial<JitLimits> {
  /** 1 to 65535. */
  threshold?: number;
  /**
   * For tests: translate also what has not been executed yet, and let a hart that asks for a region wait for it. With both
   * and a threshold of 1, what is jumped to is translated before it is executed.
   */
  eager?: boolean;
  synchronous?: boolean;
  /** What is to be written down of it (`-d`). */
  log?: JitLogOptions;
  /** The JIT worker; another one for tests of what surrounds the translator. */
  worker?: URL;
}

export interface HartGroupOptions {
  control: ControlPage;
  engine: Engine;
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  harts: number;
  devices: DeviceAccess;
  /** 'jit' by default. */
  accel?: 'jit' | 'interp';
  jit?: JitOptions;
  /** Where translated regions are kept; absent: nowhere. */
  jitCache?: JitCache | null;
  /** Something the user should know. */
  onMessage?: (text: string) => void;
  onCrash: (error: RingsideError) => void;
}

export class HartGroup {
  readonly #o: HartGroupOptions;
  readonly #workers: Worker[] = [];
  #parkedWaiters: (() => void)[] = [];
  #ended: Promise<void> | null = null;
  #stats: JitStats | null = null;

  private constructor(options: HartGroupOptions) {
    this.#o = options;
  }

  /** Starts the workers; the harts are parked. */
  static async create(options: HartGroupOptions): Promise<HartGroup> {
    const group = new HartGroup(options);
    const { module, memory, harts, control } = options;
    for (let hart = 0; hart < harts; hart++) control.store(control.hart(hart) + L.H_IS_PARKED, 1);
    control.store(L.CONTROL_BASE + L.CTL_CLOCK_PARKED, 1);
    const clock: ClockWorkerData = { module, memory };
    const started = [group.#spawn('clock', new URL('../worker/clock.ts', import.meta.url), clock)];
    const ports = options.accel === 'interp' ? null : group.#startJit(await translatorModule(), started);
    const threshold = ports === null ? 0 : (options.jit?.threshold ?? JIT_THRESHOLD);
    const log = options.jit?.log ?? null;
    for (let hart = 0; hart < harts; hart++) {
      control.store(control.hart(hart) + H_JIT_THRESHOLD, threshold);
      const jit = ports === null ? null : { port: ports[hart]!, stats: group.#stats!.buffer, log };
      const data: HartWorkerData = { module, memory, hart, jit };
      const entry = new URL('../worker/hart.ts', import.meta.url);
      started.push(group.#spawn(`hart${hart}`, entry, data, jit === null ? [] : [jit.port]));
    }
    try {
      await Promise.all(started);
    } catch (error) {
      await group.end();
      throw error;
    }
    return group;
  }

  /** Starts the JIT worker. @returns the harts' ends of its channels */
  #startJit(translator: WebAssembly.Module, started: Promise<void>[]): MessagePort[] {
    const { control, memory, harts, jit = {}, onMessage } = this.#o;
    control.store(
      JIT_FLAGS,
      (jit.eager ? JIT_EAGER : 0) | (jit.synchronous ? JIT_SYNCHRONOUS : 0) | (jit.log === undefined ? 0 : JIT_MARKS),
    );
    const channels = this.#indices.map(() => new MessageChannel());
    const ports = channels.map(({ port1 }) => port1);
    this.#stats = new JitStats(harts);
    const limits = {
      moduleBytes: jit.moduleBytes ?? JIT_MODULE_BYTES,
      regions: Math.min(jit.regions ?? FN_LIMIT, FN_LIMIT - FN_FIRST),
    };
    const cache = this.#o.jitCache ?? null;
    const data: JitWorkerData = {
      memory,
      harts,
      ports,
      stats: this.#stats.buffer,
      translator,
      limits,
      log: jit.log ?? null,
      cache,
    };
    started.push(this.#spawn('jit', jit.worker ?? new URL('../worker/jit.ts', import.meta.url), data, ports));
    this.#workers.at(-1)!.on('message', (report: JitReport) => {
      if (report !== 'ready') onMessage?.(report.message);
    });
    return channels.map(({ port2 }) => port2);
  }

  /** What the translator has done; null when harts only interpret. */
  statistics(): JitStatistics | null {
    const stats = this.#stats;
    if (stats === null) return null;
    const { control } = this.#o;
    return {
      ...stats.counters(),
      harts: this.#indices.map((i) => ({
        entries: Number(control.getU64(control.hart(i) + H_STAT_JIT_ENTRIES)),
        retired: Number(control.getU64(control.hart(i) + H_STAT_JIT_RETIRED)),
        declined: Number(control.getU64(control.hart(i) + H_STAT_JIT_DECLINED)),
        ...stats.hart(i),
      })),
    };
  }

  #spawn(name: string, entry: URL, workerData: unknown, transferList: MessagePort[] = []): Promise<void> {
    const worker = new Worker(entry, { name, workerData, transferList });
    this.#workers.push(worker);
    return new Promise((resolve, reject) => {
      worker.once('message', () => resolve());
      let told = false;
      const fail = (error: RingsideError) => {
        reject(error);
        if (told || this.#ended !== null) return;
        told = true;
        this.#o.onCrash(error);
      };
      worker.on('error', (cause) => {
        const text = `${name} has crashed: ${errorLine(cause)}. Restart the VM.`;
        fail(new RingsideError('internal', text, { cause }));
      });
      worker.on('exit', () => {
        fail(new RingsideError('internal', `${name} ended before it was asked to. Restart the VM.`));
      });
    });
  }

  get #indices(): number[] {
    return Array.from({ length: this.#o.harts }, (_, i) => i);
  }

  #allParked(): boolean {
    const { control } = this.#o;
    if (control.load(L.CONTROL_BASE + L.CTL_CLOCK_PARKED) !== 1) return false;
    return this.#indices.every((i) => control.load(control.hart(i) + L.H_IS_PARKED) === 1);
  }

  /** Lets the harts run. Not once they are being ended. */
  run(): void {
    if (this.#ended === null) this.#o.control.setRun(L.RUN_RUNNING);
  }

  /**
   * Resolves when no hart executes guest code any more and no timer line moves, also because they have been ended. Needs
   * service() to be called as CTL_ATTENTION moves.
   */
  async park(): Promise<void> {
    const { control, engine } = this.#o;
    if (this.#ended !== null) return this.#ended;
    control.setRun(L.RUN_PAUSED);
    for (const i of this.#indices) engine.kickHart(control.hart(i));
    if (this.#allParked()) return;
    await new Promise<void>((resolve) => this.#parkedWaiters.push(resolve));
  }

  /** Looks at what harts want: accesses to be served, news of parking. */
  service(): void {
    for (const i of this.#indices) this.#serveMailbox(this.#o.control.hart(i));
    if (this.#parkedWaiters.length > 0 && this.#allParked()) {
      for (const resolve of this.#parkedWaiters.splice(0)) resolve();
    }
  }

  /** Mailboxes whose access is being served by a promise. */
  readonly #busy = new Set<number>();

  #serveMailbox(block: number): void {
    const { control, devices } = this.#o;
    if (control.load(block + L.H_MBOX_STATE) !== L.MBOX_REQUEST || this.#busy.has(block)) return;
    const address = Number(control.getU64(block + L.H_MBOX_ADDR));
    const size = control.load(block + L.H_MBOX_SIZE);
    let result: number | bigint | void | Promise<number | bigint | void>;
    try {
      result =
        control.load(block + L.H_MBOX_WRITE) === 0
          ? devices.read(address, size)
          : devices.write(address, size, control.getU64(block + L.H_MBOX_VALUE));
    } catch {
      this.#answer(block, 0n, 1);
      return;
    }
    if (!(result instanceof Promise)) {
      this.#answer(block, BigInt(result ?? 0), 0);
      return;
    }
    this.#busy.add(block);
    result.then(
      (value) => this.#finish(block, BigInt(value ?? 0), 0),
      () => this.#finish(block, 0n, 1),
    );
  }

  #finish(block: number, value: bigint, fault: number): void {
    this.#busy.delete(block);
    if (this.#ended === null) this.#answer(block, value, fault);
  }

  #answer(block: number, value: bigint, fault: number): void {
    const { control } = this.#o;
    control.setU64(block + L.H_MBOX_VALUE, BigInt.asUintN(64, value));
    control.store(block + L.H_MBOX_FAULT, fault);
    control.store(block + L.H_MBOX_STATE, L.MBOX_DONE);
    Atomics.notify(control.words, (block + L.H_MBOX_STATE) >> 2);
  }

  /** Ends the workers. Harts should be parked; one that is not is cut off. May be called twice. */
  end(): Promise<void> {
    return (this.#ended ??= this.#end());
  }

  async #end(): Promise<void> {
    const { control, engine } = this.#o;
    control.setRun(L.RUN_QUIT);
    control.bump(JIT_WAKE);
    for (const i of this.#indices) {
      engine.kickHart(control.hart(i));
      // A hart that waits for an access must not wait for ever.
      if (control.load(control.hart(i) + L.H_MBOX_STATE) === L.MBOX_REQUEST) this.#answer(control.hart(i), 0n, 0);
    }
    await Promise.all(
      this.#workers.map(async (worker) => {
        const gone = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
        if (worker.threadId === -1) return;
        const timer = setTimeout(() => void worker.terminate(), QUIT_LIMIT);
        await gone;
        clearTimeout(timer);
      }),
    );
    for (const resolve of this.#parkedWaiters.splice(0)) resolve();
  }
}
