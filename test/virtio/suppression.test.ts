/**
 * How often driver and device disturb each other at queue depth 32 (virtio 1.3, sections 2.7.7, 2.7.10 and 2.8.10): the
 * counters of a running queue, on both transports, in both ring formats. The disk holds the device up while the driver adds
 * its requests, so that what happens does not depend on who is faster.
 */
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { BlkDevice } from '../../core/virtio/blk/device.ts';
import { ringFeatureBits } from '../../core/virtio/queue/ring-features.ts';
import { VIRTIO_BLK_T_IN } from '../../core/virtio/spec/blk.ts';
import { VIRTIO_F_EVENT_IDX } from '../../core/virtio/spec/features.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { PciBench } from '../harness/pci-bench.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';
import type { VirtioDriver } from '../harness/virtio-driver.ts';

const DEPTH = 32;
const ROUNDS = 8;
const REQUESTS = DEPTH * ROUNDS;
/** Requests whose completion is shown at once (core/virtio/blk/backend.ts). */
const BATCH = 8;

const mmio = new VirtioBench();
const pci = new PciBench();
const benches = { mmio, pci };
afterEach(async () => {
  for (const bench of Object.values(benches)) {
    bench.iothread.tune({ maxBatch: 0 });
    expect(bench.crashes).toEqual([]);
    await bench.clear();
  }
});
afterAll(async () => {
  for (const bench of Object.values(benches)) await bench.close();
});

interface Counts {
  /** Notifications that the driver sent. */
  kicks: number;
  notifications: number;
  interrupts: number;
  suppressed: number;
}

/** Has DEPTH requests served at a time. `drained` is called when the driver has taken all that there was. */
async function run(
  transport: keyof typeof benches,
  packed: boolean,
  eventIdx: boolean,
  drained: (driver: VirtioDriver) => void,
): Promise<Counts> {
  const bench = benches[transport];
  const disk = FakeDisk.create();
  const device = new BlkDevice({ id: 'drive0', disk });
  const driver =
    transport === 'pci'
      ? await pci.attach(device, { ring: { packed } })
      : await mmio.attach(device, { ringFeatures: ringFeatureBits({ packed }) });
  await driver.init({ queueSize: 128, ...(eventIdx ? {} : { without: [VIRTIO_F_EVENT_IDX] }) });
  const [queue] = driver.queues;
  const requests = Array.from({ length: DEPTH }, () =>
    new BlkDriver(driver, bench.allocator).prepare(VIRTIO_BLK_T_IN, 0, new Uint8Array(), 512),
  );
  drained(driver);
  let kicks = 0;
  for (let round = 0; round < ROUNDS; round++) {
    disk.shutGate();
    for (const [i, { buffers }] of requests.entries()) {
      queue.add(buffers);
      if (await driver.kick(queue)) kicks++;
      if (i === 0) await until(() => disk.waiting);
    }
    disk.openGate();
    let used = 0;
    await until(() => {
      while (queue.takeUsed()) used++;
      return used === DEPTH;
    });
    // The device has told of them, or not, by the time that it answers this.
    await bench.iothread.quiesce();
    await bench.iothread.resume();
    drained(driver);
  }
  const { notifications, interrupts, suppressed } = bench.snapshot()[0].queues[0].counters;
  return { kicks, notifications, interrupts, suppressed };
}

describe.each(['mmio', 'pci'] as const)('at queue depth 32 over %s', (transport) => {
  describe.each([
    ['split', false],
    ['packed', true],
  ])('with a %s ring', (_format, packed) => {
    it('by event index: a notification and an interrupt for 32 requests', async () => {
      // As Linux: an interrupt for the next buffer that is used.
      const counts = await run(transport, packed, true, ({ queues: [queue] }) =>
        queue.setUsedEvent(queue.nextPosition),
      );
      expect(counts).toEqual({
        kicks: ROUNDS,
        notifications: ROUNDS,
        interrupts: ROUNDS,
        suppressed: (DEPTH / BATCH - 1) * ROUNDS,
      });
      expect(counts.interrupts / REQUESTS).toBeLessThan(0.05);
    });

    it('by event index: one interrupt when the driver wants to wait for the last', async () => {
      const slots = packed ? 3 * DEPTH : DEPTH;
      const counts = await run(transport, packed, true, ({ queues: [queue] }) => {
        const position = queue.nextPosition + slots - (packed ? 3 : 1);
        // The wrap counter of a packed ring of 128 changes when the position passes its end.
        queue.setUsedEvent(packed && (position & 0x7fff) >= 128 ? (position - 128) ^ 0x8000 : position);
      });
      expect(counts).toMatchObject({ interrupts: ROUNDS, suppressed: (DEPTH / BATCH - 1) * ROUNDS });
    });

    it('by flags: one for each batch, none for a driver that wants none', async () => {
      const counts = await run(transport, packed, false, ({ queues: [queue] }) => queue.suppressInterrupts(false));
      const batches = (DEPTH / BATCH) * ROUNDS;
      expect(counts).toEqual({ kicks: ROUNDS, notifications: ROUNDS, interrupts: batches, suppressed: 0 });
      await benches[transport].clear();
      const polling = await run(transport, packed, false, ({ queues: [queue] }) => queue.suppressInterrupts(true));
      expect(polling).toEqual({ kicks: ROUNDS, notifications: ROUNDS, interrupts: 0, suppressed: batches });
    });

    it("in batches of the iothread's aio-max-batch", async () => {
      benches[transport].iothread.tune({ maxBatch: 16 });
      const counts = await run(transport, packed, false, ({ queues: [queue] }) => queue.suppressInterrupts(false));
      expect(counts.interrupts).toBe((DEPTH / 16) * ROUNDS);
    });
  });
});
