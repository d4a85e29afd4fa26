import { expect } from 'vitest';

import { BalloonDevice } from '../../../core/virtio/balloon/device.ts';
import { BALLOON_DEFLATEQ, BALLOON_INFLATEQ } from '../../../core/virtio/spec/balloon.ts';
import type { Exercise } from './exercise.ts';

const PAGE = 4096;

/** Pages into the balloon, which are zero afterwards, and out of it. */
export const balloon: Exercise = {
  base: 'virtio-balloon',
  make: (bench) => ({
    device: new BalloonDevice({ id: 'balloon0', ramSize: bench.memory.ramSize }),
    async work(driver) {
      for (let i = 0; i < 10; i++) {
        const page = bench.allocator.alloc(PAGE, PAGE);
        bench.memory.fill(page, PAGE, 0xaa);
        const frame = Buffer.from(Uint32Array.of(page / PAGE).buffer);
        const buffers = [{ address: bench.allocator.put(frame), length: frame.length }];
        expect((await driver.submit(driver.queues[BALLOON_INFLATEQ], buffers)).length).toBe(0);
        expect((await driver.submit(driver.queues[BALLOON_DEFLATEQ], buffers)).length).toBe(0);
      }
    },
  }),
};
