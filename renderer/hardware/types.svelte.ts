/** What a machine can be made of (hardware.types), read once, and the words of the interface for it. */
import type { BackendTypeInfo, DeviceTypeInfo, HardwareTypes, PropertyInfo } from '../../main/ipc/contract.ts';
import type { PartDraft, PartList, VmDraft } from '../forms/draft.svelte.ts';
import { app } from '../lib/state/app.svelte.ts';
import type { IconName } from '../lib/ui/Icon.svelte';

/** Where back ends of each kind are in a VM's settings. */
export const LIST_OF = {
  object: 'objects',
  chardev: 'chardevs',
  netdev: 'netdevs',
  fsdev: 'fsdevs',
} as const satisfies Record<Exclude<BackendTypeInfo['kind'], 'drive'>, PartList>;
const KIND_OF: Readonly<Record<PartList, BackendTypeInfo['kind'] | null>> = {
  devices: null,
  objects: 'object',
  chardevs: 'chardev',
  netdevs: 'netdev',
  fsdevs: 'fsdev',
};

class Types {
  all = $state.raw<HardwareTypes>({ devices: [], backends: [] });
  #asked: Promise<void> | null = null;

  load(): Promise<void> {
    this.#asked ??= app.client
      .call('hardware.types', {})
      .then((types) => {
        this.all = types;
      })
      .catch((error: unknown) => {
        this.#asked = null;
        throw error;
      });
    return this.#asked;
  }

  device(name: string): DeviceTypeInfo | undefined {
    return this.all.devices.find((type) => type.name === name || type.aliases.includes(name));
  }

  backend(kind: BackendTypeInfo['kind'], name: string): BackendTypeInfo | undefined {
    return this.all.backends.find((type) => type.kind === kind && type.name === name);
  }

  of(part: PartDraft): DeviceTypeInfo | BackendTypeInfo | undefined {
    const kind = KIND_OF[part.list];
    return kind === null ? this.device(part.type) : this.backend(kind, part.type);
  }

  /** Types that a link can lead to. */
  targets(target: string): BackendTypeInfo[] {
    return this.all.backends.filter(
      (type) => type.kind === target || (type.kind === 'object' && type.isA.includes(target)),
    );
  }
}

export const types = new Types();

const NAMES: Readonly<Record<string, string>> = {
  'virtio-blk': 'Disk',
  'virtio-9p': 'Shared folder',
  'virtio-pmem': 'Persistent memory',
  'virtio-net': 'Network card',
  'virtio-keyboard': 'Keyboard',
  'virtio-mouse': 'Mouse',
  'virtio-tablet': 'Tablet',
  'virtio-serial': 'Serial ports',
  virtconsole: 'Console',
  virtserialport: 'Serial port',
  'virtio-balloon': 'Memory balloon',
  'virtio-crypto': 'Crypto',
  'virtio-rng': 'Random numbers',
  'virtio-vsock': 'Host sockets',
  iothread: 'I/O worker',
  'pcie-root-port': 'PCI Express root port',
};

/** What a person calls it. */
export function familyName(family: string): string {
  return NAMES[family] ?? family;
}

const ABOUT: Readonly<Record<string, string>> = {
  'virtio-blk': 'An image file as /dev/vda, /dev/vdb and so on',
  'virtio-9p': 'A folder of this computer that the guest can mount',
  'virtio-pmem': 'A file as memory that keeps what is in it: /dev/pmem0',
  'virtio-net': 'An Ethernet card, connected to other VMs',
  'virtio-keyboard': 'Keys, sent by the monitor or a program',
  'virtio-mouse': 'A mouse that says how far it moved',
  'virtio-tablet': 'A pointer that says where on the screen it is',
  'virtio-serial': 'What consoles and serial ports are plugged into',
  virtconsole: 'One more console, hvc0 and up; needs serial ports',
  virtserialport: 'A named port for a program in the guest, such as an agent',
  'virtio-balloon': 'Takes memory from the guest and gives it back',
  'virtio-crypto': 'Ciphers, hashes and RSA, done by this computer',
  'virtio-rng': 'Entropy from this computer, so that the guest need not wait for it',
  'virtio-vsock': 'Sockets between the guest and programs on this computer',
};

/** One line on what it is for. */
export function aboutType(type: DeviceTypeInfo | BackendTypeInfo): string {
  const about = 'family' in type ? ABOUT[type.family] : undefined;
  return about ?? type.description.charAt(0).toUpperCase() + type.description.slice(1);
}

const ICONS: Readonly<Record<string, IconName>> = {
  'virtio-blk': 'disk',
  'virtio-9p': 'folder',
  'virtio-pmem': 'disk',
  'virtio-net': 'network',
  'virtio-keyboard': 'keyboard',
  'virtio-mouse': 'keyboard',
  'virtio-tablet': 'keyboard',
  'virtio-serial': 'terminal',
  virtconsole: 'terminal',
  virtserialport: 'terminal',
  'virtio-rng': 'dice',
};

export function familyIcon(family: string): IconName {
  return ICONS[family] ?? 'chip';
}

/** What an id of it begins with. */
export function idBase(name: string): string {
  return name.replace(/^virtio-|-backend.*$/g, '').replace(/[^A-Za-z]/g, '') || 'device';
}

/** How a type of a family sits in the machine. */
export function transportName(type: DeviceTypeInfo): string {
  const suffix = type.name.slice(type.family.length);
  const names: Readonly<Record<string, string>> = {
    '-device': 'virtio-mmio',
    '-pci': 'PCI',
    '-pci-transitional': 'PCI, transitional (legacy and modern)',
    '-pci-non-transitional': 'PCI, modern only',
  };
  return names[suffix] ?? type.bus ?? type.name;
}

/** What most people want of a family: on PCI. */
export function usualType(family: readonly DeviceTypeInfo[]): DeviceTypeInfo {
  return family.find(({ name }) => name.endsWith('-pci')) ?? family[0];
}

/** What is shown without asking for more: what is needed, what it is connected to, names and paths. */
export function isMain({ group, required, kind, target }: PropertyInfo): boolean {
  if (group !== 'device' || target === 'iothread') return false;
  return required || kind === 'link' || kind === 'string' || kind === 'enum';
}

/** Back ends (or drives) that a link can lead to now. */
export function linkable(draft: VmDraft, property: PropertyInfo): string[] {
  const target = property.target ?? '';
  if (target === 'drive') return draft.drives.filter((drive) => drive.if === 'none').map(({ id }) => id);
  const fitting = types.targets(target);
  return draft.parts
    .filter(({ list, type }) => fitting.some(({ kind, name }) => KIND_OF[list] === kind && name === type))
    .map(({ id }) => id);
}

/** A new back end of a type. */
export function addBackend(draft: VmDraft, type: BackendTypeInfo): PartDraft | null {
  if (type.kind === 'drive') return null;
  return draft.addPart(LIST_OF[type.kind], type.name, idBase(type.kind === 'object' ? type.name : type.kind));
}

/** A new device, with the back ends that it cannot be without, where there is but one kind of them. */
export function addDevice(draft: VmDraft, type: DeviceTypeInfo): PartDraft {
  const properties: Record<string, string> = {};
  for (const property of type.properties) {
    if (property.kind !== 'link' || !property.required) continue;
    const fitting = types.targets(property.target ?? '');
    const made = fitting.length === 1 ? addBackend(draft, fitting[0]) : null;
    if (made !== null) properties[property.name] = made.id;
  }
  const part = draft.addPart('devices', type.name, idBase(type.family), properties);
  if (type.bus === 'virtio-serial-bus') {
    const host = draft.parts.find(({ type: name }) => name.startsWith('virtio-serial'));
    if (host !== undefined) part.bus = `${host.id}.0`;
  }
  return part;
}
