/** What each device makes of its queues, by VirtioDevice.type, which is BackendInit.type too. */
import { P9_QUEUE } from './9p/decode.ts';
import { balloonQueue } from './balloon/decode.ts';
import { BLK_QUEUE } from './blk/decode.ts';
import { consoleQueue } from './console/decode.ts';
import { cryptoQueue } from './crypto/decode.ts';
import { PLAIN_QUEUE } from './decoder.ts';
import type { DeviceDecoder, QueueDecoder } from './decoder.ts';
import { inputQueue } from './input/decode.ts';
import { netQueue } from './net/decode.ts';
import { PMEM_QUEUE } from './pmem/decode.ts';
import { RNG_QUEUE } from './rng/decode.ts';
import { vsockQueue } from './vsock/decode.ts';

const DECODERS: Readonly<Record<string, DeviceDecoder>> = {
  'virtio-9p': () => P9_QUEUE,
  'virtio-balloon': balloonQueue,
  'virtio-blk': () => BLK_QUEUE,
  'virtio-console': consoleQueue,
  'virtio-crypto': cryptoQueue,
  'virtio-input': inputQueue,
  'virtio-net': netQueue,
  'virtio-pmem': () => PMEM_QUEUE,
  'virtio-rng': () => RNG_QUEUE,
  'virtio-vsock': vsockQueue,
};

/** @param queue its name in the device's list of queues */
export function queueDecoder(device: string, queue: string): QueueDecoder {
  return Object.hasOwn(DECODERS, device) ? DECODERS[device](queue) : PLAIN_QUEUE;
}
