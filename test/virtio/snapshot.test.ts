/** What the inspector shows of a device. */
import { afterAll, expect, it } from 'vitest';

import { virtioDeviceSnapshot } from '../../core/api/machine.ts';
import { BlkDevice } from '../../core/virtio/blk/device.ts';
import { NoteLimiter } from '../../core/virtio/note-limiter.ts';
import { VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_T_IN } from '../../core/virtio/spec/blk.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from '../../core/virtio/spec/features.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const bench = new VirtioBench();
afterAll(() => bench.close());

it('shows a device before, during and after its work', async () => {
  const disk = FakeDisk.create();
  const driver = await bench.attach(new BlkDevice({ id: 'drive0', disk }));
  const snapshot = () => virtioDeviceSnapshot.parse(bench.bus.snapshot()[0]);

  expect(snapshot()).toMatchObject({
    id: 'drive0',
    type: 'virtio-blk',
    virtioId: 2,
    transport: { name: 'virtio-mmio', version: 2, slot: 7, base: '0x10008000', irq: 8 },
    status: 0,
    negotiatedFeatures: '0x0',
    queues: [{ name: 'requestq', enabled: false, size: 0, maxSize: 1024, descriptorArea: '0x0', usedEvent: null }],
    error: null,
  });

  await driver.init({ features: [VIRTIO_BLK_F_FLUSH, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC] });
  const [queue] = driver.queues;
  queue.setUsedEvent(1);
  disk.shutGate();
  const { buffers } = new BlkDriver(driver, bench.allocator).prepare(VIRTIO_BLK_T_IN, 0, new Uint8Array(), 512);
  // The worker looks at a new queue once by itself. It has, when it has answered twice.
  for (let n = 0; n < 2; n++) await bench.iothread.held(driver.slot, 0);
  queue.add(buffers);
  await driver.notify(0);
  await until(() => disk.waiting);
  const during = snapshot();
  expect(during.statusBits.filter(({ set }) => set).map(({ bit, name }) => `${bit} ${name}`)).toEqual([
    '0 ACKNOWLEDGE',
    '1 DRIVER',
    '3 FEATURES_OK',
    '2 DRIVER_OK',
  ]);
  expect(during.statusBits.every(({ set, at }) => set === (at !== null))).toBe(true);
  const times = during.statusBits.flatMap(({ at }) => at ?? []);
  expect(times).toEqual(times.toSorted((a, b) => a - b));
  expect(during.features.filter(({ negotiated }) => negotiated).map(({ name }) => name)).toEqual([
    'VIRTIO_BLK_F_FLUSH',
    'VIRTIO_F_INDIRECT_DESC',
    'VIRTIO_F_EVENT_IDX',
    'VIRTIO_F_VERSION_1',
  ]);
  expect(during.features.every(({ offered, help }) => offered && help.length > 0)).toBe(true);
  expect(during.config.find(({ name }) => name === 'capacity')).toMatchObject({ value: '2048', offset: 0, size: 8 });
  expect(during.queues[0]).toMatchObject({
    enabled: true,
    size: 16,
    descriptorArea: `0x${queue.areas.descriptorArea.toString(16)}`,
    availIdx: 1,
    usedIdx: 0,
    usedEvent: 1,
    lastAvailIdx: 1,
    inFlight: 1,
    counters: { popped: 1, used: 0, notifications: 1, interrupts: 0, suppressed: 0 },
    error: null,
  });

  disk.openGate();
  await driver.used(queue);
  await until(() => snapshot().queues[0].counters.suppressed === 1);
  expect(snapshot().queues[0]).toMatchObject({ usedIdx: 1, inFlight: 0, availEvent: 1, counters: { used: 1 } });

  await driver.reset();
  expect(snapshot()).toMatchObject({ status: 0, queues: [{ enabled: false, availIdx: 0, counters: { popped: 0 } }] });
});

it('leaves out notes that come too fast, and says how many', () => {
  const notes: string[] = [];
  let now = 0;
  const limiter = new NoteLimiter(
    (note) => notes.push(note),
    () => now,
  );
  for (let i = 0; i < 25; i++) limiter.note(`note ${i}`);
  expect(notes).toHaveLength(10);
  now = 1000;
  limiter.note('later');
  expect(notes.slice(10)).toEqual(['15 more notes like these were left out', 'later']);
});
