/** A VM as a libvirt domain (https://libvirt.org/formatdomain.html), for virsh define. */
import type { DeviceConfig, DriveConfig } from '../../../core/api/machine.ts';
import type { VmSettings } from '../../ipc/contract.ts';
import type { BootFiles, Exported } from './model.ts';
import { qemuArguments } from './qemu-export.ts';

const KIB = 1024;
const QEMU_NAMESPACE = 'http://libvirt.org/schemas/domain/qemu/1.0';
const EMULATOR = '/usr/bin/qemu-system-riscv64';
const FAMILY = /^(virtio-[a-z0-9]+)-(device|pci(?:-(?:non-)?transitional)?)$/;
/** What libvirt's schema takes for a disk's. */
const SERIAL = /^[A-Za-z0-9_.+ -]+$/;
const PCI_MODELS: Readonly<Record<string, string>> = {
  'pci-transitional': 'virtio-transitional',
  'pci-non-transitional': 'virtio-non-transitional',
};

export function exportLibvirt(settings: VmSettings, boot: BootFiles): Exported {
  const writer = new DomainWriter(settings, boot);
  return { text: writer.write(), notes: writer.notes };
}

type Attributes = Readonly<Record<string, string | number | undefined>>;

class DomainWriter {
  readonly notes: string[] = [];
  readonly #settings: VmSettings;
  readonly #boot: BootFiles;
  readonly #lines: string[] = [];
  #depth = 0;
  #disks = 0;
  /** Devices that libvirt has an element for. */
  readonly #written = new Set<DeviceConfig>();
  /** iothread objects are numbered. */
  readonly #iothreads: string[];

  constructor(settings: VmSettings, boot: BootFiles) {
    this.#settings = settings;
    this.#boot = boot;
    this.#iothreads = settings.objects.filter(({ type }) => type === 'iothread').map(({ id }) => id);
  }

  write(): string {
    const { name, memory, harts, bios, noReboot } = this.#settings;
    this.#open('domain', { type: 'qemu', 'xmlns:qemu': QEMU_NAMESPACE });
    this.#leaf('name', {}, name.replaceAll('/', '_'));
    this.#leaf('memory', { unit: 'KiB' }, String(Math.ceil(memory / KIB)));
    this.#leaf('vcpu', {}, String(harts));
    if (this.#iothreads.length > 0) this.#leaf('iothreads', {}, String(this.#iothreads.length));
    this.#open('os');
    this.#leaf('type', { arch: 'riscv64', machine: 'virt' }, 'hvm');
    if (bios !== 'default' && bios !== 'none') this.#leaf('loader', { readonly: 'yes', type: 'rom' }, bios);
    if (this.#boot.kernel !== undefined) this.#leaf('kernel', {}, this.#boot.kernel);
    if (this.#boot.initrd !== undefined) this.#leaf('initrd', {}, this.#boot.initrd);
    if (this.#boot.append !== '') this.#leaf('cmdline', {}, this.#boot.append);
    this.#close('os');
    if (noReboot) this.#leaf('on_reboot', {}, 'destroy');
    this.#devices();
    this.#commandLine();
    this.#close('domain');
    return `${this.#lines.join('\n')}\n`;
  }

  #devices(): void {
    const { devices, drives, console, rng } = this.#settings;
    this.#open('devices');
    this.#leaf('emulator', {}, EMULATOR);
    for (const drive of drives) {
      const device = devices.find((each) => each['drive'] === drive.id && family(each)?.name === 'virtio-blk');
      if (drive.if !== 'none' || device !== undefined) this.#disk(drive, device);
    }
    for (const device of devices) this.#device(device);
    this.#open('serial', { type: 'pty' });
    this.#leaf('target', { port: 0 });
    this.#close('serial');
    this.#console('serial', 0);
    if (console) this.#console('virtio', 1);
    if (rng) {
      this.#open('rng', { model: 'virtio' });
      this.#leaf('backend', { model: 'random' }, '/dev/urandom');
      this.#close('rng');
    }
    if (!devices.some((device) => family(device)?.name === 'virtio-balloon')) {
      this.#leaf('memballoon', { model: 'none' });
    }
    this.#close('devices');
  }

  #console(type: 'serial' | 'virtio', port: number): void {
    this.#open('console', { type: 'pty' });
    this.#leaf('target', { type, port });
    this.#close('console');
  }

  #disk(drive: DriveConfig, device: DeviceConfig | undefined): void {
    const { file, format, werror, rerror, discard, readonly, serial } = drive;
    if (device !== undefined) this.#written.add(device);
    const iothread = this.#iothreads.indexOf(textOf(device?.['iothread'])) + 1;
    this.#open('disk', { type: 'file', device: 'disk', model: device && modelOf(device) });
    this.#leaf('driver', {
      name: 'qemu',
      type: format === 'auto' ? undefined : format,
      error_policy: werror === 'enospc' ? 'enospace' : werror,
      rerror_policy: rerror,
      discard,
      iothread: iothread === 0 ? undefined : iothread,
      queues: numberOf(device?.['num-queues']),
      packed: onOff(device?.['packed']),
    });
    this.#leaf('source', { file });
    this.#leaf('target', { dev: `vd${String.fromCharCode('a'.charCodeAt(0) + (this.#disks++ % 26))}`, bus: 'virtio' });
    if (readonly) this.#leaf('readonly');
    const named = textOf(device?.['serial']) || serial || '';
    if (SERIAL.test(named)) this.#leaf('serial', {}, named);
    else if (named) this.notes.push(`The serial number “${named}” of ${file} is left out: libvirt does not allow it.`);
    this.#address(device === undefined ? 'device' : family(device)?.bus);
    this.#close('disk');
  }

  #device(device: DeviceConfig): void {
    const kind = family(device);
    if (kind === null || this.#written.has(device)) return;
    const model = { model: modelOf(device) ?? 'virtio' };
    switch (kind.name) {
      case 'virtio-net':
        if (!this.#interface(device)) return;
        break;
      case 'virtio-rng': {
        const source = this.#settings.objects.find(({ id }) => id === device['rng']);
        this.#open('rng', model);
        if (source?.type === 'rng-builtin') this.#leaf('backend', { model: 'builtin' });
        else this.#leaf('backend', { model: 'random' }, textOf(source?.['filename']) || '/dev/urandom');
        this.#address(kind.bus);
        this.#close('rng');
        break;
      }
      case 'virtio-balloon':
        this.#open('memballoon', { ...model, freePageReporting: onOff(device['free-page-reporting']) });
        this.#address(kind.bus);
        this.#close('memballoon');
        break;
      case 'virtio-keyboard':
      case 'virtio-mouse':
      case 'virtio-tablet':
        this.#open('input', { type: kind.name.slice('virtio-'.length), bus: 'virtio' });
        this.#address(kind.bus);
        this.#close('input');
        break;
      case 'virtio-9p':
        if (!this.#filesystem(device)) return;
        break;
      default:
        return;
    }
    this.#written.add(device);
  }

  #interface(device: DeviceConfig): boolean {
    const netdev = this.#settings.netdevs.find(({ id }) => id === device['netdev']);
    const place = netdev === undefined ? { type: 'user', source: null } : socketSource(netdev);
    if (place === null) return false;
    if (netdev === undefined) {
      this.notes.push(
        `${device.id ?? device.driver} is connected to nothing here; in libvirt it gets user networking.`,
      );
    }
    this.#open('interface', { type: place.type });
    const mac = textOf(device['mac']);
    if (mac !== '') this.#leaf('mac', { address: mac });
    if (place.source !== null) this.#leaf('source', place.source);
    this.#leaf('model', { type: modelOf(device) ?? 'virtio' });
    this.#address(family(device)!.bus);
    this.#close('interface');
    return true;
  }

  #filesystem(device: DeviceConfig): boolean {
    const folder = this.#settings.fsdevs.find(({ id }) => id === device['fsdev']);
    const modes: Readonly<Record<string, string>> = {
      passthrough: 'passthrough',
      'mapped-xattr': 'mapped',
      none: 'squash',
    };
    const accessmode = modes[textOf(folder?.['security_model'])];
    if (folder === undefined || accessmode === undefined) return false;
    this.#open('filesystem', { type: 'mount', accessmode });
    this.#leaf('source', { dir: textOf(folder['path']) });
    this.#leaf('target', { dir: textOf(device['mount_tag']) });
    if (folder['readonly'] === true || folder['readonly'] === 'on') this.#leaf('readonly');
    this.#address(family(device)!.bus);
    this.#close('filesystem');
    return true;
  }

  /** What libvirt has no element for goes to QEMU as it stands. */
  #commandLine(): void {
    const { settings: kept, dropped } = this.#rest();
    const { args, notes } = qemuArguments(kept, { append: '' }, 'qemu');
    this.notes.push(...notes.filter((note) => !note.startsWith('Consoles')));
    const options = new Set(['-object', '-chardev', '-netdev', '-fsdev', '-device', '-drive', '-global']);
    const machine = args.filter(([option, value]) => option === '-machine' && value !== 'virt');
    const words = [...machine, ...args.filter(([option]) => options.has(option))].flat();
    if (this.#settings.bios === 'none') words.push('-bios', 'none');
    this.#open('qemu:commandline');
    for (const value of words) this.#leaf('qemu:arg', { value });
    this.#close('qemu:commandline');
    for (const { id, driver } of dropped) {
      this.notes.push(`${id ?? driver} has no element in libvirt: it goes to QEMU by <qemu:commandline>.`);
    }
  }

  #rest(): { settings: VmSettings; dropped: DeviceConfig[] } {
    const devices = this.#settings.devices.filter((device) => !this.#written.has(device));
    const used = new Set(devices.flatMap((device) => Object.values(device).map(String)));
    const here = ({ id }: { id: string }) => used.has(id);
    const { objects, netdevs, fsdevs, chardevs, drives } = this.#settings;
    const settings = {
      ...this.#settings,
      console: false,
      rng: false,
      devices,
      objects: objects.filter(here),
      netdevs: netdevs.filter(here),
      fsdevs: fsdevs.filter(here),
      chardevs: chardevs.filter(here),
      drives: drives.filter((drive) => drive.if === 'none' && here(drive)),
    };
    return { settings, dropped: devices };
  }

  #address(bus: string | undefined): void {
    if (bus === 'device') this.#leaf('address', { type: 'virtio-mmio' });
  }

  // ---- text -----------------------------------------------------------------------------------------------------------

  #open(name: string, attributes: Attributes = {}): void {
    this.#line(`<${name}${attributesText(attributes)}>`);
    this.#depth++;
  }

  #close(name: string): void {
    this.#depth--;
    this.#line(`</${name}>`);
  }

  #leaf(name: string, attributes: Attributes = {}, text?: string): void {
    const start = `<${name}${attributesText(attributes)}`;
    this.#line(text === undefined ? `${start}/>` : `${start}>${escapeXml(text)}</${name}>`);
  }

  #line(text: string): void {
    this.#lines.push('  '.repeat(this.#depth) + text);
  }
}

function family({ driver }: DeviceConfig): { name: string; bus: string } | null {
  const match = FAMILY.exec(driver);
  return match === null ? null : { name: match[1], bus: match[2] };
}

function modelOf(device: DeviceConfig): string | undefined {
  return PCI_MODELS[family(device)?.bus ?? ''];
}

function socketSource(netdev: { type: string } & Record<string, unknown>): { type: string; source: Attributes } | null {
  if (netdev.type !== 'socket') return null;
  const kinds = { listen: 'server', connect: 'client', mcast: 'mcast' } as const;
  for (const [key, type] of Object.entries(kinds)) {
    const match = /^(.*):(\d+)$/.exec(textOf(netdev[key]));
    if (match !== null) return { type, source: { address: match[1] || '127.0.0.1', port: match[2] } };
  }
  return null;
}

function textOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

function numberOf(value: unknown): string | undefined {
  return /^\d+$/.test(textOf(value)) ? textOf(value) : undefined;
}

function onOff(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  return value === true || value === 'on' ? 'on' : 'off';
}

function attributesText(attributes: Attributes): string {
  return Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}='${escapeXml(String(value))}'`)
    .join('');
}

function escapeXml(text: string): string {
  const names: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    "'": '&apos;',
    '"': '&quot;',
  };
  // Control characters are not allowed in XML 1.0 at all.
  // eslint-disable-next-line no-control-regex -- exactly those
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, '').replace(/[&<>'"]/g, (char) => names[char]);
}
