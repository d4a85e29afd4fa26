/** The virtio-mmio transport, driven register by register (virtio 1.3, section 4.2). */
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';

import { VIRTIO_IRQ, VIRTIO_PHYS, VIRTIO_SLOT_SIZE } from '../../core/machine/virt-map.ts';
import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import { BlkDevice } from '../../core/virtio/blk/device.ts';
import { VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_RO, VIRTIO_BLK_T_IN } from '../../core/virtio/spec/blk.ts';
import {
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_NOTIFY_ON_EMPTY,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
  featureMask,
  hasFeature,
} from '../../core/virtio/spec/features.ts';
import * as reg from '../../core/virtio/spec/mmio.ts';
import {
  STATUS_ACKNOWLEDGE as ACKNOWLEDGE,
  STATUS_DEVICE_NEEDS_RESET as NEEDS_RESET,
  STATUS_DRIVER as DRIVER,
  STATUS_DRIVER_OK as DRIVER_OK,
  STATUS_FEATURES_OK as FEATURES_OK,
} from '../../core/virtio/spec/status.ts';
import { VIRTIO_BASE, VIRTIO_STRIDE, VQ_ISR, VQ_PRESENT } from '../../core/worker/layout.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const LIVE = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
const benches = { modern: new VirtioBench(), legacy: new VirtioBench({ legacy: true }) };
let disk: FakeDisk;

beforeEach(() => {
  disk = FakeDisk.create();
});
afterEach(async () => {
  disk.openGate();
  await benches.modern.clear();
  await benches.legacy.clear();
});
afterAll(async () => {
  await benches.modern.close();
  await benches.legacy.close();
});

const device = () => new BlkDevice({ id: 'drive0', disk });

describe('slots', () => {
  const { bus } = benches.modern;
  const at = (slot: number, offset: number) => VIRTIO_PHYS + slot * VIRTIO_SLOT_SIZE + offset;

  it('are filled from the last one down, as QEMU does, or as told', async () => {
    const attach = (id: string, slot?: number) => bus.attach(new BlkDevice({ id, disk }), { slot });
    expect(await attach('a')).toBe(7);
    expect(await attach('b', 0)).toBe(0);
    expect(await attach('c')).toBe(6);
    await expect(attach('d', 7)).rejects.toMatchObject({ kind: 'bad-option', message: /a is there/ });
    await expect(attach('d', 8)).rejects.toMatchObject({ kind: 'bad-option', message: /use 0 to 7/ });
    for (const id of ['e', 'f', 'g', 'h', 'i']) await attach(id);
    await expect(attach('j')).rejects.toMatchObject({ kind: 'too-large' });
    expect(bus.snapshot().map(({ id }) => id)).toEqual(['b', 'i', 'h', 'g', 'f', 'e', 'c', 'a']);
    await bus.detach(3);
    expect(await attach('j')).toBe(3);
  });

  it('without a device have magic, version, vendor and DeviceID 0, and take no writes', async () => {
    const registers = [reg.MMIO_MAGIC_VALUE, reg.MMIO_VERSION, reg.MMIO_DEVICE_ID, reg.MMIO_VENDOR_ID, reg.MMIO_STATUS];
    expect(registers.map((register) => bus.read(at(4, register), 4))).toEqual([0x74726976, 2, 0, 0x554d4551, 0]);
    expect(benches.legacy.bus.read(at(4, reg.MMIO_VERSION), 4)).toBe(1);
    await bus.write(at(4, reg.MMIO_STATUS), 4, 1);
    expect(bus.read(at(4, reg.MMIO_STATUS), 4)).toBe(0);
  });

  it.each([
    ['the first byte', 0, 0, 1, true],
    ['the last register word', 7, 0x1fc, 4, true],
    ['behind the registers', 0, 0x200, 4, false],
    ['8 bytes', 0, 0, 8, false],
    ['misaligned', 0, 2, 4, false],
    ['below', 0, -4, 4, false],
    ['above', 8, 0, 4, false],
  ])('accept an access or not: %s', (_what, slot, offset, size, accepted) => {
    expect(bus.accepts(at(slot, offset), size)).toBe(accepted);
  });

  it('tell harts of their device in shared words', async () => {
    const present = () =>
      new Int32Array(benches.modern.memory.memory.buffer, VIRTIO_BASE + 7 * VIRTIO_STRIDE, 1)[VQ_PRESENT];
    expect(present()).toBe(0);
    await bus.attach(device());
    expect(present()).toBe(1);
    await bus.detach(7);
    expect(present()).toBe(0);
  });
});

describe('version 2', () => {
  const bench = benches.modern;

  it('identifies the device and offers 64 feature bits', async () => {
    const driver = await bench.attach(device());
    expect(await driver.read(reg.MMIO_VERSION)).toBe(2);
    expect(await driver.read(reg.MMIO_DEVICE_ID)).toBe(2);
    expect(await driver.read(reg.MMIO_VENDOR_ID)).toBe(0x554d4551);
    const offered = await driver.readFeatures(2);
    for (const bit of [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1, VIRTIO_F_RING_RESET]) {
      expect(hasFeature(offered, bit)).toBe(true);
    }
    expect(hasFeature(offered, VIRTIO_F_ANY_LAYOUT)).toBe(false);
    await driver.write(reg.MMIO_DEVICE_FEATURES_SEL, 2);
    expect(await driver.read(reg.MMIO_DEVICE_FEATURES)).toBe(0);
  });

  it('reads all ones for shared memory, 0 for what cannot be read, and notes it', async () => {
    const driver = await bench.attach(device());
    await driver.write(reg.MMIO_SHM_SEL, 0);
    for (const register of [
      reg.MMIO_SHM_LEN_LOW,
      reg.MMIO_SHM_LEN_HIGH,
      reg.MMIO_SHM_BASE_LOW,
      reg.MMIO_SHM_BASE_HIGH,
    ]) {
      expect(await driver.read(register)).toBe(0xffff_ffff);
    }
    expect(bench.notes).toEqual([]);
    expect(await driver.read(reg.MMIO_QUEUE_SEL)).toBe(0);
    expect(await driver.read(reg.MMIO_QUEUE_PFN)).toBe(0);
    expect(await driver.read(reg.MMIO_STATUS, 1)).toBe(0);
    await driver.write(reg.MMIO_STATUS, 1, 2);
    await driver.write(reg.MMIO_MAGIC_VALUE, 0);
    await driver.write(reg.MMIO_QUEUE_PFN, 1);
    expect(await driver.status()).toBe(0);
    expect(bench.notes).toHaveLength(6);
  });

  it('refuses features that it did not offer, says why, and lets the driver try again', async () => {
    const driver = await bench.attach(device());
    await driver.addStatus(ACKNOWLEDGE | DRIVER);
    await driver.writeFeatures(featureMask(VIRTIO_BLK_F_MQ, VIRTIO_F_VERSION_1), 2);
    await driver.addStatus(FEATURES_OK | DRIVER_OK);
    expect(await driver.status()).toBe(ACKNOWLEDGE | DRIVER);
    const [snapshot] = bench.bus.snapshot();
    expect(snapshot.error).toMatch(/FEATURES_OK refused: the driver accepted VIRTIO_BLK_F_MQ \(bit 12\)/);
    expect(snapshot.features.find(({ bit }) => bit === VIRTIO_BLK_F_MQ)).toMatchObject({ offered: false });
    await driver.writeFeatures(featureMask(VIRTIO_F_VERSION_1), 2);
    await driver.addStatus(FEATURES_OK);
    expect(await driver.status()).toBe(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    expect(bench.bus.snapshot()[0].error).toBeNull();
    await driver.writeFeatures(featureMask(VIRTIO_BLK_F_RO), 1);
    expect(bench.bus.snapshot()[0].negotiatedFeatures).toBe('0x100000000');
  });

  it('works for a driver that never selects the high feature word (xv6)', async () => {
    const driver = await bench.attach(device(), { slot: 0 });
    await driver.write(reg.MMIO_STATUS, 0);
    await driver.write(reg.MMIO_STATUS, ACKNOWLEDGE);
    await driver.write(reg.MMIO_STATUS, ACKNOWLEDGE | DRIVER);
    const features = await driver.read(reg.MMIO_DEVICE_FEATURES);
    const unwanted = featureMask(VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_ANY_LAYOUT, 11);
    await driver.write(reg.MMIO_DRIVER_FEATURES, Number(BigInt(features) & ~unwanted));
    await driver.write(reg.MMIO_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    expect(await driver.status()).toBe(ACKNOWLEDGE | DRIVER | FEATURES_OK);
    driver.queues = [await driver.setUpQueue(0, 8)];
    await driver.write(reg.MMIO_STATUS, LIVE);
    disk.data.fill(0x77, 0, 1024);
    const answer = await new BlkDriver(driver, bench.allocator).read(0, 2);
    expect(answer.data).toEqual(new Uint8Array(1024).fill(0x77));
  });

  it('takes no buffer before DRIVER_OK (2.1.2), and then those that were rung for before', async () => {
    const driver = await bench.attach(device());
    await driver.negotiate();
    await driver.setUpQueues(8);
    const { buffers, answer } = new BlkDriver(driver, bench.allocator).prepare(
      VIRTIO_BLK_T_IN,
      0,
      new Uint8Array(),
      512,
    );
    driver.queues[0].add(buffers);
    await driver.notify(0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(driver.queues[0].usedIdx).toBe(0);
    await driver.addStatus(DRIVER_OK);
    expect(answer((await driver.used(driver.queues[0])).length).status).toBe(0);
  });

  it.each([
    ['a size of 0', { size: 0 }, /size was never set/],
    ['too large a size', { size: 2048 }, /size 2048 is more than QueueSizeMax 1024/],
    ['a size that is no power of 2', { size: 100 }, /size 100 is not a power of 2/],
    ['a misaligned descriptor area', { descriptorArea: RAM_BASE + 8 }, /descriptor area 0x80000008 .* multiple of 16/],
    ['a misaligned driver area', { driverArea: RAM_BASE + 1 }, /driver area .* multiple of 2/],
    ['a misaligned device area', { deviceArea: RAM_BASE + 2 }, /device area .* multiple of 4/],
    ['a descriptor area outside RAM', { descriptorArea: 0 }, /descriptor area \[0x0, \+128\) is not in guest RAM/],
    ['a driver area outside RAM', { driverArea: 2 ** 40 }, /driver area \[0x10000000000, .* not in guest RAM/],
    [
      'a device area that ends behind RAM',
      { deviceArea: RAM_BASE + (16 << 20) - 64 },
      /device area .* not in guest RAM/,
    ],
    ['an area at the end of the address space', { deviceArea: 0xffff_ffff_ffff_fff0n }, /\[0xfffffffffffffff0, /],
  ])('needs a reset for a queue with %s', async (_what, wrong, reason) => {
    const driver = await bench.attach(device());
    await driver.negotiate();
    const areas = {
      descriptorArea: RAM_BASE,
      driverArea: RAM_BASE + 4096,
      deviceArea: RAM_BASE + 8192,
      size: 8,
      ...wrong,
    };
    await driver.write(reg.MMIO_QUEUE_SEL, 0);
    await driver.write(reg.MMIO_QUEUE_SIZE, areas.size);
    for (const [low, area] of [
      [reg.MMIO_QUEUE_DESC_LOW, areas.descriptorArea],
      [reg.MMIO_QUEUE_DRIVER_LOW, areas.driverArea],
      [reg.MMIO_QUEUE_DEVICE_LOW, areas.deviceArea],
    ] as const) {
      await driver.write(low, Number(BigInt(area) & 0xffff_ffffn));
      await driver.write(low + 4, Number(BigInt(area) >> 32n));
    }
    await driver.write(reg.MMIO_QUEUE_READY, 1);
    await driver.addStatus(DRIVER_OK);
    expect(await driver.status()).toBe(LIVE | NEEDS_RESET);
    // Section 2.1.2: with DRIVER_OK set, the driver is told.
    expect(await driver.read(reg.MMIO_INTERRUPT_STATUS)).toBe(reg.ISR_CONFIG_CHANGE);
    const [snapshot] = bench.bus.snapshot();
    expect(snapshot.error).toMatch(reason);
    expect(snapshot.queues[0].error).toMatch(reason);
    await driver.init();
    expect(await driver.status()).toBe(LIVE);
    expect(bench.bus.snapshot()[0].error).toBeNull();
  });

  it('keeps a queue in use from being configured', async () => {
    const driver = await (await bench.attach(device())).init();
    await driver.write(reg.MMIO_QUEUE_SEL, 0);
    await driver.write(reg.MMIO_QUEUE_SIZE, 4);
    await driver.write(reg.MMIO_QUEUE_DESC_LOW, 0);
    expect(bench.bus.snapshot()[0].queues[0]).toMatchObject({ size: 16, descriptorArea: '0x80000000' });
    expect(bench.notes.filter((note) => note.includes('in use'))).toHaveLength(2);
    await driver.write(reg.MMIO_QUEUE_SEL, 1);
    expect(await driver.read(reg.MMIO_QUEUE_SIZE_MAX)).toBe(0);
    expect(await driver.read(reg.MMIO_QUEUE_READY)).toBe(0);
    await driver.write(reg.MMIO_QUEUE_READY, 1);
    await driver.write(reg.MMIO_QUEUE_SIZE, 1);
  });

  it('resets a single queue (2.6.1), which then can be set up anew', async () => {
    const driver = await (await bench.attach(device())).init();
    const blk = new BlkDriver(driver, bench.allocator);
    await blk.read(0, 1);
    await driver.write(reg.MMIO_QUEUE_SEL, 0);
    await driver.write(reg.MMIO_QUEUE_RESET, 1);
    expect(await driver.read(reg.MMIO_QUEUE_RESET)).toBe(0);
    expect(await driver.read(reg.MMIO_QUEUE_READY)).toBe(0);
    expect(bench.bus.snapshot()[0].queues[0]).toMatchObject({ enabled: false, size: 0 });
    driver.queues = [await driver.setUpQueue(0, 32)];
    expect((await blk.read(0, 1)).status).toBe(0);
    expect(await driver.status()).toBe(LIVE);
  });

  it('resets no queue without the feature', async () => {
    const driver = await (await bench.attach(device())).init({ features: [] });
    await driver.write(reg.MMIO_QUEUE_SEL, 0);
    await driver.write(reg.MMIO_QUEUE_RESET, 1);
    expect(await driver.read(reg.MMIO_QUEUE_READY)).toBe(1);
    expect(bench.notes).toContainEqual(expect.stringMatching(/without VIRTIO_F_RING_RESET/));
  });

  it('stops a queue whose QueueReady is cleared, and not before the worker has let go', async () => {
    const driver = await (await bench.attach(device())).init();
    const blk = new BlkDriver(driver, bench.allocator);
    disk.shutGate();
    const { buffers } = blk.prepare(VIRTIO_BLK_T_IN, 0, new Uint8Array(), 512);
    driver.queues[0].add(buffers);
    await driver.notify(0);
    await until(() => disk.waiting);
    await driver.write(reg.MMIO_QUEUE_SEL, 0);
    let stopped = false;
    const stop = driver.write(reg.MMIO_QUEUE_READY, 0).then(() => (stopped = true));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(stopped).toBe(false);
    disk.openGate();
    await stop;
    expect(await driver.read(reg.MMIO_QUEUE_READY)).toBe(0);
  });

  it('has a configuration generation that moves with the configuration', async () => {
    const block = device();
    const driver = await (await bench.attach(block)).init();
    expect(await driver.read(reg.MMIO_CONFIG_GENERATION)).toBe(0);
    block.host?.configChanged();
    expect(await driver.read(reg.MMIO_CONFIG_GENERATION)).toBe(1);
    expect(await driver.handleInterrupt()).toBe(reg.ISR_CONFIG_CHANGE);
  });
});

describe('version 1', () => {
  const bench = benches.legacy;

  it('has no generation, no QueueReady and only 32 feature bits', async () => {
    const driver = await bench.attach(device());
    expect(await driver.version()).toBe(1);
    const offered = await driver.readFeatures(2);
    for (const bit of [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_ANY_LAYOUT, VIRTIO_F_NOTIFY_ON_EMPTY]) {
      expect(hasFeature(offered, bit)).toBe(true);
    }
    expect(offered >> 32n).toBe(0n);
    expect(await driver.read(reg.MMIO_CONFIG_GENERATION)).toBe(0);
    expect(await driver.read(reg.MMIO_QUEUE_READY)).toBe(0);
    await driver.write(reg.MMIO_QUEUE_READY, 1);
    expect(bench.notes).toHaveLength(3);
  });

  it('is used before DRIVER_OK (3.1.2)', async () => {
    const driver = await bench.attach(device());
    await driver.negotiate();
    await driver.setUpQueues(8);
    expect((await new BlkDriver(driver, bench.allocator).read(0, 1)).status).toBe(0);
  });

  it('takes features that are written after its queues run', async () => {
    const driver = await bench.attach(device());
    driver.features = 0n;
    await driver.write(reg.MMIO_GUEST_PAGE_SIZE, 4096);
    await driver.setUpQueues(8);
    const blk = new BlkDriver(driver, bench.allocator);
    expect((await blk.read(0, 1)).status).toBe(0);
    await driver.writeFeatures(featureMask(VIRTIO_F_INDIRECT_DESC), 1);
    const { buffers, answer } = blk.prepare(VIRTIO_BLK_T_IN, 0, new Uint8Array(), 512);
    driver.queues[0].addIndirect(buffers);
    await driver.notify(0);
    expect(answer((await driver.used(driver.queues[0])).length).status).toBe(0);
    expect(bench.bus.snapshot()[0].queues[0]).toMatchObject({ lastAvailIdx: 2, usedIdx: 2 });
  });

  it('takes of the features only what was offered', async () => {
    const driver = await bench.attach(device());
    await driver.writeFeatures(featureMask(VIRTIO_BLK_F_MQ, VIRTIO_F_EVENT_IDX), 1);
    expect(bench.bus.snapshot()[0].negotiatedFeatures).toBe('0x20000000');
  });

  it('gives a queue up when its page frame is set to 0', async () => {
    const driver = await (await bench.attach(device())).init();
    await driver.write(reg.MMIO_QUEUE_SEL, 0);
    expect(await driver.read(reg.MMIO_QUEUE_PFN)).toBe(driver.queues[0].areas.descriptorArea / 4096);
    await driver.write(reg.MMIO_QUEUE_PFN, 0);
    expect(await driver.read(reg.MMIO_QUEUE_PFN)).toBe(0);
    expect(bench.bus.snapshot()[0].queues[0].enabled).toBe(false);
  });

  it('has defaults for what old drivers do not write: size, alignment', async () => {
    const driver = await bench.attach(device());
    await driver.write(reg.MMIO_GUEST_PAGE_SIZE, 4096);
    await driver.write(reg.MMIO_QUEUE_SEL, 0);
    await driver.write(reg.MMIO_QUEUE_PFN, RAM_BASE / 4096);
    expect(bench.bus.snapshot()[0].queues[0]).toMatchObject({
      enabled: true,
      size: 1024,
      descriptorArea: '0x80000000',
      driverArea: '0x80004000',
      deviceArea: '0x80005000',
      error: null,
    });
  });

  it('shows why a queue cannot run, though the driver has no bit to see it by', async () => {
    const driver = await bench.attach(device());
    await driver.write(reg.MMIO_GUEST_PAGE_SIZE, 4096);
    await driver.write(reg.MMIO_QUEUE_SEL, 0);
    await driver.write(reg.MMIO_QUEUE_PFN, 1);
    expect(await driver.status()).toBe(0);
    expect(bench.bus.snapshot()[0].error).toMatch(/requestq\) cannot run: its descriptor area \[0x1000, /);
  });
});

describe.each(['modern', 'legacy'] as const)('reset, pause and interrupts, %s', (version) => {
  const bench = benches[version];

  it('reset clears everything', async () => {
    const driver = await (await bench.attach(device())).init();
    const blk = new BlkDriver(driver, bench.allocator);
    await blk.read(0, 1);
    await until(() => bench.irq.level(driver.irq) === 1);
    await driver.reset();
    expect(await driver.status()).toBe(0);
    expect(await driver.read(reg.MMIO_INTERRUPT_STATUS)).toBe(0);
    expect(bench.irq.level(driver.irq)).toBe(0);
    expect(bench.bus.snapshot()[0]).toMatchObject({
      negotiatedFeatures: '0x0',
      error: null,
      queues: [{ enabled: false, lastAvailIdx: 0, inFlight: 0, counters: { popped: 0, used: 0 } }],
    });
    await driver.init();
    expect((await blk.read(0, 1)).status).toBe(0);
  });

  it('a reset in the middle of a request waits until the worker has let go, and so does who comes behind', async () => {
    const driver = await (await bench.attach(device())).init();
    const blk = new BlkDriver(driver, bench.allocator);
    disk.data.fill(0x11);
    disk.shutGate();
    const { buffers } = blk.prepare(VIRTIO_BLK_T_IN, 0, new Uint8Array(), 512);
    driver.queues[0].add(buffers);
    await driver.notify(0);
    await until(() => disk.waiting);

    const order: string[] = [];
    const reset = driver.reset().then(() => order.push('reset'));
    const status = driver.status().then((value) => order.push(`status ${value}`));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(order).toEqual([]);
    disk.openGate();
    await Promise.all([reset, status]);
    expect(order).toEqual(['reset', 'status 0']);

    // Nothing of the old queue is touched any more (section 2.4.1).
    const used = driver.queues[0].usedIdx;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(driver.queues[0].usedIdx).toBe(used);
    expect(bench.irq.level(driver.irq)).toBe(0);
    await driver.init();
    expect((await blk.read(0, 1)).data).toEqual(new Uint8Array(512).fill(0x11));
  });

  it('a machine reset resets all devices, and what a device reset leaves', async () => {
    const drivers = [await bench.attach(device()), await bench.attach(new BlkDevice({ id: 'drive1', disk }))];
    for (const driver of drivers) {
      await driver.init();
      await driver.write(reg.MMIO_DEVICE_FEATURES_SEL, 1);
    }
    await drivers[0].reset();
    expect(await drivers[0].read(reg.MMIO_DEVICE_FEATURES)).toBe(version === 'modern' ? 0x101 : 0);
    await bench.bus.reset();
    for (const driver of drivers) {
      expect(await driver.status()).toBe(0);
      expect(await driver.read(reg.MMIO_DEVICE_FEATURES)).not.toBe(version === 'modern' ? 0x101 : 0);
    }
  });

  it('while paused nothing is written to guest RAM; afterwards it goes on', async () => {
    const driver = await (await bench.attach(device())).init();
    const blk = new BlkDriver(driver, bench.allocator);
    await bench.bus.pause();
    const { buffers, answer } = blk.prepare(VIRTIO_BLK_T_IN, 0, new Uint8Array(), 512);
    driver.queues[0].add(buffers);
    await driver.notify(0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(driver.queues[0].usedIdx).toBe(0);
    await bench.bus.resume();
    expect(answer((await driver.used(driver.queues[0])).length).status).toBe(0);
    await bench.bus.pause();
    await driver.reset();
    expect(await driver.status()).toBe(0);
    await bench.bus.resume();
  });

  it('the line follows InterruptStatus, whoever comes first', async () => {
    const driver = await (await bench.attach(device())).init({ features: [] });
    const blk = new BlkDriver(driver, bench.allocator);
    expect(driver.irq).toBe(VIRTIO_IRQ + 7);
    const { mark } = bench.allocator;
    for (let i = 0; i < 200; i++) {
      const { buffers } = blk.prepare(VIRTIO_BLK_T_IN, 0, new Uint8Array(), 512);
      driver.queues[0].add(buffers);
      await driver.notify(0);
      // Acknowledges in a loop while the worker raises.
      while (!driver.queues[0].takeUsed()) await driver.write(reg.MMIO_INTERRUPT_ACK, 3);
      bench.allocator.reset(mark);
    }
    await bench.bus.pause();
    const isr = new Int32Array(bench.memory.memory.buffer, VIRTIO_BASE + 7 * VIRTIO_STRIDE + VQ_ISR, 1);
    expect(bench.irq.level(driver.irq)).toBe(isr[0] === 0 ? 0 : 1);
    await driver.write(reg.MMIO_INTERRUPT_ACK, 3);
    expect(bench.irq.level(driver.irq)).toBe(0);
    await bench.bus.resume();
  });

  it('a queue that the driver has broken stops the device, and says why', async () => {
    const driver = await (await bench.attach(device())).init();
    driver.queues[0].offer(0x1234);
    await driver.notify(0);
    await until(() => bench.bus.snapshot()[0].error !== null);
    const [snapshot] = bench.bus.snapshot();
    expect(snapshot.error).toMatch(/queue 0 \(requestq\): available entry 0 is 4660 .*\(bad-head, 2\.7\.6\)/);
    expect(snapshot.queues[0].error).toBe('bad-head');
    expect((await driver.status()) & NEEDS_RESET).toBe(version === 'modern' ? NEEDS_RESET : 0);
    // It takes nothing more until it is reset.
    const blk = new BlkDriver(driver, bench.allocator);
    driver.queues[0].add(blk.prepare(VIRTIO_BLK_T_IN, 0, new Uint8Array(), 512).buffers);
    await driver.notify(0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(driver.queues[0].takeUsed()).toBeNull();
    await driver.init();
    expect((await blk.read(0, 1)).status).toBe(0);
  });

  it('a request with no room for its status breaks the queue (5.2.6)', async () => {
    const driver = await (await bench.attach(device())).init();
    driver.queues[0].add([{ address: RAM_BASE, length: 16 }]);
    await driver.notify(0);
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/no room for the status \(5\.2\.6\) \(bad-request/);
  });
});
