/** virtio-balloon (virtio 1.3, section 5.5). */
import { fstatSync, readdirSync, readlinkSync } from 'node:fs';

import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import { BalloonDevice } from '../../core/virtio/balloon/device.ts';
import type { BalloonDeviceOptions } from '../../core/virtio/balloon/device.ts';
import { PageSet } from '../../core/virtio/balloon/page-set.ts';
import {
  BALLOON_CONFIG_ACTUAL,
  BALLOON_CONFIG_FREE_PAGE_HINT_CMD_ID,
  BALLOON_CONFIG_NUM_PAGES,
  BALLOON_CONFIG_POISON_VAL,
  BALLOON_DEFLATEQ,
  BALLOON_FREE_PAGE_VQ,
  BALLOON_INFLATEQ,
  BALLOON_REPORTING_VQ,
  BALLOON_STATSQ,
  VIRTIO_BALLOON_CMD_ID_DONE,
  VIRTIO_BALLOON_CMD_ID_STOP,
  VIRTIO_BALLOON_F_PAGE_REPORTING,
  VIRTIO_BALLOON_F_STATS_VQ,
} from '../../core/virtio/spec/balloon.ts';
import { MMIO_QUEUE_SEL, MMIO_QUEUE_SIZE_MAX } from '../../core/virtio/spec/mmio.ts';
import { STATUS_DEVICE_NEEDS_RESET } from '../../core/virtio/spec/status.ts';
import type { MockDriver } from '../harness/mock-driver.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';

const MIB = 2 ** 20;
const RAM = 16 * MIB;
const PAGE = 4096;

const benches = {
  modern: new VirtioBench(),
  legacy: new VirtioBench({ legacy: true }),
  native: new VirtioBench({ host: hostSpec }),
};
afterEach(async () => {
  for (const bench of Object.values(benches)) await bench.clear();
});
afterAll(async () => {
  for (const bench of Object.values(benches)) await bench.close();
});

type Options = Partial<BalloonDeviceOptions>;

async function plug(bench: VirtioBench, options: Options = {}, features?: number[]) {
  const device = new BalloonDevice({ id: 'balloon0', ramSize: RAM, ...options });
  const actual: number[] = [];
  device.onActual = (bytes) => actual.push(bytes);
  const driver = await bench.attach(device);
  await driver.init(features ? { features } : {});
  return { device, driver, actual };
}

/** A buffer of page frame numbers. */
function frames(bench: VirtioBench, addresses: readonly number[]) {
  const bytes = Buffer.from(Uint32Array.from(addresses, (address) => address / PAGE).buffer);
  return [{ address: bench.allocator.put(bytes), length: bytes.length }];
}

/** Pages filled with 0xaa, out of the way of the rings. */
function dirtyPages(bench: VirtioBench, count: number, align = PAGE): number {
  const address = bench.allocator.alloc(count * PAGE, align);
  bench.memory.fill(address, count * PAGE, 0xaa);
  return address;
}

describe.each(['modern', 'legacy'] as const)('virtio-balloon, %s transport', (version) => {
  const bench = benches[version];

  it('asks for pages by num_pages, and tells what the guest has by actual', async () => {
    const { device, driver, actual } = await plug(bench);
    expect(device.target).toBe(RAM);
    device.setTarget(RAM / 2);
    expect(await driver.readConfig(BALLOON_CONFIG_NUM_PAGES, 4)).toBe(RAM / 2 / PAGE);
    expect(await driver.handleInterrupt()).toBe(2);
    await driver.writeConfig(BALLOON_CONFIG_ACTUAL, 4, 100);
    await driver.writeConfig(BALLOON_CONFIG_ACTUAL, 4, 100);
    await driver.writeConfig(BALLOON_CONFIG_ACTUAL, 4, 0xffff_ffff);
    expect(actual).toEqual([RAM - 100 * PAGE, 0]);
    expect(device.actual).toBe(0);
    device.setTarget(2 * RAM);
    expect(await driver.readConfig(BALLOON_CONFIG_NUM_PAGES, 4)).toBe(0);
    for (const bad of [0, -1, NaN]) expect(() => device.setTarget(bad)).toThrow(/leaves no RAM/);
  });

  it('keeps the target over a reset, and the guest has all its pages then', async () => {
    const { device, driver, actual } = await plug(bench);
    device.setTarget(4 * MIB);
    await driver.writeConfig(BALLOON_CONFIG_ACTUAL, 4, 3072);
    await driver.reset();
    expect(actual).toEqual([4 * MIB, RAM]);
    expect(await driver.readConfig(BALLOON_CONFIG_NUM_PAGES, 4)).toBe(3072);
    expect(await driver.readConfig(BALLOON_CONFIG_ACTUAL, 4)).toBe(0);
  });

  it('takes and returns pages; without the addon they keep what is in them', async () => {
    const { driver } = await plug(bench);
    const pages = dirtyPages(bench, 3);
    const buffer = frames(bench, [pages, pages + 2 * PAGE]);
    expect((await driver.submit(driver.queues[BALLOON_INFLATEQ], buffer)).length).toBe(0);
    expect((await driver.submit(driver.queues[BALLOON_DEFLATEQ], buffer)).length).toBe(0);
    expect(bench.memory.readU8(pages)).toBe(0xaa);
  });

  it('takes statistics, and asks for new ones as often as it is told to', async () => {
    const { device, driver } = await plug(bench);
    const statsq = driver.queues[BALLOON_STATSQ];
    const stats = Buffer.alloc(32);
    stats.writeUInt16LE(4, 0);
    stats.writeBigUInt64LE(123n, 2);
    stats.writeUInt16LE(0xeeee, 10);
    stats.writeUInt16LE(7, 20);
    stats.writeBigUInt64LE(2n ** 63n, 22);
    const buffer = [{ address: bench.allocator.put(stats), length: 32 }];
    statsq.add(buffer);
    await driver.notify(BALLOON_STATSQ);
    await until(() => device.guestStats.lastUpdate > 0);
    expect(device.guestStats.stats).toMatchObject({
      'stat-free-memory': 123n,
      'stat-disk-caches': 2n ** 63n,
      'stat-swap-in': 2n ** 64n - 1n,
    });
    // It is kept until new ones are wanted.
    expect(statsq.takeUsed()).toBeNull();
    await device.setPollSeconds(1);
    expect(device.pollSeconds).toBe(1);
    await driver.used(statsq);
    bench.memory.writeU64(buffer[0].address + 2, 124n);
    const start = performance.now();
    await driver.submit(statsq, buffer);
    expect(performance.now() - start).toBeGreaterThan(900);
    expect(device.guestStats.stats['stat-free-memory']).toBe(124n);
    device.computed['guest-stats-polling-interval'].set!(0);
    expect(device.computed['guest-stats-polling-interval'].get()).toBe(0);
    expect(device.computed['guest-stats'].get()).toMatchObject({ stats: { 'stat-free-memory': 124n } });
    for (const bad of [-1, 0.5, 2 ** 31]) expect(() => device.setPollSeconds(bad)).toThrow(/in seconds/);
    await driver.reset();
    expect(device.guestStats).toMatchObject({ lastUpdate: 0, stats: { 'stat-free-memory': 2n ** 64n - 1n } });
  });

  it('polls from the start when it was told so before there was a driver', async () => {
    const device = new BalloonDevice({ id: 'balloon0', ramSize: RAM });
    await device.setPollSeconds(1);
    const driver = await (await bench.attach(device)).init();
    const used = driver.submit(driver.queues[BALLOON_STATSQ], [{ address: bench.allocator.alloc(10), length: 10 }]);
    expect((await used).length).toBe(0);
  });

  it.each([
    ['below RAM', RAM_BASE - PAGE],
    ['behind RAM', RAM_BASE + RAM],
    ['nowhere', 0xffff_ffff * PAGE],
  ])('breaks for a page %s', async (_where, address) => {
    const { driver } = await plug(bench);
    driver.queues[BALLOON_INFLATEQ].add(frames(bench, [bench.allocator.alloc(PAGE, PAGE), address]));
    await driver.notify(BALLOON_INFLATEQ);
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/page frame 0x[0-9a-f]+ is not in guest RAM \(5\.5\.6\)/);
    if (version === 'modern') expect((await driver.status()) & STATUS_DEVICE_NEEDS_RESET).not.toBe(0);
    await driver.init();
    expect((await driver.submit(driver.queues[BALLOON_INFLATEQ], frames(bench, [RAM_BASE]))).length).toBe(0);
  });

  it('takes buffers of odd lengths, and such as hold more numbers than there are pages', async () => {
    const { driver } = await plug(bench);
    const odd = bench.allocator.put(Buffer.from([0, 0, 8, 0, 1, 2, 3]));
    await driver.submit(driver.queues[BALLOON_INFLATEQ], [{ address: odd, length: 7 }]);
    await driver.submit(driver.queues[BALLOON_INFLATEQ], [{ address: odd, length: 4, writable: true }]);
    const many = bench.allocator.alloc(4 * MIB);
    const numbers = new Uint32Array(MIB).fill(RAM_BASE / PAGE + 7);
    bench.memory.write(many, new Uint8Array(numbers.buffer));
    await driver.submit(driver.queues[BALLOON_DEFLATEQ], [{ address: many, length: 4 * MIB }]);
    await driver.submit(driver.queues[BALLOON_INFLATEQ], [{ address: many, length: 4 * MIB }]);
  });

  it('lets go of the statistics buffer when it is reset', async () => {
    const { driver } = await plug(bench);
    driver.queues[BALLOON_STATSQ].add([{ address: bench.allocator.alloc(10), length: 10 }]);
    await driver.notify(BALLOON_STATSQ);
    await until(() => bench.bus.snapshot()[0].queues[BALLOON_STATSQ].inFlight === 1);
    await driver.reset();
    expect(bench.bus.snapshot()[0].queues[BALLOON_STATSQ].inFlight).toBe(0);
  });

  it('is not flooded by statistics that nobody asked for', async () => {
    const { device, driver } = await plug(bench);
    const statsq = driver.queues[BALLOON_STATSQ];
    let reports = 0;
    const told = device.backendEvent.bind(device);
    device.backendEvent = (data) => {
      reports++;
      told(data);
    };
    const address = bench.allocator.alloc(10);
    statsq.add([{ address, length: 10 }]);
    for (let i = 0; i < 200; i++) {
      await driver.submit(statsq, [{ address, length: 10 }]);
    }
    expect(reports).toBeLessThan(50);
  });
});

describe('virtio-balloon, free page hints', () => {
  const bench = benches.modern;

  /** Does what Linux does when free_page_hint_cmd_id changes. */
  async function answer(driver: MockDriver, pages: number): Promise<number> {
    const queue = driver.queues[BALLOON_FREE_PAGE_VQ];
    const id = Buffer.alloc(4);
    const command = await driver.readConfig(BALLOON_CONFIG_FREE_PAGE_HINT_CMD_ID, 4);
    id.writeUInt32LE(command);
    await driver.submit(queue, [{ address: bench.allocator.put(id), length: 4 }]);
    const free = bench.allocator.alloc(pages * PAGE, PAGE);
    await driver.submit(queue, [{ address: free, length: pages * PAGE, writable: true }]);
    id.writeUInt32LE(VIRTIO_BALLOON_CMD_ID_STOP);
    await driver.submit(queue, [{ address: bench.allocator.put(id), length: 4 }]);
    return command;
  }

  it('are asked for by a command, and ended by DONE', async () => {
    const { device, driver } = await plug(bench, { freePageHint: true });
    expect(await driver.readConfig(BALLOON_CONFIG_FREE_PAGE_HINT_CMD_ID, 4)).toBe(VIRTIO_BALLOON_CMD_ID_STOP);
    const commands = [];
    for (const pages of [3, 5]) {
      const hinted = device.hintFreePages();
      await expect(device.hintFreePages()).rejects.toMatchObject({ kind: 'bad-state' });
      await until(() => device.config.get(BALLOON_CONFIG_FREE_PAGE_HINT_CMD_ID) > VIRTIO_BALLOON_CMD_ID_DONE);
      commands.push(await answer(driver, pages));
      expect(await hinted).toBe(pages * PAGE);
      expect(await driver.readConfig(BALLOON_CONFIG_FREE_PAGE_HINT_CMD_ID, 4)).toBe(VIRTIO_BALLOON_CMD_ID_DONE);
    }
    expect(commands[0]).toBeGreaterThan(1);
    expect(commands[1]).toBe(commands[0] + 1);
  });

  it('that nobody asked for count for nothing', async () => {
    const { driver } = await plug(bench, { freePageHint: true });
    await answer(driver, 1);
    expect(bench.bus.snapshot()[0].error).toBeNull();
  });

  it('end with a reset, and cannot be had of a driver that gives none', async () => {
    const { device, driver } = await plug(bench, { freePageHint: true });
    const hinted = device.hintFreePages();
    hinted.catch(() => {});
    await driver.reset();
    await expect(hinted).rejects.toMatchObject({ kind: 'bad-state' });
    await driver.init({ features: [VIRTIO_BALLOON_F_STATS_VQ] });
    await expect(device.hintFreePages()).rejects.toMatchObject({ kind: 'unsupported' });
  });

  it('break for a command that is too short', async () => {
    const { driver } = await plug(bench, { freePageHint: true });
    driver.queues[BALLOON_FREE_PAGE_VQ].add([{ address: bench.allocator.alloc(3), length: 3 }]);
    await driver.notify(BALLOON_FREE_PAGE_VQ);
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/a command id has 4 bytes/);
  });
});

describe('virtio-balloon, its queues', () => {
  const bench = benches.modern;
  it.each<[Options, number]>([
    [{}, 3],
    [{ freePageHint: true }, 4],
    [{ freePageReporting: true }, 5],
    [{ freePageHint: true, freePageReporting: true }, 5],
  ])('%j: %i', async (options, count) => {
    const { driver } = await plug(bench, options);
    expect(driver.queues).toHaveLength(count);
    await driver.write(MMIO_QUEUE_SEL, count);
    expect(await driver.read(MMIO_QUEUE_SIZE_MAX)).toBe(0);
  });

  it('config space ends where the features do', async () => {
    const { driver } = await plug(bench, { pagePoison: false });
    expect(await driver.readConfig(BALLOON_CONFIG_FREE_PAGE_HINT_CMD_ID, 4)).toBe(0xffff_ffff);
  });
});

describe.skipIf(whyNoAddon)(`virtio-balloon on a host that takes memory back${whyNoAddon ?? ''}`, () => {
  const bench = benches.native;

  /** Bytes that the memfd behind guest RAM takes. */
  function used(): number {
    for (const fd of readdirSync('/proc/self/fd')) {
      let name = '';
      try {
        name = readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        // It was the folder's own.
      }
      if (name.includes('ringside-ram')) return fstatSync(Number(fd)).blocks * 512;
    }
    throw new Error('no memfd');
  }

  it('gives inflated pages back, and only these, whatever their order', async () => {
    const { driver } = await plug(bench);
    const pages = dirtyPages(bench, 64);
    const before = used();
    const chosen = Array.from({ length: 32 }, (_, i) => pages + ((i * 13) % 32) * 2 * PAGE);
    await driver.submit(driver.queues[BALLOON_INFLATEQ], frames(bench, chosen));
    // The buffer itself took a page at most.
    expect(before - used()).toBeGreaterThanOrEqual(31 * PAGE);
    for (let i = 0; i < 64; i++) {
      expect(bench.memory.read(pages + i * PAGE, PAGE)).toEqual(new Uint8Array(PAGE).fill(i % 2 ? 0xaa : 0));
    }
    // Written after deflation it holds what is written; a page in the balloon twice is given back once.
    await driver.submit(driver.queues[BALLOON_DEFLATEQ], frames(bench, [pages]));
    bench.memory.fill(pages, PAGE, 0x55);
    bench.memory.fill(pages + 2 * PAGE, PAGE, 0x55);
    await driver.submit(driver.queues[BALLOON_INFLATEQ], frames(bench, [pages + 2 * PAGE]));
    expect(bench.memory.readU8(pages)).toBe(0x55);
    expect(bench.memory.readU8(pages + 2 * PAGE)).toBe(0x55);
  });

  it.each([
    ['free_page_vq not counted', { freePageReporting: true }, BALLOON_FREE_PAGE_VQ],
    ['free_page_vq counted', { freePageReporting: true }, BALLOON_REPORTING_VQ],
    ['with hints', { freePageReporting: true, freePageHint: true }, BALLOON_REPORTING_VQ],
  ])('gives reported pages back (%s)', async (_name, options, queue) => {
    const { driver } = await plug(bench, options);
    const pages = dirtyPages(bench, 64);
    const before = used();
    const { length } = await driver.submit(driver.queues[queue], [
      { address: pages, length: 16 * PAGE, writable: true },
      { address: pages + 32 * PAGE + 100, length: 2 * PAGE, writable: true },
    ]);
    expect(length).toBe(0);
    expect(before - used()).toBe(17 * PAGE);
    expect(bench.memory.readU8(pages + 16 * PAGE - 1)).toBe(0);
    expect(bench.memory.readU8(pages + 16 * PAGE)).toBe(0xaa);
    // Of what is no whole page nothing is touched.
    expect(bench.memory.readU8(pages + 33 * PAGE - 1)).toBe(0xaa);
    expect(bench.memory.readU8(pages + 33 * PAGE)).toBe(0);
    expect(bench.memory.readU8(pages + 34 * PAGE)).toBe(0xaa);
  });

  it('leaves reported pages that are poisoned as they are', async () => {
    const { driver } = await plug(bench, { freePageReporting: true });
    await driver.writeConfig(BALLOON_CONFIG_POISON_VAL, 4, 0xaaaa_aaaa);
    const pages = dirtyPages(bench, 4);
    const report = [{ address: pages, length: 4 * PAGE, writable: true }];
    await driver.submit(driver.queues[BALLOON_REPORTING_VQ], report);
    expect(bench.memory.readU8(pages)).toBe(0xaa);
    // A driver that knows nothing of poison means nothing by it.
    await driver.init({ features: [VIRTIO_BALLOON_F_PAGE_REPORTING] });
    await driver.writeConfig(BALLOON_CONFIG_POISON_VAL, 4, 0xaaaa_aaaa);
    await driver.submit(driver.queues[BALLOON_REPORTING_VQ], report);
    expect(bench.memory.readU8(pages)).toBe(0);
  });

  it('forgets its pages with a reset', async () => {
    const { driver } = await plug(bench);
    const page = dirtyPages(bench, 1);
    await driver.submit(driver.queues[BALLOON_INFLATEQ], frames(bench, [page]));
    expect(bench.memory.readU8(page)).toBe(0);
    await driver.init();
    bench.memory.fill(page, PAGE, 0xaa);
    await driver.submit(driver.queues[BALLOON_INFLATEQ], frames(bench, [page]));
    expect(bench.memory.readU8(page)).toBe(0);
  });
});

describe('PageSet', () => {
  it.each([1, 4, 16])('gives each page of the host (%i pages of the guest) when all of it is in', (perHost) => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.nat(127), { maxLength: 40 }), { maxLength: 20 }), (rounds) => {
        const set = new PageSet(128, perHost * PAGE);
        const model = new Set<number>();
        for (const [index, round] of rounds.entries()) {
          if (index % 3 === 2) {
            set.remove(Uint32Array.from(round));
            for (const page of round) model.delete(page);
          } else {
            const full = () => {
              const firsts = Array.from({ length: 128 / perHost }, (_, i) => i * perHost);
              return firsts.filter((first) =>
                Array.from({ length: perHost }, (_, i) => first + i).every((p) => model.has(p)),
              );
            };
            const before = full();
            for (const page of round) model.add(page);
            const given = set.add(Uint32Array.from(round)).flatMap(({ start, length }) => {
              expect(start % (perHost * PAGE)).toBe(0);
              return Array.from({ length: length / PAGE / perHost }, (_, i) => start / PAGE + i * perHost);
            });
            expect(given).toEqual(full().filter((first) => !before.includes(first)));
          }
          expect(set.count).toBe(model.size);
        }
      }),
    );
  });
});
