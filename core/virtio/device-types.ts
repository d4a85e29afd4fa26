/** All virtio device types. */
import type { VirtioDeviceType } from './device-type.ts';
import { RNG_TYPE } from './rng/type.ts';

export const VIRTIO_DEVICE_TYPES: readonly VirtioDeviceType[] = [RNG_TYPE];
