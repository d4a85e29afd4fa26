/**
 * What is wrong with the devices and back ends of a configuration, by the types' tables and before anything is made of it:
 * for VM files, and for forms while they are filled in. What only the host knows (files, sockets) is found by realize.
 */
import type { BackendConfig, MachineConfig } from '../api/machine.ts';
import { didYouMean } from '../did-you-mean.ts';
import { errorLine } from '../errors.ts';
import type { QomType } from '../qom/object.ts';
import { isBackendKind, readProperty } from '../qom/property-value.ts';
import { backendType, checkGlobal } from './object-model.ts';
import type { BackendKind } from './object-model.ts';
import { machineTypes } from './types.ts';
import { VIRTIO_SLOTS } from './virt-map.ts';

export type Hardware = Pick<
  MachineConfig,
  'drives' | 'devices' | 'objects' | 'chardevs' | 'netdevs' | 'fsdevs' | 'globals' | 'console' | 'rng' | 'serial'
>;

export interface ConfigProblem {
  /** e.g. ["devices", 0, "num-queues"]. */
  readonly path: readonly (string | number)[];
  /** e.g. "device disk0 (virtio-blk-pci)". */
  readonly what: string;
  /** One line, without `what`. */
  readonly message: string;
}

/** One line for a person. */
export function problemLine({ what, message }: ConfigProblem): string {
  return `${what}: ${message}`;
}

/** The configuration's lists of back ends, and what -KIND they are. */
export const BACKEND_LISTS = {
  objects: 'object',
  chardevs: 'chardev',
  netdevs: 'netdev',
  fsdevs: 'fsdev',
} as const satisfies Record<string, BackendKind>;

/** Ids of what the switches `console` and `rng` stand for. */
const CONSOLE_ID = 'console0';
const RNG_ID = 'rng0';
const SLOT_BUS = /^virtio-mmio-bus\.(\d{1,3})$/;

/** In the order in which they stand in the configuration. */
export function configProblems(hardware: Hardware): ConfigProblem[] {
  const check = new Check(hardware);
  check.backends();
  check.serial();
  check.devices();
  check.globals();
  return check.problems;
}

class Check {
  readonly problems: ConfigProblem[] = [];
  readonly #hardware: Hardware;
  /** Types of back ends by kind and id. */
  readonly #ends = new Map<BackendKind, Map<string, QomType | null>>();
  /** The device that has a back end to itself, by kind and id. */
  readonly #users = new Map<string, string>();

  constructor(hardware: Hardware) {
    this.#hardware = hardware;
    const drives = new Map(hardware.drives.map(({ id }) => [id, machineTypes().get('drive')]));
    this.#ends.set('drive', drives);
    for (const kind of Object.values(BACKEND_LISTS)) this.#ends.set(kind, new Map());
    if (hardware.console) this.#ends.get('chardev')!.set(CONSOLE_ID, machineTypes().get('chardev-program'));
    for (const { id, if: how } of hardware.drives) if (how !== 'none') this.#users.set(`drive ${id}`, id);
  }

  #add(path: ConfigProblem['path'], what: string, message: string): void {
    this.problems.push({ path, what, message });
  }

  /** Runs what may find something wrong; null then. */
  #try<T>(path: ConfigProblem['path'], what: string, work: () => T): T | null {
    try {
      return work();
    } catch (error) {
      this.#add(path, what, errorLine(error));
      return null;
    }
  }

  backends(): void {
    for (const [list, kind] of Object.entries(BACKEND_LISTS) as [keyof typeof BACKEND_LISTS, BackendKind][]) {
      const known = this.#ends.get(kind)!;
      this.#hardware[list].forEach(({ type: name, id, ...properties }: BackendConfig, at) => {
        const what = `${kind} ${id} (${name})`;
        if (known.has(id)) this.#add([list, at, 'id'], what, `there is another ${kind} of this id: give it another`);
        const type = this.#try([list, at, 'type'], what, () => backendType(machineTypes(), kind, name));
        known.set(id, type);
        if (type) this.#properties([list, at], what, type, properties);
      });
    }
  }

  serial(): void {
    const { serial } = this.#hardware;
    if (serial === undefined) return;
    const known = this.#ends.get('chardev')!;
    const what = 'the serial port';
    if (!known.has(serial)) {
      this.#add(['serial'], what, `there is no chardev with id ${serial}${didYouMean(serial, known.keys())}`);
    }
    this.#users.set(`chardev ${serial}`, what);
  }

  devices(): void {
    const { devices, drives, console, rng } = this.#hardware;
    const ids = new Set(drives.filter((drive) => drive.if !== 'none').map(({ id }) => id));
    if (console) ids.add(CONSOLE_ID);
    if (rng) ids.add(RNG_ID);
    const slots = new Map<number, string>();
    for (const { id, slot } of drives) if (slot !== undefined) slots.set(slot, id);
    let wanted = ids.size;
    devices.forEach(({ driver, id, bus, ...properties }, at) => {
      const what = id === undefined ? `device ${driver}` : `device ${id} (${driver})`;
      if (id !== undefined && ids.has(id)) {
        this.#add(['devices', at, 'id'], what, 'there is another device of this id: give it another');
      }
      if (id !== undefined) ids.add(id);
      const find = () => machineTypes().creatable(driver, 'device', 'device');
      const type = this.#try(['devices', at, 'driver'], what, find);
      if (!type) return;
      const found = this.#properties(['devices', at], what, type, properties);
      this.#links(['devices', at], what, type, found);
      if (type.bus !== 'virtio-bus') return;
      wanted++;
      const slot = bus === undefined ? null : SLOT_BUS.exec(bus);
      if (bus === undefined) return;
      if (slot === null || Number(slot[1]) >= VIRTIO_SLOTS) {
        const allowed = `virtio-mmio-bus.0 to virtio-mmio-bus.${VIRTIO_SLOTS - 1}`;
        this.#add(['devices', at, 'bus'], what, `bus: "${bus}" is not a virtio-mmio slot: ${allowed}`);
        return;
      }
      const occupant = slots.get(Number(slot[1]));
      if (occupant !== undefined) this.#add(['devices', at, 'bus'], what, `bus: ${bus} is taken by ${occupant}`);
      slots.set(Number(slot[1]), id ?? driver);
    });
    if (wanted <= VIRTIO_SLOTS) return;
    const remedy = 'remove some, or take their -pci types';
    this.#add(
      ['devices'],
      'devices',
      `the board has ${VIRTIO_SLOTS} virtio-mmio slots, and these are ${wanted}: ${remedy}`,
    );
  }

  globals(): void {
    this.#hardware.globals.forEach((global, at) => {
      this.#try(['globals', at], 'globals', () => checkGlobal(machineTypes(), global));
    });
  }

  /** The values by the properties' own names. */
  #properties(
    path: ConfigProblem['path'],
    what: string,
    type: QomType,
    given: Readonly<Record<string, unknown>>,
  ): Map<string, unknown> {
    const found = new Map<string, unknown>();
    for (const [name, input] of Object.entries(given)) {
      this.#try([...path, name], what, () => {
        const spec = type.property(name);
        found.set(spec.name, readProperty(spec, input));
      });
    }
    for (const spec of type.properties.values()) {
      if (!spec.required || spec.kind === 'link' || (found.get(spec.name) ?? '') !== '') continue;
      // What is there and wrong has been said.
      if (Object.hasOwn(given, spec.name) && !found.has(spec.name)) continue;
      this.#add([...path, spec.name], what, `${spec.name}: ${spec.description}: it is needed`);
    }
    return found;
  }

  /** That links lead somewhere, and to what is free. */
  #links(path: ConfigProblem['path'], what: string, type: QomType, values: ReadonlyMap<string, unknown>): void {
    for (const spec of type.properties.values()) {
      if (spec.kind !== 'link') continue;
      const kind = isBackendKind(spec.target) ? (spec.target as BackendKind) : 'object';
      const wanted = values.get(spec.name);
      const at = [...path, spec.name];
      if (wanted === undefined || wanted === null) {
        if (spec.required) this.#add(at, what, `${spec.name}: which ${spec.target}? Give the id of one`);
        continue;
      }
      const id = wanted as string;
      const known = this.#ends.get(kind)!;
      const end = known.get(id);
      if (end === undefined) {
        this.#add(at, what, `${spec.name}: there is no ${kind} with id ${id}${didYouMean(id, known.keys())}`);
        continue;
      }
      // Its own type is not known: that has been said already.
      if (end === null) continue;
      if (kind === 'object' && !end.isA(spec.target)) {
        this.#add(at, what, `${spec.name}: object ${id} is of type ${end.name}, not ${spec.target}`);
        continue;
      }
      const user = this.#users.get(`${kind} ${id}`);
      if (user !== undefined && !end.shared) {
        this.#add(at, what, `${spec.name}: ${kind} ${id} is in use by ${user}: give it another`);
      }
      this.#users.set(`${kind} ${id}`, what);
    }
  }
}
