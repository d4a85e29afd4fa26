/**
 * The types that a virtio device type gives: X-device, which is the device itself and sits on a virtio bus, and X-pci,
 * X-pci-transitional and X-pci-non-transitional, which are PCI functions with an X-device in them (QEMU: virtio-pci.c).
 */
import { RingsideError } from '../errors.ts';
import { parsePciAddress, pciAddressText } from '../pci/address.ts';
import type { Environment } from '../qom/environment.ts';
import { QomBus } from '../qom/object.ts';
import type { HotplugHandler, PluggedDevice, QomObject, TypeInfo } from '../qom/object.ts';
import type { PropertySpec } from '../qom/property.ts';
import { isBackendKind } from '../qom/property-value.ts';
import type { QueueServer } from './backend/queue-server.ts';
import { QueueServerGroup } from './backend/queue-server-group.ts';
import type { PlugOptions, VirtioBus, VirtioPciBus, VirtioPciOptions, VirtioPlug } from './bus.ts';
import type { BackendKinds, DeviceContext, VirtioDeviceType } from './device-type.ts';
import type { VirtioDevice } from './device.ts';
import { NoteLimiter } from './note-limiter.ts';
import { QUEUE_MAPPING, iothreadsOfQueues } from './queue-mapping.ts';
import type { QueueMapping } from './queue-mapping.ts';
import { ringFeatureBits } from './queue/ring-features.ts';
import { MSIX_MAX_VECTORS } from '../worker/layout.ts';

/** `vectors` when the user has not said: by the number of queues. */
const VECTORS_UNSPECIFIED = 0xffff_ffff;
/** Name of the child that is the device of a PCI function. */
const BACKEND = 'virtio-backend';

const bit = (name: string, value: boolean, description: string): PropertySpec => ({
  name,
  kind: 'bit',
  default: value,
  description,
});

const RING_PROPERTIES: readonly PropertySpec[] = [
  bit('indirect_desc', true, 'offer VIRTIO_F_INDIRECT_DESC'),
  bit('event_idx', true, 'offer VIRTIO_F_EVENT_IDX'),
  bit('notify_on_empty', true, 'offer VIRTIO_F_NOTIFY_ON_EMPTY to legacy drivers'),
  bit('any_layout', true, 'offer VIRTIO_F_ANY_LAYOUT to legacy drivers'),
  bit('iommu_platform', false, 'offer VIRTIO_F_ACCESS_PLATFORM'),
  bit('packed', false, 'offer VIRTIO_F_RING_PACKED'),
  bit('in_order', false, 'offer VIRTIO_F_IN_ORDER'),
  bit('queue_reset', true, 'offer VIRTIO_F_RING_RESET'),
  bit('notification_data', false, 'offer VIRTIO_F_NOTIFICATION_DATA'),
  {
    name: 'iothread',
    kind: 'link',
    target: 'iothread',
    default: null,
    description: 'the I/O worker that serves its queues',
  },
];

const PCI_PROPERTIES: readonly PropertySpec[] = [
  bit('ioeventfd', true, "the driver's notifications go straight to the I/O worker"),
  {
    name: 'vectors',
    kind: 'u32',
    default: VECTORS_UNSPECIFIED,
    description: `MSI-X vectors, at most ${MSIX_MAX_VECTORS}; 0: no MSI-X; by default enough for the queues`,
  },
  { name: 'class', kind: 'u32', default: 0, description: 'PCI class code; 0: that of the device type' },
];

const GENERIC_PCI_PROPERTIES: readonly PropertySpec[] = [
  {
    name: 'disable-legacy',
    kind: 'on-off-auto',
    default: 'auto',
    description: 'no legacy interface; auto: on behind a PCI Express port',
  },
  { name: 'disable-modern', kind: 'bool', default: false, description: 'no virtio 1 interface' },
];

/** A realized X-device. */
export interface VirtioInstance {
  readonly device: VirtioDevice;
  readonly plug: VirtioPlug;
}

export const VIRTIO_BASE_TYPES: readonly TypeInfo[] = [
  { name: 'virtio-bus', parent: 'bus', abstract: true },
  { name: 'virtio-mmio-bus', parent: 'virtio-bus', internal: true },
  { name: 'virtio-pci-bus', parent: 'virtio-bus', internal: true },
  { name: 'vhost-user-bus', parent: 'virtio-bus', internal: true },
  {
    name: 'virtio-device',
    parent: 'device',
    abstract: true,
    bus: 'virtio-bus',
    properties: RING_PROPERTIES,
    reset: async (object) => (object.instance as VirtioInstance).plug.reset(),
  },
  { name: 'virtio-pci', parent: 'pci-device', abstract: true, properties: PCI_PROPERTIES },
];

/** The device of a realized X-device, or in a realized X-pci; null for other objects. */
export function virtioInstance(object: QomObject): VirtioInstance | null {
  const device = object.type.isA('virtio-device') ? object : object.children.get(BACKEND);
  return device?.realized ? (device.instance as VirtioInstance) : null;
}

/** Base types first. */
export function virtioTypes(type: VirtioDeviceType): TypeInfo[] {
  const { base, category, description } = type;
  const pci = `${base}-pci`;
  const types: TypeInfo[] = [
    {
      name: `${base}-device`,
      parent: 'virtio-device',
      category,
      description,
      properties: type.properties,
      realize: (object, environment) => realizeDevice(type, object, environment),
    },
    {
      name: `${pci}-base`,
      parent: 'virtio-pci',
      abstract: true,
      category,
      child: { name: BACKEND, type: `${base}-device` },
      realize: (object, environment) => realizeFunction(type, object, environment),
    },
    {
      name: pci,
      parent: `${pci}-base`,
      aliases: [base],
      description,
      properties: GENERIC_PCI_PROPERTIES,
    },
    { name: `${pci}-non-transitional`, parent: `${pci}-base`, description },
  ];
  if (type.transitionalId !== null) types.push({ name: `${pci}-transitional`, parent: `${pci}-base`, description });
  return types;
}

/** What messages and the inspector call it: the user's id, else its place. */
function deviceName(object: QomObject): string {
  if (object.name === BACKEND && object.parent) return deviceName(object.parent);
  return object.id ?? object.name;
}

async function realizeDevice(type: VirtioDeviceType, object: QomObject, environment: Environment): Promise<void> {
  const name = deviceName(object);
  const device = await type.create(name, object.values, deviceContext(name, object, environment));
  const limiter = new NoteLimiter((message) => environment.note(name, message));
  const options: PlugOptions = {
    ringFeatures: ringFeatures(object),
    server: server(object, environment, device),
    note: (message) => limiter.note(message),
    event: (event) => environment.ioError(name, event),
  };
  const plug = await (object.bus!.instance as VirtioBus).plug(device, options);
  object.onClose(() => plug.unplug());
  for (const [name, property] of Object.entries(device.computed)) object.define(name, property);
  if (type.bus) {
    const bus = new QomBus(object.type.related(type.bus), { implementation: device, hotplug: new OwnBusHotplug() });
    object.addChild(`${name}.0`, bus);
    object.onClose(() => bus.remove());
  }
  object.instance = { device, plug } satisfies VirtioInstance;
}

/** What sits on a device's own bus comes and goes by the device's messages (5.3.6.2 of ports): no guest is asked for it. */
class OwnBusHotplug implements HotplugHandler {
  readonly #plugged = new Map<QomObject, PluggedDevice>();

  plugged(device: QomObject, plugged: PluggedDevice): void {
    this.#plugged.set(device, plugged);
  }

  unplugRequest(device: QomObject): void {
    this.#plugged.get(device)?.remove();
  }

  unplugged(device: QomObject): void {
    this.#plugged.delete(device);
  }
}

function deviceContext(name: string, object: QomObject, environment: Environment): DeviceContext {
  return {
    host: environment.host,
    memory: environment.memory,
    backend<T>(kind: keyof BackendKinds, id: string): T {
      const links = [...object.type.ownProperties.values()].filter(({ kind }) => kind === 'link');
      const link = links.find((spec) => object.value(spec.name) === id);
      const target = link?.kind === 'link' && !isBackendKind(link.target) ? link.target : undefined;
      return environment.backend<T>(object, kind, id, target);
    },
    optimalQueues: (object.bus!.instance as VirtioBus).interruptsByQueue ? environment.harts : 1,
    choose: (property, value) => object.assign(property, value),
    onClose: (close) => object.onClose(close),
    warn: (message) => environment.warn(`${name}: ${message}`),
  };
}

/** Who serves the device's queues. */
function server(object: QomObject, environment: Environment, device: VirtioDevice): QueueServer {
  const worker = (id: string): QueueServer => environment.backend<QueueServer>(object, 'object', id, 'iothread');
  const id = object.value<string | null>('iothread');
  const mapping = object.type.ownProperties.has(QUEUE_MAPPING.name)
    ? (object.value(QUEUE_MAPPING.name) as unknown as QueueMapping)
    : [];
  if (mapping.length === 0) return id === null ? environment.workers.main : worker(id);
  if (id !== null) throw new RingsideError('bad-option', `iothread and ${QUEUE_MAPPING.name} do not go together`);
  const byQueue = iothreadsOfQueues(mapping, device.queues.length);
  if (device.oneWorker !== null && new Set(byQueue).size > 1) {
    throw new RingsideError('bad-option', `${QUEUE_MAPPING.name}: ${device.oneWorker}; name only one`);
  }
  return new QueueServerGroup(byQueue.map(worker));
}

function ringFeatures(object: QomObject): bigint {
  const on = (name: string): boolean => object.value<boolean>(name);
  return ringFeatureBits({
    packed: on('packed'),
    indirectDesc: on('indirect_desc'),
    eventIdx: on('event_idx'),
    inOrder: on('in_order'),
    queueReset: on('queue_reset'),
    notifyOnEmpty: on('notify_on_empty'),
    anyLayout: on('any_layout'),
    iommuPlatform: on('iommu_platform'),
    notificationData: on('notification_data'),
  });
}

// ---- as a PCI function ----------------------------------------------------------------------------------------------

async function realizeFunction(type: VirtioDeviceType, object: QomObject, environment: Environment): Promise<void> {
  const pciBus = object.bus!.instance as VirtioPciBus;
  const pci = pciOptions(type, object, pciBus);
  const implementation: VirtioBus = {
    interruptsByQueue: true,
    async plug(device, options) {
      const vectors = vectorsOf(type, object, device.queues.length);
      const plug = await pciBus.plugVirtio(device, options, { ...pci, vectors });
      object.assign('addr', pciAddressText(plug.function));
      return plug;
    },
  };
  const backend = object.children.get(BACKEND)!;
  const bus = new QomBus(object.type.related('virtio-pci-bus'), { capacity: 1, implementation });
  object.addChild('virtio-bus', bus);
  bus.put(backend);
  object.onClose(() => {
    bus.take(backend);
    bus.remove();
  });
  await backend.realize(environment);
  object.onClose(() => backend.unrealize(environment));
}

function vectorsOf(type: VirtioDeviceType, object: QomObject, queues: number): number {
  const wanted = object.value<number>('vectors');
  // Queues may share vectors.
  const vectors = wanted === VECTORS_UNSPECIFIED ? Math.min(type.vectors(queues), MSIX_MAX_VECTORS) : wanted;
  if (vectors > MSIX_MAX_VECTORS) {
    throw new RingsideError('bad-option', `vectors: "${vectors}" is not from 0 to ${MSIX_MAX_VECTORS}`);
  }
  object.assign('vectors', vectors);
  return vectors;
}

function pciOptions(
  type: VirtioDeviceType,
  object: QomObject,
  { behindPort }: VirtioPciBus,
): Omit<VirtioPciOptions, 'vectors'> {
  const { legacy, modern } = interfaces(type, object, behindPort);
  if (legacy && !modern && object.value<boolean>('iommu_platform')) {
    throw new RingsideError('bad-option', 'iommu_platform=on is for virtio 1: leave out disable-modern=on');
  }
  const pciClass = object.value<number>('class');
  return {
    id: deviceName(object),
    address: parsePciAddress(object.value<string | null>('addr')),
    multifunction: object.value<boolean>('multifunction'),
    legacy,
    modern,
    transitionalId: legacy ? type.transitionalId : null,
    pciClass: pciClass === 0 ? type.pciClass : pciClass,
    ioeventfd: object.value<boolean>('ioeventfd'),
  };
}

/** Which register interfaces there are: those that the type name says, or the properties of the generic type. */
function interfaces(
  { base, transitionalId }: VirtioDeviceType,
  object: QomObject,
  behindPort: boolean,
): { legacy: boolean; modern: boolean } {
  if (object.type.name.endsWith('-non-transitional')) return { legacy: false, modern: true };
  if (object.type.name.endsWith('-transitional')) return { legacy: true, modern: true };
  const wanted = object.value<string>('disable-legacy');
  const modern = !object.value<boolean>('disable-modern');
  if (transitionalId === null) {
    if (!modern || wanted === 'off') {
      throw new RingsideError(
        'bad-option',
        `${base} has no legacy interface: leave out disable-legacy, disable-modern`,
      );
    }
    object.assign('disable-legacy', 'on');
    return { legacy: false, modern };
  }
  const legacy = wanted === 'auto' ? !behindPort : wanted === 'off';
  if (!legacy && !modern) {
    throw new RingsideError(
      'bad-option',
      'neither legacy nor modern is left: set disable-modern=off or disable-legacy=off',
    );
  }
  object.assign('disable-legacy', legacy ? 'off' : 'on');
  return { legacy, modern };
}
