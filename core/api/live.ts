/**
 * What of a machine that is on can come, go and change: slots for hotplug, the devices that sit there, and what the host can
 * set while the guest runs. PCI addresses are as the guest's kernel writes them: DDDD:BB:DD.F, hexadecimal.
 */
import { z } from 'zod';

/** A slot behind a PCI Express root port. */
export const hotplugPort = z.object({
  /** The port's id, which is the name of the bus behind it; without an id its path. */
  id: z.string(),
  bus: z.string(),
  /** Of the port. */
  address: z.string(),
  /** Offset of the Slot Control register in the port's configuration space. */
  slotControl: z.number().int(),
  /** Number of the bus behind it, which the guest gives; null before. */
  secondary: z.number().int().nullable(),
  /** Ids, or paths, of what is in the slot. */
  devices: z.array(z.string()),
  /** The guest has a driver for the slot: hot-plug interrupts are on. It does its part by itself. */
  served: z.boolean(),
  powered: z.boolean(),
  /** The power indicator blinks: the guest is letting go. */
  busy: z.boolean(),
});
export type HotplugPort = z.infer<typeof hotplugPort>;

export const pluggedDevice = z.object({
  id: z.string(),
  driver: z.string(),
  /** Name of the bus that it sits on. */
  bus: z.string().nullable(),
  busKind: z.enum(['port', 'pci', 'virtio-mmio', 'serial', 'none']),
  /** Came while the machine was on. */
  hotplugged: z.boolean(),
  /** It can be taken out now, if the guest lets go. */
  removable: z.boolean(),
  /** Of a PCI device whose place the guest knows. */
  address: z.string().nullable(),
  /** Of a virtio device: its driver is ready. */
  ready: z.boolean().nullable(),
  /** Of a network card: VIRTIO_NET_S_LINK_UP. */
  link: z.boolean().nullable(),
  /** Of a disk: host path, format, bytes, whether writes go to a cache until they are flushed, and the drive that it is. */
  disk: z
    .object({
      drive: z.string(),
      file: z.string(),
      format: z.enum(['raw', 'qcow2']),
      size: z.number(),
      writeCache: z.boolean(),
      readonly: z.boolean(),
    })
    .nullable(),
});
export type PluggedDevice = z.infer<typeof pluggedDevice>;

export const liveParts = z.object({
  ports: z.array(hotplugPort),
  devices: z.array(pluggedDevice),
  /** Ids of its objects (-object), which devices may share. */
  objects: z.array(z.string()),
});
export type LiveParts = z.infer<typeof liveParts>;
