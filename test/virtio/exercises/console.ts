import { expect } from 'vitest';

import { Chardev } from '../../../core/chardev/chardev.ts';
import { ConsoleDevice } from '../../../core/virtio/console/device.ts';
import { CONSOLE_RECEIVEQ, CONSOLE_TRANSMITQ } from '../../../core/virtio/spec/console.ts';
import { until } from '../../harness/virtio-bench.ts';
import type { Exercise } from './exercise.ts';

/** Bytes both ways. */
export const console: Exercise = {
  base: 'virtio-serial',
  make(bench) {
    const chardev = new Chardev({ memory: bench.memory.memory, index: 15 });
    let output = '';
    chardev.onData = (bytes) => (output += Buffer.from(bytes).toString('latin1'));
    return {
      device: new ConsoleDevice({ id: 'console0', chardev }),
      async work(driver) {
        const [rx, tx] = [driver.queues[CONSOLE_RECEIVEQ], driver.queues[CONSOLE_TRANSMITQ]];
        for (let i = 0; i < 20; i++) {
          const line = Buffer.from(`line ${i}\n`);
          output = '';
          const parts = [line.subarray(0, 2), line.subarray(2)];
          await driver.submit(
            tx,
            parts.map((part) => ({ address: bench.allocator.put(part), length: part.length })),
          );
          await until(() => {
            chardev.drain();
            return output === line.toString();
          });

          const address = bench.allocator.alloc(64);
          driver.add(rx, [
            { address, length: 3, writable: true },
            { address: address + 3, length: 61, writable: true },
          ]);
          await driver.kick(rx);
          expect(chardev.write(line)).toBe(line.length);
          expect((await driver.used(rx)).length).toBe(line.length);
          expect(Buffer.from(bench.memory.read(address, line.length)).toString()).toBe(line.toString());
        }
      },
      close() {
        // Its ring is the next one's too.
        chardev.onData = null;
      },
    };
  },
};
