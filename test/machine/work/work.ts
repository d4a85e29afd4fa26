/** What a device type gives to the tests of devices under Debian's drivers (../devices.test.ts). */
import type { DeviceConfig, MachineConfigInput } from '../../../core/api/machine.ts';
import { virtioInstance } from '../../../core/virtio/proxy.ts';
import type { Running } from '../../harness/debian.ts';

/** How devices are attached. */
export interface Board {
  /** A folder of the board's own. */
  readonly folder: string;
  /** The device of a type on the board's transport. @param base e.g. "virtio-rng" */
  device(base: string, id: string, properties?: Record<string, string | number | boolean>): DeviceConfig;
}

export interface Work {
  readonly name: string;
  /** Why it cannot be done here; null when it can. */
  readonly skip?: string | null;
  /** What it wants of the machine; `devices` are one for each mmio slot that it takes. */
  config(board: Board): Partial<MachineConfigInput>;
  /** The device does what it is for, and both sides see the same. */
  work(running: Running, board: Board): Promise<void>;
}

/** The control thread's half of a device. */
export function deviceOf<T>({ machine }: Running, id: string): T {
  return virtioInstance(machine.qom.get(`/machine/peripheral/${id}`))!.device as unknown as T;
}
