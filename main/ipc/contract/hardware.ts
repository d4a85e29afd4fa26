/** What a machine can be made of, and what is wrong with what one is made of. */
import { z } from 'zod';

export const propertyInfo = z.object({
  /** As in QEMU, e.g. "num-queues". */
  name: z.string(),
  kind: z.enum([
    'bool',
    'bit',
    'on-off-auto',
    'u8',
    'u16',
    'u32',
    'i32',
    'u64',
    'i64',
    'size',
    'string',
    'enum',
    'link',
    'array',
    'struct-list',
  ]),
  /** One line, no full stop. */
  description: z.string(),
  /** As it is typed; null: not set, or chosen by the machine. */
  default: z.string().nullable(),
  /** device: what this device is about; features: virtio feature bits; bus: how it sits on its bus, and what all devices have. */
  group: z.enum(['device', 'features', 'bus']),
  required: z.boolean(),
  /** Can be set while the machine runs. */
  live: z.boolean(),
  /** Of an enum. */
  values: z.array(z.string()).nullable(),
  /** Of a link: drive, chardev, netdev, fsdev, or the type that the object must be. */
  target: z.string().nullable(),
  unit: z.string().nullable(),
  /** Of numbers, both inclusive. */
  range: z.object({ min: z.string(), max: z.string() }).nullable(),
  /** Of a list of structures, which as text is JSON. */
  fields: z
    .array(z.object({ name: z.string(), kind: z.string(), description: z.string(), required: z.boolean() }))
    .nullable(),
  /** The text is a path on the host, of such a thing. */
  holds: z.enum(['file', 'folder', 'socket']).nullable(),
});
export type PropertyInfo = z.infer<typeof propertyInfo>;

export const deviceTypeInfo = z.object({
  /** e.g. "virtio-blk-pci". */
  name: z.string(),
  /** What the types of one device on different buses have in common, e.g. "virtio-blk". */
  family: z.string(),
  description: z.string(),
  /** QEMU's heading, e.g. "Storage". */
  category: z.string(),
  /** The type of bus that it sits on, e.g. "PCI", "virtio-bus"; null for none. */
  bus: z.string().nullable(),
  aliases: z.array(z.string()),
  properties: z.array(propertyInfo),
});
export type DeviceTypeInfo = z.infer<typeof deviceTypeInfo>;

export const backendTypeInfo = z.object({
  /** What -KIND makes it. */
  kind: z.enum(['drive', 'object', 'netdev', 'fsdev', 'chardev']),
  /** As behind -KIND. */
  name: z.string(),
  /** Its type's name and those that it is derived from. */
  isA: z.array(z.string()),
  description: z.string(),
  /** Several devices may use it at once. */
  shared: z.boolean(),
  properties: z.array(propertyInfo),
});
export type BackendTypeInfo = z.infer<typeof backendTypeInfo>;

export const hardwareTypes = z.object({ devices: z.array(deviceTypeInfo), backends: z.array(backendTypeInfo) });
export type HardwareTypes = z.infer<typeof hardwareTypes>;

/** Something that the types do not allow. */
export const hardwareProblem = z.object({
  /** e.g. ["devices", 0, "num-queues"]. */
  path: z.array(z.union([z.string(), z.number()])),
  /** e.g. "device disk0 (virtio-blk-pci)". */
  what: z.string(),
  message: z.string(),
});
export type HardwareProblem = z.infer<typeof hardwareProblem>;
