import { expect } from 'vitest';

import { InputDevice } from '../../../core/virtio/input/device.ts';
import type { InputKind } from '../../../core/virtio/input/models.ts';
import {
  EV_KEY,
  EV_LED,
  EV_SYN,
  INPUT_EVENTQ,
  INPUT_EVENT_SIZE,
  INPUT_STATUSQ,
  SYN_REPORT,
} from '../../../core/virtio/spec/input.ts';
import type { Exercise } from './exercise.ts';

const KEY_A = 30;
const BTN_LEFT = 0x110;

/** Events to the driver, each in a buffer of its own; lights from it. */
function input(kind: InputKind, code: number): Exercise {
  return {
    base: `virtio-${kind}`,
    legacy: false,
    make(bench) {
      const device = new InputDevice({ id: 'input0', kind });
      return {
        device,
        async work(driver) {
          const [events, status] = [driver.queues[INPUT_EVENTQ], driver.queues[INPUT_STATUSQ]];
          const receive = async (address: number) => {
            expect((await driver.used(events)).length).toBe(INPUT_EVENT_SIZE);
            const bytes = Buffer.from(bench.memory.read(address, INPUT_EVENT_SIZE));
            return [bytes.readUInt16LE(0), bytes.readUInt16LE(2), bytes.readInt32LE(4)];
          };
          for (let i = 0; i < 20; i++) {
            const [first, second] = [bench.allocator.alloc(INPUT_EVENT_SIZE), bench.allocator.alloc(INPUT_EVENT_SIZE)];
            for (const address of [first, second]) {
              driver.add(events, [
                { address, length: 3, writable: true },
                { address: address + 3, length: INPUT_EVENT_SIZE - 3, writable: true },
              ]);
            }
            await driver.kick(events);
            device.send([{ type: EV_KEY, code, value: (i + 1) & 1 }]);
            expect(await receive(first)).toEqual([EV_KEY, code, (i + 1) & 1]);
            expect(await receive(second)).toEqual([EV_SYN, SYN_REPORT, 0]);
            const led = Buffer.from(Uint16Array.of(EV_LED, 0, i & 1, 0).buffer);
            await driver.submit(status, [{ address: bench.allocator.put(led), length: led.length }]);
          }
        },
      };
    },
  };
}

export const keyboard = input('keyboard', KEY_A);
export const mouse = input('mouse', BTN_LEFT);
export const tablet = input('tablet', BTN_LEFT);
