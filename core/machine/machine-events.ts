/** What a machine tells who listens to it. */
import type { MachineExit, MachineState } from '../api/machine.ts';
import type { IoErrorEvent } from '../virtio/backend/backend.ts';
import type { DeviceName } from './device-removal.ts';

export interface MachineEvents {
  state: [MachineState];
  exit: [MachineExit];
  /** Something the user should know, one line. What is said before there is a listener waits for the first one. */
  message: [string];
  /** A device has come. */
  'device-added': [DeviceName];
  /** A device, or a part of one, is gone from the tree (QEMU's DEVICE_DELETED). */
  'device-deleted': [DeviceName];
  /** The guest was asked to let go of a device, and does not (QEMU's DEVICE_UNPLUG_GUEST_ERROR). */
  'device-kept': [DeviceName];
  /** It has been reset: by the guest, or by reset(). */
  reset: ['guest' | 'host'];
  /** The guest has set the clock: how far it is now from the host's, s. */
  'rtc-change': [offset: number];
  /** A request of a disk has failed; before the machine stops for it. */
  'io-error': [device: string, error: IoErrorEvent];
}
