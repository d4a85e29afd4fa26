/** Threads at the board's shared state all at once: nothing is lost, nothing gets stuck. */
import { Worker } from 'node:worker_threads';
import { afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import {
  CONTROL_BASE,
  CTL_CLOCK_WAKE,
  CTL_RUN,
  DEVICE_BASE,
  RUN_QUIT,
  VIRTIO_BASE,
  VIRTIO_STRIDE,
  VQ_IRQ,
  VQ_ISR,
  VQ_PRESENT,
} from '../../core/worker/layout.ts';
import { Board, compilePlatform } from './build.ts';
import type { HammerData, HammerJob } from './hammer-worker.ts';

const SCRATCH = DEVICE_BASE + 0x20000;

let module: WebAssembly.Module;
let board: Board;
/** Other tests run on the same cores. */
vi.setConfig({ testTimeout: 90_000 });

let workers: Worker[] = [];
beforeAll(async () => {
  module = await compilePlatform();
});
beforeEach(async () => {
  board = await Board.create(module);
});
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.terminate()));
  workers = [];
});

/** Runs a thread; resolves when it says that it is done. */
function run(job: HammerJob): Promise<void> {
  const workerData: HammerData = { module, memory: board.memory, scratch: SCRATCH, job };
  const worker = new Worker(new URL('./hammer-worker.ts', import.meta.url), { workerData });
  workers.push(worker);
  return new Promise((resolve, reject) => {
    worker.once('message', () => resolve());
    worker.once('error', reject);
  });
}

it('the lock lets one thread in at a time', async () => {
  const rounds = 200_000;
  await Promise.all([1, 2, 3].map(() => run({ role: 'locker', rounds })));
  expect([board.word(SCRATCH), board.word(SCRATCH + 4)]).toEqual([0, 3 * rounds]);
});

it('no interrupt is lost, and none sticks, between devices that raise and harts that acknowledge', async () => {
  const slots = [0, 1];
  const total = 30_000;
  for (const slot of slots) {
    const base = VIRTIO_BASE + slot * VIRTIO_STRIDE;
    board.setWord(base + VQ_PRESENT, 1);
    board.setWord(base + VQ_IRQ, slot + 1);
    board.platform.plicWrite(4 * (slot + 1), 1);
  }
  // Both harts' S contexts take both devices.
  for (const context of [1, 3]) board.platform.plicWrite(0x2000 + 0x80 * context, 0b110);
  await Promise.all([
    ...[0, 1].map((hart) => run({ role: 'hart', hart, slots, total })),
    ...slots.map((slot) => run({ role: 'device', slot, total })),
  ]);
  for (const slot of slots) {
    expect(board.word(SCRATCH + 64 * slot + 4)).toBe(total);
    expect(board.word(VIRTIO_BASE + slot * VIRTIO_STRIDE + VQ_ISR)).toBe(0);
    // Its level is low: a claimed and completed source is not pending again.
    board.platform.plicWrite(0x201004, slot + 1);
  }
  while (board.platform.plicRead(0x201004) !== 0);
  expect([board.lines(0), board.lines(1), board.platform.plicRead(0x1000)]).toEqual([0, 0, 0]);
});

it('no timer is lost between harts that set it and the clock worker', async () => {
  const clock = run({ role: 'clock' });
  await Promise.all([0, 1].map((hart) => run({ role: 'timer', hart, rounds: 1000 })));
  board.setWord(CONTROL_BASE + CTL_RUN, RUN_QUIT);
  Atomics.add(board.words, (CONTROL_BASE + CTL_CLOCK_WAKE) / 4, 1);
  Atomics.notify(board.words, (CONTROL_BASE + CTL_CLOCK_WAKE) / 4);
  await clock;
});

it('harts that fence each other do not wait for ever', async () => {
  for (const hart of [0, 1]) {
    board.platform.resetCode(board.hart(hart), hart, 2);
    board.platform.resetMmu(board.hart(hart));
  }
  await Promise.all([0, 1].map((hart) => run({ role: 'fencer', hart, rounds: 5000 })));
});
