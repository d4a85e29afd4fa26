/** Entry point of a hart worker: runs one hart, parks while the machine is paused, ends when it quits. */
import { parentPort, workerData } from 'node:worker_threads';
import { instantiateEngine, instantiateHartEngine } from '../engine.ts';
import type { Engine } from '../engine.ts';
import { JitMailbox } from './jit-mailbox.ts';
import type { HartJit } from './jit-messages.ts';
import {
  CONTROL_BASE,
  CTL_ATTENTION,
  CTL_HARTS,
  CTL_RUN,
  HART_BASE,
  HART_STRIDE,
  H_IS_PARKED,
  RUN_PAUSED,
  RUN_QUIT,
  RUN_RUNNING,
} from './layout.ts';

export interface HartWorkerData {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  hart: number;
  /** Null: the hart only interprets. */
  jit: HartJit | null;
}

const { module, memory, hart, jit } = workerData as HartWorkerData;
const words = new Int32Array(memory.buffer);
const RUN = (CONTROL_BASE + CTL_RUN) >> 2;
const ATTENTION = (CONTROL_BASE + CTL_ATTENTION) >> 2;
const IS_PARKED = (HART_BASE + hart * HART_STRIDE + H_IS_PARKED) >> 2;

let engine: Engine;
let mailbox: JitMailbox | null = null;
if (jit === null) engine = await instantiateEngine(module, memory);
else {
  const made = await instantiateHartEngine(module, memory);
  engine = made.engine;
  const harts = Atomics.load(words, (CONTROL_BASE + CTL_HARTS) >> 2);
  mailbox = new JitMailbox({ ...jit, memory, hart, harts, ...made });
}
parentPort?.postMessage('ready');

for (;;) {
  const state = Atomics.load(words, RUN);
  if (state === RUN_QUIT) break;
  if (state !== RUN_RUNNING) {
    Atomics.wait(words, RUN, RUN_PAUSED);
    continue;
  }
  // Whoever pauses stores CTL_RUN first and then looks at H_IS_PARKED: either it sees the hart not parked, or the hart
  // sees the pause. A run that is over before it was noticed leaves the hart parked.
  Atomics.store(words, IS_PARKED, 0);
  while (Atomics.load(words, RUN) === RUN_RUNNING && engine.runHart(hart) !== 0) mailbox?.serve();
  Atomics.store(words, IS_PARKED, 1);
  // The control thread waits for all harts to have parked.
  Atomics.add(words, ATTENTION, 1);
  Atomics.notify(words, ATTENTION);
}
jit?.port.close();
parentPort?.close();
