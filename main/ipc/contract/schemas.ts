/**
 * What crosses between the app and its windows, as schemas: virtual machines as the library keeps them, guests of the
 * catalogue, what the file browser answers. The machine itself (drives, devices, queues) is core/api/machine.ts.
 * Sizes are bytes, times are milliseconds since the epoch.
 */
import { z } from 'zod';
import { driveConfig, machineConfig, machineExit } from '../../../core/api/machine.ts';

export const MIB = 2 ** 20;
/** virtio-mmio slots of the board: drives, console and rng share them. */
export const VIRTIO_SLOTS = 8;

export const vmId = z.uuid();
export const guestId = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,79}$/, 'not the id of a catalogue guest');
/** Console ports of a machine: serial0, console0, ids of chardevs. */
export const portName = z.string().regex(/^[A-Za-z][A-Za-z0-9._-]{0,63}$/, 'not the name of a console port');
/** A path on the machine that runs the VMs. NUL never belongs in one. */
export const hostPath = z
  .string()
  .min(1, 'choose a file')
  .max(4096)
  .refine((path) => !path.includes('\0'), 'not a path');

/** Size of a raw image. */
export const imageBytes = z
  .number()
  .int()
  .min(512)
  .max(2 ** 50)
  .refine((size) => size % 512 === 0, 'a multiple of 512 bytes');

// eslint-disable-next-line no-control-regex -- control characters are exactly what a name must not have
const CONTROL = /[\u0000-\u001f\u007f]/;

export const vmName = z
  .string()
  .trim()
  .min(1, 'give it a name')
  .max(80, 'at most 80 characters')
  .refine((name) => !CONTROL.test(name), 'no control characters');

/** Where kernel, initrd and command line come from. */
export const vmBoot = z.discriminatedUnion('source', [
  z.strictObject({
    source: z.literal('guest'),
    guest: guestId,
    /** Kernel command line instead of the catalogue's. */
    append: z.string().max(2048, 'at most 2048 characters').optional(),
  }),
  z.strictObject({
    source: z.literal('files'),
    kernel: hostPath.optional(),
    initrd: hostPath.optional(),
    append: z.string().max(2048, 'at most 2048 characters').default(''),
  }),
]);
export type VmBoot = z.infer<typeof vmBoot>;

const vmSettingsShape = machineConfig.omit({ kernel: true, initrd: true, append: true, jitCache: true }).extend({
  name: vmName,
  boot: vmBoot,
  drives: z.array(driveConfig.extend({ file: hostPath })).default([]),
});

/** Settings that are yet to be completed: there may be nothing to boot, two disks of one file, ... */
export const vmSettingsDraft = vmSettingsShape;
export type VmSettingsDraft = z.infer<typeof vmSettingsDraft>;

/** What a person sets of a VM: a machine configuration whose kernel comes from the catalogue or from files. */
export const vmSettings = vmSettingsShape.superRefine((vm, ctx) => {
  if (vm.memory % MIB !== 0) ctx.addIssue({ code: 'custom', path: ['memory'], message: 'a whole number of MiB' });
  if (vm.boot.source === 'files' && vm.boot.kernel === undefined && (vm.bios === 'default' || vm.bios === 'none')) {
    ctx.addIssue({ code: 'custom', path: ['boot', 'kernel'], message: 'choose a kernel, or a firmware that has one' });
  }
  const ids = new Map<string, number>();
  const files = new Map<string, number>();
  vm.drives.forEach((drive, at) => {
    const sameId = ids.get(drive.id);
    if (sameId !== undefined) {
      ctx.addIssue({ code: 'custom', path: ['drives', at, 'id'], message: `disk ${sameId + 1} has this name already` });
    }
    ids.set(drive.id, at);
    const sameFile = files.get(drive.file);
    if (sameFile !== undefined && !(drive.readonly && vm.drives[sameFile].readonly)) {
      ctx.addIssue({
        code: 'custom',
        path: ['drives', at, 'file'],
        message: `disk ${sameFile + 1} is this file already`,
      });
    }
    files.set(drive.file, at);
    if (drive.serial !== undefined && new TextEncoder().encode(drive.serial).length > 20) {
      ctx.addIssue({ code: 'custom', path: ['drives', at, 'serial'], message: 'at most 20 bytes' });
    }
  });
  const slots = vm.drives.length + (vm.console ? 1 : 0) + (vm.rng ? 1 : 0);
  if (slots > VIRTIO_SLOTS) {
    ctx.addIssue({
      code: 'custom',
      path: ['drives'],
      message: `the board has ${VIRTIO_SLOTS} virtio slots and this needs ${slots}: remove a disk, the console or the rng`,
    });
  }
});
export type VmSettings = z.infer<typeof vmSettings>;
export type VmSettingsInput = z.input<typeof vmSettings>;

/** stopped: no machine exists. crashed: it ended by itself in a way that is our fault; start makes a new machine. */
export const vmState = z.enum(['stopped', 'starting', 'running', 'paused', 'stopping', 'crashed']);
export type VmState = z.infer<typeof vmState>;

export const vmInfo = z.object({
  id: vmId,
  settings: vmSettings,
  state: vmState,
  created: z.number(),
  modified: z.number(),
  /** When the present machine was started, or null. */
  started: z.number().nullable(),
  /** How the last machine ended, or null. */
  exit: machineExit.nullable(),
  /** The last thing the machine had to say that explains its state ("drive0: no space on host, paused"), or null. */
  message: z.string().nullable(),
  /** It is on, and its settings have changed since it was started: they apply at its next start. */
  pending: z.boolean(),
  /** Console ports that can be attached to. */
  ports: z.array(portName),
  /** A clone is being made of it: its name, and bytes of the disks to be copied; null: none is. */
  cloning: z.object({ name: vmName, copied: z.number(), total: z.number() }).nullable(),
});
export type VmInfo = z.infer<typeof vmInfo>;

/** What a VM can be written down as: QEMU's command line, our own, a libvirt domain, a KubeVirt manifest, a .ringside file. */
export const exportFormat = z.enum(['qemu', 'ringside', 'libvirt', 'kubevirt', 'file']);
export type ExportFormat = z.infer<typeof exportFormat>;
/** Something that was said to a monitor or by it (core/monitor/traffic.ts). */
export const monitorEntry = z.object({
  /** Counts from 1, for each machine. */
  number: z.number().int(),
  time: z.number(),
  kind: z.enum(['connect', 'disconnect', 'command', 'reply', 'error', 'line', 'event', 'trace']),
  /** Clients count from 1; 0 is monitor.execute; null for events, which are for all. */
  client: z.number().int().nullable(),
  text: z.string(),
  /** Characters that were left out at the end of the text. */
  cut: z.number().int(),
});
export type MonitorEntry = z.infer<typeof monitorEntry>;

/** A console port of a VM, and what was made of it. */
export const consoleInfo = z.object({
  port: portName,
  /** Whether the guest can be told the size of the terminal now. */
  resizable: z.boolean(),
  /** The terminal of the host that it is connected to, e.g. /dev/pts/3. */
  pty: z.string().nullable(),
  /** The file that it is kept in. */
  log: z.string().nullable(),
});
export type ConsoleInfo = z.infer<typeof consoleInfo>;

/** A file in the library's folder that could not be read as a VM. It is left as it is. */
export const libraryProblem = z.object({ file: z.string(), message: z.string() });
export type LibraryProblem = z.infer<typeof libraryProblem>;

export const guestProgress = z.object({
  /** What is being done, for a person: "linux-image-6.12...deb". */
  step: z.string(),
  /** Bytes so far and in all, of the whole download; total is null while unknown. */
  received: z.number(),
  total: z.number().nullable(),
});
export type GuestProgress = z.infer<typeof guestProgress>;

export const guestInfo = z.object({
  id: guestId,
  name: z.string(),
  description: z.string(),
  /** paused: a part of it is here, from which guests.fetch goes on. */
  state: z.enum(['absent', 'fetching', 'paused', 'ready']),
  version: z.string().nullable(),
  /** Bytes to download (absent) or on disk (ready), or null when not known. */
  size: z.number().nullable(),
  /** The command line that the catalogue gives, when known. */
  append: z.string().nullable(),
  progress: guestProgress.nullable(),
  /** Why the last download failed, or null. */
  error: z.string().nullable(),
});
export type GuestInfo = z.infer<typeof guestInfo>;

export const fileEntry = z.object({
  name: z.string(),
  /** Of what a link points to; 'other': device, socket, pipe; 'unreadable': see problem. */
  type: z.enum(['file', 'directory', 'other', 'unreadable']),
  link: z.boolean(),
  size: z.number(),
  modified: z.number(),
  problem: z.string().nullable(),
});
export type FileEntry = z.infer<typeof fileEntry>;

export const fileListing = z.object({
  path: z.string(),
  /** null at the root. */
  parent: z.string().nullable(),
  entries: z.array(fileEntry),
  /** Entries in the directory; more than entries.length only when it is too long to show. */
  total: z.number().int(),
  /** Starting points: home, disks folder, root. */
  places: z.array(z.object({ name: z.string(), path: z.string() })),
});
export type FileListing = z.infer<typeof fileListing>;

export const fileStatus = z.object({
  /** Absolute; `~` expanded. */
  path: z.string(),
  type: z.enum(['file', 'directory', 'other', 'absent']),
  size: z.number(),
  /** Bytes that it takes on the host (sparse files take less than their size). */
  allocated: z.number(),
  readable: z.boolean(),
  writable: z.boolean(),
  /** What its first bytes look like, when not like a raw disk image: another format, or a compressed file. */
  looksLike: z.object({ name: z.string(), kind: z.enum(['image', 'compressed']) }).nullable(),
});
export type FileStatus = z.infer<typeof fileStatus>;

export const logEntry = z.object({
  time: z.number(),
  level: z.enum(['info', 'warning', 'error']),
  vm: vmId.nullable(),
  text: z.string(),
});
export type LogEntry = z.infer<typeof logEntry>;

export const appInfo = z.object({
  version: z.string(),
  /** Where the windows are: an Electron window, or a browser behind `ringside serve`. */
  host: z.enum(['desktop', 'browser']),
  platform: z.string(),
  arch: z.string(),
  runtime: z.string(),
  /** Whether files.pick works. */
  nativeDialogs: z.boolean(),
  /** Whether console.openPty works. */
  hostTerminals: z.boolean(),
  /** The library's folder, and where new disks go unless told otherwise. */
  home: z.string(),
  disks: z.string(),
  /** Where captures go unless told otherwise. */
  captures: z.string(),
  /** The folder with the log files. */
  logs: z.string(),
  limits: z.object({ memory: z.object({ min: z.number(), max: z.number() }), harts: z.number().int() }),
});
export type AppInfo = z.infer<typeof appInfo>;
