/** virtio-blk's block sizes, limits, secure erase and lifetime (virtio 1.3, sections 5.2.4 to 5.2.6), and its workers. */
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { BlkDevice } from '../../core/virtio/blk/device.ts';
import type { BlkDeviceOptions } from '../../core/virtio/blk/device.ts';
import { SECURE_ERASE_SECTORS_MAX } from '../../core/virtio/blk/limits.ts';
import { REQUEST_SECTORS_MAX } from '../../core/virtio/blk/request.ts';
import {
  BLK_CONFIG_BLK_SIZE,
  BLK_CONFIG_MAX_DISCARD_SECTORS,
  BLK_CONFIG_MAX_SECURE_ERASE_SECTORS,
  BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS,
  BLK_CONFIG_MIN_IO_SIZE,
  BLK_CONFIG_OPT_IO_SIZE,
  BLK_CONFIG_PHYSICAL_BLOCK_EXP,
  BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT,
  BLK_CONFIG_SEG_MAX,
  VIRTIO_BLK_F_LIFETIME,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_GET_LIFETIME,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_SECURE_ERASE,
} from '../../core/virtio/spec/blk.ts';
import { hasFeature } from '../../core/virtio/spec/features.ts';
import { BlkDriver, range } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const SECTOR = 512;
const bench = new VirtioBench({ iothreads: 2 });
afterEach(() => bench.clear());
afterAll(() => bench.close());

async function plug(options: Partial<BlkDeviceOptions> = {}): Promise<BlkDriver> {
  const driver = await bench.attach(new BlkDevice({ id: 'drive0', disk: FakeDisk.create(), ...options }));
  await driver.init();
  return new BlkDriver(driver, bench.allocator);
}

describe('secure erase', () => {
  const erase = (blk: BlkDriver, sector: number, sectors: number, flags = 0) =>
    blk.request(VIRTIO_BLK_T_SECURE_ERASE, 0, range(sector, sectors, flags));

  it('overwrites the sectors, flushes, and gives them back', async () => {
    const disk = FakeDisk.create();
    disk.data.fill(0xaa);
    const blk = await plug({ disk });
    expect((await erase(blk, 2, 6)).status).toBe(VIRTIO_BLK_S_OK);
    expect(disk.data.subarray(2 * SECTOR, 8 * SECTOR).every((byte) => byte === 0)).toBe(true);
    expect([disk.data[2 * SECTOR - 1], disk.data[8 * SECTOR]]).toEqual([0xaa, 0xaa]);
    expect(disk.count('write')).toBe(1);
    expect(disk.count('flush')).toBe(1);
    expect(disk.count('write zeroes to')).toBe(1);
  });

  it('takes a range from where the device writes too, as Linux gives it', async () => {
    const disk = FakeDisk.create();
    disk.data.fill(0xaa);
    const { driver } = await plug({ disk });
    const blk = new BlkDriver(driver, bench.allocator);
    const where = bench.allocator.put(range(2, 6));
    const { buffers, answer } = blk.prepare(VIRTIO_BLK_T_SECURE_ERASE, 0, new Uint8Array(0), 0);
    const [header, status] = buffers;
    const used = await driver.submit(driver.queues[0], [
      header,
      { address: where, length: 16, writable: true },
      status,
    ]);
    expect(answer(used.length)).toMatchObject({ status: VIRTIO_BLK_S_OK });
    expect(disk.data.subarray(2 * SECTOR, 8 * SECTOR).every((byte) => byte === 0)).toBe(true);
    expect([disk.data[2 * SECTOR - 1], disk.data[8 * SECTOR]]).toEqual([0xaa, 0xaa]);
  });

  it('says how much it takes at a time, and takes no more', async () => {
    const disk = FakeDisk.create({ size: 2 * SECURE_ERASE_SECTORS_MAX * SECTOR });
    const blk = await plug({ disk });
    const { driver } = blk;
    expect(await driver.readConfig(BLK_CONFIG_MAX_SECURE_ERASE_SECTORS, 4)).toBe(SECURE_ERASE_SECTORS_MAX);
    expect(await driver.readConfig(BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT, 4)).toBe(1);
    expect((await erase(blk, 0, SECURE_ERASE_SECTORS_MAX + 1)).status).toBe(VIRTIO_BLK_S_IOERR);
    expect((await erase(blk, 0, 1, 1)).status).toBe(VIRTIO_BLK_S_UNSUPP);
    expect(disk.count('write')).toBe(0);
  });

  it('fails as a write fails', async () => {
    const disk = FakeDisk.create();
    disk.fail('flush', 'EIO');
    const blk = await plug({ disk, werror: 'report' });
    expect((await erase(blk, 0, 1)).status).toBe(VIRTIO_BLK_S_IOERR);
    await until(() => bench.ioErrors.length === 1);
  });

  it.each([
    ['a read-only disk', () => ({ disk: FakeDisk.create({ readonly: true }) })],
    ['a disk that is told not to', () => ({ secureErase: false })],
  ])('is not offered for %s', async (_what, options) => {
    const blk = await plug(options());
    expect(hasFeature(blk.driver.offered, VIRTIO_BLK_F_SECURE_ERASE)).toBe(false);
    expect((await erase(blk, 0, 1)).status).toBe(VIRTIO_BLK_S_UNSUPP);
  });
});

describe('lifetime', () => {
  it('is what the user says', async () => {
    const blk = await plug({ lifetime: { preEol: 1, typeA: 2, typeB: 11 } });
    const { status, written, data } = await blk.request(VIRTIO_BLK_T_GET_LIFETIME, 0, undefined, 6);
    expect([status, written]).toEqual([VIRTIO_BLK_S_OK, 7]);
    expect([...data]).toEqual([1, 0, 2, 0, 11, 0]);
    expect((await blk.request(VIRTIO_BLK_T_GET_LIFETIME, 0, undefined, 5)).status).toBe(VIRTIO_BLK_S_IOERR);
  });

  it('is not offered otherwise', async () => {
    const blk = await plug();
    expect(hasFeature(blk.driver.offered, VIRTIO_BLK_F_LIFETIME)).toBe(false);
    expect((await blk.request(VIRTIO_BLK_T_GET_LIFETIME, 0, undefined, 6)).status).toBe(VIRTIO_BLK_S_UNSUPP);
  });
});

describe('blocks', () => {
  it('are told in units of the logical one', async () => {
    const options = { logicalBlockSize: 4096, physicalBlockSize: 16384, minIoSize: 8192, optIoSize: 65536 };
    const { driver } = await plug(options);
    expect(await driver.readConfig(BLK_CONFIG_BLK_SIZE, 4)).toBe(4096);
    expect(await driver.readConfig(BLK_CONFIG_PHYSICAL_BLOCK_EXP, 1)).toBe(2);
    expect(await driver.readConfig(BLK_CONFIG_MIN_IO_SIZE, 2)).toBe(2);
    expect(await driver.readConfig(BLK_CONFIG_OPT_IO_SIZE, 4)).toBe(16);
  });

  it('are read and written whole', async () => {
    const blk = await plug({ logicalBlockSize: 4096 });
    expect((await blk.read(8, 8)).status).toBe(VIRTIO_BLK_S_OK);
    expect((await blk.read(1, 8)).status).toBe(VIRTIO_BLK_S_IOERR);
    expect((await blk.read(8, 4)).status).toBe(VIRTIO_BLK_S_IOERR);
    expect((await blk.write(4, new Uint8Array(4096))).status).toBe(VIRTIO_BLK_S_IOERR);
  });

  it.each([
    [{ logicalBlockSize: 1000 }, 'logical_block_size must be a power of 2'],
    [{ logicalBlockSize: 256 }, 'logical_block_size must be a power of 2'],
    [{ logicalBlockSize: 4096, physicalBlockSize: 512 }, 'must not be below'],
    [{ minIoSize: 100 }, 'min_io_size must be a multiple'],
    [{ optIoSize: -512 }, 'opt_io_size must be a multiple'],
    [{ logicalBlockSize: 4096, disk: FakeDisk.create({ size: 5 * SECTOR }) }, 'are not whole blocks'],
    [{ maxDiscardSectors: 0 }, 'a request can have'],
    [{ maxWriteZeroesSectors: REQUEST_SECTORS_MAX + 1 }, 'a request can have'],
  ])('are refused as %j', (options, message) => {
    expect(() => new BlkDevice({ id: 'drive0', disk: FakeDisk.create(), ...options })).toThrow(
      expect.objectContaining({ kind: 'bad-option', message: expect.stringContaining(message) }),
    );
  });
});

describe('limits', () => {
  it('of discards and zeroes are told and kept', async () => {
    const blk = await plug({ maxDiscardSectors: 16, maxWriteZeroesSectors: 8 });
    expect(await blk.driver.readConfig(BLK_CONFIG_MAX_DISCARD_SECTORS, 4)).toBe(16);
    expect(await blk.driver.readConfig(BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS, 4)).toBe(8);
    expect((await blk.discard(0, 16)).status).toBe(VIRTIO_BLK_S_OK);
    expect((await blk.discard(0, 17)).status).toBe(VIRTIO_BLK_S_IOERR);
    expect((await blk.writeZeroes(0, 8)).status).toBe(VIRTIO_BLK_S_OK);
    expect((await blk.writeZeroes(0, 9)).status).toBe(VIRTIO_BLK_S_IOERR);
  });

  it.each([
    [4, 2],
    [128, 126],
    [1024, 254],
  ])('of segments follow the queue size %d', async (queueSize, segments) => {
    const { driver } = await plug({ queueSize });
    expect(await driver.readConfig(BLK_CONFIG_SEG_MAX, 4)).toBe(segments);
  });
});

describe('statistics', () => {
  it('count what was done, what failed, and what was no request', async () => {
    const disk = FakeDisk.create();
    const device = new BlkDevice({ id: 'drive0', disk, werror: 'report', rerror: 'report' });
    const blk = new BlkDriver(await (await bench.attach(device)).init(), bench.allocator);
    await blk.read(0, 2);
    await blk.write(6, new Uint8Array(SECTOR));
    await blk.writeZeroes(0, 1);
    await blk.discard(2, 4);
    await blk.flush();
    await blk.getId();
    expect((await blk.read(2 ** 40, 1)).status).toBe(VIRTIO_BLK_S_IOERR);
    expect((await blk.discard(2 ** 40, 1)).status).toBe(VIRTIO_BLK_S_IOERR);
    disk.fail('read', 'EIO');
    expect((await blk.read(0, 1)).status).toBe(VIRTIO_BLK_S_IOERR);
    const { read, write, flush, unmap, highestWrite } = device.statistics;
    expect(read).toMatchObject({ operations: 1, bytes: 2 * SECTOR, failed: 1, invalid: 1 });
    expect(write).toMatchObject({ operations: 2, bytes: 2 * SECTOR, failed: 0, invalid: 0 });
    expect(flush).toMatchObject({ operations: 1, bytes: 0 });
    expect(unmap).toMatchObject({ operations: 1, bytes: 4 * SECTOR, invalid: 1 });
    expect(highestWrite).toBe(7 * SECTOR);
    expect(Math.min(read.time, write.time, flush.time, unmap.time)).toBeGreaterThan(0);
  });

  it('are those of all queues, and outlast a reset', async () => {
    const device = new BlkDevice({ id: 'drive0', disk: FakeDisk.create(), queues: 2 });
    const driver = await bench.attach(device);
    for (let round = 1; round <= 2; round++) {
      const blk = new BlkDriver(await driver.init(), bench.allocator);
      await blk.read(0, 1);
      const { buffers } = blk.prepare(VIRTIO_BLK_T_IN, 0, new Uint8Array(0), SECTOR);
      await driver.submit(driver.queues[1], buffers);
      expect(device.statistics.read.operations).toBe(2 * round);
      await driver.reset();
    }
  });
});

describe('I/O workers', () => {
  it('serve a device each, or several', async () => {
    const disks = [0, 1, 0].map((iothread) => ({ iothread, disk: FakeDisk.create() }));
    const drivers = [];
    for (const [i, { iothread, disk }] of disks.entries()) {
      const driver = await bench.attach(new BlkDevice({ id: `drive${i}`, disk, queues: 2 }), { iothread });
      drivers.push(new BlkDriver(await driver.init(), bench.allocator));
    }
    // What waits for the first worker does not hold up the other.
    disks[0].disk.shutGate();
    const waiting = drivers[0].read(0, 1);
    expect((await drivers[1].read(0, 1)).status).toBe(VIRTIO_BLK_S_OK);
    disks[0].disk.openGate();
    expect((await waiting).status).toBe(VIRTIO_BLK_S_OK);
    expect((await drivers[2].read(0, 1)).status).toBe(VIRTIO_BLK_S_OK);
  });
});
