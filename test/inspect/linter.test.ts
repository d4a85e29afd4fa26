/** The linter: each rule, broken by a driver, is found; one that keeps them all is found to do nothing. */
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import type { LintFinding } from '../../core/api/lint.ts';
import { createEventRing } from '../../core/inspect/event-ring.ts';
import { SilenceLinter } from '../../core/inspect/silence.ts';
import { BlkDevice } from '../../core/virtio/blk/device.ts';
import { DriverLinter } from '../../core/virtio/lint/driver-linter.ts';
import { LintFindings, mergeFindings } from '../../core/virtio/lint/findings.ts';
import { LINT_RULES } from '../../core/virtio/lint/rules.ts';
import { ringFeatureBits } from '../../core/virtio/queue/ring-features.ts';
import {
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_RANGE_F_UNMAP,
  VIRTIO_BLK_RANGE_SIZE,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from '../../core/virtio/spec/blk.ts';
import { VIRTIO_F_VERSION_1, featureMask } from '../../core/virtio/spec/features.ts';
import * as reg from '../../core/virtio/spec/mmio.ts';
import {
  STATUS_ACKNOWLEDGE,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FEATURES_OK,
} from '../../core/virtio/spec/status.ts';
import {
  VIRTQ_AVAIL_IDX,
  VIRTQ_AVAIL_RING,
  VIRTQ_DESC_LEN,
  VIRTQ_DESC_SIZE,
  VIRTQ_USED_IDX,
} from '../../core/virtio/spec/split-ring.ts';
import { CONTROL_BASE, CTL_RUN, RUN_RUNNING } from '../../core/worker/layout.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { VirtioBench } from '../harness/virtio-bench.ts';

let bench: VirtioBench;
beforeAll(() => (bench = new VirtioBench()));
afterEach(() => bench.clear());
afterAll(() => bench.close());

async function setUp(rings: Parameters<typeof ringFeatureBits>[0] = {}) {
  const driver = await bench.attach(new BlkDevice({ id: 'drive0', disk: FakeDisk.create() }), {
    ringFeatures: ringFeatureBits(rings),
  });
  const transport = bench.bus.transports.find(({ slot }) => slot === driver.slot)!;
  const rules = async () => (await transport.findings()).map(({ rule, count }) => `${rule} ${count}`).sort();
  const watch = () => transport.observeQueue(0, { ring: createEventRing(1024), epoch: 0 });
  return { driver, transport, rules, watch, blk: new BlkDriver(driver, bench.allocator) };
}

describe('a driver that does all it must', () => {
  it.each([
    ['split', {}],
    ['packed', { packed: true }],
  ])('is found to do nothing wrong in a %s ring', async (_, rings) => {
    const { driver, blk, watch, transport } = await setUp(rings);
    await watch();
    await driver.init();
    driver.indirect = true;
    await blk.write(0, new Uint8Array(1024));
    await blk.read(0, 2);
    await blk.flush();
    await driver.readConfig(0, 4);
    await driver.readConfig(4, 4);
    await driver.reset();
    await driver.init();
    await blk.read(1, 1);
    expect(await transport.findings()).toEqual([]);
  });
});

describe('at the registers', () => {
  it('finds what is done out of order', async () => {
    const { driver, rules } = await setUp();
    await driver.reset();
    await driver.writeStatus(STATUS_DRIVER);
    await driver.writeStatus(STATUS_ACKNOWLEDGE);
    expect(await rules()).toEqual(['status-order 2']);
  });

  it('finds features that were not offered, come too late, or leave out VERSION_1', async () => {
    const { driver, rules } = await setUp();
    await driver.negotiate();
    await driver.writeFeatures(0n, 2);
    await driver.reset();
    await driver.addStatus(STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    await driver.writeFeatures(featureMask(VIRTIO_F_VERSION_1, 50), 2);
    await driver.addStatus(STATUS_FEATURES_OK);
    await driver.reset();
    await driver.addStatus(STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    await driver.writeFeatures(0n, 2);
    await driver.addStatus(STATUS_FEATURES_OK);
    expect(await rules()).toEqual(['features-late 2', 'features-unoffered 1', 'version-1 1']);
  });

  it('finds that FEATURES_OK is not read back, and kicks that come too early', async () => {
    const { driver, rules } = await setUp();
    const bits = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
    await driver.reset();
    await driver.writeStatus(bits);
    await driver.writeFeatures(await driver.readFeatures(2), 2);
    await driver.writeStatus(bits | STATUS_FEATURES_OK);
    await driver.setUpQueues(16);
    await driver.notify(0);
    await driver.writeStatus(bits | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
    expect(await rules()).toEqual(['early-notify 1', 'features-ok-unread 1']);
    // Nor after a reset, whether the device becomes live again or not.
    await driver.reset();
    await driver.notify(0);
    await driver.reset();
    expect(await rules()).toEqual(['early-notify 2', 'features-ok-unread 1']);
  });

  it('finds queues that are wrong, busy or not there', async () => {
    const { driver, transport, rules } = await setUp();
    await driver.init();
    await driver.write(reg.MMIO_QUEUE_SEL, 0);
    await driver.write(reg.MMIO_QUEUE_SIZE, 8);
    await driver.write(reg.MMIO_QUEUE_SEL, 99);
    await driver.write(reg.MMIO_QUEUE_SIZE, 8);
    await driver.write(reg.MMIO_QUEUE_READY, 1);
    await driver.read(reg.MMIO_QUEUE_NOTIFY);
    await driver.writeConfig(0, 4, 1);
    expect(await rules()).toEqual(['config-readonly 1', 'queue-busy 1', 'queue-missing 2', 'register-access 1']);
    await transport.findings(true);
    expect(await rules()).toEqual([]);
    await driver.negotiate();
    const queue = await driver.setUpQueue(0, 16);
    await driver.write(reg.MMIO_QUEUE_READY, 0);
    await driver.writeQueueAreas({ areas: { ...queue.areas, descriptorArea: queue.areas.descriptorArea + 4 } });
    await driver.write(reg.MMIO_QUEUE_READY, 1);
    await driver.addStatus(STATUS_DRIVER_OK);
    expect(await transport.findings()).toMatchObject([
      {
        rule: 'queue-setup',
        severity: 'must',
        examples: [{ queue: 0, detail: expect.stringContaining('multiple of 16') }],
      },
    ]);
  });

  it('finds a field that changed while it was read, unless it is read again', () => {
    const linter = new DriverLinter();
    const read = (offset: number, generation: number) => linter.configRead(offset, 4, generation);
    for (const generation of [1, 1]) read(0, generation);
    read(4, 1);
    expect(linter.findings.counts).toEqual([]);
    read(0, 1);
    read(4, 2);
    read(0, 2);
    read(4, 2);
    read(20, 2);
    expect(linter.findings.counts).toEqual([]);
    read(0, 2);
    read(4, 3);
    read(20, 3);
    expect(linter.findings.counts).toMatchObject([{ rule: 'config-torn', count: 1 }]);
  });
});

describe('in the ring', () => {
  it('finds what the device stops at, watched or not', async () => {
    const { driver, transport } = await setUp();
    await driver.init();
    driver.queues[0].add([{ address: 0x1000, length: 16 }]);
    await driver.notify(0);
    let found: LintFinding[] = [];
    while (found.length === 0) found = await transport.findings();
    expect(found).toMatchObject([{ rule: 'outside-ram', section: '2.7.5', count: 1, examples: [{ queue: 0 }] }]);
  });

  it('finds needless notifications, reserved flags and odd requests while it watches', async () => {
    const { driver, blk, watch, rules } = await setUp({ eventIdx: false });
    await driver.init();
    await watch();
    await blk.request(VIRTIO_BLK_T_FLUSH, 5);
    await blk.request(VIRTIO_BLK_T_IN, 0, undefined, 100);
    const [queue] = driver.queues;
    const { buffers } = blk.prepare(VIRTIO_BLK_T_IN, 0, new Uint8Array(0), 512);
    bench.memory.storeU16(queue.areas.driverArea, 1 << 3);
    const head = queue.add(buffers);
    const flagsAt = queue.areas.descriptorArea + 16 * head + 12;
    bench.memory.writeU16(flagsAt, bench.memory.readU16(flagsAt) | 0x20);
    await driver.kick(queue);
    await driver.used(queue);
    bench.memory.storeU16(queue.areas.driverArea, 0);
    // Every buffer that was seen excuses one notification; the queue's size those from before the watch.
    let findings = await rules();
    for (let i = 0; i < 1000 && !findings.some((rule) => rule.startsWith('notify-empty')); i++) {
      await driver.notify(0);
      findings = await rules();
    }
    expect(findings.map((finding) => finding.split(' ')[0])).toEqual([
      'avail-flags',
      'blk-flush-sector',
      'blk-size',
      'flags-reserved',
      'notify-empty',
    ]);
  });

  it('finds what is asked for without its feature, and requests that are not whole', async () => {
    const { driver, blk, watch, rules } = await setUp();
    await driver.init({ without: [VIRTIO_BLK_F_DISCARD] });
    await watch();
    const range = new Uint8Array(VIRTIO_BLK_RANGE_SIZE);
    range[12] = VIRTIO_BLK_RANGE_F_UNMAP;
    await blk.request(VIRTIO_BLK_T_DISCARD, 0, range);
    await blk.request(VIRTIO_BLK_T_WRITE_ZEROES, 0, range.subarray(4));
    await blk.request(VIRTIO_BLK_T_FLUSH, 0, range);
    await blk.request(VIRTIO_BLK_T_GET_ID, 0, undefined, 12);
    expect(await rules()).toEqual([
      'blk-discard-unmap 1',
      'blk-flush-data 1',
      'blk-id-size 1',
      'blk-range-size 1',
      'not-negotiated 1',
    ]);
  });

  it('finds what a driver writes where the device reads, and where only the device writes', async () => {
    const { driver, blk, watch, transport, rules } = await setUp({ eventIdx: false });
    await driver.init();
    await watch();
    const [queue] = driver.queues;
    const { memory } = bench;

    // It changes a descriptor that the device has taken.
    const match = { types: [VIRTIO_BLK_T_IN] };
    await transport.controlQueue(0, { op: 'rules', breakpoints: [{ id: 'b', match }], injections: [] });
    const head = queue.add(blk.prepare(VIRTIO_BLK_T_IN, 0, new Uint8Array(0), 512).buffers);
    await driver.kick(queue);
    while ((await transport.controlQueue(0, { op: 'state' })).parked === null);
    const lengthAt = queue.areas.descriptorArea + VIRTQ_DESC_SIZE * head + VIRTQ_DESC_LEN;
    memory.writeU32(lengthAt, memory.readU32(lengthAt) + 1);
    await transport.controlQueue(0, { op: 'clear' });
    await driver.used(queue);
    expect(await rules()).toEqual(['in-flight-changed 1']);

    // It sets the device's index.
    const idxAt = queue.areas.deviceArea + VIRTQ_USED_IDX;
    memory.storeU16(idxAt, memory.loadU16(idxAt) + 7);
    queue.add(blk.prepare(VIRTIO_BLK_T_FLUSH, 0, new Uint8Array(0), 0).buffers);
    await driver.kick(queue);
    let found = await rules();
    while (found.length < 2) found = await rules();
    expect(found).toEqual(['in-flight-changed 1', 'used-written 1']);

    // It offers what the device has.
    await driver.init();
    const delay = { id: 'd', kind: 'delay', delay: 600_000, match: {}, count: null, probability: 1 } as const;
    await transport.controlQueue(0, { op: 'rules', breakpoints: [], injections: [delay] });
    const [fresh] = driver.queues;
    const again = fresh.add(blk.prepare(VIRTIO_BLK_T_FLUSH, 0, new Uint8Array(0), 0).buffers);
    const availAt = fresh.areas.driverArea;
    memory.writeU16(availAt + VIRTQ_AVAIL_RING + 2, again);
    memory.storeU16(availAt + VIRTQ_AVAIL_IDX, 2);
    await driver.notify(0);
    while (found.length < 3) found = await rules();
    expect(found).toEqual(['in-flight-again 1', 'in-flight-changed 1', 'used-written 1']);
    await transport.controlQueue(0, { op: 'clear' });
  });

  it('finds notifications that nobody asked for, with VIRTIO_F_EVENT_IDX', async () => {
    const { driver, blk, watch, transport } = await setUp();
    await driver.init();
    await watch();
    for (let sector = 0; sector < 40; sector++) await blk.read(sector, 1);
    expect(await transport.findings()).toEqual([]);
    let found: LintFinding[] = [];
    for (let i = 0; i < 1000 && found.length === 0; i++) {
      await driver.notify(0);
      found = await transport.findings();
    }
    expect(found).toMatchObject([{ rule: 'notify-unwanted', severity: 'should', section: '2.7.10.1' }]);
  });

  it('finds a used ring that was not cleared', async () => {
    const { driver, rules } = await setUp();
    await driver.negotiate();
    const queue = await driver.setUpQueue(0, 16);
    bench.memory.storeU16(queue.areas.deviceArea, 1);
    await driver.addStatus(STATUS_DRIVER_OK);
    expect(await rules()).toEqual(['used-flags 1']);
  });

  it('finds buffers of which the device is never told', async () => {
    const { driver, blk, transport } = await setUp();
    await driver.init();
    await blk.read(0, 1);
    const buffer = bench.memory.memory.buffer as SharedArrayBuffer;
    Atomics.store(new Int32Array(buffer, CONTROL_BASE + CTL_RUN, 1), 0, RUN_RUNNING);
    let now = 0;
    const linter = new SilenceLinter(buffer, () => now);
    const rules = async () => {
      await linter.look(transport);
      return (await transport.findings()).map(({ rule, count }) => `${rule} ${count}`);
    };
    expect(await rules()).toEqual([]);
    const [queue] = driver.queues;
    queue.add(blk.prepare(VIRTIO_BLK_T_FLUSH, 0, new Uint8Array(0), 0).buffers);
    // It may be on its way.
    expect(await rules()).toEqual([]);
    now = 2000;
    expect(await rules()).toEqual([]);
    now = 4000;
    expect(await rules()).toEqual(['notify-missing 1']);
    now = 9000;
    expect(await rules()).toEqual(['notify-missing 1']);
    await driver.kick(queue);
    await driver.used(queue);
    expect(await rules()).toEqual(['notify-missing 1']);
  });

  it('keeps what it found when nobody watches any more', async () => {
    const { driver, blk, transport, watch, rules } = await setUp();
    await driver.init();
    await watch();
    await blk.request(VIRTIO_BLK_T_FLUSH, 5);
    await transport.observeQueue(0, null);
    await blk.request(VIRTIO_BLK_T_FLUSH, 5);
    expect(await rules()).toEqual(['blk-flush-sector 1']);
  });
});

describe('findings', () => {
  it('are bounded, and merged with the most serious first', () => {
    const [a, b] = [new LintFindings(), new LintFindings()];
    for (let i = 0; i < 1000; i++) a.add('notify-empty', 0, () => `${i}`);
    for (let i = 0; i < 10; i++) b.add('notify-empty', 1, () => `b${i}`);
    b.add('loop', 1, () => 'x');
    const merged = mergeFindings([...a.counts, ...b.counts]);
    expect(merged.map(({ rule, severity, count, examples }) => [rule, severity, count, examples.length])).toEqual([
      ['loop', 'must', 1, 1],
      ['notify-empty', 'should', 1010, 5],
    ]);
  });

  it('are of rules that docs/linter.md has, all of them', () => {
    const text = readFileSync(new URL('../../docs/linter.md', import.meta.url), 'utf8');
    const rows = [...text.matchAll(/^\| `(\S+)` *\| (\S.*?) *\| (\S+) *\| (.*?) *\|$/gm)].map(
      ([, rule, section, severity, title]) => ({
        rule,
        section,
        severity,
        title,
      }),
    );
    expect(rows).toEqual(LINT_RULES.map(({ rule, section, severity, title }) => ({ rule, section, severity, title })));
    expect(new Set(LINT_RULES.map(({ rule }) => rule)).size).toBe(LINT_RULES.length);
  });
});
