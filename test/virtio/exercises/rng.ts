import { expect } from 'vitest';

import { RngDevice } from '../../../core/virtio/rng/device.ts';
import type { Exercise } from './exercise.ts';

export const rng: Exercise = {
  base: 'virtio-rng',
  make: (bench) => ({
    device: new RngDevice({ id: 'rng0' }),
    async work(driver) {
      const buffers = [40, 1, 23].map((length) => ({ address: bench.allocator.alloc(length), length, writable: true }));
      for (let i = 0; i < 20; i++) expect((await driver.submit(driver.queues[0], buffers)).length).toBe(64);
      const bytes = buffers.flatMap(({ address, length }) => [...bench.memory.read(address, length)]);
      expect(new Set(bytes).size).toBeGreaterThan(20);
    },
  }),
};
