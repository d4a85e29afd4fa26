/** Devices and back ends of a machine: where they go, who may use what, and that nothing is left of what fails. */
import { beforeEach, describe, expect, test, vi } from 'vitest';

import { RingsideError } from '../../core/errors.ts';
import { ObjectModel } from '../../core/machine/object-model.ts';
import type { DeviceName, RemovalPatience } from '../../core/machine/device-removal.ts';
import type { GlobalInput } from '../../core/machine/object-model.ts';
import { PCI_BASE_TYPES } from '../../core/pci/base-types.ts';
import { BASE_TYPES } from '../../core/qom/base-types.ts';
import { QomBus, QomObject } from '../../core/qom/object.ts';
import type { HotplugHandler, PluggedDevice } from '../../core/qom/object.ts';
import { TypeRegistry } from '../../core/qom/registry.ts';
import type { VirtioFunctionPlug, VirtioPciBus, VirtioPciOptions } from '../../core/virtio/bus.ts';
import { ConfigSpace } from '../../core/virtio/config-space.ts';
import type { DeviceContext, VirtioDeviceType } from '../../core/virtio/device-type.ts';
import { VirtioDevice } from '../../core/virtio/device.ts';
import { VIRTIO_BASE_TYPES, virtioInstance, virtioTypes } from '../../core/virtio/proxy.ts';
import { VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1, hasFeature } from '../../core/virtio/spec/features.ts';
import { testEnvironment } from './environment.ts';

class Toy extends VirtioDevice {
  readonly type = 'virtio-toy';
  readonly virtioId = 63;
  readonly featureInfo = [];
  readonly features = 0n;
  readonly queues = [
    { name: 'a', maxSize: 8 },
    { name: 'b', maxSize: 8 },
  ];
  readonly config = new ConfigSpace(0, []);
  readonly backend = { type: 'virtio-toy', options: null };
}

const toy = (changes: Partial<VirtioDeviceType> = {}): VirtioDeviceType => ({
  base: 'virtio-toy',
  virtioId: 63,
  description: 'a toy',
  category: 'misc',
  pciClass: 0x00ff,
  transitionalId: 0x1009,
  vectors: (queues) => queues + 1,
  properties: [
    { name: 'part', kind: 'link', target: 'gear', default: null, description: 'a part of it' },
    { name: 'broken', kind: 'bool', default: false, description: 'cannot be made' },
  ],
  create(id, values, context: DeviceContext) {
    log.push(`create ${id}`);
    context.onClose(() => void log.push(`close ${id}`));
    if (values['part'] !== null) context.backend('object', values['part'] as string);
    if (values['broken']) throw new RingsideError('io', `${id} is broken.`);
    return new Toy(id);
  },
  ...changes,
});

let log: string[];
let plugs: (VirtioPciOptions & { ringFeatures: bigint })[];
let plugFails: boolean;
let queue = Promise.resolve();
let gone: DeviceName[];
let kept: DeviceName[];

function pciBus(behindPort: boolean): VirtioPciBus {
  return {
    behindPort,
    plugVirtio(device, options, pci) {
      if (plugFails) return Promise.reject(new RingsideError('too-large', 'no BAR is left.'));
      log.push(`plug ${device.id}`);
      plugs.push({ ...pci, ringFeatures: options.ringFeatures! });
      const unplug = (): Promise<void> => {
        log.push(`unplug ${device.id}`);
        return Promise.resolve();
      };
      const place = pci.address ?? { slot: 1, function: 0 };
      return Promise.resolve({ unplug, reset: () => Promise.resolve(), function: place } as VirtioFunctionPlug);
    },
  };
}

/** What the guest has been asked for, and what it can do about it. */
let asked: QomObject[];
let guest: Map<QomObject, PluggedDevice>;
const hotplug: HotplugHandler = {
  plugged: (device, plugged) => void guest.set(device, plugged),
  unplugRequest: (device) => void asked.push(device),
  unplugged: (device) => void log.push(`gone ${device.id}`),
};

/** However busy the host is. */
const PATIENCE: RemovalPatience = { again: 3_600_000, answer: 3_600_000 };

interface ModelOptions {
  globals?: GlobalInput[];
  type?: VirtioDeviceType;
  patience?: RemovalPatience;
}

function makeModel({ globals, type = toy(), patience = PATIENCE }: ModelOptions = {}): ObjectModel {
  const types = new TypeRegistry().register(
    ...BASE_TYPES,
    ...PCI_BASE_TYPES,
    ...VIRTIO_BASE_TYPES,
    { name: 'bridge', parent: 'sys-bus-device', internal: true },
    {
      name: 'gear',
      parent: 'user-creatable',
      properties: [{ name: 'teeth', kind: 'u8', default: 12, min: 3, description: 'how many teeth' }],
    },
    { name: 'spring', parent: 'user-creatable', shared: true },
    ...virtioTypes(type),
  );
  const environment = testEnvironment(log);
  const model = new ObjectModel({
    types,
    services: {
      ...environment,
      warn: environment.warn,
      host: null!,
      memory: null!,
      workers: { main: null!, add: null! },
    } as ObjectModel['environment'],
    ...(globals === undefined ? {} : { globals }),
    patience,
    onDeviceDeleted: (device) => gone.push(device),
    onDeviceKept: (device) => kept.push(device),
    later: (operation) => {
      queue = queue.then(operation);
    },
  });
  const { tree } = model;
  const system = tree.container('/machine/unattached').addChild('sysbus', new QomBus(types.get('System')));
  for (const [name, implementation, handler] of [
    ['pcie.0', pciBus(false), undefined],
    ['port0', pciBus(true), hotplug],
  ] as const) {
    const bridge = new QomObject(types.get('bridge'));
    tree.addNumbered(tree.container('/machine/unattached'), bridge);
    system.put(bridge);
    const options = handler ? { capacity: 1, hotplug: handler } : {};
    bridge.addChild(name, new QomBus(types.get('PCIE'), { implementation, ...options }));
  }
  return model;
}

beforeEach(() => {
  [log, plugs, gone, kept, asked, guest] = [[], [], [], [], [], new Map()];
  plugFails = false;
});

const add = (model: ObjectModel, driver: string, properties: Record<string, unknown> = {}, bus = 'pcie.0') =>
  model.addDevice({ driver, id: 'toy0', bus, properties });

describe('a virtio device as a PCI function', () => {
  test('is a proxy with the device in it, at the paths of QEMU', async () => {
    const model = makeModel();
    const proxy = await add(model, 'virtio-toy-pci', { packed: 'on', addr: '06.1', multifunction: true });
    expect([...proxy.walk()].map(({ path, type }) => `${path} (${type.name})`)).toEqual([
      '/machine/peripheral/toy0 (virtio-toy-pci)',
      '/machine/peripheral/toy0/virtio-backend (virtio-toy-device)',
      '/machine/peripheral/toy0/virtio-bus (virtio-pci-bus)',
    ]);
    expect(plugs).toMatchObject([
      { id: 'toy0', address: { slot: 6, function: 1 }, multifunction: true, vectors: 3, pciClass: 0x00ff },
    ]);
    const [{ ringFeatures }] = plugs;
    expect(hasFeature(ringFeatures, VIRTIO_F_RING_PACKED)).toBe(true);
    expect(hasFeature(ringFeatures, VIRTIO_F_VERSION_1)).toBe(true);
    expect(proxy.get('vectors')).toBe(3);
    expect(proxy.get('packed')).toBe(true);
    expect(virtioInstance(proxy)?.device).toBeInstanceOf(Toy);
    expect(virtioInstance(proxy.children.get('virtio-backend')!)?.device.id).toBe('toy0');
    expect(proxy.children.get('virtio-backend')!.get('parent_bus')).toBe('/machine/peripheral/toy0/virtio-bus');
  });

  test.each([
    ['virtio-toy-pci', 'pcie.0', {}, { legacy: true, modern: true, transitionalId: 0x1009 }],
    ['virtio-toy', 'pcie.0', {}, { legacy: true, modern: true }],
    ['virtio-toy-pci', 'port0', {}, { legacy: false, modern: true, transitionalId: null }],
    ['virtio-toy-pci', 'port0', { 'disable-legacy': 'off' }, { legacy: true, modern: true }],
    ['virtio-toy-pci', 'pcie.0', { 'disable-legacy': 'on' }, { legacy: false, modern: true }],
    ['virtio-toy-pci', 'pcie.0', { 'disable-modern': true }, { legacy: true, modern: false }],
    ['virtio-toy-pci-transitional', 'port0', {}, { legacy: true, modern: true, transitionalId: 0x1009 }],
    ['virtio-toy-pci-non-transitional', 'pcie.0', {}, { legacy: false, modern: true, transitionalId: null }],
    ['virtio-toy-pci', 'pcie.0', { class: '0x018000', vectors: 0, ioeventfd: 'off' }, { vectors: 0, ioeventfd: false }],
  ])('%s on %s with %o', async (driver, bus, properties, expected) => {
    await add(makeModel(), driver, properties, bus);
    expect(plugs).toMatchObject([expected]);
  });

  test.each([
    ['virtio-toy-pci', { 'disable-legacy': 'on', 'disable-modern': 'on' }, 'neither legacy nor modern is left'],
    ['virtio-toy-pci', { 'disable-modern': 'on', iommu_platform: 'on' }, 'iommu_platform=on is for virtio 1'],
    ['virtio-toy-pci', { addr: '20' }, 'addr: "20" is not a slot and function'],
    ['virtio-toy-pci', { addr: '1.8' }, 'addr: "1.8" is not a slot'],
    ['virtio-toy-pci', { vectors: 241 }, 'vectors: "241" is not from 0 to 240'],
    ['virtio-toy-pci-transitional', { 'disable-modern': 'on' }, 'unknown "disable-modern"'],
    ['virtio-toy-pci', { part: 'cog' }, 'there is no -object with id=cog'],
    ['virtio-toy-device', {}, 'bus: "pcie.0" is a PCIE, and virtio-toy-device needs a virtio-bus'],
    ['virtio-toi-pci', {}, 'unknown device "virtio-toi-pci" (did you mean virtio-toy-pci?)'],
  ])('%s with %o is refused, and leaves nothing', async (driver, properties, message) => {
    const model = makeModel();
    await expect(add(model, driver, properties)).rejects.toMatchObject({
      kind: 'bad-option',
      message: expect.stringContaining(`device ${driver} (toy0): ${message}`),
    });
    expect(model.tree.find('/machine/peripheral/toy0')).toBe(null);
    expect(model.tree.buses().flatMap(({ devices }) => devices.map(({ type }) => type.name))).toEqual([
      'bridge',
      'bridge',
    ]);
  });

  test('has no transitional type where the device type has no legacy interface', async () => {
    const model = makeModel({ type: toy({ transitionalId: null }) });
    expect(model.tree.types.find('virtio-toy-pci-transitional')).toBe(undefined);
    await add(model, 'virtio-toy-pci');
    expect(plugs).toMatchObject([{ legacy: false, modern: true }]);
    await expect(
      model.addDevice({ driver: 'virtio-toy-pci', bus: 'pcie.0', properties: { 'disable-legacy': 'off' } }),
    ).rejects.toThrow('virtio-toy has no legacy interface');
  });

  test('that cannot be plugged or made has closed what it opened', async () => {
    const model = makeModel();
    await model.addBackend('object', 'gear', 'g', {});
    plugFails = true;
    await expect(add(model, 'virtio-toy-pci', { part: 'g' })).rejects.toMatchObject({ kind: 'too-large' });
    plugFails = false;
    await expect(add(model, 'virtio-toy-pci', { part: 'g', broken: true })).rejects.toMatchObject({ kind: 'io' });
    expect(log).toEqual(['create toy0', 'close toy0', 'create toy0', 'close toy0']);
    // The part is free again, and so is the id.
    await add(model, 'virtio-toy-pci', { part: 'g' });
    await model.close();
    expect(log.slice(4)).toEqual(['create toy0', 'plug toy0', 'unplug toy0', 'close toy0']);
  });
});

describe('back ends', () => {
  test('belong to one device, unless their type is shared, and stay while they are used', async () => {
    const model = makeModel();
    await model.addBackend('object', 'gear', 'g', { teeth: '7' });
    expect(model.tree.get('/objects/g').get('teeth')).toBe(7);
    const owner = await add(model, 'virtio-toy-pci', { part: '/objects/g' });
    await expect(
      model.addDevice({ driver: 'virtio-toy-pci', bus: 'pcie.0', properties: { part: 'g' } }),
    ).rejects.toThrow('object g is in use by another device');
    await expect(model.removeBackend('object', 'g')).rejects.toMatchObject({ kind: 'in-use' });
    await model.removeDevice(owner);
    await model.removeBackend('object', 'g');
    expect(model.tree.find('/objects/g')).toBe(null);
  });

  test('are of the type that the link wants', async () => {
    const model = makeModel();
    await model.addBackend('object', 'spring', 's', {});
    await expect(add(model, 'virtio-toy-pci', { part: 's' })).rejects.toThrow('object s is of type spring, not gear');
  });

  test.each([
    ['object', 'gear', 'g', { teeth: 2 }, 'object g: teeth: "2" is not from 3 to 255'],
    ['object', 'gaer', 'g', {}, 'object g: unknown object "gaer" (did you mean gear?)'],
    ['object', 'gear', '1', {}, 'object 1: id: "1" must be a letter'],
    ['object', 'virtio-toy-pci', 'g', {}, 'object g: unknown object "virtio-toy-pci"'],
    ['netdev', 'gear', 'g', {}, 'netdev g: unknown netdev "gear"'],
  ] as const)('%s %s %s %o is refused', async (kind, type, id, properties, message) => {
    const model = makeModel();
    await expect(model.addBackend(kind, type, id, properties)).rejects.toThrow(message);
    expect(model.tree.find(`/objects/${id}`)).toBe(null);
  });

  test('have ids of their own', async () => {
    const model = makeModel();
    await model.addBackend('object', 'gear', 'g', {});
    await expect(model.addBackend('object', 'gear', 'g', {})).rejects.toThrow('there is one of this id already');
    await expect(model.removeBackend('object', 'h')).rejects.toThrow('there is no object "h" (did you mean g?)');
  });
});

describe('hotplug', () => {
  const hot = { driver: 'virtio-toy-pci', id: 'toy0', properties: {} };

  test('is where the bus has it; a device goes when the guest lets go', async () => {
    const model = makeModel();
    await expect(model.addDevice({ ...hot, bus: 'pcie.0' }, { hotplugged: true })).rejects.toMatchObject({
      kind: 'unsupported',
      message: "Bus 'pcie.0' does not support hotplugging",
    });
    const device = await model.addDevice({ ...hot, bus: 'port0' }, { hotplugged: true });
    expect(device.get('hotplugged')).toBe(true);
    expect(device.get('hotpluggable')).toBe(true);

    model.requestRemoval('toy0');
    expect(asked).toEqual([device]);
    expect(() => model.requestRemoval('toy0')).toThrow('Device toy0 is already in the process of unplug');
    expect(model.tree.find('/machine/peripheral/toy0')).toBe(device);
    const { remove } = guest.get(device)!;
    remove();
    remove();
    await queue;
    expect(model.tree.find('/machine/peripheral/toy0')).toBe(null);
    expect(gone).toEqual([
      { id: null, path: '/machine/peripheral/toy0/virtio-backend' },
      { id: 'toy0', path: '/machine/peripheral/toy0' },
    ]);
    expect(log).toEqual(['create toy0', 'plug toy0', 'unplug toy0', 'close toy0', 'gone toy0']);
    expect(() => model.requestRemoval('toy0')).toThrow("Device 'toy0' not found");
    // The port has room again.
    await model.addDevice({ ...hot, bus: 'port0' }, { hotplugged: true });
  });

  test('a device that the guest keeps can be asked for again', async () => {
    const model = makeModel();
    const device = await model.addDevice({ ...hot, bus: 'port0' });
    // Nobody has asked for it.
    guest.get(device)!.kept();
    expect(kept).toEqual([]);
    model.requestRemoval('/machine/peripheral/toy0');
    guest.get(device)!.kept();
    expect(kept).toEqual([{ id: 'toy0', path: '/machine/peripheral/toy0' }]);
    model.requestRemoval('toy0');
    expect(asked).toEqual([device, device]);
    expect(gone).toEqual([]);
  });

  test('what the guest was asked for is gone after a reset', async () => {
    const model = makeModel();
    await model.addDevice({ ...hot, bus: 'port0' });
    await model.reset();
    expect(gone).toEqual([]);
    model.requestRemoval('toy0');
    await model.reset();
    expect(gone).toHaveLength(2);
    expect(model.tree.find('/machine/peripheral/toy0')).toBe(null);
  });

  test('of a guest that does not answer the user is told, and it can be asked again', async () => {
    const model = makeModel({ patience: { again: 0, answer: 1 } });
    await model.addDevice({ ...hot, bus: 'port0' });
    model.requestRemoval('toy0');
    model.requestRemoval('toy0');
    expect(asked).toHaveLength(2);
    await vi.waitFor(() => expect(log.at(-1)).toMatch(/^toy0: the guest has not let go of it\./), 10_000);
    expect(gone).toEqual([]);
  });

  test('a back end that was made for the device goes with it', async () => {
    const model = makeModel();
    await model.addBackend('object', 'gear', 'own', {}, { withDevice: true });
    await model.addBackend('object', 'gear', 'other', {});
    for (const part of ['own', 'other']) {
      const device = await model.addDevice({ ...hot, properties: { part }, bus: 'port0' });
      await model.removeDevice(device);
    }
    expect([...model.tree.get('/objects').children.keys()]).toEqual(['other']);
  });

  test('a full bus says who is there', async () => {
    const model = makeModel();
    await model.addDevice({ ...hot, bus: 'port0' });
    await expect(model.addDevice({ driver: 'virtio-toy-pci', bus: 'port0', properties: {} })).rejects.toThrow(
      'bus port0 is in use already: toy0 is there. Choose another',
    );
    await expect(model.addDevice({ ...hot, bus: 'pcie.0' })).rejects.toThrow('there is a device of this id already');
    await expect(model.addDevice({ ...hot, id: 'x', bus: 'pcie.1' })).rejects.toThrow(
      'bus: there is no bus "pcie.1" (did you mean pcie.0?)',
    );
  });
});

describe('globals', () => {
  test('are for the types derived from theirs too, and for devices inside of devices', async () => {
    const model = makeModel({
      globals: [
        { driver: 'virtio-device', property: 'packed', value: 'on' },
        { driver: 'virtio-pci', property: 'vectors', value: '9' },
        { driver: 'virtio-toy', property: 'disable-legacy', value: 'on' },
      ],
    });
    await add(model, 'virtio-toy-pci', { vectors: 4 });
    expect(plugs).toMatchObject([{ legacy: false, vectors: 4 }]);
    expect(hasFeature(plugs[0].ringFeatures, VIRTIO_F_RING_PACKED)).toBe(true);
  });

  test.each([
    [{ driver: 'virtio-toi', property: 'packed', value: 'on' }, /no type "virtio-toi" \(did you mean virtio-/],
    [{ driver: 'virtio-toy', property: 'paked', value: 'on' }, /unknown "paked" \(did you mean packed\?\)/],
    [{ driver: 'virtio-toy', property: 'packed', value: '7' }, /packed: "7" is not allowed: on, off/],
  ])('%o is refused', (global, message) => {
    expect(() => makeModel({ globals: [global] })).toThrow(message);
  });
});
