/** The queue view: what is live is shown as live, and nothing else is. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { queueView } from '../../core/api/queue-view.ts';
import type { QueueView } from '../../core/api/queue-view.ts';
import { viewQueue } from '../../core/inspect/queue-view.ts';
import { BlkDevice } from '../../core/virtio/blk/device.ts';
import { queueDecoder } from '../../core/virtio/decoders.ts';
import { inspectQueue } from '../../core/virtio/inspect.ts';
import { ringFeatureBits } from '../../core/virtio/queue/ring-features.ts';
import { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '../../core/virtio/spec/blk.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { VirtioBench } from '../harness/virtio-bench.ts';

let bench: VirtioBench;
beforeAll(() => (bench = new VirtioBench()));
afterEach(() => bench.clear());
afterAll(() => bench.close());

async function setUp(packed: boolean) {
  const driver = await bench.attach(new BlkDevice({ id: 'drive0', disk: FakeDisk.create() }), {
    ringFeatures: ringFeatureBits({ packed }),
  });
  await driver.init();
  const blk = new BlkDriver(driver, bench.allocator);
  const transport = bench.bus.transports.find(({ slot }) => slot === driver.slot)!;
  const view = async (from = 0, count = 256): Promise<QueueView> => {
    const look = () => transport.inspection(0);
    const decoder = queueDecoder('virtio-blk', 'requestq');
    // As it goes over the wire.
    return queueView.parse(
      await viewQueue({ device: 'drive0', name: 'requestq', decoder, control: null, from, count, look }),
    );
  };
  const offer = (type: number, sector: number, indirect: boolean) => {
    const out = new Uint8Array(type === VIRTIO_BLK_T_OUT ? 512 : 0).fill(0x41);
    const { buffers } = blk.prepare(type, sector, out, type === VIRTIO_BLK_T_IN ? 512 : 0);
    driver.indirect = indirect;
    return driver.add(driver.queues[0], buffers);
  };
  return { driver, blk, transport, view, offer };
}

const states = (rows: readonly { state: string }[]) => rows.map(({ state }) => state);

describe.each([
  ['split', false],
  ['packed', true],
])('a %s ring', (_, packed) => {
  it('is free before anything is in it', async () => {
    const { view } = await setUp(packed);
    const seen = await view();
    expect(seen).toMatchObject({ format: packed ? 'packed' : 'split', size: 16, chains: [], moved: 0 });
    expect(new Set(states(seen.descriptors))).toEqual(new Set(['free']));
    expect(new Set(states(seen.avail))).toEqual(new Set(packed ? [] : ['free']));
    expect(new Set(states(seen.used))).toEqual(new Set(packed ? [] : ['free']));
  });

  it('has chains from available to in flight to used, decoded', async () => {
    const { driver, transport, view, offer } = await setUp(packed);
    await transport.controlQueue(0, { op: 'pause' });
    const heads = [offer(VIRTIO_BLK_T_OUT, 7, false), offer(VIRTIO_BLK_T_IN, 9, true)];
    await driver.notify(0);
    let seen = await view();
    expect(seen.chains.map(({ head, state, type, detail }) => ({ head, state, type, detail }))).toEqual([
      { head: heads[0], state: 'available', type: 'VIRTIO_BLK_T_OUT (1)', detail: 7 },
      { head: heads[1], state: 'available', type: 'VIRTIO_BLK_T_IN (0)', detail: 9 },
    ]);
    expect(seen.chains[0].fields.map(({ name, value }) => [name, value.slice(0, 20)])).toEqual([
      ['type', 'VIRTIO_BLK_T_OUT (1)'],
      ['reserved', '0'],
      ['sector', '7'],
      ['data', '41 41 41 41 41 41 41'],
    ]);
    expect(seen.chains[1].buffers.every(({ indirect }) => indirect)).toBe(true);
    expect(seen.chains[1]).toMatchObject({ readable: 16, writable: 513 });
    expect(seen.descriptors.filter(({ chain }) => chain === heads[0])).toHaveLength(3);
    expect(seen.descriptors.filter(({ state }) => state === 'available')).toHaveLength(4);
    expect(seen.descriptors.find(({ chain }) => chain === heads[1])?.flags).toContain('indirect');
    if (!packed) {
      expect(seen.avail.filter(({ state }) => state === 'available').map(({ index, head }) => [index, head])).toEqual([
        [0, heads[0]],
        [1, heads[1]],
      ]);
    }

    // The first one stands at a breakpoint: the device has it.
    await transport.controlQueue(0, { op: 'rules', breakpoints: [{ id: 'b', match: {} }], injections: [] });
    await transport.controlQueue(0, { op: 'resume' });
    let control = await transport.controlQueue(0, { op: 'state' });
    while (control.parked === null) control = await transport.controlQueue(0, { op: 'state' });
    seen = await view();
    expect(states(seen.chains)).toEqual(['in-flight', 'available']);
    expect(seen.descriptors.filter(({ state }) => state === 'in-flight').map(({ chain }) => chain)).toEqual([
      heads[0],
      heads[0],
      heads[0],
    ]);

    await transport.controlQueue(0, { op: 'clear' });
    for (const head of heads) expect((await driver.used(driver.queues[0])).id).toBe(head);
    seen = await view();
    expect(seen.chains).toEqual([]);
    expect(states([...seen.descriptors, ...seen.avail, ...seen.used])).not.toContain('available');
    expect(states([...seen.descriptors, ...seen.avail, ...seen.used])).not.toContain('in-flight');
    expect(states(packed ? seen.descriptors : seen.used).filter((state) => state === 'used')).toHaveLength(2);
  });

  it('shows nothing that is left over as live, over many laps', async () => {
    const { blk, view } = await setUp(packed);
    for (let i = 0; i < 40; i++) await blk.read(i, 1);
    const seen = await view();
    expect(seen.chains).toEqual([]);
    expect(new Set(states([...seen.descriptors, ...seen.avail, ...seen.used]))).not.toContain('in-flight');
    expect(seen.descriptors.every(({ chain }) => chain === null)).toBe(true);
    if (!packed) {
      expect(seen.used.every(({ index }) => index !== null && index >= 24 && index < 40)).toBe(true);
      expect(seen.position).toMatchObject({ avail: 40, used: 40, availWrap: null });
    }
  });

  it('has windows', async () => {
    const { view } = await setUp(packed);
    const seen = await view(10, 100);
    expect(seen.descriptors.map(({ index }) => index)).toEqual([10, 11, 12, 13, 14, 15]);
    expect((await view(16, 5)).descriptors).toEqual([]);
  });

  it('drops what the device came past while the rings were read', async () => {
    const { driver, transport, offer } = await setUp(packed);
    await transport.controlQueue(0, { op: 'pause' });
    for (const sector of [1, 2, 3]) offer(VIRTIO_BLK_T_IN, sector, true);
    await driver.notify(0);
    const before = await transport.inspection(0);
    expect(inspectQueue(before)).toHaveLength(3);
    let looks = 0;
    const look = async () => {
      if (looks++ > 0) {
        // The device takes two of them between the two looks.
        await transport.controlQueue(0, { op: 'step', chains: 2 });
        await driver.used(driver.queues[0]);
        await driver.used(driver.queues[0]);
      }
      return transport.inspection(0);
    };
    const decoder = queueDecoder('virtio-blk', 'requestq');
    const seen = await viewQueue({
      device: 'drive0',
      name: 'requestq',
      decoder,
      control: null,
      from: 0,
      count: 16,
      look,
    });
    expect(seen.moved).toBe(2);
    expect(seen.chains.map(({ state, detail }) => [state, detail])).toEqual([['available', 3]]);
    expect(states(seen.descriptors).filter((state) => state === 'available')).toHaveLength(1);
    await transport.controlQueue(0, { op: 'clear' });
  });

  it('is refused of a queue that is not set up', async () => {
    const { driver, view } = await setUp(packed);
    await driver.reset();
    await expect(view()).rejects.toThrow('has not been set up');
  });
});
