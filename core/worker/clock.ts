/** Entry point of the clock worker: raises timer interrupts of harts that run (sleeping harts time themselves). */
import { parentPort, workerData } from 'node:worker_threads';
import { instantiateEngine } from '../engine.ts';
import {
  CONTROL_BASE,
  CTL_ATTENTION,
  CTL_CLOCK_PARKED,
  CTL_CLOCK_WAKE,
  CTL_HARTS,
  CTL_RUN,
  HART_BASE,
  HART_STRIDE,
  H_POLL,
  H_SLEEPING,
  RUN_QUIT,
  RUN_RUNNING,
} from './layout.ts';

export interface ClockWorkerData {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
}

const { module, memory } = workerData as ClockWorkerData;
const words = new Int32Array(memory.buffer);
const RUN = (CONTROL_BASE + CTL_RUN) >> 2;
const WAKE = (CONTROL_BASE + CTL_CLOCK_WAKE) >> 2;
const PARKED = (CONTROL_BASE + CTL_CLOCK_PARKED) >> 2;
const ATTENTION = (CONTROL_BASE + CTL_ATTENTION) >> 2;
const NEVER = 2n ** 64n - 1n;

const engine = await instantiateEngine(module, memory);
parentPort?.postMessage('ready');

/**
 * How often a hart that runs is made to leave and re-enter the interpreter, ms: V8 replaces a function's code only when it
 * is entered, so a guest that never traps would stay in the baseline compiler's code for ever.
 */
const HEARTBEAT = 20;

/** Asks harts that run to leave the interpreter once; false when all of them sleep. */
function heartbeat(): boolean {
  const harts = Atomics.load(words, (CONTROL_BASE + CTL_HARTS) >> 2);
  let awake = false;
  for (let hart = 0; hart < harts; hart++) {
    const block = HART_BASE + hart * HART_STRIDE;
    if (Atomics.load(words, (block + H_SLEEPING) >> 2) !== 0) continue;
    Atomics.store(words, (block + H_POLL) >> 2, 1);
    awake = true;
  }
  return awake;
}

/**
 * One turn of the clock. Whoever pauses stores CTL_RUN first and then looks at CTL_CLOCK_PARKED: either it sees the turn
 * going on, or the turn sees the pause.
 * @returns the next deadline in mtime
 */
function turn(): bigint {
  Atomics.store(words, PARKED, 0);
  const deadline = Atomics.load(words, RUN) === RUN_RUNNING ? BigInt.asUintN(64, engine.clockTick()) : NEVER;
  Atomics.store(words, PARKED, 1);
  if (Atomics.load(words, RUN) !== RUN_RUNNING) {
    Atomics.add(words, ATTENTION, 1);
    Atomics.notify(words, ATTENTION);
  }
  return deadline;
}

for (;;) {
  // Whoever changes CTL_RUN bumps CTL_CLOCK_WAKE behind it, so that is read first: a change seen by neither cannot be.
  const wake = Atomics.load(words, WAKE);
  const state = Atomics.load(words, RUN);
  if (state === RUN_QUIT) break;
  if (state !== RUN_RUNNING) {
    // Time stands still.
    Atomics.wait(words, WAKE, wake);
    continue;
  }
  const deadline = turn();
  // 10,000 ticks a millisecond.
  const due = deadline === NEVER ? Infinity : Number(deadline - BigInt.asUintN(64, engine.mtime())) / 10_000;
  if (due <= 0) continue;
  // With all harts asleep nobody needs a heartbeat until one wakes, and that one may run long: look now and then.
  const timeout = Math.min(due, heartbeat() ? HEARTBEAT : 10 * HEARTBEAT);
  Atomics.wait(words, WAKE, wake, timeout);
}
parentPort?.close();
