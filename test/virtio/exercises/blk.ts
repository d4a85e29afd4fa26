import { expect } from 'vitest';

import { BlkDevice } from '../../../core/virtio/blk/device.ts';
import { VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN } from '../../../core/virtio/spec/blk.ts';
import { BlkDriver } from '../../harness/blk-driver.ts';
import { FakeDisk } from '../../harness/fake-disk.ts';
import type { Exercise } from './exercise.ts';

const SECTOR = 512;

/** Writes and reads back on each queue, many at once, in pieces; flush; id. */
export const blk: Exercise = {
  base: 'virtio-blk',
  make(bench) {
    const disk = FakeDisk.create();
    return {
      device: new BlkDevice({ id: 'drive0', disk, serial: 'conformance', queues: 2 }),
      async work(driver) {
        const blk = new BlkDriver(driver, bench.allocator);
        for (const [q, queue] of driver.queues.entries()) {
          const data = Uint8Array.from({ length: 3 * SECTOR }, (_, i) => (i * 7 + q) & 0xff);
          expect(await blk.write(8 * q, data)).toMatchObject({ status: VIRTIO_BLK_S_OK });
          expect(Buffer.compare(disk.data.slice(8 * q * SECTOR, (8 * q + 3) * SECTOR), data)).toBe(0);
          const requests = Array.from({ length: 3 }, (_, i) =>
            blk.prepare(VIRTIO_BLK_T_IN, 8 * q + i, new Uint8Array(), SECTOR),
          );
          for (let round = 0; round < 4; round++) {
            const ids = requests.map(({ buffers }) => driver.add(queue, buffers));
            await driver.kick(queue);
            for (const _ of requests) {
              const used = await driver.used(queue);
              const i = ids.indexOf(used.id);
              const { status, data: read, written } = requests[i].answer(used.length);
              expect([status, written]).toEqual([VIRTIO_BLK_S_OK, SECTOR + 1]);
              expect(Buffer.compare(read, data.subarray(i * SECTOR, (i + 1) * SECTOR))).toBe(0);
            }
          }
        }
        expect((await blk.flush()).status).toBe(VIRTIO_BLK_S_OK);
        expect(Buffer.from((await blk.getId()).data).toString()).toMatch(/^conformance\0/);
      },
    };
  },
};
