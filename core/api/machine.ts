/**
 * What a machine is made of and what it shows: the schemas that the CLI, the GUI, VM files and (later) QMP share.
 * Sizes are bytes. Names follow QEMU's options.
 */
import { z } from 'zod';

/** Errors are what a value must be, to be put behind its name. */
function wholeNumber(least: number, most: number) {
  const error = `must be ${least} to ${most}`;
  return z.number({ error }).int(error).min(least, error).max(most, error);
}

const id = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9._-]{0,63}$/, 'must be a letter, then letters, digits, ".", "_" or "-"');

export const driveConfig = z.strictObject({
  /** Drive and, with if=virtio, device id, unique in the machine: [A-Za-z][A-Za-z0-9._-]*. */
  id,
  /** virtio: a virtio-blk-device of its own; none: for a device that names it (drive=ID). */
  if: z.enum(['virtio', 'none'], { error: 'must be virtio or none' }).optional(),
  /** Host path of the image. */
  file: z.string({ error: 'must be the path of an image' }).min(1, 'must be the path of an image'),
  /** auto: as the file says, never raw. */
  format: z.enum(['raw', 'qcow2', 'auto'], { error: 'must be raw, qcow2 or auto' }).default('raw'),
  /** Whether files are opened because the image names them: a backing file, a data file. */
  backing: z.enum(['refuse', 'trust'], { error: 'must be refuse or trust' }).default('refuse'),
  /** Whether others are kept off the image: as well as can be had here, or refused where that cannot be had, or not. */
  locking: z.enum(['auto', 'on', 'off'], { error: 'must be auto, on or off' }).default('auto'),
  readonly: z.boolean().default(false),
  /** virtio-blk serial (VIRTIO_BLK_T_GET_ID), at most 20 bytes. */
  serial: z.string().max(20, 'must have at most 20 bytes').optional(),
  /** What a failed write does: report it to the guest, stop (pause) the VM, stop only when the host is out of space. */
  werror: z
    .enum(['report', 'stop', 'enospc', 'ignore'], { error: 'must be report, stop, enospc or ignore' })
    .default('enospc'),
  rerror: z.enum(['report', 'stop', 'ignore'], { error: 'must be report, stop or ignore' }).default('report'),
  /** Whether guest discards punch holes in the file. */
  discard: z.enum(['unmap', 'ignore'], { error: 'must be unmap or ignore' }).default('unmap'),
  /** Virtio-mmio version 1 instead of 2 for this device. */
  legacy: z.boolean().default(false),
  /** Virtio-mmio slot (QEMU: bus=virtio-mmio-bus.N). Without it, as in QEMU, the highest one that is free. */
  slot: wholeNumber(0, 7).optional(),
});
export type DriveConfig = z.infer<typeof driveConfig>;

/** A property: JSON of its kind, or text as on a command line. Which there are is up to the type. */
const scalar = z.union([z.string(), z.number(), z.boolean()]);
const propertyInput = z.union(
  [scalar, z.null(), z.array(z.union([scalar, z.record(z.string(), z.union([scalar, z.array(scalar)]))]))],
  { error: 'must be text, a number, true, false, null or a list' },
);

/** QEMU's -device: `bus` is the name of a bus, everything else is a property of the type `driver`. */
export const deviceConfig = z
  .object({
    driver: z.string({ error: 'must be the name of a device type' }),
    id: id.optional(),
    bus: z.string({ error: 'must be the name of a bus' }).optional(),
  })
  .catchall(propertyInput);
export type DeviceConfig = z.infer<typeof deviceConfig>;

/** QEMU's -object, -chardev, -netdev and -fsdev: everything else is a property of the type. */
export const backendConfig = z
  .object({ type: z.string({ error: 'must be the name of a type' }), id })
  .catchall(propertyInput);
export type BackendConfig = z.infer<typeof backendConfig>;

/** QEMU's -global. */
export const globalConfig = z.strictObject({ driver: z.string(), property: z.string(), value: z.string() });
export type GlobalConfig = z.infer<typeof globalConfig>;

/**
 * The board's interrupt controllers (QEMU: -machine aia=): a PLIC; an APLIC wired to the harts; an APLIC that sends messages
 * to an IMSIC at each hart, which take PCI devices' messages too.
 */
export const aiaKind = z.enum(['none', 'aplic', 'aplic-imsic'], { error: 'must be none, aplic or aplic-imsic' });
export type AiaKind = z.infer<typeof aiaKind>;

export const machineConfig = z.strictObject({
  /** Guest RAM, bytes, a multiple of 1 MiB. */
  memory: z
    .number({ error: 'must be a number of bytes' })
    .int('must be a whole number of bytes')
    .min(16 * 2 ** 20, 'must be at least 16 MiB'),
  harts: wholeNumber(1, 8).default(1),
  aia: aiaKind.default('none'),
  /** 'default': the built-in SBI; 'none': start in M-mode at the kernel; else the path of a firmware image (OpenSBI). */
  bios: z.string().min(1).default('default'),
  kernel: z.string().min(1).optional(),
  initrd: z.string().min(1).optional(),
  append: z
    .string()
    .refine((text) => !text.includes('\0'), 'must not have NUL characters')
    .default(''),
  /** How guest code is executed: translated to WebAssembly where it is hot, or only interpreted. */
  accel: z.enum(['jit', 'interp'], { error: 'must be jit or interp' }).default('jit'),
  /** Folder in which the translator keeps what it has found, so that a kernel seen before starts faster; null: nowhere. */
  jitCache: z.string().min(1, 'must be the path of a folder').nullable().default(null),
  drives: z.array(driveConfig).default([]),
  /** They come before those that `drives`, `console` and `rng` stand for. */
  devices: z.array(deviceConfig).default([]),
  objects: z.array(backendConfig).default([]),
  chardevs: z.array(backendConfig).default([]),
  /** The character device that the UART has. Without it the program that runs the machine connects it, as serial0. */
  serial: id.optional(),
  netdevs: z.array(backendConfig).default([]),
  fsdevs: z.array(backendConfig).default([]),
  globals: z.array(globalConfig).default([]),
  /** A virtio-serial device with a console (hvc0), called console0. */
  console: z.boolean().default(true),
  /** A virtio-rng device, called rng0. */
  rng: z.boolean().default(true),
  /** All virtio-mmio devices speak version 1 (QEMU: -global virtio-mmio.force-legacy=true). */
  forceLegacy: z.boolean().default(false),
  /** A reset that the guest asks for ends the VM (exit reason 'guest-reset'). QEMU: -no-reboot. */
  noReboot: z.boolean().optional(),
});
export type MachineConfig = z.infer<typeof machineConfig>;
export type MachineConfigInput = z.input<typeof machineConfig>;

/** created: built, never run. paused also after an I/O error that stops the VM. shutdown: ended, resources released. */
export const machineState = z.enum(['created', 'running', 'paused', 'shutdown', 'crashed']);
export type MachineState = z.infer<typeof machineState>;

/** How a VM ended. `code` is the process exit status that `ringside run` gives. */
export const machineExit = z.object({
  reason: z.enum(['guest-poweroff', 'guest-reset', 'guest-fail', 'host-quit', 'crash']),
  code: z.number().int(),
  detail: z.string().optional(),
});
export type MachineExit = z.infer<typeof machineExit>;

/** A feature bit, decoded. */
export const featureBit = z.object({
  bit: z.number().int(),
  /** As in the spec, e.g. VIRTIO_BLK_F_FLUSH; unknown bits are "bit N". */
  name: z.string(),
  help: z.string(),
  offered: z.boolean(),
  negotiated: z.boolean(),
});

export const queueSnapshot = z.object({
  index: z.number().int(),
  /** e.g. "requestq", "receiveq(port0)". */
  name: z.string(),
  enabled: z.boolean(),
  /** Entries; 0 when not configured. */
  size: z.number().int(),
  maxSize: z.number().int(),
  /** Guest physical addresses as 0x hex. */
  descriptorArea: z.string(),
  driverArea: z.string(),
  deviceArea: z.string(),
  format: z.enum(['split', 'packed']),
  /**
   * Ring words as they stand in guest memory now (wrap at 2^16). Of a packed ring, which has none: offsets of the next
   * descriptor that the driver makes available and that the device marks used, the flags of the driver's and the device's
   * event suppression, and the offsets in those where they ask for one (flags 2).
   */
  availIdx: z.number().int(),
  availFlags: z.number().int(),
  usedIdx: z.number().int(),
  usedFlags: z.number().int(),
  usedEvent: z.number().int().nullable(),
  availEvent: z.number().int().nullable(),
  /** The device's own position in the available ring; of a packed ring an offset. */
  lastAvailIdx: z.number().int(),
  /** Packed rings: wrap counters of driver and device, at availIdx, lastAvailIdx and usedIdx. */
  wrap: z.object({ avail: z.number().int(), lastAvail: z.number().int(), used: z.number().int() }).nullable(),
  /** Ring entries that the device has, and available ones that it has not taken yet. */
  entries: z.object({ device: z.number().int(), driver: z.number().int() }),
  /** VIRTIO_F_NOTIFICATION_DATA: the position in the last notification, as the driver sent it. */
  notificationData: z.number().int().nullable(),
  inFlight: z.number().int(),
  /** Counters since the queue was activated. */
  counters: z.object({
    popped: z.number(),
    used: z.number(),
    notifications: z.number(),
    interrupts: z.number(),
    suppressed: z.number(),
  }),
  /** Why the queue is broken, if it is. */
  error: z.string().nullable(),
});
export type QueueSnapshot = z.infer<typeof queueSnapshot>;

export const virtioDeviceSnapshot = z.object({
  /** e.g. "drive0". */
  id: z.string(),
  /** e.g. "virtio-blk". */
  type: z.string(),
  virtioId: z.number().int(),
  /** "virtio-mmio" and its slot, version and guest physical base. */
  transport: z.object({
    name: z.string(),
    version: z.number().int(),
    slot: z.number().int(),
    base: z.string(),
    irq: z.number().int(),
  }),
  /** The device status register and its decoding. */
  status: z.number().int(),
  statusBits: z.array(
    z.object({
      bit: z.number().int(),
      name: z.string(),
      set: z.boolean(),
      help: z.string(),
      /** When it was set, ms since 1970; null while it is not. */
      at: z.number().nullable(),
    }),
  ),
  interruptStatus: z.number().int(),
  /** 0x hex, 64 bit. */
  offeredFeatures: z.string(),
  driverFeatures: z.string(),
  negotiatedFeatures: z.string(),
  features: z.array(featureBit),
  config: z.array(z.object({ name: z.string(), offset: z.number().int(), size: z.number().int(), value: z.string() })),
  queues: z.array(queueSnapshot),
  /** Why the device needs a reset (DEVICE_NEEDS_RESET) or refused FEATURES_OK, if so. */
  error: z.string().nullable(),
});
export type VirtioDeviceSnapshot = z.infer<typeof virtioDeviceSnapshot>;

export const hartSnapshot = z.object({
  id: z.number().int(),
  state: z.string(),
  privilege: z.string(),
  pc: z.string(),
  instret: z.number(),
  traps: z.number(),
  mmio: z.number(),
});

export const machineSnapshot = z.object({
  state: machineState,
  /** Wall time the guest has run, ms. */
  uptime: z.number(),
  harts: z.array(hartSnapshot),
  virtio: z.array(virtioDeviceSnapshot),
});
export type MachineSnapshot = z.infer<typeof machineSnapshot>;
