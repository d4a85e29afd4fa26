/** A thread of the hammer tests: plays hart, device or clock on the shared memory, then says so. */
import { parentPort, workerData } from 'node:worker_threads';
import { InterruptLine } from '../../core/virtio/transport/interrupt.ts';
import {
  CONTROL_BASE,
  CTL_CLOCK_WAKE,
  H_IRQ,
  H_SLEEPING,
  H_WAKE,
  H_X,
  HART_BASE,
  HART_STRIDE,
} from '../../core/worker/layout.ts';
import { instantiatePlatform } from './build.ts';

const SEIP = 1 << 9;
const MTIP = 1 << 7;
const INTERRUPT_STATUS = 0x60;
const INTERRUPT_ACK = 0x64;

export type HammerJob =
  | { role: 'hart'; hart: number; slots: number[]; total: number }
  | { role: 'device'; slot: number; total: number }
  | { role: 'locker'; rounds: number }
  | { role: 'clock'; harts: number }
  | { role: 'timer'; hart: number; rounds: number }
  | { role: 'fencer'; hart: number; rounds: number };

export interface HammerData {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** Linear address of scratch words: buffers used by device n at 64 * n, consumed ones at 64 * n + 4. */
  scratch: number;
  /** Linear address of a word that counts threads: all begin when the last one has come. */
  start: number;
  threads: number;
  job: HammerJob;
}

const { module, memory, scratch, start, threads, job } = workerData as HammerData;
const words = new Int32Array(memory.buffer);
const now = (): number => Number(process.hrtime.bigint()) / 1e6;
const platform = await instantiatePlatform(module, memory, now);

const hartBlock = (hart: number): number => HART_BASE + hart * HART_STRIDE;
const PATIENCE_MS = 20_000;

/** Sleeps as a hart in wfi does, until a line is high or `done`. Throws when nothing comes for too long. */
function waitForLine(hart: number, line: number, done: () => boolean): boolean {
  const wake = (hartBlock(hart) + H_WAKE) / 4;
  const sleeping = (hartBlock(hart) + H_SLEEPING) / 4;
  const deadline = now() + PATIENCE_MS;
  for (;;) {
    const seen = Atomics.load(words, wake);
    Atomics.store(words, sleeping, 1);
    const high = (Atomics.load(words, (hartBlock(hart) + H_IRQ) / 4) & line) !== 0;
    if (!high && !done()) Atomics.wait(words, wake, seen, 100);
    Atomics.store(words, sleeping, 0);
    if (high) return true;
    if (done()) return false;
    if (now() > deadline) throw new Error(`hart ${hart} waits for an interrupt that does not come`);
  }
}

/** Adds up the buffers that the devices have used, woken by nothing but interrupts. */
function runHart(hart: number, slots: number[], total: number): void {
  const claim = 0x200004 + (2 * hart + 1) * 0x1000;
  const used = (slot: number): number => (scratch + 64 * slot) / 4;
  const done = (): boolean => slots.every((slot) => Atomics.load(words, used(slot) + 1) === total);
  while (waitForLine(hart, SEIP, done)) {
    for (;;) {
      const source = platform.plicRead(claim);
      if (source === 0) break;
      const slot = source - 1;
      const status = Number(platform.virtioHotRead(slot, INTERRUPT_STATUS));
      if (status !== 0) {
        platform.virtioHotWrite(slot, INTERRUPT_ACK, status);
        // Everything used before the acknowledgement is seen here; what comes later interrupts again.
        Atomics.store(words, used(slot) + 1, Atomics.load(words, used(slot)));
      }
      platform.plicWrite(claim, source);
    }
  }
}

function runDevice(slot: number, total: number): void {
  const line = new InterruptLine(memory, slot, slot + 1, { setIrq: (irq, level) => platform.plicSetLevel(irq, level) });
  for (let i = 0; i < total; i++) {
    Atomics.add(words, (scratch + 64 * slot) / 4, 1);
    line.raise(1);
    // At times as fast as it can, so as to meet acknowledgements under way; at times one buffer for each of them.
    if ((i >> 16) & 1) for (let spin = 0; spin < 100 && line.status !== 0; spin++);
  }
}

function runLocker(rounds: number): void {
  for (let i = 0; i < rounds; i++) {
    platform.lock(scratch);
    // Not atomic: two threads inside at once would lose one.
    words[scratch / 4 + 1] = words[scratch / 4 + 1]! + 1;
    platform.unlock(scratch);
  }
}

/** The clock worker, until as many timers as there are harts have gone home. */
function runClock(harts: number): void {
  const wake = (CONTROL_BASE + CTL_CLOCK_WAKE) / 4;
  while (Atomics.load(words, scratch / 4) < harts) {
    const seen = Atomics.load(words, wake);
    const next = BigInt.asUintN(64, platform.clockTick());
    const wait = next === 2n ** 64n - 1n ? Infinity : Number(next - platform.mtime()) / 10_000;
    if (wait > 0) Atomics.wait(words, wake, seen, wait);
  }
}

function runTimer(hart: number, rounds: number): void {
  for (let i = 0; i < rounds; i++) {
    const distance = BigInt((i * 37) % 300);
    platform.mmioWrite(hartBlock(hart), BigInt(0x2004000 + 8 * hart), 8, platform.mtime() + distance);
    waitForLine(hart, MTIP, () => false);
  }
  Atomics.add(words, scratch / 4, 1);
  Atomics.add(words, (CONTROL_BASE + CTL_CLOCK_WAKE) / 4, 1);
  Atomics.notify(words, (CONTROL_BASE + CTL_CLOCK_WAKE) / 4);
}

function runFencer(hart: number, rounds: number): void {
  const longs = new BigInt64Array(memory.buffer);
  const x = (register: number, value: bigint): void => {
    longs[(hartBlock(hart) + H_X) / 8 + register] = value;
  };
  for (let i = 0; i < rounds; i++) {
    x(10, 0n);
    x(11, -1n);
    x(16, BigInt(i & 1));
    x(17, 0x52464e43n);
    platform.sbiCall(hartBlock(hart));
  }
  // As a hart in wfi: it serves nobody any more, and nobody need wait for it.
  Atomics.store(words, (hartBlock(hart) + H_SLEEPING) / 4, 1);
}

Atomics.add(words, start / 4, 1);
Atomics.notify(words, start / 4);
for (let come; (come = Atomics.load(words, start / 4)) < threads;) Atomics.wait(words, start / 4, come);

switch (job.role) {
  case 'hart':
    runHart(job.hart, job.slots, job.total);
    break;
  case 'device':
    runDevice(job.slot, job.total);
    break;
  case 'locker':
    runLocker(job.rounds);
    break;
  case 'clock':
    runClock(job.harts);
    break;
  case 'timer':
    runTimer(job.hart, job.rounds);
    break;
  case 'fencer':
    runFencer(job.hart, job.rounds);
    break;
}
parentPort?.postMessage('done');
