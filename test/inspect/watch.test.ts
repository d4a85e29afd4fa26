/** A watched queue: requests from available to used, and what a person does to them. Driver and worker are real. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import {
  MARK_DROPPED,
  MARK_INTERRUPT,
  MARK_NOTIFIED,
  MARK_STARTED,
  MARK_STOPPED,
  MARK_SUPPRESSED,
  REQUEST_TIMES,
  REQUEST_WORDS,
} from '../../core/api/inspect.ts';
import type { QueueBatch, QueueCommand, QueueControl } from '../../core/api/inspect.ts';
import { QueueFeed } from '../../core/inspect/queue-feed.ts';
import { BlkDevice } from '../../core/virtio/blk/device.ts';
import { ringFeatureBits } from '../../core/virtio/queue/ring-features.ts';
import {
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from '../../core/virtio/spec/blk.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import type { BlkAnswer } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

let bench: VirtioBench;
beforeAll(() => (bench = new VirtioBench()));
afterEach(() => bench.clear());
afterAll(() => bench.close());

async function setUp(rings: Parameters<typeof ringFeatureBits>[0] = {}) {
  const driver = await bench.attach(new BlkDevice({ id: 'drive0', disk: FakeDisk.create() }), {
    ringFeatures: ringFeatureBits(rings),
  });
  await driver.init();
  const blk = new BlkDriver(driver, bench.allocator);
  const transport = bench.bus.transports.find(({ slot }) => slot === driver.slot)!;
  const buffer = bench.memory.memory.buffer as SharedArrayBuffer;
  const control = (command: QueueCommand): Promise<QueueControl> => transport.controlQueue(0, command);
  const rules = (
    breakpoints: Extract<QueueCommand, { op: 'rules' }>['breakpoints'],
    injections: Extract<QueueCommand, { op: 'rules' }>['injections'] = [],
  ) => control({ op: 'rules', breakpoints, injections });
  /** What a feed has seen, after the worker is done with what it was told of. */
  const settled = async (feed: QueueFeed): Promise<QueueBatch> => {
    await control({ op: 'state' });
    return feed.poll();
  };
  return {
    driver,
    blk,
    transport,
    control,
    rules,
    settled,
    open: () => QueueFeed.open({ transport, queue: 0, buffer }),
  };
}

/** Requests of a batch as objects. */
function requests({ count, times, words }: QueueBatch['done']) {
  return Array.from({ length: count }, (_, i) => {
    const [available, popped, pushed, used] = times.subarray(REQUEST_TIMES * i);
    const [head, position, length, written, type, status, low, high] = words.subarray(REQUEST_WORDS * i);
    return {
      available,
      popped,
      pushed,
      used,
      head,
      position,
      length,
      written,
      type,
      status,
      sector: low + high * 2 ** 32,
    };
  });
}

const marks = ({ markTimes, markWords }: QueueBatch) =>
  Array.from(markTimes, (time, i) => ({ time, kind: markWords[2 * i], count: markWords[2 * i + 1] }));

/** Makes a request available and tells the device; the answer comes later. */
async function begin(
  { driver, blk }: { driver: BlkDriver['driver']; blk: BlkDriver },
  type: number,
  sector: number,
  bytes = 512,
) {
  const prepared = blk.prepare(
    type,
    sector,
    new Uint8Array(type === VIRTIO_BLK_T_OUT ? bytes : 0),
    type === VIRTIO_BLK_T_IN ? bytes : 0,
  );
  driver.add(driver.queues[0], prepared.buffers);
  await driver.kick(driver.queues[0]);
  return { finish: async (): Promise<BlkAnswer> => prepared.answer((await driver.used(driver.queues[0])).length) };
}

describe.each([
  ['split', {}],
  ['packed', { packed: true }],
  ['packed in order', { packed: true, inOrder: true }],
  ['split in order', { inOrder: true }],
])('the feed of a %s ring', (_, rings) => {
  it('has each request from available to used, with its type, sector and status', async () => {
    const { blk, open, settled } = await setUp(rings);
    await blk.read(3, 1);
    const feed = await open();
    await blk.write(8, new Uint8Array(1024));
    await blk.read(2 ** 20, 1);
    await blk.flush();
    const batch = await settled(feed);
    const found = requests(batch.done);
    expect(found.map(({ type, sector, status, length }) => ({ type, sector, status, length }))).toEqual([
      { type: VIRTIO_BLK_T_OUT, sector: 8, status: VIRTIO_BLK_S_OK, length: 16 + 1024 + 1 },
      { type: VIRTIO_BLK_T_IN, sector: 2 ** 20, status: VIRTIO_BLK_S_IOERR, length: 16 + 512 + 1 },
      { type: VIRTIO_BLK_T_FLUSH, sector: 0, status: VIRTIO_BLK_S_OK, length: 16 + 1 },
    ]);
    for (const { available, popped, pushed, used } of found) {
      expect(available).toBeLessThanOrEqual(popped);
      expect(popped).toBeLessThanOrEqual(pushed);
      expect(pushed).toBeLessThanOrEqual(used);
      expect(used).toBeLessThanOrEqual(batch.to);
    }
    expect(batch.histogram.reduce((sum, n) => sum + n)).toBe(3);
    expect(batch.counters.used).toBe(4);
    expect(batch.open.count).toBe(0);
    expect(batch.leftOut + batch.lost).toBe(0);
    const kinds = marks(batch).map(({ kind }) => kind);
    expect(kinds[0]).toBe(MARK_STARTED);
    expect(kinds).toContain(MARK_NOTIFIED);
    // A driver that polls leaves used_event behind.
    expect(kinds.some((kind) => kind === MARK_INTERRUPT || kind === MARK_SUPPRESSED)).toBe(true);
    await feed.close();
    await blk.read(0, 1);
    expect(feed.poll().done.count).toBe(0);
  });

  it('goes on after a reset', async () => {
    const { driver, blk, open, settled } = await setUp(rings);
    const feed = await open();
    await blk.read(1, 1);
    await driver.init();
    await blk.read(2, 1);
    expect(requests((await settled(feed)).done).map(({ sector }) => sector)).toEqual([1, 2]);
    await feed.close();
  });

  it('shows a request that stands at a breakpoint as in flight', async () => {
    const set = await setUp(rings);
    const feed = await set.open();
    await set.rules([{ id: 'b', match: { detail: { from: 9, to: 9 } } }]);
    const first = await begin(set, VIRTIO_BLK_T_IN, 0);
    expect((await first.finish()).status).toBe(VIRTIO_BLK_S_OK);
    const stopped = await begin(set, VIRTIO_BLK_T_OUT, 8, 1024);
    await until(
      () => set.driver.queues[0].takeUsed() === null && marks(feed.poll()).some(({ kind }) => kind === MARK_STOPPED),
    );
    const { stop, parked, paused, active } = await set.control({ op: 'state' });
    expect({ paused, active, breakpoint: stop?.breakpoint, kind: stop?.kind }).toEqual({
      paused: true,
      active: true,
      breakpoint: 'b',
      kind: 'request',
    });
    expect(parked?.head).toBe(stop?.head);
    const { open } = feed.poll();
    expect(requests(open).map(({ type, sector, used }) => ({ type, sector, used }))).toEqual([
      { type: VIRTIO_BLK_T_OUT, sector: 8, used: NaN },
    ]);
    await set.control({ op: 'resume' });
    expect((await stopped.finish()).status).toBe(VIRTIO_BLK_S_OK);
    await feed.close();
  });

  it('gives what stands at a breakpoint back to the ring when the queue stops, and the next run has it', async () => {
    const set = await setUp(rings);
    await set.rules([{ id: 'b', match: {} }]);
    await begin(set, VIRTIO_BLK_T_IN, 5);
    let state = await set.control({ op: 'state' });
    while (state.stop === null) state = await set.control({ op: 'state' });
    await set.driver.init();
    state = await set.control({ op: 'state' });
    expect({ paused: state.paused, stop: state.stop, parked: state.parked }).toEqual({
      paused: false,
      stop: null,
      parked: null,
    });
    expect(state.breakpoints).toMatchObject([{ id: 'b', hits: 1 }]);
    await set.control({ op: 'clear' });
    expect((await set.blk.read(0, 1)).status).toBe(VIRTIO_BLK_S_OK);
  });

  it('steps chain by chain', async () => {
    const set = await setUp(rings);
    await set.control({ op: 'pause' });
    const answers = [];
    for (const sector of [0, 1, 2]) answers.push(await begin(set, VIRTIO_BLK_T_IN, sector));
    const queue = set.driver.queues[0];
    // What is asked for now is obeyed after the worker has looked at the queue again.
    await set.control({ op: 'state' });
    expect(queue.takeUsed()).toBe(null);
    await set.control({ op: 'step', chains: 1 });
    expect((await answers[0].finish()).status).toBe(VIRTIO_BLK_S_OK);
    await set.control({ op: 'state' });
    expect(queue.takeUsed()).toBe(null);
    await set.control({ op: 'resume' });
    expect((await answers[1].finish()).status).toBe(VIRTIO_BLK_S_OK);
    expect((await answers[2].finish()).status).toBe(VIRTIO_BLK_S_OK);
    expect((await set.control({ op: 'state' })).active).toBe(false);
  });

  it('injects errors, so many and no more', async () => {
    const set = await setUp(rings);
    const match = { types: [VIRTIO_BLK_T_OUT] };
    await set.rules(
      [],
      [
        { id: 'io', kind: 'error', match, status: null, count: 1, probability: 1 },
        { id: 'un', kind: 'error', match, status: VIRTIO_BLK_S_UNSUPP, count: 1, probability: 1 },
        { id: 'never', kind: 'error', match, status: null, count: null, probability: 0 },
      ],
    );
    const data = new Uint8Array(512).fill(7);
    expect((await set.blk.read(0, 1)).status).toBe(VIRTIO_BLK_S_OK);
    expect((await set.blk.write(1, data)).status).toBe(VIRTIO_BLK_S_IOERR);
    expect((await set.blk.write(1, data)).status).toBe(VIRTIO_BLK_S_UNSUPP);
    expect((await set.blk.read(1, 1)).data).toEqual(new Uint8Array(512));
    expect((await set.blk.write(1, data)).status).toBe(VIRTIO_BLK_S_OK);
    const { injections } = await set.control({ op: 'state' });
    expect(injections.map(({ rule, hits, left }) => [rule.id, hits, left])).toEqual([
      ['io', 1, 0],
      ['un', 1, 0],
      ['never', 0, null],
    ]);
  });

  it('delays what the driver learns, and lets it out when it is cleared', async () => {
    const set = await setUp(rings);
    await set.rules([], [{ id: 'd', kind: 'delay', match: {}, delay: 600_000, count: 1, probability: 1 }]);
    const slow = await begin(set, VIRTIO_BLK_T_IN, 0);
    let state = await set.control({ op: 'state' });
    while (state.delayed === 0) state = await set.control({ op: 'state' });
    expect(set.driver.queues[0].takeUsed()).toBe(null);
    await set.control({ op: 'clear' });
    expect((await slow.finish()).status).toBe(VIRTIO_BLK_S_OK);
  });

  it('lets a delay pass by itself', async () => {
    const set = await setUp(rings);
    const feed = await set.open();
    await set.rules([], [{ id: 'd', kind: 'delay', match: {}, delay: 20, count: 1, probability: 1 }]);
    expect((await set.blk.read(0, 1)).status).toBe(VIRTIO_BLK_S_OK);
    const [{ popped, used }] = requests((await set.settled(feed)).done);
    expect(used - popped).toBeGreaterThanOrEqual(20e6);
    await feed.close();
  });

  it('drops an interrupt that the driver wants', async () => {
    const set = await setUp(rings);
    const feed = await set.open();
    await set.rules([], [{ id: 'i', kind: 'drop-interrupt', count: 1, probability: 1 }]);
    await set.driver.handleInterrupt();
    await set.blk.read(0, 1);
    expect(marks(await set.settled(feed)).filter(({ kind }) => kind === MARK_DROPPED)).toHaveLength(1);
    expect(await set.driver.handleInterrupt()).toBe(0);
    await feed.close();
  });

  it('stops after a request that took too long', async () => {
    const set = await setUp(rings);
    await set.rules([{ id: 'slow', match: {}, latency: 0 }]);
    expect((await set.blk.read(0, 1)).status).toBe(VIRTIO_BLK_S_OK);
    const state = await set.control({ op: 'state' });
    expect(state).toMatchObject({ paused: true, stop: { breakpoint: 'slow', kind: 'latency' }, parked: null });
  });

  it('survives everything at once, and a machine that pauses', async () => {
    const set = await setUp(rings);
    await set.rules(
      [{ id: 'b', match: { length: { min: 0, max: 1e6 } } }],
      [{ id: 'd', kind: 'delay', match: {}, delay: 600_000, count: null, probability: 1 }],
    );
    const first = await begin(set, VIRTIO_BLK_T_IN, 0);
    let state = await set.control({ op: 'state' });
    while (state.stop === null) state = await set.control({ op: 'state' });
    await bench.iothread.quiesce();
    state = await set.control({ op: 'step', chains: 1 });
    expect(state.parked).not.toBe(null);
    await bench.iothread.resume();
    while (state.delayed === 0) state = await set.control({ op: 'state' });
    // A reset that comes now finds a queue that stops at once.
    await set.driver.reset();
    await set.driver.init();
    await set.control({ op: 'clear' });
    expect((await set.blk.read(0, 1)).status).toBe(VIRTIO_BLK_S_OK);
    expect(first).toBeDefined();
    expect(bench.crashes).toEqual([]);
  });
});
