/** Threads at the board's shared state all at once: nothing is lost, nothing gets stuck. */
import { Worker } from 'node:worker_threads';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { DEVICE_BASE, VIRTIO_BASE, VIRTIO_STRIDE, VQ_IRQ, VQ_ISR, VQ_PRESENT } from '../../core/worker/layout.ts';
import { Board, compilePlatform } from './build.ts';
import type { HammerData, HammerJob } from './hammer-worker.ts';

const SCRATCH = DEVICE_BASE + 0x20000;
/** Milliseconds: other tests run on the same cores. */
const PATIENCE = 90_000;
const START = SCRATCH + 0x1000;

let module: WebAssembly.Module;
let board: Board;

let workers: Worker[] = [];
beforeAll(async () => {
  module = await compilePlatform();
}, 60_000);
beforeEach(async () => {
  board = await Board.create(module);
});
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.terminate()));
  workers = [];
});

/** Runs threads that begin together; resolves when all say that they are done. */
async function run(jobs: HammerJob[]): Promise<void> {
  const done = jobs.map((job) => {
    const workerData: HammerData = {
      module,
      memory: board.memory,
      scratch: SCRATCH,
      start: START,
      threads: jobs.length,
      job,
    };
    const worker = new Worker(new URL('./hammer-worker.ts', import.meta.url), { workerData });
    workers.push(worker);
    return new Promise<void>((resolve, reject) => {
      worker.once('message', () => resolve());
      worker.once('error', reject);
    });
  });
  await Promise.all(done);
}

it('the lock lets one thread in at a time', { timeout: PATIENCE }, async () => {
  const rounds = 2_000_000;
  await run([1, 2, 3].map(() => ({ role: 'locker', rounds })));
  expect([board.word(SCRATCH), board.word(SCRATCH + 4)]).toEqual([0, 3 * rounds]);
});

it(
  'no interrupt is lost, and none sticks, between devices that raise and harts that acknowledge',
  { timeout: PATIENCE },
  async () => {
    const slots = [0, 1];
    const total = 1_000_000;
    for (const slot of slots) {
      const base = VIRTIO_BASE + slot * VIRTIO_STRIDE;
      board.setWord(base + VQ_PRESENT, 1);
      board.setWord(base + VQ_IRQ, slot + 1);
      board.platform.plicWrite(4 * (slot + 1), 1);
    }
    // Both harts' S contexts take both devices.
    for (const context of [1, 3]) board.platform.plicWrite(0x2000 + 0x80 * context, 0b110);
    await run([
      ...[0, 1].map((hart) => ({ role: 'hart', hart, slots, total }) as const),
      ...slots.map((slot) => ({ role: 'device', slot, total }) as const),
    ]);
    for (const slot of slots) {
      expect(board.word(SCRATCH + 64 * slot + 4)).toBe(total);
      expect(board.word(VIRTIO_BASE + slot * VIRTIO_STRIDE + VQ_ISR)).toBe(0);
      // Its level is low: a claimed and completed source is not pending again.
      board.platform.plicWrite(0x201004, slot + 1);
    }
    while (board.platform.plicRead(0x201004) !== 0);
    expect([board.lines(0), board.lines(1), board.platform.plicRead(0x1000)]).toEqual([0, 0, 0]);
  },
);

it('no timer is lost between harts that set it and the clock worker', { timeout: PATIENCE }, async () => {
  const rounds = 10_000;
  await run([{ role: 'clock', harts: 2 }, ...[0, 1].map((hart) => ({ role: 'timer', hart, rounds }) as const)]);
});

it('harts that fence each other do not wait for ever', { timeout: PATIENCE }, async () => {
  for (const hart of [0, 1]) {
    board.platform.resetCode(board.hart(hart), hart, 2);
    board.platform.resetMmu(board.hart(hart));
  }
  await run([0, 1].map((hart) => ({ role: 'fencer', hart, rounds: 50_000 })));
});
