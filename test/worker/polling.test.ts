/** I/O workers that look for work before they sleep. */
import { describe, expect, it } from 'vitest';

import { BlkDevice } from '../../core/virtio/blk/device.ts';
import { AdaptivePoll } from '../../core/worker/adaptive-poll.ts';
import { IOTHREAD_BASE, IOT_SLEEPING } from '../../core/worker/layout.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

describe('the time that a worker polls', () => {
  const tuning = { pollMaxNs: 32_768, pollGrow: 0, pollShrink: 0 };

  it('grows while waits are short, up to the limit, and is as it is while it is enough', () => {
    const poll = new AdaptivePoll();
    expect(poll.nanoseconds(tuning)).toBe(0);
    const times = [3000, 3000, 6000, 9000, 17_000, 30_000].map((waited) => {
      poll.learn(waited, tuning);
      return poll.nanoseconds(tuning);
    });
    expect(times).toEqual([4000, 4000, 8000, 16_000, 32_000, 32_000]);
    poll.learn(32_500, tuning);
    expect(poll.nanoseconds(tuning)).toBe(32_768);
  });

  it('begins anew, or shrinks, when a wait was longer than the limit', () => {
    const poll = new AdaptivePoll();
    for (const waited of [1000, 5000, 9000]) poll.learn(waited, tuning);
    expect(poll.nanoseconds(tuning)).toBe(16_000);
    poll.learn(40_000, { ...tuning, pollShrink: 2 });
    expect(poll.nanoseconds(tuning)).toBe(8000);
    poll.learn(40_000, tuning);
    expect(poll.nanoseconds(tuning)).toBe(0);
  });

  it('grows by poll-grow, and is none when the limit is set to none', () => {
    const poll = new AdaptivePoll();
    for (const waited of [1000, 5000]) poll.learn(waited, { ...tuning, pollGrow: 4 });
    expect(poll.nanoseconds(tuning)).toBe(16_000);
    expect(poll.nanoseconds({ ...tuning, pollMaxNs: 0 })).toBe(0);
  });
});

it('a worker polls, serves requests without being woken, and sleeps again when told', async () => {
  const bench = new VirtioBench();
  try {
    const words = new Int32Array(bench.memory.memory.buffer as SharedArrayBuffer, IOTHREAD_BASE, 16);
    const sleeping = (): boolean => Atomics.load(words, IOT_SLEEPING / 4) === 1;
    expect(bench.iothread.tuning).toEqual({ pollMaxNs: 0, pollGrow: 0, pollShrink: 0, maxBatch: 0 });
    const driver = await (await bench.attach(new BlkDevice({ id: 'drive0', disk: FakeDisk.create() }))).init();
    const blk = new BlkDriver(driver, bench.allocator);
    // A few short waits, and it polls for a second at a time.
    bench.iothread.tune({ pollMaxNs: 1e9, pollGrow: 1000 });
    const { mark } = bench.allocator;
    let found = false;
    for (let i = 0; i < 200 && !found; i++) {
      bench.allocator.reset(mark);
      expect((await blk.read(0, 1)).status).toBe(0);
      // Long enough for one that does not poll to be asleep.
      await new Promise((resolve) => setTimeout(resolve, 20));
      found = !sleeping();
    }
    expect(found).toBe(true);
    // A machine that is paused burns nothing, whatever is set; nor does one that is told so.
    await bench.iothread.quiesce();
    await until(sleeping);
    await bench.iothread.resume();
    bench.iothread.tune({ pollMaxNs: 0 });
    bench.iothread.wake();
    await until(sleeping);
    expect((await blk.read(0, 1)).status).toBe(0);
    await until(sleeping);
  } finally {
    await bench.close();
  }
});
