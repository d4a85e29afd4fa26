/** A hart worker's end of the translator: takes regions in while the hart stands outside guest code, a little at a time. */
import { receiveMessageOnPort } from 'node:worker_threads';
import {
  FN_MISS,
  H_JIT_FLUSHING,
  H_JIT_MAIL,
  JIT_FLAGS,
  JIT_RECORD_SIZE,
  JIT_RECORDS,
  JIT_SYNCHRONOUS,
  JIT_WAKE,
  RECORD_PA,
} from '../cpu/jit/abi.ts';
import { monotonicNow } from '../engine.ts';
import type { Engine } from '../engine.ts';
import { JitLog } from './jit-log.ts';
import type { HartJit, HartMail } from './jit-messages.ts';
import { JitStats } from './jit-stats.ts';
import { HART_BASE, HART_STRIDE } from './layout.ts';

/** How long a hart stands still at a time, ms. What is left waits until it is polled again. */
const STOP = 2;

export interface JitMailboxOptions extends HartJit {
  memory: WebAssembly.Memory;
  hart: number;
  harts: number;
  engine: Engine;
  table: WebAssembly.Table;
}

function describeRecord(record: Uint8Array): string {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const pa = view.getBigUint64(RECORD_PA, true) + BigInt(view.getUint32(4, true));
  return `region ${view.getUint32(0, true)}, physical 0x${pa.toString(16)}`;
}

export class JitMailbox {
  readonly #o: JitMailboxOptions;
  readonly #words: Int32Array;
  readonly #records: Uint8Array;
  readonly #stats: JitStats;
  readonly #block: number;
  readonly #log: JitLog | null;
  /** What has come but has not been attached yet, last first. */
  #pending: Uint8Array[] = [];

  constructor(options: JitMailboxOptions) {
    this.#o = options;
    const { memory, hart, harts, stats, log } = options;
    this.#words = new Int32Array(memory.buffer);
    this.#records = new Uint8Array(memory.buffer, JIT_RECORDS + hart * JIT_RECORD_SIZE, JIT_RECORD_SIZE);
    this.#stats = new JitStats(harts, stats);
    this.#block = HART_BASE + hart * HART_STRIDE;
    this.#log = log === null ? null : new JitLog(log);
  }

  /** Serves H_JIT_MAIL. */
  serve(): void {
    const mail = (this.#block + H_JIT_MAIL) >> 2;
    const started = monotonicNow();
    // Before anything is looked at: what comes later sets it again.
    Atomics.store(this.#words, mail, 0);
    for (;;) {
      if (this.#pending.length === 0 && !this.#receive()) break;
      const record = this.#pending.pop();
      if (record !== undefined) this.#attach(record);
      if (monotonicNow() - started > STOP && !this.#isSynchronous) {
        // H_POLL is not set: the guest runs first, until it is polled for another reason or by the clock's heartbeat.
        Atomics.store(this.#words, mail, 1);
        break;
      }
    }
    this.#stats.stopped(this.#o.hart, monotonicNow() - started);
  }

  get #isSynchronous(): boolean {
    return (this.#words[JIT_FLAGS >> 2]! & JIT_SYNCHRONOUS) !== 0;
  }

  #receive(): boolean {
    const { port, memory, table } = this.#o;
    const mail = receiveMessageOnPort(port)?.message as HartMail | undefined;
    if (mail === undefined) return false;
    if (mail.kind === 'flush') {
      this.#flush(mail.first, mail.end);
      return true;
    }
    // Its element segment fills the table.
    if (mail.module !== null) new WebAssembly.Instance(mail.module, { env: { memory, table } });
    this.#pending = mail.records.reverse();
    return true;
  }

  #attach(record: Uint8Array): void {
    const { engine, hart } = this.#o;
    if (record.length > JIT_RECORD_SIZE) return;
    this.#records.set(record);
    const done = engine.jitAttach(hart) !== 0;
    this.#stats.attached(hart, done);
    if (!done && this.#log?.has('jit'))
      this.#log.write([`jit: hart ${hart} has not the code of ${describeRecord(record)}`]);
  }

  #flush(first: number, end: number): void {
    const { engine, hart, table } = this.#o;
    engine.jitDetachAll(hart);
    // Instances go when nothing in the table is theirs.
    const miss = table.get(FN_MISS);
    for (let fn = first; fn < end; fn++) table.set(fn, miss);
    Atomics.store(this.#words, (this.#block + H_JIT_FLUSHING) >> 2, 0);
    Atomics.add(this.#words, JIT_WAKE >> 2, 1);
    Atomics.notify(this.#words, JIT_WAKE >> 2);
  }
}
