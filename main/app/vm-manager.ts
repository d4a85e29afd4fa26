/**
 * The library and its machines: VM files on one side, running machines on the other. Owns every machine there is; a
 * window that goes away takes nothing with it. Operations on one VM happen one after another.
 */
import { randomUUID } from 'node:crypto';
import { unlink } from 'node:fs/promises';
import path from 'node:path';
import type { MachineExit, MachineSnapshot } from '../../core/api/machine.ts';
import { machineConfig } from '../../core/api/machine.ts';
import { errorLine, RingsideError } from '../../core/errors.ts';
import { configProblems, problemLine } from '../../core/machine/check-config.ts';
import type { MonitorTarget } from '../../core/monitor/target.ts';
import type { LibraryProblem, VmInfo, VmSettings, VmState } from '../ipc/contract.ts';
import { ConsolePort } from './console-port.ts';
import { copyDisk } from './copy-disk.ts';
import { DiskClaims } from './disk-claims.ts';
import { fileError } from './fs-errors.ts';
import { refuseOtherFormats } from './image-format.ts';
import { withWholePaths } from './host-paths.ts';
import type { BootFiles } from './interchange/model.ts';
import type { LiveVm } from './live-hardware.ts';
import type { MachineFactory, RunningMachine } from './machine.ts';
import { userPath } from './paths.ts';
import { screenText } from './screen-text.ts';
import { exitText, fileBase, hasDisk, portsOf, sameMachine, sizeOf, withoutDisks } from './vm-facts.ts';
import type { LoadedVm, VmStore } from './vm-store.ts';

/** Kernel, initrd and command line of a catalogue guest. @throws RingsideError when it is not downloaded */
export type GuestBoot = (guest: string) => Promise<{ kernel: string; initrd?: string; append: string }>;

export interface ManagerEvents {
  changed(vm: VmInfo): void;
  removed(id: string): void;
  /** It has a machine, which has not run yet. */
  booted(id: string, machine: RunningMachine): void;
  log(level: 'info' | 'warning' | 'error', vm: string, text: string): void;
}

export interface ManagerOptions {
  store: VmStore;
  machines: MachineFactory;
  guestBoot: GuestBoot;
  events: ManagerEvents;
}

/** Events on how far a clone is, at most this often. */
const PROGRESS_MS = 200;
/** Enough for what fills a screen. */
const SCREEN_BYTES = 16 * 1024;

/** @throws RingsideError 'bad-option' for devices that their types do not allow */
function checkHardware(settings: VmSettings): void {
  const [problem] = configProblems(settings);
  if (problem !== undefined) throw new RingsideError('bad-option', problemLine(problem));
}

class Vm {
  stored: LoadedVm;
  state: VmState = 'stopped';
  machine: RunningMachine | null = null;
  /** What monitors, and others who change its hardware, work on; made when it is asked for. */
  target: MonitorTarget | null = null;
  started: number | null = null;
  /** What the present machine was made of, with what has come to stay since. */
  booted: VmSettings | null = null;
  exit: MachineExit | null = null;
  message: string | null = null;
  readonly ports = new Map<string, ConsolePort>();
  /** The operation under way; the next one waits for it. */
  busy: Promise<unknown> = Promise.resolve();
  /** The end of the present machine, once it has begun. */
  ending: Promise<void> | null = null;
  removed = false;
  /** The clone that is being made of it. */
  cloning: { name: string; copied: number; total: number; abort: AbortController } | null = null;

  constructor(stored: LoadedVm) {
    this.stored = stored;
  }

  get id(): string {
    return this.stored.id;
  }

  get name(): string {
    return this.stored.settings.name;
  }

  get live(): boolean {
    return this.state !== 'stopped' && this.state !== 'crashed';
  }

  info(): VmInfo {
    const { id, settings, created, modified } = this.stored;
    const { state, started, exit, message } = this;
    const pending = this.live && this.booted !== null && !sameMachine(this.booted, settings);
    const ports = new Set(portsOf(this.machine === null ? settings : (this.booted ?? settings)));
    for (const port of this.ports.keys()) if (this.machine?.chardevs.has(port)) ports.add(port);
    const cloning =
      this.cloning === null
        ? null
        : { name: this.cloning.name, copied: this.cloning.copied, total: this.cloning.total };
    return { id, settings, state, created, modified, started, exit, message, pending, ports: [...ports], cloning };
  }
}

export class VmManager {
  readonly #options: ManagerOptions;
  readonly #vms = new Map<string, Vm>();
  readonly #claims = new DiskClaims();
  #closing = false;

  constructor(options: ManagerOptions) {
    this.#options = options;
  }

  /** Reads the library; VMs that another Ringside or a person changed meanwhile are taken over, running ones aside. */
  async list(): Promise<{ vms: VmInfo[]; problems: LibraryProblem[] }> {
    const { vms, problems } = await this.#options.store.load();
    const found = new Set(vms.map((vm) => vm.id));
    for (const stored of vms) {
      // What was deleted while the folder was being read is not new.
      if (!this.#vms.has(stored.id) && (await this.#options.store.stamp(stored.id)) === null) continue;
      const vm = this.#vms.get(stored.id);
      if (vm === undefined) this.#changed(this.#add(stored));
      else if (vm.stored.stamp !== stored.stamp && vm.stored.modified <= stored.modified && !vm.live) {
        vm.stored = stored;
        this.#changed(vm);
      }
    }
    for (const vm of this.#vms.values()) {
      // Gone, or broken; one that was made while the folder was being read is neither.
      if (found.has(vm.id) || vm.live || (await this.#options.store.stamp(vm.id)) === vm.stored.stamp) continue;
      this.#forget(vm);
    }
    const infos = [...this.#vms.values()].map((vm) => vm.info()).sort((a, b) => a.created - b.created);
    return { vms: infos, problems };
  }

  info(id: string): VmInfo {
    return this.#get(id).info();
  }

  infos(): VmInfo[] {
    return [...this.#vms.values()].map((vm) => vm.info());
  }

  async create(settings: VmSettings): Promise<VmInfo> {
    checkHardware(settings);
    const now = Date.now();
    const id = randomUUID();
    return this.#changed(this.#add(await this.#options.store.save({ id, created: now, modified: now, settings })));
  }

  /** @throws bad-option for devices that cannot be, bad-state when its file was changed by someone else */
  update(id: string, settings: VmSettings): Promise<VmInfo> {
    return this.#exclusive(id, async (vm) => {
      checkHardware(settings);
      const stamp = await this.#options.store.stamp(id);
      if (stamp !== null && stamp !== vm.stored.stamp) {
        throw new RingsideError('bad-state', `“${vm.name}” was changed outside this window: reload the library first`);
      }
      vm.stored = await this.#options.store.save({ ...vm.stored, modified: Date.now(), settings });
      return this.#changed(vm);
    });
  }

  /**
   * Removes a stopped VM from the library; its disk images stay, but for `disks`.
   * @throws in-use, bad-option for an image that is another VM's too, or not its own; nothing is removed then
   */
  remove(id: string, disks: readonly string[] = []): Promise<void> {
    return this.#exclusive(id, async (vm) => {
      if (vm.live) throw new RingsideError('bad-state', `“${vm.name}” is on: power it off before you delete it`);
      const own = new Set(vm.stored.settings.drives.map(({ file }) => file));
      for (const file of disks) {
        if (!own.has(file)) throw new RingsideError('bad-option', `${file} is no disk of “${vm.name}”`);
        const other = [...this.#vms.values()].find((each) => each !== vm && hasDisk(each.stored.settings, file));
        if (other !== undefined) {
          throw new RingsideError('in-use', `${file} is a disk of “${other.name}” too: it cannot be deleted`);
        }
      }
      await this.#options.store.remove(id);
      this.#forget(vm);
      for (const file of disks) {
        await unlink(userPath(file)).catch((error: unknown) => Promise.reject(fileError(error, file)));
      }
    });
  }

  /**
   * A VM like another that is off; `cloning` of that one says how far it is.
   * @param folder where copies of the disks that it writes to go; null: without these disks
   */
  async clone(id: string, name: string, folder: string | null): Promise<VmInfo> {
    const settings = await this.#exclusive(id, async (vm) => {
      if (vm.live) throw new RingsideError('bad-state', `“${vm.name}” is on: power it off before you clone it`);
      const clone = { ...structuredClone(vm.stored.settings), name };
      if (folder === null) return withoutDisks(clone);
      await this.#copyDisks(vm, clone, folder);
      return clone;
    });
    return this.create(settings);
  }

  /** Does nothing when none is being made. */
  cancelClone(id: string): void {
    const reason = new RingsideError('bad-state', `the clone of “${this.#get(id).name}” was cancelled`);
    this.#get(id).cloning?.abort.abort(reason);
  }

  /** Gives a clone copies of the disks that it writes to; all of them or none. */
  async #copyDisks(vm: Vm, clone: VmSettings, folder: string): Promise<void> {
    const drives = clone.drives.filter(({ readonly }) => !readonly);
    const sizes = await Promise.all(drives.map(({ file }) => sizeOf(userPath(file))));
    const abort = new AbortController();
    const cloning = { name: clone.name, copied: 0, total: sizes.reduce((sum, size) => sum + size, 0), abort };
    vm.cloning = cloning;
    this.#changed(vm);
    let announced = Date.now();
    const onProgress = (bytes: number) => {
      cloning.copied += bytes;
      if (Date.now() - announced < PROGRESS_MS) return;
      announced = Date.now();
      this.#changed(vm);
    };
    const made: string[] = [];
    try {
      for (const drive of drives) {
        const copy = path.join(folder, `${fileBase(clone.name)}-${drive.id}-${randomUUID().slice(0, 8)}.raw`);
        await copyDisk(userPath(drive.file), copy, { signal: abort.signal, onProgress });
        made.push(copy);
        drive.file = copy;
      }
    } catch (error) {
      for (const copy of made) await unlink(copy).catch(() => undefined);
      throw error;
    } finally {
      vm.cloning = null;
      this.#changed(vm);
    }
  }

  /** What its console shows, as text: the serial port, or the virtio console while that is silent. */
  screen(id: string): string[] {
    const { ports } = this.#get(id);
    const lines = (name: string) => screenText(ports.get(name)?.recent(SCREEN_BYTES) ?? new Uint8Array());
    const serial = lines('serial0');
    return serial.length > 0 ? serial : lines('console0');
  }

  start(id: string): Promise<VmInfo> {
    // It would wait for the copies, and nobody would know why.
    if (this.#get(id).cloning !== null) {
      const text = `“${this.#get(id).name}” is being cloned: start it when that is done, or cancel it`;
      return Promise.reject(new RingsideError('bad-state', text));
    }
    return this.#exclusive(id, async (vm) => {
      if (vm.ending !== null) await vm.ending;
      if (vm.live) throw new RingsideError('bad-state', `“${vm.name}” is on already`);
      if (this.#closing) throw new RingsideError('bad-state', 'Ringside is quitting');
      vm.state = 'starting';
      vm.exit = null;
      vm.message = null;
      this.#changed(vm);
      try {
        await this.#boot(vm);
      } catch (error) {
        // The machine may have ended by itself meanwhile.
        if (vm.ending === null) await this.#abandon(vm);
        else await vm.ending;
        vm.message = errorLine(error);
        this.#changed(vm);
        this.#options.events.log('error', vm.id, `“${vm.name}” did not start: ${errorLine(error)}`);
        throw error;
      }
      this.#options.events.log('info', vm.id, `“${vm.name}” started`);
      return vm.info();
    });
  }

  pause(id: string): Promise<VmInfo> {
    return this.#control(id, ['running'], 'is not running: only a running VM can be paused', (machine) =>
      machine.pause(),
    );
  }

  resume(id: string): Promise<VmInfo> {
    return this.#control(id, ['paused'], 'is not paused', (machine) => machine.resume());
  }

  reset(id: string): Promise<VmInfo> {
    return this.#control(id, ['running', 'paused'], 'is off: start it instead', (machine) => machine.reset());
  }

  powerOff(id: string): Promise<VmInfo> {
    return this.#exclusive(id, async (vm) => {
      const { machine } = vm;
      if (machine === null || !vm.live) throw new RingsideError('bad-state', `“${vm.name}” is off already`);
      if (vm.ending === null) {
        vm.state = 'stopping';
        this.#changed(vm);
        try {
          this.#ended(vm, machine, await machine.powerOff());
        } catch (error) {
          this.#ended(vm, machine, { reason: 'crash', code: 1, detail: errorLine(error) });
        }
      }
      await vm.ending;
      return vm.info();
    });
  }

  snapshot(id: string): MachineSnapshot | null {
    return this.#get(id).machine?.snapshot() ?? null;
  }

  /** @throws bad-state when it is off */
  machine(id: string): RunningMachine {
    const vm = this.#get(id);
    if (vm.machine === null) throw new RingsideError('bad-state', `“${vm.name}” is off: start it first`);
    return vm.machine;
  }

  /** What a monitor of its machine works on. @throws bad-state when it is off */
  target(id: string): MonitorTarget {
    const vm = this.#get(id);
    return (vm.target ??= this.machine(id).monitor(vm.name));
  }

  /** What its machine was made of, with what has come to stay since. @throws bad-state when it is off */
  booted(id: string): VmSettings {
    const vm = this.#get(id);
    if (vm.booted === null) throw new RingsideError('bad-state', `“${vm.name}” is off: start it first`);
    return vm.booted;
  }

  /** Does something to the machine of a VM while nothing else is done to the VM. @throws bad-state when it is off */
  live<T>(id: string, act: (vm: LiveVm) => Promise<T>): Promise<T> {
    return this.#exclusive(id, async (vm) => {
      const machine = this.machine(id);
      if (vm.ending !== null) throw new RingsideError('bad-state', `“${vm.name}” is being powered off`);
      return act({
        name: vm.name,
        machine,
        settings: vm.stored.settings,
        amend: async (change) => {
          const settings = change(vm.stored.settings);
          vm.stored = await this.#options.store.save({ ...vm.stored, modified: Date.now(), settings });
          if (vm.booted !== null) vm.booted = change(vm.booted);
          this.#changed(vm);
        },
        claim: (drive) => this.#claims.claim(vm.id, vm.name, [drive]),
        consolesChanged: () => {
          this.#connect(vm, machine);
          for (const [name, port] of vm.ports) if (!machine.chardevs.has(name)) port.disconnect();
          this.#changed(vm);
        },
      });
    });
  }

  /** A disk of a VM that its machine has closed. */
  release(id: string, drive: string): void {
    this.#claims.release(id, drive);
  }

  /** Console ports of a VM, by name. */
  consoles(id: string): ReadonlyMap<string, ConsolePort> {
    const vm = this.#get(id);
    return new Map(vm.info().ports.map((name) => [name, this.#port(vm, name)]));
  }

  /** @throws not-found when the VM has no such port */
  console(id: string, port: string): ConsolePort {
    const vm = this.#get(id);
    if (!vm.info().ports.includes(port)) {
      throw new RingsideError('not-found', `“${vm.name}” has no console port ${port}`);
    }
    return this.#port(vm, port);
  }

  /** Whether a VM that is on was booted from this catalogue guest. */
  usesGuest(guest: string): VmInfo | null {
    const user = [...this.#vms.values()].find((vm) => {
      const { boot } = vm.booted ?? vm.stored.settings;
      return vm.live && boot.source === 'guest' && boot.guest === guest;
    });
    return user?.info() ?? null;
  }

  /** Powers off whatever runs, disks flushed; nothing starts any more. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const vm of this.#vms.values()) this.cancelClone(vm.id);
    await Promise.allSettled([...this.#vms.values()].map((vm) => vm.busy));
    await Promise.allSettled([...this.#vms.values()].filter((vm) => vm.live).map((vm) => this.powerOff(vm.id)));
  }

  async #boot(vm: Vm): Promise<void> {
    const { settings } = vm.stored;
    const config = await this.#configOf(settings);
    // Claimed before anything is opened: two starts at once must not both see the disk free.
    await this.#claims.claim(vm.id, vm.name, config.drives);
    await refuseOtherFormats(config.drives);
    const machine = await this.#options.machines.create(config);
    vm.machine = machine;
    vm.booted = settings;
    vm.started = Date.now();
    machine.on('state', () => this.#follow(vm, machine));
    machine.on('exit', (exit) => this.#ended(vm, machine, exit));
    machine.on('message', (text) => {
      if (vm.machine !== machine) return;
      vm.message = text;
      this.#options.events.log('warning', vm.id, `“${vm.name}”: ${text}`);
      this.#changed(vm);
    });
    this.#connect(vm, machine);
    this.#options.events.booted(vm.id, machine);
    await machine.start();
    this.#follow(vm, machine);
  }

  #connect(vm: Vm, machine: RunningMachine): void {
    for (const [name, device] of machine.chardevs) this.#port(vm, name).connect(device);
  }

  /** What a VM with these settings boots, for people to read; a guest that is not downloaded is noted. */
  async bootFiles({ boot }: VmSettings): Promise<{ boot: BootFiles; notes: string[] }> {
    if (boot.source === 'files') return { boot, notes: [] };
    try {
      const guest = await this.#options.guestBoot(boot.guest);
      return { boot: { ...guest, append: boot.append ?? guest.append }, notes: [] };
    } catch (error) {
      const note = `What it boots is not there: ${errorLine(error)}.`;
      return { boot: { kernel: `${boot.guest}/Image`, append: boot.append ?? '' }, notes: [note] };
    }
  }

  async #configOf(settings: VmSettings) {
    const { name: _name, boot, ...hardware } = settings;
    const sources =
      boot.source === 'guest'
        ? await this.#options.guestBoot(boot.guest).then((guest) => ({ ...guest, append: boot.append ?? guest.append }))
        : { kernel: boot.kernel, initrd: boot.initrd, append: boot.append };
    const real = (file: string | undefined) => (file === undefined ? undefined : userPath(file));
    return machineConfig.parse({
      ...withWholePaths(hardware),
      kernel: real(sources.kernel),
      initrd: real(sources.initrd),
      append: sources.append,
    });
  }

  /** Takes over the machine's own idea of its state: it pauses by itself after an I/O error. */
  #follow(vm: Vm, machine: RunningMachine): void {
    if (vm.machine !== machine || vm.ending !== null || vm.state === 'stopping') return;
    const { state } = machine;
    if (state !== 'running' && state !== 'paused') return;
    if (vm.state === state) return;
    vm.state = state;
    if (state === 'running') vm.message = null;
    this.#changed(vm);
  }

  /** Once for each machine, whoever notices first. */
  #ended(vm: Vm, machine: RunningMachine, exit: MachineExit): void {
    if (vm.machine !== machine || vm.ending !== null) return;
    vm.exit = exit;
    vm.state = 'stopping';
    const bad = exit.reason === 'crash' || exit.reason === 'guest-fail';
    vm.ending = (async () => {
      await this.#abandon(vm);
      vm.state = exit.reason === 'crash' ? 'crashed' : 'stopped';
      vm.message = exit.detail ?? null;
      vm.ending = null;
      const detail = exit.detail === undefined ? '' : `: ${exit.detail}`;
      this.#options.events.log(bad ? 'error' : 'info', vm.id, `“${vm.name}” ${exitText(exit)}${detail}`);
      this.#changed(vm);
    })();
    this.#changed(vm);
  }

  /** Gives back all that a machine holds. Never rejects: there is nothing more to be done then. */
  async #abandon(vm: Vm): Promise<void> {
    const { machine } = vm;
    try {
      await machine?.dispose();
    } catch (error) {
      this.#options.events.log('error', vm.id, `“${vm.name}” could not be taken down cleanly: ${errorLine(error)}`);
    }
    vm.machine = null;
    vm.target = null;
    vm.booted = null;
    vm.started = null;
    vm.state = 'stopped';
    for (const port of vm.ports.values()) port.disconnect();
    this.#claims.release(vm.id);
  }

  #control(
    id: string,
    allowed: VmState[],
    otherwise: string,
    act: (machine: RunningMachine) => Promise<void>,
  ): Promise<VmInfo> {
    return this.#exclusive(id, async (vm) => {
      const { machine } = vm;
      if (machine === null || vm.ending !== null || !allowed.includes(vm.state)) {
        throw new RingsideError('bad-state', `“${vm.name}” ${otherwise}`);
      }
      await act(machine);
      this.#follow(vm, machine);
      return vm.info();
    });
  }

  /** The VM of a file; somebody's list() may have found it first. */
  #add(stored: LoadedVm): Vm {
    const vm = this.#vms.get(stored.id) ?? new Vm(stored);
    this.#vms.set(stored.id, vm);
    return vm;
  }

  #port(vm: Vm, name: string): ConsolePort {
    let port = vm.ports.get(name);
    if (port === undefined) vm.ports.set(name, (port = new ConsolePort()));
    return port;
  }

  #forget(vm: Vm): void {
    vm.removed = true;
    this.#vms.delete(vm.id);
    for (const port of vm.ports.values()) port.close();
    this.#options.events.removed(vm.id);
  }

  #changed(vm: Vm): VmInfo {
    const info = vm.info();
    if (!vm.removed) this.#options.events.changed(info);
    return info;
  }

  #get(id: string): Vm {
    const vm = this.#vms.get(id);
    if (vm === undefined) throw new RingsideError('not-found', 'this VM is no longer in the library: reload it');
    return vm;
  }

  #exclusive<T>(id: string, act: (vm: Vm) => Promise<T>): Promise<T> {
    const vm = this.#get(id);
    const turn = vm.busy.then(() => {
      if (vm.removed) this.#get(id);
      return act(vm);
    });
    vm.busy = turn.catch(() => undefined);
    return turn;
  }
}
