/** `-drive`, `-device` and `-chardev`: their keys, and how together they say what the machine has. */
import { didYouMean } from '../../../core/did-you-mean.ts';
import { type DriveConfig, type MachineConfigInput, driveConfig } from '../../../core/api/machine.ts';
import { type Values, badOption, choice, count, onOff, parseList, splitList, text } from './syntax.ts';

/** Virtio-mmio slots of the board. */
export const SLOTS = 8;

const idKey = text('ID', 'name, unique in the machine');

const ERRORS = ['report', 'stop', 'enospc', 'ignore'] as const;
const READ_ERRORS = ['report', 'stop', 'ignore'] as const;
const WERROR = choice(ERRORS, 'what a failed write does: report it, pause the VM, pause only when the host is full');
const RERROR = choice(READ_ERRORS, 'what a failed read does');
const SERIAL = text('TEXT', 'serial number that the guest sees, at most 20 bytes');

export const DRIVE_KEYS = {
  file: text('FILE', 'image; ",," stands for a comma'),
  format: choice(['raw'], 'image format; say it, and no image is taken for another'),
  if: choice(['virtio', 'none'], 'virtio: a virtio-blk device of its own; none: for a -device that names it'),
  id: idKey,
  readonly: onOff('the guest cannot write'),
  serial: SERIAL,
  werror: WERROR,
  rerror: RERROR,
  discard: choice(['unmap', 'on', 'ignore', 'off'], 'whether guest discards punch holes in the file'),
  cache: choice(['writeback', 'none'], 'both: writes are stable once the guest has flushed them'),
  media: choice(['disk'], 'for compatibility'),
};

const BUS = {
  help: `virtio-mmio slot, 0 to ${SLOTS - 1}; without it the highest free one`,
  shape: 'virtio-mmio-bus.N',
  parse(value: string): number {
    const match = /^virtio-mmio-bus\.(\d+)$/.exec(value);
    if (match === null || Number(match[1]) >= SLOTS) {
      throw new Error(`"${value}" is not a slot: virtio-mmio-bus.0 to virtio-mmio-bus.${SLOTS - 1}`);
    }
    return Number(match[1]);
  },
};

/** Device types by name, each with its keys. */
export const DEVICE_KEYS = {
  'virtio-blk-device': {
    drive: text('ID', 'the -drive (with if=none) that it is'),
    id: idKey,
    serial: SERIAL,
    werror: WERROR,
    rerror: RERROR,
    bus: BUS,
  },
  'virtio-rng-device': { id: idKey },
  'virtio-serial-device': { id: idKey, max_ports: count('N', 1, 31, 'for compatibility; there is one port') },
  virtconsole: {
    chardev: text('ID', 'the -chardev that it is connected to'),
    id: idKey,
    name: text('NAME', 'port name'),
  },
};

export const CHARDEV_KEYS = {
  backend: choice(['stdio', 'null'], 'the terminal, or nothing'),
  id: idKey,
  mux: onOff('Ctrl-A is the escape key'),
  signal: onOff('for compatibility'),
};

export type DriveOption = Values<typeof DRIVE_KEYS>;
export type ChardevOption = Values<typeof CHARDEV_KEYS>;
export type DeviceOption = {
  [T in keyof typeof DEVICE_KEYS]: { type: T; values: Values<(typeof DEVICE_KEYS)[T]> };
}[keyof typeof DEVICE_KEYS];

export function parseDevice(value: string): DeviceOption {
  const [first, ...rest] = splitList(value);
  const named = first.value === undefined ? first.key : first.key === 'driver' ? first.value : '';
  const types = Object.keys(DEVICE_KEYS) as (keyof typeof DEVICE_KEYS)[];
  const type = types.find((candidate) => candidate === named);
  if (type === undefined) {
    throw badOption('-device', `unknown device "${named}"${didYouMean(named, types)}; allowed: ${types.join(', ')}`);
  }
  const keys = DEVICE_KEYS[type];
  const tail = value.slice(value.indexOf(',') + 1);
  const values = rest.length === 0 ? {} : parseList(`-device ${type}`, tail, keys);
  return { type, values } as DeviceOption;
}

export function parseDrive(value: string): DriveOption {
  const drive = parseList('-drive', value, DRIVE_KEYS);
  if (drive.file === undefined) throw badOption('-drive', 'which image? Give file=FILE');
  return drive;
}

export function parseChardev(value: string): ChardevOption {
  const chardev = parseList('-chardev', value, CHARDEV_KEYS, 'backend');
  if (chardev.backend === undefined) throw badOption('-chardev', 'its type comes first: stdio or null');
  if (chardev.id === undefined) throw badOption('-chardev', 'it needs a name: id=ID');
  return chardev;
}

type DriveInput = NonNullable<MachineConfigInput['drives']>[number];
type BlkDevice = Values<(typeof DEVICE_KEYS)['virtio-blk-device']>;

function driveInput(drive: DriveOption, device: BlkDevice, id: string): DriveConfig {
  const input: DriveInput = { id, file: drive.file! };
  if (drive.readonly !== undefined) input.readonly = drive.readonly;
  if (drive.discard !== undefined) input.discard = /unmap|on/.test(drive.discard) ? 'unmap' : 'ignore';
  const serial = device.serial ?? drive.serial;
  if (serial !== undefined) input.serial = serial;
  const werror = device.werror ?? drive.werror;
  if (werror !== undefined) input.werror = werror;
  const rerror = device.rerror ?? drive.rerror;
  if (rerror !== undefined) input.rerror = rerror;
  if (device.bus !== undefined) input.slot = device.bus;
  if (Buffer.byteLength(serial ?? '') > 20) throw badOption('-drive', `serial "${serial}" is longer than 20 bytes`);
  const parsed = driveConfig.safeParse(input);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const problem =
    issue.path[0] === 'id'
      ? `"${id}" is not a name: a letter, then letters, digits, ".", "_" or "-"`
      : `${issue.path.join('.')}: ${issue.message}`;
  throw badOption('-drive', problem);
}

/**
 * The drives, in the order in which QEMU gives them slots: those of -device options, then those with if=virtio.
 * @throws RingsideError bad-option for names that clash or lead nowhere
 */
export function attachDrives(drives: readonly DriveOption[], devices: readonly DeviceOption[]): DriveConfig[] {
  const named = new Map<string, DriveOption>();
  for (const drive of drives) {
    if (drive.id === undefined) continue;
    if (named.has(drive.id)) throw badOption('-drive', `id=${drive.id} is given twice`);
    named.set(drive.id, drive);
  }
  const attached: DriveConfig[] = [];
  const used = new Set<DriveOption>();
  for (const device of devices) {
    if (device.type !== 'virtio-blk-device') continue;
    const { values } = device;
    if (values.drive === undefined) throw badOption('-device virtio-blk-device', 'which drive? Give drive=ID');
    const drive = named.get(values.drive);
    if (drive === undefined) {
      const hint = didYouMean(values.drive, named.keys());
      throw badOption('-device virtio-blk-device', `there is no -drive with id=${values.drive}${hint}`);
    }
    if (drive.if !== 'none') throw badOption('-drive', `id=${values.drive} is used by a -device: say if=none as well`);
    if (used.has(drive))
      throw badOption('-device virtio-blk-device', `drive ${values.drive} is in use by another device`);
    used.add(drive);
    attached.push(driveInput(drive, values, values.id ?? values.drive));
  }
  for (const drive of drives) {
    if (used.has(drive)) continue;
    if (drive.if === 'none') {
      const name = drive.id === undefined ? 'give it an id, and' : 'add';
      throw badOption(
        '-drive',
        `no device uses ${drive.file}: ${name} -device virtio-blk-device,drive=${drive.id ?? 'ID'}`,
      );
    }
    let n = 0;
    const taken = (id: string) => named.has(id) || attached.some((other) => other.id === id);
    while (taken(`drive${n}`)) n++;
    attached.push(driveInput(drive, {}, drive.id ?? `drive${n}`));
  }
  checkUnique(attached);
  return attached;
}

function checkUnique(drives: readonly DriveConfig[]): void {
  const ids = new Set<string>();
  const slots = new Set<number>();
  for (const { id, slot } of drives) {
    if (ids.has(id)) throw badOption('-device virtio-blk-device', `id ${id} is in use already`);
    ids.add(id);
    if (slot === undefined) continue;
    if (slots.has(slot)) throw badOption('-device virtio-blk-device', `bus virtio-mmio-bus.${slot} is in use already`);
    slots.add(slot);
  }
}
