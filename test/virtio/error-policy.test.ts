/** What happens when the host cannot read or write: QEMU's werror and rerror. */
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';

import { BlkDevice } from '../../core/virtio/blk/device.ts';
import type { BlkDeviceOptions } from '../../core/virtio/blk/device.ts';
import { errorAction } from '../../core/virtio/blk/error-policy.ts';
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '../../core/virtio/spec/blk.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const bench = new VirtioBench();
let disk: FakeDisk;

beforeEach(() => {
  disk = FakeDisk.create();
});
afterEach(() => bench.clear());
afterAll(() => bench.close());

async function plug(options: Partial<BlkDeviceOptions>): Promise<BlkDriver> {
  const driver = await (await bench.attach(new BlkDevice({ id: 'drive0', disk, ...options }))).init();
  return new BlkDriver(driver, bench.allocator);
}

const SECTOR = new Uint8Array(512).fill(0x42);
const settle = () => new Promise((resolve) => setTimeout(resolve, 20));

describe('report', () => {
  it('fails the request in the guest and tells', async () => {
    const blk = await plug({ werror: 'report', rerror: 'report' });
    disk.fail('write', 'ENOSPC');
    expect((await blk.write(0, SECTOR)).status).toBe(VIRTIO_BLK_S_IOERR);
    disk.fail('read', 'EIO');
    expect(await blk.read(0, 1)).toMatchObject({ status: VIRTIO_BLK_S_IOERR, written: 0 });
    expect((await blk.read(0, 1)).status).toBe(VIRTIO_BLK_S_OK);
    await until(() => bench.ioErrors.length > 0);
    expect(bench.ioErrors[0]).toMatchObject({ operation: 'write', action: 'report', noSpace: true, unreported: 0 });
    expect(bench.ioErrors[0].message).toMatch(/cannot write "fake.img".*ENOSPC/);
  });

  it('counts what it does not tell, when errors come in a storm', async () => {
    const blk = await plug({ werror: 'report' });
    disk.fail('write', 'EIO', 1000);
    for (let i = 0; i < 50; i++) await blk.write(0, SECTOR);
    expect(bench.ioErrors.length).toBeLessThan(10);
    await new Promise((resolve) => setTimeout(resolve, 110));
    await blk.write(0, SECTOR);
    await until(() => bench.ioErrors.length + bench.ioErrors.reduce((sum, event) => sum + event.unreported, 0) === 51);
  });
});

describe('ignore', () => {
  it('says that it was done, and tells', async () => {
    const blk = await plug({ werror: 'ignore', rerror: 'ignore' });
    disk.fail('flush', 'EIO');
    expect((await blk.flush()).status).toBe(VIRTIO_BLK_S_OK);
    disk.fail('read', 'EIO');
    expect((await blk.read(0, 1)).status).toBe(VIRTIO_BLK_S_OK);
    await until(() => bench.ioErrors.length > 0);
    expect(bench.ioErrors[0]).toMatchObject({ operation: 'write', action: 'ignore' });
  });
});

describe('stop', () => {
  it.each([
    ['a write', 'write', { werror: 'stop' }, VIRTIO_BLK_T_OUT],
    ['a read', 'read', { rerror: 'stop' }, VIRTIO_BLK_T_IN],
  ] as const)(
    'keeps %s, asks for a pause, and does it when the VM is resumed',
    async (_what, operation, policy, type) => {
      const blk = await plug(policy);
      const { driver } = blk;
      const [queue] = driver.queues;
      disk.data.fill(0x42, 512, 1024);
      disk.fail(operation, 'EIO', 2);
      const isRead = type === VIRTIO_BLK_T_IN;
      const failing = blk.prepare(type, 1, isRead ? new Uint8Array() : SECTOR, isRead ? 512 : 0);
      const behind = blk.prepare(VIRTIO_BLK_T_IN, 1, new Uint8Array(), 512);
      queue.add(failing.buffers);
      queue.add(behind.buffers);
      await driver.notify(0);
      await until(() => bench.ioErrors.length === 1);
      expect(bench.ioErrors[0]).toMatchObject({ operation, action: 'stop' });

      // Neither it nor what is behind it is done before.
      await driver.notify(0);
      await settle();
      expect(queue.usedIdx).toBe(0);
      expect(bench.bus.snapshot()[0].queues[0].inFlight).toBe(1);
      await bench.bus.pause();
      // The second try fails too.
      await bench.bus.resume();
      await until(() => bench.ioErrors.length === 2);
      expect(queue.usedIdx).toBe(0);
      await bench.bus.pause();
      await bench.bus.resume();
      expect(failing.answer((await driver.used(queue)).length).status).toBe(VIRTIO_BLK_S_OK);
      expect(behind.answer((await driver.used(queue)).length).data).toEqual(SECTOR);
      expect(bench.ioErrors).toHaveLength(2);
    },
  );

  it('forgets what it kept when the device is reset', async () => {
    const blk = await plug({ werror: 'stop' });
    disk.fail('write', 'EIO');
    blk.driver.queues[0].add(blk.prepare(VIRTIO_BLK_T_OUT, 1, SECTOR, 0).buffers);
    await blk.driver.notify(0);
    await until(() => bench.ioErrors.length === 1);
    await bench.bus.pause();
    await blk.driver.reset();
    await bench.bus.resume();
    await blk.driver.init();
    expect((await blk.read(1, 1)).data).toEqual(new Uint8Array(512));
    expect(disk.count('write')).toBe(1);
  });

  it('stops on failed flushes, discards and zeroes as on writes', async () => {
    const blk = await plug({ werror: 'stop' });
    for (const [i, [operation, request]] of (
      [
        ['flush', () => blk.flush()],
        ['discard', () => blk.discard(0, 8)],
        ['write zeroes to', () => blk.writeZeroes(0, 8)],
      ] as const
    ).entries()) {
      disk.fail(operation, 'EIO');
      const answer = request();
      await until(() => bench.ioErrors.length === i + 1);
      await bench.bus.pause();
      await bench.bus.resume();
      expect((await answer).status).toBe(VIRTIO_BLK_S_OK);
    }
  });
});

describe('enospc, the default', () => {
  it('stops when the host is out of space', async () => {
    const blk = await plug({});
    disk.fail('write', 'EDQUOT');
    const answer = blk.write(3, SECTOR);
    await until(() => bench.ioErrors.length === 1);
    expect(bench.ioErrors[0]).toMatchObject({ action: 'stop', noSpace: true });
    await bench.bus.pause();
    await bench.bus.resume();
    expect((await answer).status).toBe(VIRTIO_BLK_S_OK);
    expect(disk.data[3 * 512]).toBe(0x42);
  });

  it('reports everything else', async () => {
    const blk = await plug({});
    disk.fail('write', 'EIO');
    expect((await blk.write(3, SECTOR)).status).toBe(VIRTIO_BLK_S_IOERR);
    disk.fail('read', 'ENOSPC');
    expect((await blk.read(3, 1)).status).toBe(VIRTIO_BLK_S_IOERR);
  });

  it('is a table', () => {
    expect(['report', 'stop', 'ignore', 'enospc'].map((policy) => errorAction(policy as never, true))).toEqual([
      'report',
      'stop',
      'ignore',
      'stop',
    ]);
    expect(errorAction('enospc', false)).toBe('report');
  });
});

describe('the end', () => {
  it('flushes what the driver has not, and tells when that fails', async () => {
    const blk = await plug({});
    await blk.write(0, SECTOR);
    expect(disk.count('flush')).toBe(0);
    await bench.bus.close();
    expect(disk.count('flush')).toBe(1);
    expect(bench.ioErrors).toEqual([]);

    await plug({ werror: 'stop' });
    disk.fail('flush', 'EIO');
    await bench.bus.close();
    expect(bench.ioErrors).toMatchObject([{ operation: 'write', action: 'report' }]);
    expect(bench.ioErrors[0].message).toMatch(/cannot flush .*EIO.*What was not flushed may be lost\.$/);
  });
});
