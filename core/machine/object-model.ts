/** A machine's objects: devices and back ends come and go here, by -device and -object and while the machine is there. */
import { didYouMean } from '../did-you-mean.ts';
import { RingsideError } from '../errors.ts';
import type { BackendUser, Environment } from '../qom/environment.ts';
import { QomBus, QomObject } from '../qom/object.ts';
import type { QomType } from '../qom/object.ts';
import { readProperty } from '../qom/property-value.ts';
import type { TypeRegistry } from '../qom/registry.ts';
import { ObjectTree } from '../qom/tree.ts';
import type { BackendKinds } from '../virtio/device-type.ts';
import { DeviceRemovals } from './device-removal.ts';
import type { DeviceName, RemovalPatience } from './device-removal.ts';

export type BackendKind = keyof BackendKinds;
/** Properties as text or JSON, by name. */
export type PropertyInputs = Readonly<Record<string, unknown>>;

export interface DeviceInput {
  readonly driver: string;
  readonly id?: string | undefined;
  /** Name or path of the bus; by default the first one with room. */
  readonly bus?: string | undefined;
  readonly properties: PropertyInputs;
}

export interface AddDeviceOptions {
  /** The machine is there already: only where the bus says so. */
  readonly hotplugged?: boolean;
  /** Told of the bus that the device is about to be on. */
  onBus?(bus: QomBus): void;
}

export interface AddBackendOptions {
  /** It goes when the device is unplugged that uses it, as what -drive makes. */
  readonly withDevice?: boolean;
}

/** A value for a property of all objects of a type that are made later (-global). */
export interface GlobalInput {
  readonly driver: string;
  readonly property: string;
  readonly value: string;
}

export interface ObjectModelOptions {
  readonly types: TypeRegistry;
  readonly services: Omit<Environment, 'backend'>;
  readonly globals?: readonly GlobalInput[];
  /** A device is gone (QEMU's DEVICE_DELETED). */
  onDeviceDeleted?(device: DeviceName): void;
  /** The guest was asked to let go of a device, and does not (QEMU's DEVICE_UNPLUG_GUEST_ERROR). */
  onDeviceKept?(device: DeviceName): void;
  /** Runs an operation on the objects when no other is under way; by default at once. */
  later?(operation: () => Promise<void>): void;
  readonly patience?: RemovalPatience;
}

/** QEMU's id_wellformed(). */
const ID = /^[A-Za-z][A-Za-z0-9._-]*$/;
const ID_CHARS = 128;

const CONTAINERS: Readonly<Record<BackendKind, string>> = {
  object: '/objects',
  drive: '/drives',
  chardev: '/chardevs',
  netdev: '/netdevs',
  fsdev: '/fsdevs',
};

export class ObjectModel {
  readonly tree: ObjectTree;
  readonly environment: Environment;
  readonly #types: TypeRegistry;
  readonly #globals: readonly GlobalInput[];
  readonly #onDeviceDeleted: (device: DeviceName) => void;
  readonly #removals: DeviceRemovals;
  /** Who uses a back end. */
  readonly #users = new Map<QomObject, Set<BackendUser>>();
  /** Back ends that go when the device goes that uses them. */
  readonly #withDevice = new Set<QomObject>();
  /** In the order in which they were made. */
  readonly #devices: QomObject[] = [];
  readonly #backends: QomObject[] = [];

  /** @throws RingsideError 'bad-option' for globals that nothing takes */
  constructor(options: ObjectModelOptions) {
    const { types, services, globals = [], onDeviceDeleted = () => {}, onDeviceKept = () => {} } = options;
    const { later = (operation) => void operation(), patience } = options;
    this.#types = types;
    this.#globals = globals;
    this.#onDeviceDeleted = onDeviceDeleted;
    this.#removals = new DeviceRemovals({
      remove: (object) => this.removeDevice(object),
      later,
      onKept: onDeviceKept,
      warn: (message) => services.warn(message),
      ...(patience === undefined ? {} : { patience }),
    });
    this.tree = new ObjectTree(types);
    this.environment = { ...services, backend: (user, kind, id, type) => this.#backend(user, kind, id, type) };
    for (const path of Object.values(CONTAINERS)) this.tree.container(path);
    for (const global of globals) {
      try {
        checkGlobal(types, global);
      } catch (error) {
        throw prefixed('globals', error);
      }
    }
  }

  // ---- back ends --------------------------------------------------------------------------------------------------

  /**
   * object_add, and what -drive, -chardev, -netdev and -fsdev say.
   *
   * @param type of objects and drives the type's name, of the others the part behind "chardev-" etc.
   * @throws RingsideError; nothing is left then
   */
  async addBackend(
    kind: BackendKind,
    type: string,
    id: string,
    properties: PropertyInputs,
    { withDevice = false }: AddBackendOptions = {},
  ): Promise<QomObject> {
    const container = this.tree.container(CONTAINERS[kind]);
    return inContext(`${kind} ${id}`, async () => {
      checkId(id);
      if (container.children.has(id)) throw new RingsideError('bad-option', 'there is one of this id already');
      const object = container.addChild(id, new QomObject(backendType(this.#types, kind, type), id));
      await this.#bringUp(object, properties, this.#backends);
      if (withDevice) this.#withDevice.add(object);
      return object;
    });
  }

  /**
   * object_del and its like.
   *
   * @throws RingsideError 'not-found', 'in-use'
   */
  async removeBackend(kind: BackendKind, id: string): Promise<void> {
    const object = this.#find(kind, id);
    if (!object) throw new RingsideError('not-found', `there is no ${kind} "${id}"${this.#hint(kind, id)}.`);
    if (this.#users.get(object)?.size) {
      throw new RingsideError('in-use', `${kind} "${id}" is in use by a device: remove that first.`);
    }
    await this.#takeDown(object, this.#backends);
  }

  /**
   * Another back end in the place of one, whose users stay (chardev-change).
   *
   * @throws RingsideError 'not-found', and whatever is wrong with the new one; everything is as it was then
   */
  async replaceBackend(kind: BackendKind, id: string, type: string, properties: PropertyInputs): Promise<QomObject> {
    const old = this.#find(kind, id);
    if (!old) throw new RingsideError('not-found', `there is no ${kind} "${id}"${this.#hint(kind, id)}.`);
    const container = this.tree.container(CONTAINERS[kind]);
    return inContext(`${kind} ${id}`, async () => {
      const object = container.addChild(`${id} (new)`, new QomObject(backendType(this.#types, kind, type), id));
      await this.#bringUp(object, properties, this.#backends);
      const users = this.#users.get(old);
      await this.#takeDown(old, this.#backends);
      if (users !== undefined) this.#users.set(object, users);
      object.rename(id);
      return object;
    });
  }

  #find(kind: BackendKind, id: string): QomObject | undefined {
    return this.tree.container(CONTAINERS[kind]).children.get(id);
  }

  #hint(kind: BackendKind, id: string): string {
    return didYouMean(id, this.tree.container(CONTAINERS[kind]).children.keys());
  }

  #backend<T>(user: BackendUser, kind: BackendKind, id: string, type?: string): T {
    const object = this.#find(kind, id);
    if (!object) throw new RingsideError('bad-option', `there is no -${kind} with id=${id}${this.#hint(kind, id)}`);
    if (type !== undefined && !object.type.isA(type)) {
      throw new RingsideError('bad-option', `${kind} ${id} is of type ${object.type.name}, not ${type}`);
    }
    const users = this.#users.get(object) ?? new Set();
    if (!object.type.shared && users.size > 0 && !users.has(user)) {
      throw new RingsideError('bad-option', `${kind} ${id} is in use by another device`);
    }
    this.#users.set(object, users.add(user));
    user.onClose(() => void users.delete(user));
    return object.instance as T;
  }

  // ---- devices ----------------------------------------------------------------------------------------------------

  /**
   * -device and device_add.
   *
   * @throws RingsideError; nothing is left then
   */
  async addDevice(
    { driver, id, bus, properties }: DeviceInput,
    { hotplugged = false, onBus }: AddDeviceOptions = {},
  ): Promise<QomObject> {
    const what = id === undefined ? `device ${driver}` : `device ${driver} (${id})`;
    return inContext(what, async () => {
      const type = this.#types.creatable(driver, 'device', 'device');
      const container = this.tree.container(id === undefined ? '/machine/peripheral-anon' : '/machine/peripheral');
      if (id !== undefined) {
        checkId(id);
        if (container.children.has(id)) throw new RingsideError('bad-option', 'there is a device of this id already');
      }
      const place = type.bus === null ? null : this.#chooseBus(type, type.bus, bus);
      if (hotplugged && place && !place.hotplug) {
        throw new RingsideError('unsupported', `Bus '${place.name}' does not support hotplugging`);
      }
      if (place) onBus?.(place);
      const object = new QomObject(type, id ?? null);
      object.hotplugged = hotplugged;
      if (id === undefined) this.tree.addNumbered(container, object);
      else container.addChild(id, object);
      place?.put(object);
      return this.#bringUp(object, properties, this.#devices);
    });
  }

  /** A device of the board itself, which hangs in the tree already. */
  async addBoardDevice(object: QomObject): Promise<void> {
    await this.#bringUp(object, {}, this.#devices);
  }

  #chooseBus(type: QomType, kind: string, wanted: string | undefined): QomBus {
    const fitting = this.tree.buses().filter((bus) => bus.type.isA(kind));
    if (wanted === undefined) {
      // As QEMU, devices with the newest first.
      const bus = this.#firstFree(kind);
      if (bus) return bus;
      if (fitting.length === 0) throw new RingsideError('bad-option', `the machine has no ${kind} for it`);
      throw new RingsideError('too-large', `no ${kind} has room for it: ${fitting.length} are taken`);
    }
    const bus = this.tree.buses().find(({ name, path }) => name === wanted || path === wanted);
    if (!bus) {
      const hint = didYouMean(
        wanted,
        fitting.map(({ name }) => name),
      );
      throw new RingsideError('bad-option', `bus: there is no bus "${wanted}"${hint}`);
    }
    if (!bus.type.isA(kind)) {
      throw new RingsideError('bad-option', `bus: "${wanted}" is a ${bus.type.name}, and ${type.name} needs a ${kind}`);
    }
    if (bus.full) {
      const occupant = bus.devices[0].id ?? bus.devices[0].name;
      throw new RingsideError('bad-option', `bus ${wanted} is in use already: ${occupant} is there. Choose another`);
    }
    return bus;
  }

  #firstFree(kind: string): QomBus | null {
    const search = (bus: QomBus): QomBus | null => {
      if (bus.type.isA(kind) && !bus.full) return bus;
      for (const device of bus.devices.toReversed()) {
        for (const below of device.buses) {
          const found = search(below);
          if (found) return found;
        }
      }
      return null;
    };
    const roots = this.tree.buses().filter(({ type }) => type.isA('System'));
    return roots.map(search).find((bus) => bus !== null) ?? null;
  }

  /**
   * device_del: asks the guest to let go of a device. It is gone when onDeviceDeleted says so.
   *
   * @param name id or path
   * @throws RingsideError 'not-found', 'unsupported', 'bad-state'
   */
  requestRemoval(name: string): void {
    const object = name.startsWith('/') ? this.tree.find(name) : this.tree.find(`/machine/peripheral/${name}`);
    if (!object?.type.isA('device')) throw new RingsideError('not-found', `Device '${name}' not found`);
    this.#removals.request(object);
  }

  /** Takes a device, and those on its buses, out of the machine. */
  async removeDevice(object: QomObject): Promise<void> {
    for (const bus of object.buses) {
      for (const device of bus.devices.toReversed()) if (device.parent !== object) await this.removeDevice(device);
    }
    const gone = [...object.walk()]
      .filter(({ type }) => type.isA('device'))
      .map(({ id, path }) => ({ id, path }))
      .toReversed();
    const drives = this.#drivesOf(object);
    await this.#takeDown(object, this.#devices);
    for (const drive of drives) if (!this.#users.get(drive)?.size) await this.#takeDown(drive, this.#backends);
    for (const device of gone) this.#onDeviceDeleted(device);
  }

  /** Back ends of a device that go when it goes. */
  #drivesOf(object: QomObject): QomObject[] {
    const parts = new Set<BackendUser>(object.walk());
    return [...this.#withDevice].filter((backend) =>
      [...(this.#users.get(backend) ?? [])].some((user) => parts.has(user)),
    );
  }

  // ---- what both have in common -----------------------------------------------------------------------------------

  async #bringUp(object: QomObject, properties: PropertyInputs, list: QomObject[]): Promise<QomObject> {
    try {
      for (const part of object.walk()) this.#applyGlobals(part);
      for (const [name, input] of Object.entries(properties)) object.set(name, input);
      object.bus?.hotplug?.check?.(object);
      await object.realize(this.environment);
    } catch (error) {
      object.remove();
      throw error;
    }
    list.push(object);
    object.bus?.hotplug?.plugged?.(object, this.#removals.plugged(object));
    return object;
  }

  async #takeDown(object: QomObject, list: QomObject[]): Promise<void> {
    const at = list.indexOf(object);
    if (at >= 0) list.splice(at, 1);
    this.#removals.forget(object);
    this.#withDevice.delete(object);
    await object.unrealize(this.environment);
    object.bus?.hotplug?.unplugged?.(object);
    this.#users.delete(object);
    object.remove();
  }

  #applyGlobals(object: QomObject): void {
    for (const { driver, property, value } of this.#globals) {
      const type = this.#types.find(driver)!;
      if (object.type.isA(type.name)) object.set(property, value);
    }
  }

  /** Machine reset. */
  async reset(): Promise<void> {
    await this.#removals.complete();
    await this.tree.root.reset();
  }

  /** Takes everything down, the newest first. */
  async close(): Promise<void> {
    for (const list of [this.#devices, this.#backends]) {
      for (let object = list.at(-1); object; object = list.at(-1)) await this.#takeDown(object, list);
    }
  }
}

/** The type that `-KIND TYPE` means. */
export function backendType(types: TypeRegistry, kind: BackendKind, type: string): QomType {
  if (kind === 'object') return types.creatable(type, 'user-creatable', 'object');
  if (kind === 'drive') return types.get('drive');
  return types.creatable(type, kind, kind, `${kind}-`);
}

/** @throws RingsideError 'bad-option' */
export function checkGlobal(types: TypeRegistry, { driver, property, value }: GlobalInput): void {
  const type = types.find(driver);
  if (!type) {
    const hint = didYouMean(
      driver,
      types.all('object').map(({ name }) => name),
    );
    throw new RingsideError('bad-option', `there is no type "${driver}"${hint}`);
  }
  try {
    readProperty(type.property(property), value);
  } catch (error) {
    throw prefixed(driver, error);
  }
}

function checkId(id: string): void {
  if (ID.test(id) && id.length <= ID_CHARS) return;
  throw new RingsideError('bad-option', `id: "${id}" must be a letter, then letters, digits, ".", "_" or "-"`);
}

/** Says what the error is about, where it is about options. */
async function inContext<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw prefixed(what, error);
  }
}

function prefixed(what: string, error: unknown): unknown {
  if (!(error instanceof RingsideError) || error.kind !== 'bad-option') return error;
  return new RingsideError(error.kind, `${what}: ${error.message}`, { cause: error });
}
