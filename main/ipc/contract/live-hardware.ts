/** Devices that are attached to a machine that is on, and taken from it. */
import { z } from 'zod';
import { hotplugPort, pluggedDevice } from '../../../core/api/live.ts';
import { backendConfig, deviceConfig, driveConfig } from '../../../core/api/machine.ts';
import { hostPath, imageBytes, vmId, vmSettings } from './schemas.ts';

/** A device's id; one that may come and go needs one. */
export const deviceId = z.string().regex(/^[A-Za-z][A-Za-z0-9._-]{0,63}$/, 'give it a name');
const backends = z.array(backendConfig).max(16).default([]);

/** A device and what is made for it. What is behind it and there already is only named by its properties. */
export const vmParts = z.strictObject({
  /** Without `bus` a PCI device gets the first free hotplug port. */
  device: deviceConfig.extend({ id: deviceId }),
  drive: driveConfig.extend({ file: hostPath, if: z.literal('none') }).optional(),
  objects: backends,
  chardevs: backends,
  netdevs: backends,
  fsdevs: backends,
});
export type VmParts = z.infer<typeof vmParts>;

/** How a detachment goes on. */
export const leaving = z.object({
  /** waiting: the guest has been asked; silent: it has not answered for 15 s, and still may; refused: it keeps it. */
  state: z.enum(['waiting', 'silent', 'refused']),
  /** When it was asked, ms since 1970. */
  since: z.number(),
  /** It goes from the VM's settings too, once it is gone. */
  forget: z.boolean(),
});
export type Leaving = z.infer<typeof leaving>;

export const liveDevice = pluggedDevice.extend({ leaving: leaving.nullable() });
export type LiveDevice = z.infer<typeof liveDevice>;

export const liveHardware = z.object({
  ports: z.array(hotplugPort),
  devices: z.array(liveDevice),
  /** Bytes: what the guest has, and the most that it can have; null without a balloon. */
  balloon: z.object({ actual: z.number(), max: z.number() }).nullable(),
});
export type LiveHardware = z.infer<typeof liveHardware>;

const oneDevice = z.strictObject({ id: vmId, device: deviceId });
const done = z.object({});

export const liveCommands = {
  /** What of a VM that is on can come, go and change. */
  'machine.hardware': { params: z.strictObject({ id: vmId }), result: liveHardware },
  /** A VM that is on as it is now: what it was started with, with what has come and without what has gone since. */
  'machine.settings': { params: z.strictObject({ id: vmId }), result: z.object({ settings: vmSettings }) },
  /**
   * Attaches a device to a VM that is on; `keep`: it is in its settings from now on too. Resolves when it is plugged in; the guest
   * may have to do its part. Refused as a whole, with nothing left behind.
   */
  'vm.plug': {
    params: z.strictObject({ id: vmId, parts: vmParts, keep: z.boolean() }),
    result: z.object({ bus: z.string().nullable() }),
  },
  /** Asks the guest to let go of a device; `machine.hardware` tells what comes of it. `forget`: it goes from the settings too. */
  'vm.unplug': { params: oneDevice.extend({ forget: z.boolean() }), result: done },
  /** Makes a raw image larger, never smaller, by the id of its drive; the guest sees the new size at once. */
  'vm.resizeDisk': {
    params: z.strictObject({ id: vmId, drive: deviceId, size: imageBytes }),
    result: done,
  },
  /** Plugs a network card's cable in or out. Not kept: a start begins with the link up. */
  'vm.setLink': { params: oneDevice.extend({ up: z.boolean() }), result: done },
  /** Asks the balloon to leave the guest so much, bytes. */
  'vm.setBalloon': { params: z.strictObject({ id: vmId, bytes: z.number().int().min(1) }), result: done },
  /** Sets a property that can change while the machine is on (PropertyInfo.live), of an object by its id. */
  'vm.setProperty': {
    params: z.strictObject({ id: vmId, object: deviceId, property: z.string().max(100), value: z.string().max(1000) }),
    result: done,
  },
} as const;
