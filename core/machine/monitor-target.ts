/** A Machine as the monitor sees it. */
import type { MachineConfig, MachineExit, MachineSnapshot, MachineState } from '../api/machine.ts';
import { PtyLink } from '../chardev/links/pty.ts';
import { RingbufLink } from '../chardev/links/simple.ts';
import { errorLine, RingsideError } from '../errors.ts';
import type { BootPlan } from '../firmware/loader.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { deviceNotFound, MonitorError } from '../monitor/errors.ts';
import type { EventData, EventName } from '../monitor/events.ts';
import type { Json } from '../monitor/qmp/json.ts';
import type {
  ChardevInfo,
  ChardevInput,
  CpuInfo,
  HartRegisters,
  IoThreadInfo,
  MonitorTarget,
  QomView,
  RomInfo,
  RunState,
  VirtioInfo,
} from '../monitor/target.ts';
import type { ObjectTree } from '../qom/tree.ts';
import type { IoErrorEvent } from '../virtio/backend/backend.ts';
import { BalloonDevice } from '../virtio/balloon/device.ts';
import { BALLOON_PAGE_SIZE } from '../virtio/spec/balloon.ts';
import type { SerialPort } from '../virtio/console/device.ts';
import { virtioInstance } from '../virtio/proxy.ts';
import * as L from '../worker/layout.ts';
import type { JitStatistics } from '../worker/jit-stats.ts';
import type { Chardevs } from './chardevs.ts';
import type { ControlPage } from './control-page.ts';
import type { DeviceName } from './device-removal.ts';
import { isTraceName, TRACE_EVENTS } from '../trace/trace.ts';
import type { Trace } from '../trace/trace.ts';
import { hartRegisters } from './hart-registers.ts';
import {
  blockInfos,
  chardevInfos,
  ioThreadInfos,
  memoryBackendInfos,
  memoryDeviceInfos,
  threadIds,
} from './monitor-backends.ts';
import type { UsedBlock } from './monitor-backends.ts';
import { busTree } from './monitor-board.ts';
import { machineAddressSpaces } from './monitor-memory.ts';
import { inputControl } from './monitor-input.ts';
import { interruptControllers } from './monitor-irq.ts';
import { findNics, MonitorNetwork } from './monitor-net.ts';
import { pciBusInfos } from './monitor-pci.ts';
import { qomView } from './monitor-qom.ts';
import { virtioInfos } from './monitor-virtio.ts';
import type { AddBackendOptions, BackendKind, DeviceInput, PropertyInputs } from './object-model.ts';
import { MROM_PHYS } from './virt-map.ts';

/** What is used of Machine. */
export interface MonitoredMachine {
  readonly config: MachineConfig;
  readonly state: MachineState;
  /** Whether other processes can have guest RAM. */
  readonly memorySharing: { readonly available: boolean };
  readonly qom: ObjectTree;
  snapshot(): MachineSnapshot;
  statistics(): JitStatistics | null;
  pause(): Promise<void>;
  resume(): Promise<void>;
  reset(): Promise<void>;
  powerOff(): Promise<MachineExit>;
  deviceAdd(device: DeviceInput): Promise<unknown>;
  deviceDel(name: string): Promise<void>;
  objectAdd(
    kind: BackendKind,
    type: string,
    id: string,
    properties?: PropertyInputs,
    options?: AddBackendOptions,
  ): Promise<unknown>;
  objectDel(kind: BackendKind, id: string): Promise<void>;
  chardevChange(id: string, type: string, properties?: PropertyInputs): Promise<unknown>;
  on(event: 'state', listener: (state: MachineState) => void): unknown;
  on(event: 'exit', listener: (exit: MachineExit) => void): unknown;
  on(event: 'device-added' | 'device-deleted' | 'device-kept', listener: (device: DeviceName) => void): unknown;
  on(event: 'reset', listener: (by: 'guest' | 'host') => void): unknown;
  on(event: 'rtc-change', listener: (offset: number) => void): unknown;
  on(event: 'io-error', listener: (device: string, error: IoErrorEvent) => void): unknown;
}

/** What else of it only the monitor gets to see. */
export interface MonitoredParts {
  /** -name. */
  readonly name: string | null;
  readonly control: ControlPage;
  readonly guest: GuestMemory;
  readonly plan: BootPlan;
  /** Runs `look` while no hart executes guest code. */
  halted<T>(look: () => T): Promise<T>;
  /** Does work in the machine's operation queue, one thing after the other. */
  operate<T>(work: () => T | Promise<T>): Promise<T>;
  readonly trace: Trace;
  readonly chardevs: Chardevs;
}

const CPU_TYPE = 'rv64-riscv-cpu';
const RAM_ID = 'riscv_virt_board.ram';

export class MachineMonitorTarget implements MonitorTarget {
  readonly name: string | null;
  readonly machine = { type: 'virt', cpuType: CPU_TYPE, maxCpus: L.MAX_HARTS, ramId: RAM_ID };
  readonly qom: QomView;
  readonly network: MonitorNetwork;
  readonly #machine: MonitoredMachine;
  readonly #parts: MonitoredParts;
  readonly #listeners: ((name: EventName, data: Json) => void)[] = [];
  /** Devices whose errors have stopped the machine, with what went wrong, until it goes on. */
  readonly #ioErrors = new Map<string, 'failed' | 'nospace'>();
  #stoppedByError = false;
  /** It is the monitor that ends the machine. */
  #quitting = false;

  constructor(machine: MonitoredMachine, parts: MonitoredParts) {
    this.#machine = machine;
    this.#parts = parts;
    this.name = parts.name;
    const operate: MonitoredParts['operate'] = (work) => parts.operate(work);
    this.qom = qomView(machine.qom, operate);
    this.network = new MonitorNetwork({ tree: machine.qom, operate, announced: (name) => this.#announced(name) });
    machine.on('state', (state) => this.#stateChanged(state));
    machine.on('exit', (exit) => this.#emit('SHUTDOWN', shutdownCause(exit, this.#quitting)));
    machine.on('reset', (by) =>
      this.#emit('RESET', {
        guest: by === 'guest',
        reason: by === 'guest' ? 'guest-reset' : 'host-qmp-system-reset',
      }),
    );
    machine.on('rtc-change', (offset) => {
      const rtc = [...machine.qom.root.walk()].find(({ type }) => type.name === 'goldfish_rtc');
      this.#emit('RTC_CHANGE', { offset, 'qom-path': rtc?.path ?? '' });
    });
    machine.on('device-deleted', (device) => this.#emit('DEVICE_DELETED', deviceName(device)));
    machine.on('device-kept', (device) => this.#emit('DEVICE_UNPLUG_GUEST_ERROR', deviceName(device)));
    this.#watchDevices();
    machine.on('device-added', () => this.#watchDevices());
    machine.on('io-error', (device, event) => this.#ioError(device, event));
  }

  get ramSize(): number {
    return this.#parts.guest.ramSize;
  }

  // ---- run state and events ----------------------------------------------------------------------------------------

  get runState(): RunState {
    switch (this.#machine.state) {
      case 'created':
        return 'prelaunch';
      case 'running':
        return 'running';
      case 'paused':
        return this.#stoppedByError ? 'io-error' : 'paused';
      case 'shutdown':
        return 'shutdown';
      case 'crashed':
        return 'internal-error';
    }
  }

  onEvent(listener: <N extends EventName>(name: N, data: EventData<N>) => void): void {
    this.#listeners.push(listener as (name: EventName, data: Json) => void);
  }

  #announced(name: string): void {
    this.#parts.trace.emit('virtio_net_announce_notify', name);
  }

  #emit<N extends EventName>(name: N, data: EventData<N>): void {
    for (const listener of this.#listeners) listener(name, data as Json);
  }

  #stateChanged(state: MachineState): void {
    if (state === 'running') {
      this.#stoppedByError = false;
      this.#ioErrors.clear();
      this.#emit('RESUME', {});
    } else if (state === 'paused' || state === 'crashed') {
      this.#emit('STOP', {});
    }
  }

  #ioError(device: string, { message, action, operation, noSpace }: IoErrorEvent): void {
    if (action === 'stop') {
      this.#stoppedByError = true;
      this.#ioErrors.set(device, noSpace ? 'nospace' : 'failed');
    }
    const drive = this.blocks.find(({ user }) => user === device);
    this.#emit('BLOCK_IO_ERROR', {
      device: drive?.device ?? device,
      ...(drive === undefined ? {} : { 'node-name': drive.nodeName }),
      operation,
      action,
      nospace: noSpace,
      reason: message,
    });
  }

  async stop(): Promise<void> {
    // A machine that has never run stands already.
    if (this.#machine.state !== 'created') await this.#machine.pause();
  }

  cont(): Promise<void> {
    return this.#machine.resume();
  }

  reset(): Promise<void> {
    return this.#machine.reset();
  }

  powerdown(): Promise<void> {
    this.#parts.trace.emit('qemu_system_powerdown_request', '');
    this.#emit('POWERDOWN', {});
    return Promise.resolve();
  }

  quit(): void {
    this.#quitting = true;
    // Whoever asked gets an answer first.
    setImmediate(() => void this.#machine.powerOff());
  }

  // ---- harts and memory --------------------------------------------------------------------------------------------

  get cpus(): CpuInfo[] {
    const threads = threadIds();
    return Array.from({ length: this.#machine.config.harts }, (_, index) => ({
      index,
      threadId: threads.get(`hart${index}`) ?? process.pid,
      qomPath: `/machine/soc0/harts[${index}]`,
    }));
  }

  halted<T>(look: () => T): Promise<T> {
    return this.#parts.halted(look);
  }

  hart(index: number): HartRegisters {
    return hartRegisters(this.#parts.control, index);
  }

  readMemory(address: bigint, length: number): Uint8Array | null {
    const { guest } = this.#parts;
    const at = Number(address);
    if (guest.contains(at, length)) return guest.view(at, length);
    const offset = address - BigInt(MROM_PHYS);
    if (offset < 0n || offset + BigInt(length) > BigInt(L.MROM_SIZE)) return null;
    return new Uint8Array(guest.memory.buffer, L.MROM_BASE + Number(offset), length);
  }

  get roms(): RomInfo[] {
    const { plan } = this.#parts;
    const { kernel, bios } = this.#machine.config;
    const roms: RomInfo[] = [
      { name: 'mrom.reset', address: BigInt(MROM_PHYS), size: plan.resetVector.length, memory: 'rom' },
    ];
    for (const { address, bytes } of plan.segments) {
      const name =
        address === plan.fdtAddress
          ? 'fdt'
          : address === plan.initrd?.start
            ? (this.#machine.config.initrd ?? 'initrd')
            : address === plan.entry && bios !== 'default' && bios !== 'none'
              ? bios
              : (kernel ?? bios);
      roms.push({ name, address: BigInt(address), size: bytes.length, memory: 'ram' });
    }
    return roms.sort((a, b) => (a.address < b.address ? -1 : 1));
  }

  get interrupts(): MonitorTarget['interrupts'] {
    const { config, qom } = this.#machine;
    return interruptControllers(this.#parts.control, config.aia, this.#machine.snapshot(), qom);
  }

  // ---- devices -----------------------------------------------------------------------------------------------------

  get virtio(): VirtioInfo[] {
    return virtioInfos(this.#machine.qom, this.#parts.guest);
  }

  get pci(): MonitorTarget['pci'] {
    return pciBusInfos(this.#machine.qom);
  }

  get busTree(): MonitorTarget['busTree'] {
    return busTree(this.#machine.qom);
  }

  get addressSpaces(): MonitorTarget['addressSpaces'] {
    return machineAddressSpaces(this.#machine.config, this.#machine.qom);
  }

  get iothreads(): IoThreadInfo[] {
    return ioThreadInfos(this.#machine.qom);
  }

  get blocks(): UsedBlock[] {
    return blockInfos(this.#machine.qom, this.#ioErrors);
  }

  get chardevs(): ChardevInfo[] {
    return chardevInfos(this.#machine.qom, this.#parts.chardevs.list());
  }

  get memoryBackends(): MonitorTarget['memoryBackends'] {
    // QEMU makes one for the machine's RAM if the user has not.
    const ram = { id: this.machine.ramId, size: this.ramSize, share: this.#machine.memorySharing.available };
    return [...memoryBackendInfos(this.#machine.qom), ram];
  }

  get memoryDevices(): MonitorTarget['memoryDevices'] {
    return memoryDeviceInfos(this.#machine.qom);
  }

  get balloon(): MonitorTarget['balloon'] {
    const device = this.#balloonDevice;
    if (device === null) return null;
    return {
      actual: device.actual,
      setTarget: (bytes) =>
        this.#parts.operate(() => {
          device.setTarget(bytes);
          const pages = (this.ramSize - device.target) / BALLOON_PAGE_SIZE;
          this.#parts.trace.emit(
            'virtio_balloon_to_target',
            `balloon target: 0x${bytes.toString(16)} num_pages: ${pages}`,
          );
        }),
    };
  }

  get jit(): MonitorTarget['jit'] {
    return this.#machine.statistics();
  }

  get input(): MonitorTarget['input'] {
    return inputControl(this.#machine.qom, () => this.#machine.state === 'running');
  }

  /** The one device that can give and take memory. */
  get #balloonDevice(): BalloonDevice | null {
    for (const object of this.#machine.qom.root.walk()) {
      if (!object.type.isA('virtio-balloon-device')) continue;
      const device = virtioInstance(object)?.device;
      if (device instanceof BalloonDevice) return device;
    }
    return null;
  }

  /** Listens to the devices that have something to tell, also to those that have come since. */
  #watchDevices(): void {
    const { qom } = this.#machine;
    const balloon = this.#balloonDevice;
    if (balloon !== null) balloon.onActual = (actual) => this.#emit('BALLOON_CHANGE', { actual });
    for (const { device, object, backend } of findNics(qom)) {
      device.onRxFilterChanged = () =>
        this.#emit('NIC_RX_FILTER_CHANGED', {
          ...(object.id === null ? {} : { name: object.id }),
          path: backend.path,
        });
    }
    for (const object of qom.root.walk()) {
      const port = object.type.isA('virtio-serial-port') ? (object.instance as SerialPort | null) : null;
      if (port === null || object.id === null) continue;
      const { id } = object;
      port.onGuestOpen = (open) => this.#emit('VSERPORT_CHANGE', { id, open });
    }
  }

  // ---- what comes and goes -----------------------------------------------------------------------------------------

  async addDevice(driver: string, { id, bus, ...properties }: Record<string, Json>): Promise<void> {
    const { types } = this.#machine.qom;
    if (!types.find(driver)?.isA('device')) throw new MonitorError(`'${driver}' is not a valid device model name`);
    await this.#machine.deviceAdd({ driver, id: text(id), bus: text(bus), properties });
  }

  async removeDevice(id: string): Promise<void> {
    await this.#machine.deviceDel(id).catch((error: unknown) => {
      throw error instanceof RingsideError && error.kind === 'not-found' ? deviceNotFound(id) : error;
    });
  }

  async addDrive(id: string, properties: Record<string, Json>, options: AddBackendOptions): Promise<void> {
    await this.#machine.objectAdd('drive', 'drive', id, properties, options);
  }

  async removeDrive(id: string): Promise<void> {
    await this.#removeBackend('drive', id, deviceNotFound(id));
  }

  async addObject(type: string, id: string, properties: Record<string, Json>): Promise<void> {
    await this.#machine.objectAdd('object', type, id, properties);
  }

  async removeObject(id: string): Promise<void> {
    await this.#removeBackend('object', id, new MonitorError(`object '${id}' not found`));
  }

  async addNetdev(type: string, id: string, properties: Record<string, Json>): Promise<void> {
    await this.#machine.objectAdd('netdev', type, id, properties);
  }

  async removeNetdev(id: string): Promise<void> {
    await this.#removeBackend('netdev', id, deviceNotFound(id));
  }

  async addChardev(id: string, { type, data }: ChardevInput): Promise<{ pty?: string }> {
    if (this.#machine.qom.find(`/chardevs/${id}`) !== null) {
      throw new MonitorError(`Chardev with id '${id}' already exists`);
    }
    await this.#machine.objectAdd('chardev', type, id, data).catch((error: unknown) => {
      throw new MonitorError(`Failed to add chardev '${id}': ${errorLine(error).replace(`chardev ${id}: `, '')}`);
    });
    return this.#ptyOf(id);
  }

  async changeChardev(id: string, { type, data }: ChardevInput): Promise<{ pty?: string }> {
    const known = this.chardevs.find(({ label }) => label === id);
    if (known === undefined) throw new MonitorError(`Chardev '${id}' does not exist`);
    if (!this.#parts.chardevs.changeable(id)) throw new MonitorError('Chardev user does not support chardev hotswap');
    await this.#machine.chardevChange(id, type, data);
    return this.#ptyOf(id);
  }

  #ptyOf(id: string): { pty?: string } {
    const link = this.#parts.chardevs.link(id);
    return link instanceof PtyLink ? { pty: link.path } : {};
  }

  async removeChardev(id: string): Promise<void> {
    await this.#removeBackend('chardev', id, new MonitorError(`Chardev '${id}' not found`)).catch((error: unknown) => {
      throw error instanceof RingsideError && error.kind === 'in-use'
        ? new MonitorError(`Chardev '${id}' is busy`)
        : error;
    });
  }

  ringbuf(id: string): RingbufLink {
    if (!this.chardevs.some(({ label }) => label === id)) throw new MonitorError(`Device '${id}' not found`);
    const link = this.#parts.chardevs.link(id);
    if (link instanceof RingbufLink) return link;
    throw new MonitorError(`${id} is not a ringbuf device`);
  }

  async #removeBackend(kind: BackendKind, id: string, missing: MonitorError): Promise<void> {
    await this.#machine.objectDel(kind, id).catch((error: unknown) => {
      throw error instanceof RingsideError && error.kind === 'not-found' ? missing : error;
    });
  }

  async sendBreak(id: string): Promise<void> {
    if (!this.chardevs.some(({ label }) => label === id)) throw new MonitorError(`Chardev '${id}' not found`);
    this.#parts.chardevs.sendBreak(id);
  }

  get trace(): MonitorTarget['trace'] {
    const { trace } = this.#parts;
    return {
      events: TRACE_EVENTS.map((name) => ({ name, enabled: trace.isOn(name) })),
      set: (name, enabled) => {
        if (isTraceName(name)) trace.set(name, enabled);
      },
      emit: (name, text) => trace.emit(name, text),
      onLine: (listener) => void trace.onLine(listener),
    };
  }
}

function text(value: Json | undefined): string | undefined {
  if (value === undefined || typeof value === 'string') return value;
  throw new MonitorError("Invalid parameter type for 'id', expected: string");
}

function deviceName({ id, path }: DeviceName): EventData<'DEVICE_DELETED'> {
  return { ...(id === null ? {} : { device: id }), path };
}

function shutdownCause({ reason }: MachineExit, byMonitor: boolean): EventData<'SHUTDOWN'> {
  switch (reason) {
    case 'guest-fail':
      return { guest: true, reason: 'guest-panic' };
    case 'guest-poweroff':
      return { guest: true, reason: 'guest-shutdown' };
    case 'guest-reset':
      return { guest: true, reason: 'guest-reset' };
    case 'crash':
      return { guest: false, reason: 'host-error' };
    case 'host-quit':
      return { guest: false, reason: byMonitor ? 'host-qmp-quit' : 'host-ui' };
  }
}
