/**
 * A machine that is a script: it boots a shell with a few commands on its serial port, keeps virtio devices that look
 * like the real ones, and moves their queues' indices when the "guest" uses its disk.
 */
import { EventEmitter } from 'node:events';
import { statSync } from 'node:fs';
import { RingsideError } from '../../../core/errors.ts';
import type {
  MachineConfig,
  MachineExit,
  MachineSnapshot,
  MachineState,
  QueueSnapshot,
  VirtioDeviceSnapshot,
} from '../../../core/api/machine.ts';
import type { MonitorTarget } from '../../../core/monitor/target.ts';
import { DoubleTarget } from '../../monitor/double.ts';
import type { ConsoleDevice, MachineFactory, RunningMachine } from '../../../main/app/machine.ts';
import type { DeviceName } from '../../../core/machine/device-removal.ts';
import type { AddBackendOptions, DeviceInput, PropertyInputs } from '../../../core/machine/object-model.ts';
import { FakeHotplug } from './hotplug.ts';
import { fakeObject, fakeView } from './machine-view.ts';
import { FakeInspection } from './inspection.ts';

export const PROMPT = 'guest# ';
const SECTOR = 512;
/** When drivers set their devices up, ms since 1970. */
const BOOTED = Date.UTC(2026, 0, 5, 9, 30);
const IN_RING = 4096;

/** The guest's end of a console: what it writes comes out of onData, what is typed arrives at `receive`. */
export class FakeConsole implements ConsoleDevice {
  #data: (bytes: Uint8Array) => void = () => {};
  #room: () => void = () => {};
  /** The guest does not read: its ring fills up. */
  stuck = false;
  #held = 0;
  receive: (text: string) => void = () => {};
  /** The size of the terminal that the guest was told. */
  size: { cols: number; rows: number } | null = null;
  readonly resizable: boolean;

  constructor(resizable = false) {
    this.resizable = resizable;
  }

  resize(cols: number, rows: number): boolean {
    if (this.resizable) this.size = { cols, rows };
    return this.resizable;
  }

  write(bytes: Uint8Array): number {
    if (this.stuck) {
      const taken = Math.min(bytes.length, IN_RING - this.#held);
      this.#held += taken;
      return taken;
    }
    this.receive(Buffer.from(bytes).toString('utf8'));
    return bytes.length;
  }

  onRoom(listener: () => void): void {
    this.#room = listener;
  }

  onData(listener: (bytes: Uint8Array) => void): void {
    this.#data = listener;
  }

  print(text: string): void {
    this.#data(Buffer.from(text));
  }

  unstick(): void {
    this.stuck = false;
    this.#held = 0;
    this.#room();
  }
}

interface Events {
  state: [MachineState];
  exit: [MachineExit];
  message: [string];
  'device-deleted': [DeviceName];
  'device-kept': [DeviceName];
}

export class FakeMachine extends EventEmitter<Events> implements RunningMachine {
  readonly config: MachineConfig;
  readonly serial = new FakeConsole();
  readonly virtio = new FakeConsole(true);
  readonly chardevs: ReadonlyMap<string, ConsoleDevice>;
  readonly inspector = new FakeInspection(() => this.#devices());
  readonly hotplug: FakeHotplug;
  state: MachineState = 'created';
  disposed = false;
  /** Devices, by id, whose driver is not simply ready. */
  readonly trouble = new Map<string, 'no driver' | 'needs reset'>();
  /** What the next call of this operation does instead of succeeding. */
  failure: { operation: 'start' | 'powerOff'; error: Error } | null = null;
  /** What its monitor sees. */
  readonly #target = new DoubleTarget();
  readonly #queues = new Map<string, QueueSnapshot>();
  #line = '';
  #began = 0;
  #snapshots = 0;

  constructor(config: MachineConfig) {
    super();
    this.config = config;
    this.hotplug = new FakeHotplug(config, (event, id) => this.emit(event, { id, path: `/machine/peripheral/${id}` }));
    const ports: [string, ConsoleDevice][] = [['serial0', this.serial]];
    if (config.console) ports.push(['console0', this.virtio]);
    this.chardevs = new Map(ports);
    this.serial.receive = (text) => this.#type(text);
    this.virtio.receive = (text) => this.virtio.print(text.replaceAll('\r', '\r\n'));
    for (const drive of config.drives) this.#queues.set(drive.id, queue(0, 'requestq', 256, 0x8200_0000));
  }

  /** How many snapshots have been taken. */
  get snapshots(): number {
    return this.#snapshots;
  }

  async start(): Promise<void> {
    this.#fail('start');
    this.#began = Date.now();
    this.#become('running');
    setTimeout(() => this.#boot(), 20).unref();
  }

  async pause(): Promise<void> {
    this.#become('paused');
  }

  async resume(): Promise<void> {
    this.#become('running');
  }

  async reset(): Promise<void> {
    for (const [id] of this.#queues) this.#queues.set(id, queue(0, 'requestq', 256, 0x8200_0000));
    setTimeout(() => this.#boot(), 20).unref();
  }

  async powerOff(): Promise<MachineExit> {
    this.#fail('powerOff');
    const exit: MachineExit = { reason: 'host-quit', code: 0 };
    this.end(exit);
    return exit;
  }

  /** Its monitor sees another machine, that of the monitor's own tests. */
  monitor(): MonitorTarget {
    return this.#target;
  }

  async dispose(): Promise<void> {
    this.disposed = true;
  }

  /** The machine ends, by itself or not. */
  end(exit: MachineExit): void {
    if (this.state === 'shutdown' || this.state === 'crashed') return;
    this.inspector.end();
    this.#become(exit.reason === 'crash' ? 'crashed' : 'shutdown');
    this.emit('exit', exit);
  }

  /** As after an I/O error with werror=stop. */
  stopFor(reason: string): void {
    this.emit('message', reason);
    this.#become('paused');
  }

  /** The driver of a disk makes this many requests; so many of them are still being served. */
  request(id: string, count: number, inFlight = 0): void {
    const queue = this.#queues.get(id);
    if (queue === undefined) return;
    queue.availIdx = (queue.availIdx + count) & 0xffff;
    queue.lastAvailIdx = queue.availIdx;
    queue.usedIdx = (queue.availIdx - inFlight) & 0xffff;
    queue.inFlight = inFlight;
    queue.entries = { device: inFlight, driver: 0 };
    queue.usedEvent = (queue.usedIdx - 1) & 0xffff;
    queue.availEvent = queue.availIdx;
    queue.counters.popped += count;
    queue.counters.used += count;
    queue.counters.notifications += Math.ceil(count / 4);
    queue.counters.interrupts += Math.ceil(count / 8);
    queue.counters.suppressed += count - Math.ceil(count / 8);
  }

  snapshot(): MachineSnapshot {
    this.#snapshots++;
    const uptime = this.state === 'running' ? Date.now() - this.#began : 0;
    return {
      state: this.state,
      uptime,
      harts: Array.from({ length: this.config.harts }, (_, id) => ({
        id,
        state: this.state === 'running' ? 'wfi' : 'paused',
        privilege: 'S',
        pc: '0xffffffff80a1b2c4',
        instret: 1_200_000_000 + uptime * 120_000,
        traps: 48_213 + id,
        mmio: 9_120,
      })),
      virtio: structuredClone(this.#devices()),
    };
  }

  view() {
    return fakeView(this.snapshot());
  }

  viewObject(path: string) {
    return fakeObject(path);
  }

  liveParts() {
    return this.hotplug.parts();
  }

  async deviceAdd(device: DeviceInput): Promise<void> {
    this.hotplug.add(device);
  }

  async deviceDel(id: string): Promise<void> {
    this.hotplug.remove(id);
  }

  async objectAdd(
    kind: string,
    _type: string,
    id: string,
    _properties: PropertyInputs,
    { withDevice = false }: AddBackendOptions,
  ): Promise<void> {
    this.hotplug.backends.set(`${kind} ${id}`, withDevice);
  }

  async resizeDrive(id: string, size: number): Promise<void> {
    this.hotplug.resize(id, size);
  }

  async objectDel(kind: string, id: string): Promise<void> {
    this.hotplug.backends.delete(`${kind} ${id}`);
  }

  async viewRegisters() {
    return { pc: '0x80000000', privilege: 'S', x: [{ name: 'zero', value: '0x0' }], csrs: [] };
  }

  #devices(): VirtioDeviceSnapshot[] {
    const devices: VirtioDeviceSnapshot[] = this.config.drives.map((drive, at) =>
      device(
        drive.id,
        'virtio-blk',
        2,
        7 - at,
        BLK_FEATURES,
        [this.#queues.get(drive.id)!],
        [
          ['capacity', 0, 8, String(Math.floor(statSync(drive.file).size / SECTOR))],
          ['size_max', 8, 4, '0'],
          ['seg_max', 12, 4, '254'],
          ['blk_size', 20, 4, '512'],
          ['writeback', 32, 1, '1'],
          ['max_discard_sectors', 36, 4, '8388607'],
          ['max_write_zeroes_sectors', 48, 4, '8388607'],
        ],
      ),
    );
    if (this.config.console) {
      const queues = [queue(0, 'receiveq(port0)', 128, 0x8300_0000), queue(1, 'transmitq(port0)', 128, 0x8301_0000)];
      queues[0].availIdx = 64;
      queues[0].inFlight = 64;
      queues[0].lastAvailIdx = 64;
      queues[0].entries = { device: 64, driver: 0 };
      devices.push(
        device('console0', 'virtio-console', 3, 7 - devices.length, CONSOLE_FEATURES, queues, [
          ['cols', 0, 2, '80'],
          ['rows', 2, 2, '25'],
        ]),
      );
    }
    if (this.config.rng) {
      const requests = queue(0, 'requestq', 64, 0x8400_0000);
      devices.push(device('rng0', 'virtio-rng', 4, 7 - devices.length, COMMON_FEATURES, [requests], []));
    }
    return devices.map((each) => inTrouble(each, this.trouble.get(each.id)));
  }

  #boot(): void {
    if (this.state !== 'running') return;
    this.#line = '';
    this.serial.print('[    0.000000] Booting Linux on hartid 0\r\n');
    this.serial.print(`[    0.000000] Command line: ${this.config.append}\r\n`);
    for (const drive of this.config.drives) {
      const sectors = Math.floor(statSync(drive.file).size / SECTOR);
      this.serial.print(`[    0.412345] virtio_blk virtio0: [vda] ${sectors} 512-byte logical blocks\r\n`);
    }
    this.serial.print(`\x1b[32mWelcome.\x1b[0m\r\n${PROMPT}`);
  }

  #type(text: string): void {
    for (const character of text) {
      if (character !== '\r') {
        this.#line += character;
        this.serial.print(character);
        continue;
      }
      this.serial.print('\r\n');
      const line = this.#line;
      this.#line = '';
      this.#run(line.trim());
    }
  }

  #run(line: string): void {
    const [command, ...args] = line.split(/\s+/);
    if (command === 'poweroff') {
      this.end({ reason: 'guest-poweroff', code: 0 });
      return;
    }
    if (command === 'echo') this.serial.print(`${args.join(' ')}\r\n`);
    if (command === 'dd') {
      this.request(this.config.drives[0].id, 128);
      this.serial.print('128+0 records out\r\n');
    }
    if (command === 'busy') {
      let left = 60;
      const timer = setInterval(() => {
        this.request(this.config.drives[0].id, 37, left % 5);
        if (--left === 0 || this.state !== 'running') clearInterval(timer);
      }, 100);
      timer.unref();
    }
    if (command === 'flood') {
      const line = `${'abcdefghijklmnopqrstuvwxyz'.repeat(2)}\r\n`;
      for (let at = 0; at < Number(args[0]); at++) this.serial.print(line);
    }
    this.serial.print(PROMPT);
  }

  #become(state: MachineState): void {
    this.state = state;
    this.emit('state', state);
    if (state === 'running') this.#target.emit('RESUME', {});
  }

  #fail(operation: 'start' | 'powerOff'): void {
    if (this.failure?.operation !== operation) return;
    const { error } = this.failure;
    this.failure = null;
    throw error;
  }
}

/** Makes fake machines and remembers them. */
export class FakeMachines implements MachineFactory {
  readonly made: FakeMachine[] = [];
  /** Called with each new machine before anyone else sees it. */
  prepare: (machine: FakeMachine) => void = () => {};

  async create(config: MachineConfig): Promise<RunningMachine> {
    if (config.kernel === '/does/not/exist') {
      throw new RingsideError('not-found', '/does/not/exist: there is no such file or directory');
    }
    const machine = new FakeMachine(config);
    this.prepare(machine);
    this.made.push(machine);
    return machine;
  }

  get last(): FakeMachine {
    const machine = this.made.at(-1);
    if (machine === undefined) throw new Error('no machine has been made');
    return machine;
  }
}

type Feature = [bit: number, name: string, help: string, negotiated: boolean];

const COMMON_FEATURES: Feature[] = [
  [28, 'VIRTIO_F_INDIRECT_DESC', 'descriptors may point to a table of descriptors', true],
  [29, 'VIRTIO_F_EVENT_IDX', 'used_event and avail_event say when to notify', true],
  [32, 'VIRTIO_F_VERSION_1', 'complies with virtio 1.0 or later', true],
];
const BLK_FEATURES: Feature[] = [
  [2, 'VIRTIO_BLK_F_SEG_MAX', 'at most seg_max segments in a request', true],
  [6, 'VIRTIO_BLK_F_BLK_SIZE', 'the block size is in blk_size', true],
  [9, 'VIRTIO_BLK_F_FLUSH', 'flush command', true],
  [11, 'VIRTIO_BLK_F_CONFIG_WCE', 'write cache can be switched', true],
  [13, 'VIRTIO_BLK_F_DISCARD', 'discard command', true],
  [14, 'VIRTIO_BLK_F_WRITE_ZEROES', 'write zeroes command', true],
  ...COMMON_FEATURES,
];
const CONSOLE_FEATURES: Feature[] = [
  [0, 'VIRTIO_CONSOLE_F_SIZE', 'cols and rows are valid', true],
  [2, 'VIRTIO_CONSOLE_F_EMERG_WRITE', 'emerg_wr takes a character before the driver is up', false],
  ...COMMON_FEATURES,
];

const STATUS: [bit: number, name: string, help: string][] = [
  [0, 'ACKNOWLEDGE', 'The guest has found the device'],
  [1, 'DRIVER', 'The guest has a driver for it'],
  [3, 'FEATURES_OK', 'Features are negotiated'],
  [2, 'DRIVER_OK', 'The driver is ready'],
  [6, 'DEVICE_NEEDS_RESET', 'The device met an error it cannot recover from'],
  [7, 'FAILED', 'The driver has given up'],
];
const DRIVER_READY = 0x0f;
const NEEDS_RESET = 0x40;

function inTrouble(
  device: VirtioDeviceSnapshot,
  trouble: 'no driver' | 'needs reset' | undefined,
): VirtioDeviceSnapshot {
  if (trouble === undefined) return device;
  const status = trouble === 'no driver' ? 0 : DRIVER_READY | NEEDS_RESET;
  const statusBits = device.statusBits.map((each) => {
    const set = ((status >> each.bit) & 1) === 1;
    return { ...each, set, at: set ? BOOTED + each.bit : null };
  });
  if (trouble === 'no driver') {
    const features = device.features.map((feature) => ({ ...feature, negotiated: false }));
    const queues = device.queues.map((queue) => ({ ...queue, enabled: false, size: 0 }));
    return { ...device, status, statusBits, features, queues, negotiatedFeatures: '0x0000000000000000' };
  }
  const reason = 'queue 0: descriptor 17 points to itself (2.7.5.1: no loops in a descriptor chain)';
  const queues = device.queues.map((queue) => ({ ...queue, error: reason }));
  return {
    ...device,
    status,
    statusBits,
    queues,
    error: 'The driver broke a rule: the device does nothing until it is reset.',
  };
}

function queue(index: number, name: string, size: number, address: number): QueueSnapshot {
  const hex = (offset: number) => `0x${(address + offset).toString(16)}`;
  return {
    index,
    name,
    enabled: true,
    size,
    maxSize: 256,
    descriptorArea: hex(0),
    driverArea: hex(0x1000),
    deviceArea: hex(0x2000),
    format: 'split',
    availIdx: 0,
    availFlags: 0,
    usedIdx: 0,
    usedFlags: 0,
    usedEvent: 0,
    availEvent: 0,
    lastAvailIdx: 0,
    wrap: null,
    entries: { device: 0, driver: 0 },
    notificationData: null,
    inFlight: 0,
    counters: { popped: 0, used: 0, notifications: 0, interrupts: 0, suppressed: 0 },
    error: null,
  };
}

function device(
  id: string,
  type: string,
  virtioId: number,
  slot: number,
  features: Feature[],
  queues: QueueSnapshot[],
  config: [name: string, offset: number, size: number, value: string][],
): VirtioDeviceSnapshot {
  const bits = (wanted: Feature[]) => {
    const value = wanted.reduce((sum, [bit]) => sum | (1n << BigInt(bit)), 0n);
    return `0x${value.toString(16).padStart(16, '0')}`;
  };
  const negotiated = features.filter(([, , , yes]) => yes);
  return {
    id,
    type,
    virtioId,
    transport: {
      name: 'virtio-mmio',
      version: 2,
      slot,
      base: `0x${(0x1000_1000 + slot * 0x1000).toString(16)}`,
      irq: slot + 1,
    },
    status: DRIVER_READY,
    statusBits: STATUS.map(([bit, name, help]) => {
      const set = ((DRIVER_READY >> bit) & 1) === 1;
      return { bit, name, help, set, at: set ? BOOTED + bit : null };
    }),
    interruptStatus: 0,
    offeredFeatures: bits(features),
    driverFeatures: bits(negotiated),
    negotiatedFeatures: bits(negotiated),
    features: features.map(([bit, name, help, yes]) => ({ bit, name, help, offered: true, negotiated: yes })),
    config: config.map(([name, offset, size, value]) => ({ name, offset, size, value })),
    queues,
    error: null,
  };
}
