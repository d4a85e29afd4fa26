/**
 * Types and their objects, as QEMU's QOM and qdev: a hierarchy of types with properties, and a tree of objects, each with a
 * life: made, realized, unrealized, gone.
 */
import { didYouMean } from '../did-you-mean.ts';
import { errorLine, RingsideError } from '../errors.ts';
import type { Environment } from './environment.ts';
import type { ComputedProperty, PropertySpec, PropertyValue, PropertyValues } from './property.ts';
import { propertyTypeName, readProperty } from './property-value.ts';

/** QEMU's headings in `-device help`, in its order. */
export const DEVICE_CATEGORIES = {
  bridge: 'Controller/Bridge/Hub',
  storage: 'Storage',
  network: 'Network',
  input: 'Input',
  display: 'Display',
  sound: 'Sound',
  misc: 'Misc',
} as const;
export type DeviceCategory = keyof typeof DEVICE_CATEGORIES;

/** What defines a type. Hooks of a type and of those that it is derived from all run. */
export interface TypeInfo {
  /** e.g. "virtio-blk-pci". */
  readonly name: string;
  /** The type that it is derived from; null only for the root. */
  readonly parent: string | null;
  /** No objects of just this type. */
  readonly abstract?: boolean;
  /** Made by the machine only, not by -device or -object. */
  readonly internal?: boolean;
  /** One line for the help; no full stop. */
  readonly description?: string;
  readonly category?: DeviceCategory;
  /** Other names that -device and -object take. */
  readonly aliases?: readonly string[];
  /** Its own; one with an inherited name replaces that. */
  readonly properties?: readonly PropertySpec[];
  /** Other defaults for inherited properties. */
  readonly defaults?: Readonly<Record<string, PropertyValue>>;
  /** Of a device: the type of bus that it sits on. */
  readonly bus?: string;
  /**
   * A child object that each object has from the beginning. Its properties are the object's own too. The object's
   * realize must realize it, and its unrealize unrealize it.
   */
  readonly child?: { readonly name: string; readonly type: string };
  /** Of a back end: several devices may use it at once. */
  readonly shared?: boolean;
  /** The object is new: no property is set. Base types first. */
  instanceInit?(object: QomObject): void;
  /**
   * Makes the object work; properties are fixed from now on, but for live ones. Base types first. When it fails, what it
   * gave to onClose() and the types realized before it are undone.
   *
   * @throws RingsideError what is wrong and what to do, one line
   */
  realize?(object: QomObject, environment: Environment): void | Promise<void>;
  /** Undoes realize. Derived types first. */
  unrealize?(object: QomObject, environment: Environment): void | Promise<void>;
  /** Machine reset. Base types first; children of the object come before it. */
  reset?(object: QomObject): void | Promise<void>;
  /** The object is gone. Derived types first. */
  finalize?(object: QomObject): void;
  /** A live property of a realized object was set. @throws RingsideError to refuse; the property keeps its value */
  changed?(object: QomObject, property: string, value: PropertyValue): void;
}

/** A registered type with all that it inherits. */
export class QomType {
  readonly info: TypeInfo;
  readonly parent: QomType | null;
  /** From the root to this. */
  readonly chain: readonly QomType[];
  /** Own and inherited, the own first; not those of the child. */
  readonly ownProperties: ReadonlyMap<string, PropertySpec>;
  readonly child: { readonly name: string; readonly type: QomType } | null;

  readonly #related: (name: string) => QomType;

  /** @param related finds the types that it is registered with */
  constructor(info: TypeInfo, related: (name: string) => QomType) {
    const parent = info.parent === null ? null : related(info.parent);
    const child = info.child ? related(info.child.type) : null;
    this.#related = related;
    this.info = info;
    this.parent = parent;
    this.chain = [...(parent?.chain ?? []), this];
    this.child = info.child && child ? { name: info.child.name, type: child } : (parent?.child ?? null);
    const properties = new Map((info.properties ?? []).map((spec) => [spec.name, spec]));
    for (const [name, spec] of parent?.ownProperties ?? []) {
      const value = info.defaults?.[name];
      const inherited = value === undefined ? spec : ({ ...spec, default: value } as PropertySpec);
      if (!properties.has(name)) properties.set(name, inherited);
    }
    for (const name of Object.keys(info.defaults ?? {})) {
      if (!properties.has(name)) throw new Error(`${info.name}: a default for ${name}, which is not inherited`);
    }
    this.ownProperties = properties;
  }

  get name(): string {
    return this.info.name;
  }

  /** All that can be set on an object of it, those of its child included. */
  get properties(): ReadonlyMap<string, PropertySpec> {
    if (!this.child) return this.ownProperties;
    return new Map([...this.child.type.properties, ...this.ownProperties]);
  }

  get bus(): string | null {
    return this.#inherited((info) => info.bus) ?? null;
  }

  get category(): DeviceCategory | null {
    return this.#inherited((info) => info.category) ?? null;
  }

  get description(): string | null {
    return this.info.description ?? null;
  }

  get shared(): boolean {
    return this.#inherited((info) => info.shared) ?? false;
  }

  #inherited<T>(pick: (info: TypeInfo) => T | undefined): T | undefined {
    for (const { info } of this.chain.toReversed()) {
      const value = pick(info);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  /** Another type of the same registry, which must be there. */
  related(name: string): QomType {
    return this.#related(name);
  }

  /** Whether it is the named type or derived from it. */
  isA(name: string): boolean {
    return this.chain.some((type) => type.name === name);
  }

  /**
   * By name or alias.
   *
   * @throws RingsideError 'bad-option'
   */
  property(name: string): PropertySpec {
    const { properties } = this;
    const spec = properties.get(name) ?? [...properties.values()].find(({ aliases }) => aliases?.includes(name));
    if (spec) return spec;
    const hint = didYouMean(name, properties.keys());
    throw new RingsideError('bad-option', `unknown "${name}"${hint}; "${this.name},help" lists what there is`);
  }
}

/** As in qom-list. */
export interface PropertyInfo {
  readonly name: string;
  /** QEMU's name: "str", "uint16", "bool", "link<iothread>", "child<virtio-blk-device>". */
  readonly type: string;
  readonly description?: string;
  readonly defaultValue?: PropertyValue;
}

type Closer = () => void | Promise<void>;

/** Objects made so far. */
let made = 0;

export class QomObject {
  readonly type: QomType;
  /** What was made later has more. */
  readonly order = made++;
  /** As the user gave it; null for what has none. */
  readonly id: string | null;
  /** What realize has made: the device, the back end, the worker. */
  instance: unknown = null;
  /** Of a device: the bus it sits on. */
  bus: QomBus | null = null;
  /** Plugged into a machine that was there already. */
  hotplugged = false;

  #name = '';
  #parent: QomObject | null = null;
  #realized = false;
  readonly #children = new Map<string, QomObject>();
  readonly #values = new Map<string, PropertyValue>();
  readonly #computed = new Map<string, ComputedProperty>();
  #closers: Closer[] = [];

  constructor(type: QomType, id: string | null = null) {
    if (type.info.abstract) throw new Error(`${type.name} is abstract`);
    this.type = type;
    this.id = id;
    for (const [name, spec] of type.ownProperties) this.#values.set(name, spec.default);
    if (type.child) this.addChild(type.child.name, new QomObject(type.child.type));
    for (const { info } of type.chain) info.instanceInit?.(this);
  }

  // ---- the tree ---------------------------------------------------------------------------------------------------

  get parent(): QomObject | null {
    return this.#parent;
  }

  /** Its name in its parent; "" for the root and for what hangs nowhere. */
  get name(): string {
    return this.#name;
  }

  /** e.g. "/machine/peripheral/disk0". */
  get path(): string {
    if (this.#parent === null) return '/';
    const above = this.#parent.path;
    return above === '/' ? `/${this.#name}` : `${above}/${this.#name}`;
  }

  get children(): ReadonlyMap<string, QomObject> {
    return this.#children;
  }

  addChild<T extends QomObject>(name: string, child: T): T {
    if (this.#children.has(name)) throw new Error(`${this.path} has a child ${name} already`);
    this.#children.set(name, child);
    child.#name = name;
    child.#parent = this;
    return child;
  }

  /** Another name in its parent, which must not have a child of it. */
  rename(name: string): void {
    const parent = this.#parent;
    if (parent === null) return;
    parent.#children.delete(this.#name);
    this.#parent = null;
    parent.addChild(name, this);
  }

  /** Takes it, unrealized, and all below it out of the tree, for good. */
  remove(): void {
    for (const child of [...this.#children.values()]) child.remove();
    this.bus?.take(this);
    if (this.#parent) this.#parent.#children.delete(this.#name);
    this.#parent = null;
    for (const { info } of this.type.chain.toReversed()) info.finalize?.(this);
  }

  /** This object and all below it, parents first. */
  *walk(): Generator<QomObject> {
    yield this;
    for (const child of this.#children.values()) yield* child.walk();
  }

  /** Buses that this device has, in the order in which they were made. */
  get buses(): QomBus[] {
    return [...this.#children.values()].filter((child) => child instanceof QomBus);
  }

  // ---- properties -------------------------------------------------------------------------------------------------

  /** Typed properties and those of its child, by name. */
  get values(): PropertyValues {
    return { ...this.forward?.values, ...Object.fromEntries(this.#values) };
  }

  /** The child whose properties are its own too. */
  get forward(): QomObject | null {
    return this.type.child ? (this.#children.get(this.type.child.name) ?? null) : null;
  }

  /** A typed property that the type is known to have. */
  value<T extends PropertyValue>(name: string): T {
    if (this.#values.has(name)) return this.#values.get(name) as T;
    if (this.forward) return this.forward.value<T>(name);
    throw new Error(`${this.type.name} has no property ${name}`);
  }

  /** A property of this object that is computed. */
  define(name: string, property: ComputedProperty): void {
    this.#computed.set(name, property);
  }

  /**
   * qom-get.
   *
   * @throws RingsideError 'bad-option' when there is no such property
   */
  get(name: string): unknown {
    const computed = this.#findComputed(name);
    if (computed) return computed.get();
    return this.value(this.type.property(name).name);
  }

  #findComputed(name: string): ComputedProperty | undefined {
    const { forward } = this;
    return this.#builtIn(name) ?? this.#computed.get(name) ?? (forward ? forward.#computed.get(name) : undefined);
  }

  #builtIn(name: string): ComputedProperty | undefined {
    if (name === 'type') return { type: 'string', get: () => this.type.name };
    const child = this.#children.get(name);
    if (child) return { type: `child<${child.type.name}>`, get: () => child.path };
    if (!this.type.isA('device')) return undefined;
    switch (name) {
      case 'realized':
        return { type: 'bool', get: () => this.#realized };
      case 'parent_bus':
        return { type: 'link<bus>', get: () => this.bus?.path ?? '' };
      case 'hotplugged':
        return { type: 'bool', get: () => this.hotplugged };
      case 'hotpluggable':
        return { type: 'bool', get: () => Boolean(this.bus?.hotplug) };
    }
    return undefined;
  }

  /**
   * qom-set, -device, -global.
   *
   * @param input text as on the command line, or JSON
   * @throws RingsideError 'bad-option', or 'bad-state' when it is too late
   */
  set(name: string, input: unknown): void {
    const computed = this.#findComputed(name);
    if (computed) {
      if (!computed.set) throw new RingsideError('bad-option', `${name}: it can only be read`);
      computed.set(input);
      return;
    }
    const spec = this.type.property(name);
    if (!this.#values.has(spec.name)) {
      this.forward!.set(spec.name, input);
      return;
    }
    const value = readProperty(spec, input);
    if (this.#realized) {
      if (!spec.live) throw new RingsideError('bad-state', `${spec.name}: it is fixed once the object is there`);
      for (const { info } of this.type.chain) info.changed?.(this, spec.name, value);
    }
    this.#values.set(spec.name, value);
  }

  /** For its own hooks: what an automatic value came to. Takes no part in checks. */
  assign(name: string, value: PropertyValue): void {
    if (!this.#values.has(name)) throw new Error(`${this.type.name} has no property ${name}`);
    this.#values.set(name, value);
  }

  /** qom-list. */
  list(): PropertyInfo[] {
    const builtIns = this.type.isA('device')
      ? ['type', 'parent_bus', 'realized', 'hotplugged', 'hotpluggable']
      : ['type'];
    const { forward } = this;
    const computed = [...builtIns, ...this.#computed.keys(), ...(forward ? forward.#computed.keys() : [])];
    const all: PropertyInfo[] = [...new Set(computed)].map((name) => {
      const { type, description } = this.#findComputed(name)!;
      return { name, type, ...(description === undefined ? {} : { description }) };
    });
    for (const spec of this.type.properties.values()) all.push(propertyInfo(spec));
    for (const [name, child] of this.#children) all.push({ name, type: `child<${child.type.name}>` });
    return all;
  }

  // ---- its life ---------------------------------------------------------------------------------------------------

  get realized(): boolean {
    return this.#realized;
  }

  /** Called, the last one first, when the object is unrealized, also when realizing it failed. */
  onClose(closer: Closer): void {
    this.#closers.push(closer);
  }

  /** @throws RingsideError; the object is as before then, and nothing it opened is left open */
  async realize(environment: Environment): Promise<void> {
    if (this.#realized) return;
    const done: QomType[] = [];
    try {
      this.#checkLinks();
      for (const type of this.type.chain) {
        await type.info.realize?.(this, environment);
        done.push(type);
      }
    } catch (error) {
      await this.#undo(done, environment);
      throw error;
    }
    this.#realized = true;
  }

  #checkLinks(): void {
    for (const spec of this.type.ownProperties.values()) {
      if (spec.kind !== 'link' || !spec.required || this.#values.get(spec.name) !== null) continue;
      throw new RingsideError('bad-option', `which ${spec.target}? Give ${spec.name}=ID`);
    }
  }

  /** What fails on the way is warned of; nothing stays. */
  async unrealize(environment: Environment): Promise<void> {
    if (!this.#realized) return;
    this.#realized = false;
    await this.#undo(this.type.chain, environment);
  }

  async #undo(types: readonly QomType[], environment: Environment): Promise<void> {
    const attempt = async (step: () => void | Promise<void>): Promise<void> => {
      try {
        await step();
      } catch (error) {
        environment.warn(`${this.id ?? this.type.name}: ${errorLine(error)}`);
      }
    };
    for (const { info } of types.toReversed()) await attempt(() => info.unrealize?.(this, environment));
    for (const closer of this.#closers.splice(0).toReversed()) await attempt(closer);
    this.instance = null;
  }

  async reset(): Promise<void> {
    for (const child of this.#children.values()) await child.reset();
    if (this.type.isA('device') && !this.#realized) return;
    for (const { info } of this.type.chain) await info.reset?.(this);
  }
}

/** What a hotplug handler can do with a device that is on its bus. */
export interface PluggedDevice {
  /** The guest has let go of it: takes it out of the machine, soon. */
  remove(): void;
  /** The guest was asked to let go of it, and does not. */
  kept(): void;
}

/** What makes devices come and go on a bus while the machine is there. */
export interface HotplugHandler {
  /** A device is about to be realized on it. @throws RingsideError when it cannot be now */
  check?(device: QomObject): void;
  /** It is realized. */
  plugged?(device: QomObject, plugged: PluggedDevice): void;
  /**
   * Asks the guest to let go of a device.
   *
   * @throws RingsideError when it cannot be asked
   */
  unplugRequest(device: QomObject): void;
  /** The device is unrealized, and about to leave the bus. */
  unplugged?(device: QomObject): void;
}

export interface BusOptions {
  /** Devices that it takes; default: no limit. */
  readonly capacity?: number;
  /** What devices on it use: a VirtioBus, a PCI bus. */
  readonly implementation?: unknown;
  readonly hotplug?: HotplugHandler;
}

/** A bus: an object with devices on it, which hang elsewhere in the tree. A child of the device that it belongs to. */
export class QomBus extends QomObject {
  readonly capacity: number;
  readonly hotplug: HotplugHandler | null;
  readonly #devices: QomObject[] = [];

  constructor(type: QomType, { capacity = Infinity, implementation = null, hotplug }: BusOptions = {}) {
    super(type);
    this.capacity = capacity;
    this.instance = implementation;
    this.hotplug = hotplug ?? null;
  }

  get devices(): readonly QomObject[] {
    return this.#devices;
  }

  get full(): boolean {
    return this.#devices.length >= this.capacity;
  }

  put(device: QomObject): void {
    device.bus = this;
    this.#devices.push(device);
  }

  take(device: QomObject): void {
    const at = this.#devices.indexOf(device);
    if (at >= 0) this.#devices.splice(at, 1);
    if (device.bus === this) device.bus = null;
  }
}

/** A property as QMP lists it. */
export function propertyInfo(spec: PropertySpec): PropertyInfo {
  const { name, description } = spec;
  const unset = spec.default === null || (Array.isArray(spec.default) && spec.default.length === 0);
  return { name, type: propertyTypeName(spec), description, ...(unset ? {} : { defaultValue: spec.default }) };
}
