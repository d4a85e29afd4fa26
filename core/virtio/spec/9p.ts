/** 9P transport device: its id and configuration (virtio 1.3 reserves the id; Linux's virtio_9p.h says the rest). */
import type { FeatureInfo } from './features.ts';

export const VIRTIO_9P_MOUNT_TAG = 0;

export const P9_FEATURES: readonly FeatureInfo[] = [
  { bit: VIRTIO_9P_MOUNT_TAG, name: 'VIRTIO_9P_MOUNT_TAG', help: 'the configuration has the mount tag' },
];

// struct virtio_9p_config: offsets.
export const P9_CONFIG_TAG_LEN = 0;
export const P9_CONFIG_TAG = 2;
