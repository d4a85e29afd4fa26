/** A VM as the command line of qemu-system-riscv64, or of `ringside run`. */
import type { BackendConfig, DeviceConfig, DriveConfig } from '../../../core/api/machine.ts';
import type { VmSettings } from '../../ipc/contract.ts';
import type { BootFiles, Exported } from './model.ts';
import { shellQuote } from './model.ts';

export type Flavour = 'qemu' | 'ringside';

const MIB = 2 ** 20;
const CONSOLE_ID = 'console0';
const RNG_ID = 'rng0';
const PROGRAMS: Record<Flavour, string> = { qemu: 'qemu-system-riscv64', ringside: 'ringside run' };
/** Lines of an option with its value. */
const INDENT = '  ';

/** Properties that QEMU knows only since a version. */
const SINCE: Readonly<Record<string, string>> = {
  notification_data: '9.1',
  in_order: '9.2',
  host_uso: '8.2',
  guest_uso4: '8.2',
  guest_uso6: '8.2',
};

/** Device families that QEMU's riscv64 board does not have under this name, and why. */
const OURS: readonly { pattern: RegExp; why: string }[] = [
  {
    pattern: /^virtio-vsock/,
    why: 'QEMU’s vhost-vsock-pci goes by the host’s kernel (vhost) and takes guest-cid= only',
  },
  { pattern: /^virtio-pmem/, why: 'QEMU’s riscv64 virt board has no room for memory devices' },
];

/** Arguments, without the program. */
export function qemuArguments(
  settings: VmSettings,
  boot: BootFiles,
  flavour: Flavour,
): { args: string[][]; notes: string[] } {
  const notes: string[] = [];
  const args: string[][] = [];
  const add = (option: string, ...values: string[]) => void args.push([option, ...values]);
  const { name, memory, harts, aia, bios, accel, noReboot, forceLegacy, globals } = settings;

  add('-name', list(null, { guest: name }));
  add('-machine', aia === 'none' ? 'virt' : `virt,aia=${aia}`);
  if (accel === 'interp') {
    if (flavour === 'ringside') add('-accel', 'interp');
    else notes.push('That guest code is only interpreted is Ringside’s own; QEMU translates it.');
  }
  add('-m', memory % MIB === 0 ? `${memory / MIB}M` : `${memory}B`);
  add('-smp', String(harts));
  add('-bios', bios);
  if (boot.kernel !== undefined) add('-kernel', boot.kernel);
  if (boot.initrd !== undefined) add('-initrd', boot.initrd);
  if (boot.append !== '') add('-append', boot.append);
  add('-nodefaults');
  add('-display', 'none');
  add('-serial', settings.serial === undefined ? 'mon:stdio' : `chardev:${settings.serial}`);
  if (noReboot) add('-no-reboot');
  add('-global', `virtio-mmio.force-legacy=${forceLegacy ? 'on' : 'off'}`);
  for (const { driver, property, value } of globals) {
    add('-global', `driver=${comma(driver)},property=${comma(property)},value=${comma(value)}`);
  }

  const ours = (driver: string) => (flavour === 'qemu' ? OURS.find(({ pattern }) => pattern.test(driver)) : undefined);
  const devices = settings.devices.filter((device) => {
    const reason = ours(device.driver);
    if (reason !== undefined) notes.push(`${device.id ?? device.driver} is left out: ${reason.why}.`);
    return reason === undefined;
  });
  const memoryUsers = new Set(devices.map((device) => device['memdev']));
  for (const object of settings.objects) {
    if (flavour === 'qemu' && object.type === 'memory-backend-file' && !memoryUsers.has(object.id)) continue;
    add('-object', backend(object));
  }
  if (settings.rng) add('-object', list('rng-random', { id: RNG_ID, filename: '/dev/urandom' }));
  const programs = settings.chardevs.filter(({ type }) => type === 'program');
  for (const chardev of settings.chardevs) {
    // A server on QEMU's command line waits unless it is told not to.
    const spelled = chardev.type === 'socket' ? { wait: false, ...chardev } : chardev;
    add('-chardev', chardev.type === 'program' ? list('null', { id: chardev.id }) : backend(spelled));
  }
  if (settings.console) add('-chardev', list('null', { id: CONSOLE_ID }));
  if (settings.console || programs.length > 0) {
    notes.push('Consoles other than the serial port end in “-chardev null”: give them a place, such as a socket.');
  }
  for (const netdev of settings.netdevs) add('-netdev', backend(netdev));
  for (const fsdev of settings.fsdevs) add('-fsdev', backend(fsdev));
  for (const drive of settings.drives) add('-drive', driveOption(drive));

  for (const device of devices) {
    for (const property of Object.keys(device)) {
      const since = SINCE[property];
      if (flavour === 'qemu' && since !== undefined) {
        notes.push(`${device.id ?? device.driver}: ${property}= is known to QEMU ${since} and later.`);
      }
    }
    const drive = settings.drives.find(({ id }) => id === device['drive']);
    const serial = device['serial'] ?? drive?.serial;
    add('-device', deviceOption(serial === undefined ? device : { ...device, serial }));
  }
  for (const drive of settings.drives) {
    if (drive.if === 'none') continue;
    if (drive.legacy && !forceLegacy) {
      notes.push(`${drive.id}: QEMU makes all virtio-mmio devices legacy or none; this one is modern here.`);
    }
    const { id, slot, serial } = drive;
    const bus = slot === undefined ? undefined : `virtio-mmio-bus.${slot}`;
    add('-device', list('virtio-blk-device', { id, drive: id, bus, serial }));
  }
  if (settings.console) {
    add('-device', list('virtio-serial-device', { id: CONSOLE_ID, max_ports: 1 }));
    add('-device', list('virtconsole', { bus: `${CONSOLE_ID}.0`, chardev: CONSOLE_ID }));
  }
  if (settings.rng) {
    add('-device', list('virtio-rng-device', { id: RNG_ID, rng: RNG_ID }));
  }
  return { args, notes };
}

/** For a shell, an option a line. */
export function exportCommandLine(settings: VmSettings, boot: BootFiles, flavour: Flavour): Exported {
  const { args, notes } = qemuArguments(settings, boot, flavour);
  const lines = args.map((words) => INDENT + words.map(shellQuote).join(' '));
  return { text: `${[PROGRAMS[flavour], ...lines].join(' \\\n')}\n`, notes };
}

/** A comma inside a value is written twice. */
function comma(value: string): string {
  return value.replaceAll(',', ',,');
}

type Value = string | number | boolean | null | undefined | readonly (string | number | boolean)[];

/** `first,key=value,...`; what is not set is not said. */
function list(first: string | null, values: Readonly<Record<string, Value>>): string {
  const entries = Object.entries(values)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([key, value]) => `${key}=${comma(valueText(value as Exclude<Value, null | undefined>))}`);
  return [...(first === null ? [] : [comma(first)]), ...entries].join(',');
}

function valueText(value: Exclude<Value, null | undefined>): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  return value.map((item) => valueText(item)).join(':');
}

function backend({ type, id, ...properties }: BackendConfig): string {
  return list(type, { id, ...(properties as Record<string, Value>) });
}

export function deviceOption({ driver, id, bus, ...properties }: DeviceConfig): string {
  const own = { ...(id === undefined ? {} : { id }), ...(bus === undefined ? {} : { bus }) };
  return list(driver, { ...own, ...(properties as Record<string, Value>) });
}

/** Its serial number is its device's. */
function driveOption({ id, file, format, readonly, werror, rerror, discard }: DriveConfig): string {
  return list(null, { if: 'none', id, file, format, ...(readonly ? { readonly } : {}), werror, rerror, discard });
}
