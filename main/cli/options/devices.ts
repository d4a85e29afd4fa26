/** `-drive`: its keys, and how with -device it says what the machine has. */
import { didYouMean } from '../../../core/did-you-mean.ts';
import { type DriveConfig, type MachineConfigInput, driveConfig } from '../../../core/api/machine.ts';
import { type DeviceOption, busOf, linksOf } from './qdev.ts';
import { type Values, badOption, choice, onOff, parseList, text } from './syntax.ts';

/** Virtio-mmio slots of the board. */
export const SLOTS = 8;

/** Of a virtio-blk serial number (VIRTIO_BLK_ID_BYTES). */
const SERIAL_BYTES = 20;

const idKey = text('ID', 'name, unique in the machine');

const ERRORS = ['report', 'stop', 'enospc', 'ignore'] as const;
const READ_ERRORS = ['report', 'stop', 'ignore'] as const;
const WERROR = choice(ERRORS, 'what a failed write does: report it, pause the VM, pause only when the host is full');
const RERROR = choice(READ_ERRORS, 'what a failed read does');
const SERIAL = text('TEXT', 'serial number that the guest sees, at most 20 bytes');

export const DRIVE_KEYS = {
  file: text('FILE', 'image; ",," stands for a comma'),
  format: choice(['raw', 'qcow2', 'auto'], 'image format; say it, and no image is taken for another'),
  backing: choice(['refuse', 'trust'], 'trust: open the backing and data files that the image names'),
  locking: choice(['auto', 'on', 'off'], 'whether other programs are kept off the image'),
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

export type DriveOption = Values<typeof DRIVE_KEYS>;

export function parseDrive(value: string): DriveOption {
  const drive = parseList('-drive', value, DRIVE_KEYS);
  if (drive.file === undefined) throw badOption('-drive', 'which image? Give file=FILE');
  return drive;
}

type DriveInput = NonNullable<MachineConfigInput['drives']>[number];

function driveInput(drive: DriveOption, id: string, device: boolean): DriveConfig {
  const input: DriveInput = { id, file: drive.file! };
  if (!device) input.if = 'none';
  for (const key of ['format', 'backing', 'locking', 'readonly', 'serial', 'werror', 'rerror'] as const) {
    if (drive[key] !== undefined) Object.assign(input, { [key]: drive[key] });
  }
  if (drive.discard !== undefined) input.discard = /unmap|on/.test(drive.discard) ? 'unmap' : 'ignore';
  if (Buffer.byteLength(drive.serial ?? '') > SERIAL_BYTES) {
    throw badOption('-drive', `serial "${drive.serial}" is longer than ${SERIAL_BYTES} bytes`);
  }
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
 * The drives: those of -device options, then those with if=virtio, which are devices of their own.
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
    for (const id of linksOf(device, 'drive')) {
      const option = `-device ${device.driver}`;
      const drive = named.get(id);
      if (drive === undefined) {
        throw badOption(option, `there is no -drive with id=${id}${didYouMean(id, named.keys())}`);
      }
      if (drive.if !== 'none') throw badOption('-drive', `id=${id} is used by a -device: say if=none as well`);
      if (used.has(drive)) throw badOption(option, `drive ${id} is in use by another device`);
      used.add(drive);
      attached.push(driveInput(drive, id, false));
    }
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
    const taken = (id: string) => named.has(id) || [...attached, ...devices].some((other) => other.id === id);
    while (taken(`drive${n}`)) n++;
    attached.push(driveInput(drive, drive.id ?? `drive${n}`, true));
  }
  checkUnique(attached, devices);
  return attached;
}

/** @throws RingsideError bad-option for two devices with one id, or in one slot */
function checkUnique(drives: readonly DriveConfig[], devices: readonly DeviceOption[]): void {
  const ids = new Set(drives.filter((drive) => drive.if !== 'none').map(({ id }) => id));
  const slots = new Set<number>();
  for (const device of devices) {
    const option = `-device ${device.driver}`;
    if (device.id !== undefined && ids.has(device.id)) throw badOption(option, `id ${device.id} is in use already`);
    if (device.id !== undefined) ids.add(device.id);
    if (busOf(device) !== 'virtio-bus' || device.bus === undefined) continue;
    const match = /^virtio-mmio-bus\.(\d+)$/.exec(device.bus);
    if (match === null || Number(match[1]) >= SLOTS) {
      const allowed = `virtio-mmio-bus.0 to virtio-mmio-bus.${SLOTS - 1}`;
      throw badOption(option, `bus: "${device.bus}" is not a slot: ${allowed}`);
    }
    const slot = Number(match[1]);
    if (slots.has(slot)) throw badOption(option, `bus ${device.bus} is in use already`);
    slots.add(slot);
  }
}
