/**
 * Devices that come and go while a VM is on, and what else of its hardware can change then. Back ends that come with a device
 * go with it; its settings follow where the person wants that.
 */
import { RingsideError } from '../../core/errors.ts';
import { BACKEND_LISTS, configProblems, problemLine } from '../../core/machine/check-config.ts';
import type { BackendKind } from '../../core/machine/object-model.ts';
import { machineTypes } from '../../core/machine/types.ts';
import type { MonitorTarget } from '../../core/monitor/target.ts';
import { issueLine, vmSettings } from '../ipc/contract.ts';
import type { LiveHardware as LiveView, Leaving, VmParts, VmSettings } from '../ipc/contract.ts';
import { withWholePaths } from './host-paths.ts';
import { refuseOtherFormats } from './image-format.ts';
import type { RunningMachine } from './machine.ts';
import { LISTS, linksOf, withoutDevice, withParts } from './vm-parts.ts';

/** After so long without an answer the person is told that there is none, ms. Linux waits 5 s before it acts. */
const ANSWER_MS = 15_000;
const MIB = 2 ** 20;

/** What is used of the VM's manager. */
export interface LiveVms {
  machine(id: string): RunningMachine;
  target(id: string): MonitorTarget;
  /** What the present machine was made of, with what has come to stay since. */
  booted(id: string): VmSettings;
  /** Does something to a machine that is on while nothing else is done to its VM. */
  exclusive<T>(id: string, act: (vm: LiveVm) => Promise<T>): Promise<T>;
  /** Gives a disk back that the machine has closed. */
  release(id: string, drive: string): void;
}

/** A VM that is on, as long as nothing else is done to it. */
export interface LiveVm {
  readonly name: string;
  readonly machine: RunningMachine;
  readonly settings: VmSettings;
  /** Changes the settings, and what counts as booted, alike. */
  amend(change: (settings: VmSettings) => VmSettings): Promise<void>;
  /** @throws in-use */
  claim(drive: VmSettings['drives'][number]): Promise<void>;
  /** It has consoles that it had not, or some no longer. */
  consolesChanged(): void;
}

/** Of one machine. */
interface Known {
  readonly machine: RunningMachine;
  /** By device. */
  readonly leaving: Map<string, Omit<Leaving, 'state'> & { refused: boolean }>;
  /** What came with a device, by device. */
  readonly links: Map<string, { kind: BackendKind; id: string }[]>;
  /** What came while it was on, by device. */
  readonly plugged: Map<string, VmParts>;
}

export class LiveHardware {
  readonly #vms: LiveVms;
  readonly #known = new Map<string, Known>();
  /** Told of what could not be done after the guest had let go. */
  readonly #problem: (id: string, error: unknown) => void;

  constructor(vms: LiveVms, problem: (id: string, error: unknown) => void) {
    this.#vms = vms;
    this.#problem = problem;
  }

  /** A VM has been started. */
  follow(id: string, machine: RunningMachine): void {
    const known: Known = { machine, leaving: new Map(), links: new Map(), plugged: new Map() };
    this.#known.set(id, known);
    for (const device of this.#vms.booted(id).devices) {
      if (device.id !== undefined) known.links.set(device.id, linksOf(device as VmParts['device']));
    }
    machine.on('device-deleted', ({ id: device }) => {
      if (device === null || this.#known.get(id) !== known) return;
      this.#gone(id, known, device).catch((error: unknown) => this.#problem(id, error));
    });
    machine.on('device-kept', ({ id: device }) => {
      const asked = device === null ? undefined : known.leaving.get(device);
      if (asked !== undefined) asked.refused = true;
    });
  }

  view(id: string): LiveView {
    const { ports, devices } = this.#vms.machine(id).liveParts();
    const { leaving } = this.#of(id);
    const balloon = this.#vms.target(id).balloon;
    const now = Date.now();
    return {
      ports,
      devices: devices.map((device) => {
        const asked = leaving.get(device.id);
        if (asked === undefined) return { ...device, leaving: null };
        const { refused, since, forget } = asked;
        const state = refused ? 'refused' : now - since > ANSWER_MS ? 'silent' : 'waiting';
        return { ...device, leaving: { state, since, forget } };
      }),
      balloon: balloon === null ? null : { actual: balloon.actual, max: this.#vms.booted(id).memory },
    };
  }

  /** What the machine is made of now: what it was started with, with what has come and without what has gone since. */
  settings(id: string): VmSettings {
    const there = new Set(
      this.#vms
        .machine(id)
        .liveParts()
        .devices.map((device) => device.id),
    );
    let settings = this.#vms.booted(id);
    for (const { id: device } of settings.devices) {
      if (device !== undefined && !there.has(device)) settings = withoutDevice(settings, device);
    }
    for (const parts of this.#of(id).plugged.values()) settings = withParts(settings, parts);
    return settings;
  }

  /**
   * Attaches a device.
   *
   * @throws RingsideError; nothing is left behind then
   */
  plug(id: string, parts: VmParts, keep: boolean): Promise<{ bus: string | null }> {
    return this.#vms.exclusive(id, async (vm) => {
      const { machine, settings, name } = vm;
      const placed: VmParts = { ...parts, device: placedDevice(name, parts.device, machine) };
      if (keep) check(withParts(settings, placed));
      check(withParts(this.#vms.booted(id), placed));
      const undo: (() => Promise<unknown> | void)[] = [];
      const add = async (kind: BackendKind, type: string, backend: string, properties: Record<string, unknown>) => {
        await machine.objectAdd(kind, type, backend, properties, { withDevice: true });
        undo.push(() => machine.objectDel(kind, backend));
      };
      try {
        const real = wholePaths(this.#vms.booted(id), placed);
        const { drive } = real;
        if (drive !== undefined) {
          await refuseOtherFormats([drive]);
          await vm.claim(drive);
          undo.push(() => this.#vms.release(id, drive.id));
          const { id: _id, if: _if, slot: _slot, legacy: _legacy, ...properties } = drive;
          await add('drive', 'drive', drive.id, given(properties));
        }
        for (const list of LISTS) {
          for (const { type, id: backend, ...properties } of real[list]) {
            // Several devices may share an object.
            if (list === 'objects' && machine.liveParts().objects.includes(backend)) continue;
            await add(BACKEND_LISTS[list], type, backend, properties);
          }
        }
        const { driver, id: device, bus, ...properties } = real.device;
        await machine.deviceAdd({ driver, id: device, bus, properties });
        const known = this.#of(id);
        known.leaving.delete(device);
        known.links.set(device, linksOf(placed.device));
        known.plugged.set(device, placed);
      } catch (error) {
        for (const step of undo.toReversed()) await Promise.resolve(step()).catch(() => undefined);
        throw error;
      }
      if (placed.chardevs.length > 0) vm.consolesChanged();
      if (keep) await vm.amend((before) => withParts(before, placed));
      return { bus: placed.device.bus ?? null };
    });
  }

  /**
   * Asks the guest to let go of a device.
   *
   * @throws RingsideError 'not-found'; 'unsupported': where it sits devices stay; 'bad-state': the guest is at it
   */
  unplug(id: string, device: string, forget: boolean): Promise<void> {
    return this.#vms.exclusive(id, async ({ machine }) => {
      const known = this.#of(id);
      const before = known.leaving.get(device);
      // It may be gone before deviceDel resolves.
      known.leaving.set(device, { since: Date.now(), forget, refused: false });
      try {
        await machine.deviceDel(device);
      } catch (error) {
        if (before === undefined) known.leaving.delete(device);
        else known.leaving.set(device, before);
        throw error;
      }
    });
  }

  /** @throws RingsideError */
  resizeDisk(id: string, drive: string, size: number): Promise<void> {
    return this.#vms.exclusive(id, ({ machine }) => machine.resizeDrive(drive, size));
  }

  async setLink(id: string, device: string, up: boolean): Promise<void> {
    await this.#vms.target(id).network.setLink(device, up);
  }

  /** @throws RingsideError 'unsupported' without a balloon */
  async setBalloon(id: string, bytes: number): Promise<void> {
    const { balloon } = this.#vms.target(id);
    if (balloon === null) throw new RingsideError('unsupported', 'it has no balloon: add a “Memory balloon” first');
    const most = this.#vms.booted(id).memory;
    await balloon.setTarget(Math.min(most, Math.max(MIB, bytes)));
  }

  /** @throws RingsideError, MonitorError */
  async setProperty(id: string, object: string, property: string, value: string): Promise<void> {
    const { qom } = this.#vms.target(id);
    const found = qom.find(`/objects/${object}`) ?? qom.find(`/machine/peripheral/${object}`);
    if (found === null || found === 'ambiguous') {
      throw new RingsideError('not-found', `there is no ${object} in the machine`);
    }
    await found.set(property, value);
  }

  #of(id: string): Known {
    const known = this.#known.get(id);
    if (known === undefined || known.machine !== this.#vms.machine(id)) {
      throw new RingsideError('bad-state', 'the VM is off: start it first');
    }
    return known;
  }

  /** The guest has let go of a device, asked or not. */
  async #gone(id: string, known: Known, device: string): Promise<void> {
    const forget = known.leaving.get(device)?.forget ?? false;
    const links = known.links.get(device) ?? [];
    known.leaving.delete(device);
    known.links.delete(device);
    known.plugged.delete(device);
    for (const { kind, id: backend } of links) {
      if (kind === 'drive') this.#vms.release(id, backend);
      // What came at the start stays without its device; it is to be had for the next one. Others may still use it.
      else if (kind !== 'object') await known.machine.objectDel(kind, backend).catch(() => undefined);
    }
    const consoles = links.some(({ kind }) => kind === 'chardev');
    if (!forget && !consoles) return;
    await this.#vms.exclusive(id, async (vm) => {
      if (vm.machine !== known.machine) return;
      if (consoles) vm.consolesChanged();
      if (forget) await vm.amend((settings) => withoutDevice(settings, device));
    });
  }
}

/** With the hotplug port that it is to sit in. @throws RingsideError when there is none for it */
function placedDevice(vm: string, device: VmParts['device'], machine: RunningMachine): VmParts['device'] {
  const type = machineTypes().creatable(device.driver, 'device', 'device');
  if (type.bus === 'virtio-bus') {
    throw new RingsideError(
      'unsupported',
      `${device.driver} sits in a virtio-mmio slot, and those cannot tell a guest that something has come: take ` +
        `${device.driver.replace(/-device$/, '-pci')}, or start the VM with it`,
    );
  }
  if (!type.isA('pci-device') || device.bus !== undefined) return device;
  const { ports } = machine.liveParts();
  if (ports.length === 0) {
    throw new RingsideError(
      'unsupported',
      `“${vm}” has no hotplug ports: add some on its Hardware page, and start it anew`,
    );
  }
  const free = ports.find(({ devices }) => devices.length === 0);
  if (free === undefined) {
    throw new RingsideError('bad-state', `all hotplug ports of “${vm}” are taken: detach something first`);
  }
  return { ...device, bus: free.bus };
}

/** As the machine gets them: `~` is the home directory. */
function wholePaths(settings: VmSettings, parts: VmParts): VmParts {
  const { device, drive, ...backends } = parts;
  const drives = drive === undefined ? [] : [drive];
  const whole = withWholePaths({ ...settings, ...backends, devices: [device], drives });
  const { objects, chardevs, netdevs, fsdevs } = whole;
  const found: VmParts = { device: { ...whole.devices[0], id: device.id }, objects, chardevs, netdevs, fsdevs };
  return drive === undefined ? found : { ...found, drive: { ...whole.drives[0], if: 'none' } };
}

/** @throws RingsideError 'bad-option' for what could not be started */
function check(settings: VmSettings): void {
  const parsed = vmSettings.safeParse(settings);
  if (!parsed.success) throw new RingsideError('bad-option', issueLine(parsed.error.issues));
  const [problem] = configProblems(settings);
  if (problem !== undefined) throw new RingsideError('bad-option', problemLine(problem));
}

function given(properties: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined));
}
