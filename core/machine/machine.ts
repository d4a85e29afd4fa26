/**
 * A virtual machine: the `virt` board put together, and its run state. This is the control thread's object; it never
 * blocks. Guest code runs in hart workers, queues are served by I/O workers, all on one shared memory (core/worker/layout.ts).
 */
import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import type { MachineConfig, MachineConfigInput, MachineExit, MachineSnapshot, MachineState } from '../api/machine.ts';
import type { LiveParts } from '../api/live.ts';
import type { MachineView, ObjectView, RegistersView } from '../api/machine-view.ts';
import { GoldfishRtc } from '../devices/goldfish-rtc.ts';
import { SifiveTest } from '../devices/sifive-test.ts';
import { engineModule, instantiateEngine, monotonicNow } from '../engine.ts';
import type { Engine } from '../engine.ts';
import { errorLine, RingsideError } from '../errors.ts';
import { planBoot, writeSegments } from '../firmware/loader.ts';
import type { BootPlan } from '../firmware/loader.ts';
import type { HostSpec } from '../host/host.ts';
import { createHost } from '../host/node-host.ts';
import { fileRegionSpace } from '../memory/file-region-type.ts';
import { QueueTrace } from '../inspect/queue-trace.ts';
import { MachineInspector } from '../inspect/inspector.ts';
import { createMachineMemory } from '../memory/create.ts';
import type { MachineMemory } from '../memory/create.ts';
import type { QomObject } from '../qom/object.ts';
import type { ObjectTree } from '../qom/tree.ts';
import type { MonitorTarget } from '../monitor/target.ts';
import type { JitStatistics } from '../worker/jit-stats.ts';
import { Trace } from '../trace/trace.ts';
import type { TraceName } from '../trace/trace.ts';
import * as L from '../worker/layout.ts';
import { AccessTrace, traceRunState, traceShutdown, tracedQueues } from './access-trace.ts';
import { Attention } from './attention.ts';
import { BoardRegisters } from './board-registers.ts';
import { bootName, deviceTree, parseConfig } from './boot-config.ts';
import { Chardevs } from './chardevs.ts';
import type { MachineConsole } from './console.ts';
import { ControlPage } from './control-page.ts';
import type { AddBackendOptions, BackendKind, DeviceInput, PropertyInputs } from './object-model.ts';
import { HartGroup } from './hart-group.ts';
import type { JitOptions } from './hart-group.ts';
import { liveParts } from './live-parts.ts';
import type { MachineEvents } from './machine-events.ts';
import { MachineMonitorTarget } from './monitor-target.ts';
import { Peripherals } from './peripherals.ts';
import { resizeDrive } from './resize-drive.ts';
import { RunTime } from './run-time.ts';
import { MachineShown } from './shown.ts';
import { RAM_PHYS, RTC_IRQ, VIRTIO_SLOTS } from './virt-map.ts';

export interface MachineOptions {
  /** The host: by default without the native addon. */
  host?: HostSpec;
  /** Settings of the translator; for tests and measurements. */
  jit?: JitOptions;
  /** Trace events that are on from the beginning. */
  trace?: readonly TraceName[];
}

const NO_ADDON: HostSpec = { addon: { reason: 'the native addon was not asked for' } };

/** The UART's character device where the configuration names none. */
const SERIAL_ID = 'serial0';
/** CTL_IRQCHIP by what the configuration says. */
const IRQCHIPS = { none: L.IRQCHIP_PLIC, aplic: L.IRQCHIP_APLIC, 'aplic-imsic': L.IRQCHIP_IMSIC } as const;
/** Messages kept for the first listener. */
const EARLY_MESSAGES = 100;

export class Machine extends EventEmitter<MachineEvents> {
  readonly config: MachineConfig;
  /**
   * Character devices that are connected by the program, by id: serial0 (the UART, where the configuration gives it nothing
   * else), console0 (the console that the configuration's switch asks for), those of type "program".
   */
  readonly chardevs: ReadonlyMap<string, MachineConsole>;

  readonly #memory: MachineMemory;
  readonly #control: ControlPage;
  readonly #engine: Engine;
  readonly #plan: BootPlan;
  readonly #chardevs: Chardevs;
  readonly #rtc: GoldfishRtc;
  readonly #test: SifiveTest;
  #harts!: HartGroup;
  #peripherals!: Peripherals;

  #state: MachineState = 'created';
  #exit: MachineExit | null = null;
  readonly #runTime = new RunTime();
  readonly #attention: Attention;
  readonly #shown: MachineShown;
  /** Operations on the run state, one after the other. */
  #queue: Promise<unknown> = Promise.resolve();
  #disposed: Promise<void> | null = null;
  readonly inspector: MachineInspector;
  /** Lines about what devices and the machine do; off. */
  readonly trace = new Trace();
  readonly #access: AccessTrace;
  #queueTrace!: QueueTrace;
  #earlyMessages: string[] = [];

  /**
   * Builds a machine: opens and locks its disks, loads what it boots, starts its workers. Nothing is left behind when it fails.
   *
   * @throws RingsideError for whatever is wrong with the configuration or its files
   */
  static async create(
    input: MachineConfigInput,
    { host = NO_ADDON, jit, trace = [] }: MachineOptions = {},
  ): Promise<Machine> {
    const config = parseConfig(input);
    const module = await engineModule();
    const { memory: ramSize, bios, kernel, initrd } = config;
    const plan = await planBoot({ memory: ramSize, bios, kernel, initrd, fdt: (placed) => deviceTree(config, placed) });
    const space = fileRegionSpace(ramSize, config.objects);
    const memory = createMachineMemory({ ramSize, regionSpace: space, host: createHost(host) });
    let machine: Machine | null = null;
    try {
      const engine = await instantiateEngine(module, memory.guest.memory);
      machine = new Machine(config, memory, engine, plan);
      await machine.#build(module, host, jit);
      for (const name of trace) machine.trace.set(name, true);
      return machine;
    } catch (error) {
      if (machine === null) memory.close();
      else await machine.dispose();
      throw error;
    }
  }

  private constructor(config: MachineConfig, memory: MachineMemory, engine: Engine, plan: BootPlan) {
    super();
    (this as EventEmitter).on('newListener', (event) => {
      // It is added after this.
      if (event === 'message') queueMicrotask(() => this.#sayEarlyMessages());
    });
    this.config = config;
    this.#memory = memory;
    this.#engine = engine;
    this.#plan = plan;
    const wasm = memory.guest.memory;
    this.#control = new ControlPage(wasm);
    this.#attention = new Attention(this.#control);
    const serial = config.serial ?? SERIAL_ID;
    const uart = { id: serial, wakeGuest: () => engine.uartPoll(), sendBreak: () => engine.uartBreak() };
    this.#chardevs = new Chardevs({ memory: wasm, uart, onMessage: (text) => this.#say(text) });
    if (config.serial === undefined) this.#chardevs.open(SERIAL_ID);
    this.chardevs = this.#chardevs.consoles;
    this.inspector = new MachineInspector(memory.guest, () => this.qom);
    this.#access = new AccessTrace(this.trace, {
      functionName: (bus, devfn) => this.#peripherals.pci.functionAt(bus, devfn)?.name ?? null,
      queueSizeMax: (slot) => this.#peripherals.slots.find((one) => one.slot === slot)?.queueSizeMax ?? 0,
    });
    this.#rtc = new GoldfishRtc({
      setIrq: (level) => engine.irqSetLevel(RTC_IRQ, level ? 1 : 0),
      onSet: (offset) => this.emit('rtc-change', offset),
    });
    this.#shown = new MachineShown({
      config,
      control: this.#control,
      state: () => this.#state,
      uptime: () => this.#runTime.elapsed,
      tree: () => this.qom,
      virtio: () => (this.#disposed === null ? this.#peripherals.snapshot() : []),
      jit: () => this.statistics(),
      halted: (look) => this.#halted(look),
    });
    this.#test = new SifiveTest({ onExit: (exit, code) => this.#guestExit(exit, code) });
  }

  async #build(module: WebAssembly.Module, host: HostSpec, jit?: JitOptions): Promise<void> {
    const wasm = this.#memory.guest.memory;
    const control = this.#control;
    control.store(L.CONTROL_BASE + L.CTL_HARTS, this.config.harts);
    control.store(L.CONTROL_BASE + L.CTL_FIRMWARE, this.#plan.firmware);
    control.store(L.CONTROL_BASE + L.CTL_IRQCHIP, IRQCHIPS[this.config.aia]);
    control.store(L.CONTROL_BASE + L.CTL_VIRTIO_SLOTS, VIRTIO_SLOTS);
    this.#powerOn();
    void this.#attention.serve(() => this.#service());
    this.#peripherals = await Peripherals.create({
      config: this.config,
      guest: this.#memory.guest,
      regions: this.#memory.regions,
      module,
      host,
      engine: this.#engine,
      trace: this.trace,
      chardevs: this.#chardevs,
      onMessage: (text) => this.#say(text),
      onStop: (reason) => this.#stopFor(reason),
      onIoError: (device, error) => this.emit('io-error', device, error),
      onDeviceDeleted: (device) => this.emit('device-deleted', device),
      onDeviceKept: (device) => this.emit('device-kept', device),
      later: (operation) => {
        // Whatever fails now, the end of the machine takes everything out.
        this.#enqueue(operation).catch((error: unknown) => this.#disposed ?? this.#say(errorLine(error)));
      },
    });
    const registers = new BoardRegisters({
      peripherals: this.#peripherals,
      test: this.#test,
      rtc: this.#rtc,
      trace: this.trace,
      access: this.#access,
    });
    this.#harts = await HartGroup.create({
      control,
      engine: this.#engine,
      module,
      memory: wasm,
      harts: this.config.harts,
      accel: this.config.accel,
      jitCache: this.config.jitCache === null ? null : { folder: this.config.jitCache, guest: bootName(this.#plan) },
      ...(jit === undefined ? {} : { jit }),
      onMessage: (text) => this.#say(text),
      devices: registers,
      onCrash: (error) => this.#crash(error),
    });
    for (const warning of this.#memory.warnings) this.#say(warning);
    this.#queueTrace = new QueueTrace(this.trace, this.inspector, () => tracedQueues(this.qom));
    this.trace.onChange(() => this.#peripherals.serveHot(!this.#access.wantsAll));
  }

  /** Puts RAM, boot ROM, board devices and harts into their power-on state. No hart runs. */
  #powerOn(): void {
    const control = this.#control;
    const { guest } = this.#memory;
    const { segments, fdtAddress, initrd } = this.#plan;
    // Each boot has a seed of its own.
    const fdt = deviceTree(this.config, initrd);
    writeSegments(
      guest.view(RAM_PHYS, guest.ramSize),
      segments.map((segment) => (segment.address === fdtAddress ? { ...segment, bytes: fdt } : segment)),
    );
    const rom = new Uint8Array(guest.memory.buffer, L.MROM_BASE, L.MROM_SIZE);
    rom.fill(0);
    rom.set(this.#plan.resetVector);
    control.setU64(L.CONTROL_BASE + L.CTL_FDT_ADDR, BigInt(this.#plan.fdtAddress));
    control.setU64(L.CONTROL_BASE + L.CTL_ENTRY, BigInt(this.#plan.entry));
    control.store(L.CONTROL_BASE + L.CTL_BOOT_HART, 0);
    control.store(L.CONTROL_BASE + L.CTL_EXIT, L.EXIT_NONE);
    this.#engine.irqchipReset();
    this.#engine.uartReset();
    this.#rtc.reset();
    this.#engine.clockReset();
    for (let hart = 0; hart < this.config.harts; hart++) this.#engine.resetHart(hart, hart === 0 ? 1 : 0);
  }

  get state(): MachineState {
    return this.#state;
  }

  /** How it ended; null while it has not. */
  get exit(): MachineExit | null {
    return this.#exit;
  }

  /** Whether another process can be given guest RAM, or why not. */
  get memorySharing(): MachineMemory['sharing'] {
    return this.#memory.sharing;
  }

  // ---- run state -----------------------------------------------------------------------------------------------

  /** Where a character device is to wait for its first client, the machine starts when that has come. */
  start(): Promise<void> {
    return this.#whenClientsAreThere(async () => {
      this.#require('start', 'created', 'paused');
      await this.#go();
    });
  }

  pause(): Promise<void> {
    return this.#enqueue(async () => {
      if (this.#state === 'paused') return;
      this.#require('pause', 'running');
      await this.#halt();
      this.#setState('paused');
    });
  }

  resume(): Promise<void> {
    return this.#whenClientsAreThere(async () => {
      if (this.#state === 'running') return;
      this.#require('resume', 'paused', 'created');
      await this.#go();
    });
  }

  /** What is asked for behind it waits only for the operation, not for clients. */
  #whenClientsAreThere(operation: () => Promise<void>): Promise<void> {
    const clients = this.#state === 'created' ? this.#chardevs.awaited() : null;
    return clients === null ? this.#enqueue(operation) : clients.then(() => this.#enqueue(operation));
  }

  /** The reset button: RAM keeps what the boot does not rewrite, as on real boards. A paused machine stays paused. */
  reset(): Promise<void> {
    return this.#reset('host');
  }

  #reset(by: 'guest' | 'host'): Promise<void> {
    return this.#enqueue(async () => {
      this.#require('reset', 'running', 'paused', 'created');
      const wasRunning = this.#state === 'running';
      try {
        if (wasRunning) await this.#halt();
        await this.#peripherals.reset();
        this.#checkAlive();
        this.#powerOn();
        this.#control.setClockBase(monotonicNow());
        this.#runTime.reset();
        this.emit('reset', by);
        if (wasRunning) await this.#go();
      } catch (error) {
        // Its harts stand still.
        if (wasRunning && this.#disposed === null) this.#setState('paused');
        throw error;
      }
    });
  }

  /** Pulls the plug. What the guest has flushed is on the disks; so is everything it has been told was written. */
  powerOff(): Promise<MachineExit> {
    return this.#end({ reason: 'host-quit', code: 0 }, 'shutdown');
  }

  /** Ends the machine whatever its state and releases all it holds. */
  async dispose(): Promise<void> {
    this.#disposed ??= this.#release();
    await this.#disposed;
    if (this.#exit === null) this.#exit = { reason: 'host-quit', code: 0 };
    this.#setState(this.#state === 'crashed' ? 'crashed' : 'shutdown');
    await this.#chardevs.end();
  }

  async #go(): Promise<void> {
    await this.#peripherals.resume();
    this.#checkAlive();
    this.#control.setClockBase(this.#runTime.begin());
    this.#setState('running');
    this.#harts.run();
  }

  async #halt(): Promise<void> {
    await this.#harts.park();
    this.#checkAlive();
    this.#runTime.end();
    await this.#peripherals.pause();
    this.#checkAlive();
  }

  #require(what: string, ...states: MachineState[]): void {
    if (!states.includes(this.#state))
      throw new RingsideError('bad-state', `cannot ${what} a VM that is ${this.#state}.`);
  }

  /** @throws RingsideError when the machine is ending: an operation may touch neither harts nor devices then */
  #checkAlive(): void {
    if (this.#disposed !== null) throw new RingsideError('bad-state', 'the VM has ended. Start it anew.');
  }

  #enqueue<T>(operation: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(async () => {
      this.#checkAlive();
      try {
        return await operation();
      } catch (error) {
        // What it stumbled over was the end.
        this.#checkAlive();
        throw error;
      }
    });
    this.#queue = run.catch(() => {});
    return run;
  }

  #setState(state: MachineState): void {
    if (this.#state === state) return;
    if (this.trace.active) traceRunState(this.trace, this.#state, state);
    this.#state = state;
    this.emit('state', state);
  }

  #say(message: string): void {
    const text = errorLine(message);
    if (this.listenerCount('message') > 0) this.emit('message', text);
    else if (this.#earlyMessages.length < EARLY_MESSAGES) this.#earlyMessages.push(text);
  }

  #sayEarlyMessages(): void {
    for (const text of this.#earlyMessages.splice(0)) this.emit('message', text);
  }

  // ---- how it ends ---------------------------------------------------------------------------------------------

  #guestExit(exit: number, code: number): void {
    if (exit === L.EXIT_RESET && !this.config.noReboot) {
      this.#reset('guest').catch((error: unknown) => this.#say(errorLine(error)));
    } else if (exit === L.EXIT_RESET) {
      void this.#end({ reason: 'guest-reset', code: 0 }, 'shutdown');
    } else if (exit === L.EXIT_FAIL) {
      void this.#end({ reason: 'guest-fail', code }, 'shutdown');
    } else {
      void this.#end({ reason: 'guest-poweroff', code: 0 }, 'shutdown');
    }
  }

  #crash(error: RingsideError): void {
    this.#say(error.message);
    void this.#end({ reason: 'crash', code: 1, detail: error.message }, 'crashed');
  }

  /** A device asks for the machine to stop (werror=stop, a lost I/O worker): it is paused and can be resumed. */
  #stopFor(reason: string): void {
    this.#say(reason);
    this.pause().catch(() => {});
  }

  async #end(exit: MachineExit, state: 'shutdown' | 'crashed'): Promise<MachineExit> {
    if (this.#exit !== null) {
      await this.#disposed;
      return this.#exit;
    }
    this.#exit = exit;
    traceShutdown(this.trace, exit);
    this.#disposed ??= this.#release();
    await this.#disposed;
    this.#setState(state);
    this.emit('exit', exit);
    // Monitors have told their clients of the end by now.
    await this.#chardevs.end();
    return exit;
  }

  async #release(): Promise<void> {
    // An operation under way may wait for harts: ending them lets it finish.
    const harts = this.#harts as HartGroup | undefined;
    const peripherals = this.#peripherals as Peripherals | undefined;
    this.#runTime.end();
    await harts?.end();
    this.inspector.close();
    this.#chardevs.keep();
    await peripherals?.close();
    this.#rtc.dispose();
    this.#attention.stop();
    // What the guest wrote last is still in the rings.
    this.#chardevs.drain();
    this.#memory.close();
  }

  #service(): void {
    this.#chardevs.drain();
    (this.#harts as HartGroup | undefined)?.service();
    const exit = this.#control.load(L.CONTROL_BASE + L.CTL_EXIT);
    if (exit !== L.EXIT_NONE) {
      this.#control.store(L.CONTROL_BASE + L.CTL_EXIT, L.EXIT_NONE);
      this.#guestExit(exit, this.#control.load(L.CONTROL_BASE + L.CTL_EXIT_CODE));
    }
  }

  // ---- its objects ----------------------------------------------------------------------------------------------

  /** The tree of its objects: for qom-list, qom-get, qom-set and what shows devices. */
  get qom(): ObjectTree {
    return this.#peripherals.model.tree;
  }

  /**
   * device_add: resolves when the device is plugged in; the guest finds it as its bus has it.
   *
   * @throws RingsideError; nothing is left then
   */
  deviceAdd(device: DeviceInput): Promise<QomObject> {
    return this.#enqueue(async () => {
      const added = await this.#peripherals.model.addDevice(device, { hotplugged: true });
      if (this.trace.active) this.#queueTrace.update();
      this.emit('device-added', { id: added.id, path: added.path });
      return added;
    });
  }

  /**
   * device_del, by id or path: asks the guest to let go of it. Event 'device-deleted' says when it has, 'device-kept' that
   * it does not; a guest that does not know how to says nothing.
   *
   * @throws RingsideError 'not-found'; 'unsupported': its bus keeps its devices; 'bad-state': the guest is at it
   */
  deviceDel(name: string): Promise<void> {
    return this.#enqueue(async () => this.#peripherals.model.requestRemoval(name));
  }

  /** object_add, chardev-add, netdev_add, drive_add, ... @throws RingsideError; nothing is left then */
  objectAdd(
    kind: BackendKind,
    type: string,
    id: string,
    properties: PropertyInputs = {},
    options: AddBackendOptions = {},
  ): Promise<QomObject> {
    return this.#enqueue(() => this.#peripherals.model.addBackend(kind, type, id, properties, options));
  }

  /** object_del, chardev-remove, netdev_del, ... @throws RingsideError 'not-found', 'in-use' */
  objectDel(kind: BackendKind, id: string): Promise<void> {
    return this.#enqueue(() => this.#peripherals.model.removeBackend(kind, id));
  }

  /**
   * chardev-change: another back end for a character device; the guest's device stays.
   *
   * @throws RingsideError; everything is as it was then
   */
  chardevChange(id: string, type: string, properties: PropertyInputs = {}): Promise<QomObject> {
    return this.#enqueue(() => this.#peripherals.model.replaceBackend('chardev', id, type, properties));
  }

  /** block_resize: makes a raw image larger, and tells the guest. @throws RingsideError */
  resizeDrive(id: string, size: number): Promise<void> {
    return this.#enqueue(() => resizeDrive(this.qom, this.#peripherals.model.environment.host, id, size));
  }

  // ---- its monitor ----------------------------------------------------------------------------------------------

  /**
   * What a monitor works on.
   *
   * @param name the machine's (-name)
   */
  monitor(name: string | null = null): MonitorTarget {
    return new MachineMonitorTarget(this, {
      name,
      control: this.#control,
      guest: this.#memory.guest,
      plan: this.#plan,
      halted: (look) => this.#halted(look),
      operate: (work) => this.#enqueue(async () => work()),
      trace: this.trace,
      chardevs: this.#chardevs,
    });
  }

  /** All character devices: what is at their host's end, and whether somebody is there. */
  characterDevices(): ReturnType<Chardevs['list']> {
    return this.#chardevs.list();
  }

  /**
   * Puts a monitor on a character device: `accept` gets a stream for each client that comes.
   *
   * @throws RingsideError 'bad-option', 'unsupported'
   */
  serveChardev(id: string, accept: (stream: Duplex) => void): void {
    // It has it for good.
    this.#peripherals.model.environment.backend({ onClose() {} }, 'chardev', id);
    this.#chardevs.serve(id, accept);
  }

  /** Runs `look` while no hart executes guest code. The run state stays what it is, and so does the clock. */
  #halted<T>(look: () => T): Promise<T> {
    return this.#enqueue(async () => {
      if (this.#state === 'running') await this.#harts.park();
      this.#checkAlive();
      try {
        return look();
      } finally {
        if (this.#state === 'running') this.#harts.run();
      }
    });
  }

  // ---- what it shows -------------------------------------------------------------------------------------------

  /** What the translator has done; null when guest code is only interpreted. */
  statistics(): JitStatistics | null {
    return this.#harts.statistics();
  }

  snapshot(): MachineSnapshot {
    return this.#shown.snapshot();
  }

  /** What it is made of and what its parts do. */
  view(): MachineView {
    return this.#shown.view();
  }

  /** What of it can come, go and change while it is there. */
  liveParts(): LiveParts {
    return liveParts(this.qom);
  }

  /** An object by its path. @throws RingsideError 'not-found' */
  viewObject(path: string): ObjectView {
    return this.#shown.object(path);
  }

  /** A hart's registers, for which all harts stand still for a moment. @throws RingsideError 'not-found' */
  viewRegisters(hart: number): Promise<RegistersView> {
    return this.#shown.registers(hart);
  }
}
