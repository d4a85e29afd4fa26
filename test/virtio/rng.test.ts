/** virtio-rng (virtio 1.3, section 5.4). */
import { appendFileSync, closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { BASE_TYPES } from '../../core/qom/base-types.ts';
import { QomObject } from '../../core/qom/object.ts';
import { TypeRegistry } from '../../core/qom/registry.ts';
import { RngDevice } from '../../core/virtio/rng/device.ts';
import type { RngDeviceOptions } from '../../core/virtio/rng/device.ts';
import { RNG_SOURCE_TYPES } from '../../core/virtio/rng/source.ts';
import type { MockDriver } from '../harness/mock-driver.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const benches = { modern: new VirtioBench(), legacy: new VirtioBench({ legacy: true }) };
afterEach(async () => {
  await benches.modern.clear();
  await benches.legacy.clear();
});
afterAll(async () => {
  await benches.modern.close();
  await benches.legacy.close();
});

describe.each(['modern', 'legacy'] as const)('virtio-rng, %s transport', (version) => {
  const bench = benches[version];
  const plug = async (options: Partial<RngDeviceOptions> = {}): Promise<MockDriver> =>
    (await bench.attach(new RngDevice({ id: 'rng0', ...options }))).init();

  it('fills a buffer, scattered or not, with what it never gave before', async () => {
    const driver = await plug();
    const [a, b] = [bench.allocator.alloc(7), bench.allocator.alloc(200)];
    const give = async () => {
      const used = await driver.submit(driver.queues[0], [
        { address: a, length: 7, writable: true },
        { address: b, length: 200, writable: true },
      ]);
      expect(used.length).toBe(207);
      return Buffer.concat([bench.memory.read(a, 7), bench.memory.read(b, 200)]);
    };
    const first = await give();
    const second = await give();
    expect(Buffer.compare(first, second)).not.toBe(0);
    // 207 random bytes have some hundred different values.
    expect(new Set(first).size).toBeGreaterThan(64);
  });

  it('gives at most 64 KiB at a time, of however much is asked', async () => {
    const driver = await plug();
    const address = bench.allocator.alloc(1 << 20);
    const used = await driver.submit(driver.queues[0], [{ address, length: 1 << 20, writable: true }]);
    expect(used.length).toBe(65536);
    expect(bench.memory.read(address + 65536, 1024)).toEqual(new Uint8Array(1024));
  });

  it('has no features of its own and no configuration', async () => {
    const driver = await plug();
    expect(driver.offered & 0xff_ffffn).toBe(0n);
    expect(await driver.readConfig(0, 4)).toBe(0xffff_ffff);
  });

  it('breaks the queue for a buffer that cannot be written', async () => {
    const driver = await plug();
    driver.queues[0].add([{ address: bench.allocator.alloc(16), length: 16 }]);
    await driver.notify(0);
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/no device-writable buffer \(5\.4\.6\.1\)/);
  });

  it('keeps to its rate', async () => {
    const driver = await plug({ limit: { maxBytes: 100, period: 150 } });
    const address = bench.allocator.alloc(64);
    const start = performance.now();
    let total = 0;
    while (total < 250) {
      const { length } = await driver.submit(driver.queues[0], [{ address, length: 64, writable: true }]);
      expect(length).toBeGreaterThan(0);
      expect(length).toBeLessThanOrEqual(64);
      total += length;
      const periods = Math.floor((performance.now() - start) / 150) + 1;
      expect(total).toBeLessThanOrEqual(100 * periods);
    }
    // 100 at once, 100 after one period, the rest after two.
    const elapsed = performance.now() - start;
    expect(elapsed).toBeGreaterThan(295);
    expect(elapsed).toBeLessThan(3000);
  });

  it('refuses a rate of nothing', () => {
    for (const limit of [
      { maxBytes: 0, period: 1 },
      { maxBytes: 1, period: 0 },
      { maxBytes: 1.5, period: 1 },
    ]) {
      expect(() => new RngDevice({ id: 'rng0', limit })).toThrow(expect.objectContaining({ kind: 'bad-option' }));
    }
  });

  it('holds a buffer only as long as the device lives', async () => {
    const driver = await plug({ limit: { maxBytes: 1, period: 60_000 } });
    const address = bench.allocator.alloc(64);
    await driver.submit(driver.queues[0], [{ address, length: 1, writable: true }]);
    driver.queues[0].add([{ address, length: 1, writable: true }]);
    await driver.notify(0);
    await until(() => bench.bus.snapshot()[0].queues[0].inFlight === 1);
    await driver.reset();
    expect(bench.bus.snapshot()[0].queues[0].inFlight).toBe(0);
  });
});

describe('virtio-rng with a source of its own', () => {
  const bench = benches.modern;
  const folder = mkdtempSync(join(tmpdir(), 'ringside-rng-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  async function submit(driver: MockDriver, length: number): Promise<Buffer> {
    const address = bench.allocator.alloc(length);
    const used = await driver.submit(driver.queues[0], [{ address, length, writable: true }]);
    return Buffer.from(bench.memory.read(address, used.length));
  }

  it("gives a file's bytes; at its end it waits for more and says so, once", async () => {
    const file = join(folder, 'entropy');
    writeFileSync(file, '0123456789');
    const fd = openSync(file, 'r');
    const warnings: string[] = [];
    const warn = (message: string): void => void warnings.push(message);
    const device = new RngDevice({ id: 'rng0', source: { kind: 'file', fd }, warn });
    const driver = await (await bench.attach(device)).init();
    expect((await submit(driver, 4)).toString()).toBe('0123');
    expect((await submit(driver, 100)).toString()).toBe('456789');
    const waiting = submit(driver, 100);
    await until(() => warnings.length > 0);
    expect(warnings).toEqual(['its source of entropy gives nothing: it has come to its end']);
    appendFileSync(file, 'more');
    expect((await waiting).toString()).toBe('more');
    expect(warnings.length).toBe(1);
    closeSync(fd);
  });

  it('gives what a device of the host has', async () => {
    const fd = openSync('/dev/urandom', 'r');
    const device = new RngDevice({ id: 'rng0', source: { kind: 'file', fd } });
    const driver = await (await bench.attach(device)).init();
    expect(new Set(await submit(driver, 256)).size).toBeGreaterThan(64);
    closeSync(fd);
  });

  it('is opened by -object rng-random, which says what it cannot open', async () => {
    const [, , random] = RNG_SOURCE_TYPES;
    const types = new TypeRegistry().register(...BASE_TYPES, ...RNG_SOURCE_TYPES);
    const realize = async (filename: string): Promise<QomObject> => {
      const object = new QomObject(types.get(random.name), 'r');
      object.set('filename', filename);
      await object.realize(null!);
      return object;
    };
    await expect(realize(join(folder, 'missing'))).rejects.toMatchObject({ kind: 'not-found' });
    await expect(realize(folder)).rejects.toMatchObject({ kind: 'not-a-file' });
    const object = await realize('/dev/urandom');
    const { fd } = object.instance as { fd: number };
    await object.unrealize(null!);
    expect(() => closeSync(fd)).toThrow('EBADF');
  });
});
