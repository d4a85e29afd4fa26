import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect } from 'vitest';

import { createHost } from '../../../core/host/node-host.ts';
import { FileRegions } from '../../../core/memory/file-region.ts';
import { PmemDevice } from '../../../core/virtio/pmem/device.ts';
import { HOST } from '../../harness/guest.ts';
import type { Exercise } from './exercise.ts';

const SIZE = 2 * 2 ** 20;

/** Stores to memory that a file backs, and flushes that bring them there. */
export const pmem: Exercise = {
  base: 'virtio-pmem',
  legacy: false,
  make(bench) {
    const folder = mkdtempSync(join(tmpdir(), 'ringside-pmem-'));
    const file = join(folder, 'pmem');
    const region = new FileRegions(bench.memory).open(createHost(HOST), { file, size: SIZE, share: true });
    let value = 0;
    return {
      device: new PmemDevice({ id: 'pmem0', region }),
      async work(driver) {
        for (let i = 0; i < 5; i++) {
          const at = i * 70_000;
          bench.memory.writeU32(region.address + at, ++value);
          const answer = bench.allocator.alloc(4);
          bench.memory.writeU32(answer, 0xffff_ffff);
          const used = await driver.submit(driver.queues[0], [
            { address: bench.allocator.alloc(4), length: 4 },
            { address: answer, length: 4, writable: true },
          ]);
          expect(used.length).toBe(4);
          expect(bench.memory.readU32(answer)).toBe(0);
          expect(readFileSync(file).readUInt32LE(at)).toBe(value);
        }
      },
      close() {
        region.close();
        rmSync(folder, { recursive: true });
      },
    };
  },
};
