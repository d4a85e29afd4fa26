/** What each device makes of its queues, by VirtioDevice.type, which is BackendInit.type too. */
import { BLK_QUEUE } from './blk/decode.ts';
import { PLAIN_QUEUE } from './decoder.ts';
import type { DeviceDecoder, QueueDecoder } from './decoder.ts';

const DECODERS: Readonly<Record<string, DeviceDecoder>> = {
  'virtio-blk': () => BLK_QUEUE,
};

/** @param queue its name in the device's list of queues */
export function queueDecoder(device: string, queue: string): QueueDecoder {
  return Object.hasOwn(DECODERS, device) ? DECODERS[device](queue) : PLAIN_QUEUE;
}
