/** All virtio device types. */
import type { VirtioDeviceType } from './device-type.ts';
import { P9_TYPE } from './9p/type.ts';
import { BALLOON_TYPE } from './balloon/type.ts';
import { BLK_TYPE } from './blk/type.ts';
import { CONSOLE_TYPE } from './console/type.ts';
import { CRYPTO_TYPE } from './crypto/type.ts';
import { INPUT_TYPES } from './input/type.ts';
import { NET_TYPE } from './net/type.ts';
import { PMEM_TYPE } from './pmem/type.ts';
import { RNG_TYPE } from './rng/type.ts';
import { VSOCK_TYPE } from './vsock/type.ts';

export const VIRTIO_DEVICE_TYPES: readonly VirtioDeviceType[] = [
  BALLOON_TYPE,
  BLK_TYPE,
  CONSOLE_TYPE,
  CRYPTO_TYPE,
  ...INPUT_TYPES,
  NET_TYPE,
  P9_TYPE,
  PMEM_TYPE,
  RNG_TYPE,
  VSOCK_TYPE,
];
