import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';

import { openDisk } from '../../core/block/open.ts';
import { createHost } from '../../core/host/node-host.ts';
import { BlkDevice } from '../../core/virtio/blk/device.ts';
import type { BlkDeviceOptions } from '../../core/virtio/blk/device.ts';
import {
  BLK_CONFIG_BLK_SIZE,
  BLK_CONFIG_CAPACITY,
  BLK_CONFIG_NUM_QUEUES,
  BLK_CONFIG_SEG_MAX,
  BLK_CONFIG_WRITEBACK,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_RANGE_F_UNMAP,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_BARRIER,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_LIFETIME,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_SCSI_CMD,
  VIRTIO_BLK_T_SECURE_ERASE,
} from '../../core/virtio/spec/blk.ts';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, hasFeature } from '../../core/virtio/spec/features.ts';
import { BlkDriver, UNTOUCHED, range } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { HOST } from '../harness/guest.ts';
import type { InitOptions } from '../harness/virtio-driver.ts';
import { VirtioBench } from '../harness/virtio-bench.ts';

type Tail<T extends unknown[]> = T extends [unknown, ...infer Rest] ? Rest : never;

const pattern = (length: number, seed = 1) => Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff);

const benches = { modern: new VirtioBench(), legacy: new VirtioBench({ legacy: true }) };
afterEach(async () => {
  await benches.modern.clear();
  await benches.legacy.clear();
});
afterAll(async () => {
  await benches.modern.close();
  await benches.legacy.close();
});

async function plugInto(
  bench: VirtioBench,
  disk: FakeDisk,
  options: Partial<BlkDeviceOptions> = {},
  init: InitOptions = {},
): Promise<BlkDriver> {
  const driver = await bench.attach(new BlkDevice({ id: 'drive0', disk, ...options }));
  await driver.init(init);
  return new BlkDriver(driver, bench.allocator);
}

describe.each(['modern', 'legacy'] as const)('virtio-blk, %s transport', (version) => {
  const bench = benches[version];
  const plug = (...args: Tail<Parameters<typeof plugInto>>) => plugInto(bench, ...args);
  let disk: FakeDisk;
  beforeEach(() => {
    disk = FakeDisk.create();
  });

  it('reads what is on the disk, and says how much it wrote', async () => {
    const blk = await plug(disk);
    disk.data.set(pattern(1024), 3 * 512);
    const answer = await blk.read(3, 2);
    expect(answer).toEqual({ status: VIRTIO_BLK_S_OK, written: 1025, data: pattern(1024) });
  });

  it('writes, and the data is on the disk', async () => {
    const blk = await plug(disk);
    const answer = await blk.write(5, pattern(2048));
    expect(answer).toMatchObject({ status: VIRTIO_BLK_S_OK, written: 1 });
    expect(disk.data.slice(5 * 512, 5 * 512 + 2048)).toEqual(pattern(2048));
    expect(disk.data[5 * 512 + 2048]).toBe(0);
  });

  it('reads and writes the last sector, and no further', async () => {
    const blk = await plug(disk);
    const last = disk.size / 512 - 1;
    expect(await blk.write(last, pattern(512))).toMatchObject({ status: VIRTIO_BLK_S_OK });
    expect((await blk.read(last, 1)).data).toEqual(pattern(512));
    expect(await blk.write(last, pattern(1024, 9))).toMatchObject({ status: VIRTIO_BLK_S_IOERR, written: 1 });
    expect(await blk.read(last, 2)).toMatchObject({ status: VIRTIO_BLK_S_IOERR, written: 0 });
    expect((await blk.read(last, 1)).data).toEqual(pattern(512));
  });

  it.each([
    ['just behind the end', 2048n],
    ['above 2^53, where numbers have lost their low bits', 2n ** 63n],
    ['the last there can be', 2n ** 64n - 1n],
  ])('refuses a sector %s', async (_where, sector) => {
    const blk = await plug(disk);
    expect((await blk.request(VIRTIO_BLK_T_IN, sector, undefined, 512)).status).toBe(VIRTIO_BLK_S_IOERR);
    expect((await blk.request(VIRTIO_BLK_T_OUT, sector, pattern(512))).status).toBe(VIRTIO_BLK_S_IOERR);
  });

  it('refuses data that is no whole number of sectors', async () => {
    const blk = await plug(disk);
    expect((await blk.request(VIRTIO_BLK_T_IN, 0, undefined, 513)).status).toBe(VIRTIO_BLK_S_IOERR);
    expect((await blk.write(0, pattern(100))).status).toBe(VIRTIO_BLK_S_IOERR);
  });

  it('flushes', async () => {
    const blk = await plug(disk);
    expect(await blk.flush()).toMatchObject({ status: VIRTIO_BLK_S_OK, written: 1 });
    expect(disk.count('flush')).toBe(1);
  });

  it('gives its serial, NUL-padded to 20 bytes', async () => {
    const blk = await plug(disk, { serial: 'disk-4711' });
    const answer = await blk.getId();
    expect(answer.written).toBe(21);
    expect(Buffer.from(answer.data).toString()).toBe('disk-4711'.padEnd(20, '\0'));
    expect(Buffer.from((await blk.getId(4)).data).toString()).toBe('disk');
    // Of a larger buffer only the first 20 bytes are its own.
    const large = await blk.getId(64);
    expect(large.written).toBe(20);
    expect(large.data.slice(20)).toEqual(new Uint8Array(44).fill(UNTOUCHED));
  });

  it('discards', async () => {
    const blk = await plug(disk);
    disk.data.fill(1);
    expect(await blk.discard(8, 8)).toMatchObject({ status: VIRTIO_BLK_S_OK });
    expect([disk.data[8 * 512 - 1], disk.data[8 * 512], disk.data[16 * 512 - 1], disk.data[16 * 512]]).toEqual([
      1, 0xdd, 0xdd, 1,
    ]);
  });

  it('writes zeroes, with and without unmap', async () => {
    const blk = await plug(disk);
    disk.data.fill(1);
    expect(await blk.writeZeroes(8, 1)).toMatchObject({ status: VIRTIO_BLK_S_OK });
    expect(await blk.writeZeroes(10, 1, VIRTIO_BLK_RANGE_F_UNMAP)).toMatchObject({ status: VIRTIO_BLK_S_OK });
    expect([8, 9, 10, 11].map((sector) => disk.data[sector * 512])).toEqual([0, 1, 0, 1]);
  });

  it.each([
    ['a discard with unmap', VIRTIO_BLK_RANGE_F_UNMAP, 'discard', VIRTIO_BLK_S_UNSUPP],
    ['a discard with unknown flags', 2, 'discard', VIRTIO_BLK_S_UNSUPP],
    ['write zeroes with unknown flags', 0x8000_0001, 'writeZeroes', VIRTIO_BLK_S_UNSUPP],
  ] as const)('refuses %s (5.2.6.2)', async (_what, flags, command, status) => {
    const blk = await plug(disk);
    expect((await blk[command](0, 8, flags)).status).toBe(status);
    expect(disk.count('discard') + disk.count('write zeroes to')).toBe(0);
  });

  it('refuses ranges that are not on the disk, too many, or cut off', async () => {
    const blk = await plug(disk);
    expect((await blk.discard(2047, 2)).status).toBe(VIRTIO_BLK_S_IOERR);
    expect((await blk.writeZeroes(0, 0xffff_ffff)).status).toBe(VIRTIO_BLK_S_IOERR);
    const two = new Uint8Array(32);
    two.set(range(0, 1));
    two.set(range(2, 1), 16);
    expect((await blk.request(VIRTIO_BLK_T_DISCARD, 0, two)).status).toBe(VIRTIO_BLK_S_UNSUPP);
    expect((await blk.request(VIRTIO_BLK_T_DISCARD, 0, range(0, 1).slice(0, 15))).status).toBe(VIRTIO_BLK_S_IOERR);
    expect(disk.count('discard')).toBe(0);
  });

  it.each([VIRTIO_BLK_T_SCSI_CMD, VIRTIO_BLK_T_GET_LIFETIME, VIRTIO_BLK_T_SECURE_ERASE, 0x7fff_ffff])(
    'answers UNSUPP to request type %i',
    async (type) => {
      const blk = await plug(disk);
      expect(await blk.request(type, 0, pattern(16), 16)).toMatchObject({ status: VIRTIO_BLK_S_UNSUPP });
    },
  );

  it('ignores the old barrier flag and the direction bit of flush, as QEMU does', async () => {
    const blk = await plug(disk);
    expect((await blk.request(VIRTIO_BLK_T_BARRIER | VIRTIO_BLK_T_IN, 0, undefined, 512)).status).toBe(0);
    expect((await blk.request(VIRTIO_BLK_T_FLUSH | VIRTIO_BLK_T_OUT, 0)).status).toBe(0);
    expect(disk.count('flush')).toBe(1);
  });

  it('does not mind how a request is cut into descriptors (2.7.4)', async () => {
    const blk = await plug(disk, {}, { queueSize: 64 });
    disk.data.set(pattern(1024), 512);
    const { buffers, answer } = blk.prepare(VIRTIO_BLK_T_IN, 1, new Uint8Array(0), 1024);
    const [header, data, status] = buffers;
    // Status right behind the data in one buffer; the header in three, the data before that in odd pieces.
    const joined = bench.allocator.alloc(700 + 1);
    const used = await blk.driver.submit(blk.driver.queues[0], [
      { address: header.address, length: 3 },
      { address: header.address + 3, length: 8 },
      { address: header.address + 11, length: 5 },
      { address: data.address, length: 1, writable: true },
      { address: data.address + 1, length: 323, writable: true },
      { address: joined, length: 701, writable: true },
    ]);
    expect(used.length).toBe(1025);
    expect(bench.memory.readU8(joined + 700)).toBe(VIRTIO_BLK_S_OK);
    expect(bench.memory.readU8(status.address)).toBe(UNTOUCHED);
    expect(answer(0).data.slice(0, 324)).toEqual(pattern(1024).slice(0, 324));
    expect(bench.memory.read(joined, 700)).toEqual(pattern(1024).slice(324));
  });

  it('fails every write on a read-only disk, and offers nothing that writes (5.2.6.2)', async () => {
    const readonly = FakeDisk.create({ readonly: true });
    const blk = await plug(readonly);
    expect(hasFeature(blk.driver.offered, VIRTIO_BLK_F_RO)).toBe(true);
    expect(hasFeature(blk.driver.offered, VIRTIO_BLK_F_DISCARD)).toBe(false);
    expect(hasFeature(blk.driver.offered, VIRTIO_BLK_F_WRITE_ZEROES)).toBe(false);
    expect((await blk.write(0, pattern(512))).status).toBe(VIRTIO_BLK_S_IOERR);
    expect((await blk.discard(0, 8)).status).toBe(VIRTIO_BLK_S_UNSUPP);
    expect((await blk.read(0, 1)).status).toBe(VIRTIO_BLK_S_OK);
    expect((await blk.flush()).status).toBe(VIRTIO_BLK_S_OK);
    expect(readonly.count('write')).toBe(0);
  });

  it('refuses commands that were not negotiated', async () => {
    const blk = await plug(disk, {}, { features: [VIRTIO_BLK_F_FLUSH] });
    expect((await blk.discard(0, 8)).status).toBe(VIRTIO_BLK_S_UNSUPP);
    expect((await blk.writeZeroes(0, 8)).status).toBe(VIRTIO_BLK_S_UNSUPP);
  });

  it.each([
    ['neither', []],
    ['indirect descriptors', [VIRTIO_F_INDIRECT_DESC]],
    ['event index', [VIRTIO_F_EVENT_IDX]],
    ['both', [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX]],
  ])('serves many requests in flight with %s', async (_which, features) => {
    const blk = await plug(disk, {}, { features: [VIRTIO_BLK_F_FLUSH, ...features], queueSize: 64 });
    const [queue] = blk.driver.queues;
    for (let round = 0; round < 5; round++) {
      const contents = pattern(16 * 512, round);
      disk.data.set(contents);
      const requests = Array.from({ length: 16 }, (_, sector) => {
        const prepared = blk.prepare(VIRTIO_BLK_T_IN, sector, new Uint8Array(0), 512);
        const indirect = features.includes(VIRTIO_F_INDIRECT_DESC) && sector % 2 === 0;
        const head = indirect ? queue.addIndirect(prepared.buffers) : queue.add(prepared.buffers);
        return { head, prepared, sector };
      });
      await blk.driver.kick(queue);
      for (const { head, prepared, sector } of requests) {
        const used = await blk.driver.used(queue);
        expect(used).toEqual({ id: head, length: 513 });
        expect(prepared.answer(used.length).data).toEqual(contents.slice(sector * 512, sector * 512 + 512));
      }
    }
  });

  describe('write cache', () => {
    it('flushes every write when the driver cannot flush (5.2.6.2)', async () => {
      const blk = await plug(disk, {}, { features: [] });
      await blk.write(0, pattern(512));
      expect(disk.count('flush')).toBe(1);
    });

    it('can be switched by the driver, and comes back with a reset', async () => {
      const blk = await plug(disk);
      const { driver } = blk;
      expect(await driver.readConfig(BLK_CONFIG_WRITEBACK, 1)).toBe(1);
      await blk.write(0, pattern(512));
      expect(disk.count('flush')).toBe(0);
      await driver.writeConfig(BLK_CONFIG_WRITEBACK, 1, 0);
      await blk.write(0, pattern(512));
      await blk.writeZeroes(0, 1);
      expect(disk.count('flush')).toBe(2);
      await driver.writeConfig(BLK_CONFIG_WRITEBACK, 1, 7);
      expect(await driver.readConfig(BLK_CONFIG_WRITEBACK, 1)).toBe(1);
      await blk.write(0, pattern(512));
      expect(disk.count('flush')).toBe(2);
      await driver.writeConfig(BLK_CONFIG_WRITEBACK, 1, 0);
      await driver.init();
      await blk.write(0, pattern(512));
      expect(disk.count('flush')).toBe(2);
    });
  });

  it('has its configuration (5.2.4)', async () => {
    const { driver } = await plug(disk);
    expect(await driver.readConfig(BLK_CONFIG_CAPACITY, 4)).toBe(2048);
    expect(await driver.readConfig(BLK_CONFIG_CAPACITY + 4, 4)).toBe(0);
    expect(await driver.readConfig(BLK_CONFIG_SEG_MAX, 4)).toBe(254);
    expect(await driver.readConfig(BLK_CONFIG_BLK_SIZE, 4)).toBe(512);
    expect(await driver.readConfig(BLK_CONFIG_NUM_QUEUES, 2)).toBe(1);
    // Behind its end, as QEMU.
    expect(await driver.readConfig(100, 4)).toBe(0xffff_ffff);
    expect(await driver.readConfig(100, 1)).toBe(0xff);
    await driver.writeConfig(BLK_CONFIG_CAPACITY, 4, 1);
    expect(await driver.readConfig(BLK_CONFIG_CAPACITY, 4)).toBe(2048);
  });

  it('serves several queues', async () => {
    const blk = await plug(disk, { queues: 4 });
    const { driver } = blk;
    expect(hasFeature(driver.offered, VIRTIO_BLK_F_MQ)).toBe(true);
    expect(driver.queues).toHaveLength(4);
    disk.data.set(pattern(512));
    for (const queue of driver.queues) {
      const { buffers, answer } = blk.prepare(VIRTIO_BLK_T_IN, 0, new Uint8Array(0), 512);
      const used = await driver.submit(queue, buffers);
      expect(answer(used.length).data).toEqual(pattern(512));
    }
  });
});

describe('virtio-blk negotiation', () => {
  it('starts writethrough for a driver that can toggle but not flush (5.2.5.2)', async () => {
    const disk = FakeDisk.create();
    const blk = await plugInto(benches.modern, disk, {}, { features: [VIRTIO_BLK_F_CONFIG_WCE] });
    expect(await blk.driver.readConfig(BLK_CONFIG_WRITEBACK, 1)).toBe(0);
    await blk.write(0, pattern(512));
    expect(disk.count('flush')).toBe(1);
  });

  it('refuses a serial that is too long', () => {
    const options = { id: 'drive0', disk: FakeDisk.create(), serial: 'x'.repeat(21) };
    expect(() => new BlkDevice(options)).toThrow(expect.objectContaining({ kind: 'bad-option' }));
  });
});

describe('virtio-blk on a raw image', () => {
  const bench = benches.modern;
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ringside-blk-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('writes and reads the file, large and small, in one piece and in many', async () => {
    const file = join(folder, 'disk.raw');
    writeFileSync(file, pattern(4 << 20));
    const { disk } = openDisk({ file, host: createHost(HOST), locking: 'off' });
    const driver = await bench.attach(new BlkDevice({ id: 'drive0', disk }));
    await driver.init({ queueSize: 256 });
    const blk = new BlkDriver(driver, bench.allocator);

    const { data: read } = await blk.read(1000, 2048);
    expect(Buffer.compare(read, pattern(4 << 20).slice(512_000, 512_000 + (1 << 20)))).toBe(0);
    const { buffers, answer } = blk.prepare(VIRTIO_BLK_T_OUT, 8, pattern(250 * 512, 77), 0);
    const [header, data, status] = buffers;
    const pieces = Array.from({ length: 250 }, (_, i) => ({ address: data.address + i * 512, length: 512 }));
    const used = await driver.submit(driver.queues[0], [header, ...pieces, status]);
    expect(answer(used.length).status).toBe(VIRTIO_BLK_S_OK);
    expect((await blk.flush()).status).toBe(VIRTIO_BLK_S_OK);
    expect((await blk.writeZeroes(300, 8)).status).toBe(VIRTIO_BLK_S_OK);

    const expected = pattern(4 << 20);
    expected.set(pattern(250 * 512, 77), 8 * 512);
    expected.fill(0, 300 * 512, 308 * 512);
    expect(Buffer.compare(readFileSync(file), expected)).toBe(0);
    await bench.bus.close();
    disk.close();
  });
});
