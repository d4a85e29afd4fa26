/**
 * What the monitor needs of a machine. core/machine/monitor-target.ts gives it for a Machine; tests have a double. Numbers
 * and addresses that a guest chooses are bigint where they may have 64 bits.
 *
 * Whatever a machine does not have is null or an empty list, and the commands say so; methods that fail throw a
 * MonitorError or a RingsideError.
 */
import type { PropertySpec } from '../qom/property.ts';
import type { BlkStatistics } from '../virtio/blk/statistics.ts';
import type { RingElement } from '../virtio/inspect.ts';
import type { FeatureInfo } from '../virtio/spec/features.ts';
import type { IoThreadTuning } from '../worker/adaptive-poll.ts';
import type { JitStatistics } from '../worker/jit-stats.ts';
import type { EventName, EventData } from './events.ts';
import type { NetworkView } from './network-target.ts';
import type { Json } from './qmp/json.ts';

/** QEMU's RunState, as far as there are such states here. */
export const RUN_STATES = ['prelaunch', 'running', 'paused', 'io-error', 'shutdown', 'internal-error'] as const;
export type RunState = (typeof RUN_STATES)[number];

export interface MonitorTarget {
  /** -name; null without. */
  readonly name: string | null;
  /** Guest RAM, bytes. */
  readonly ramSize: number;
  readonly runState: RunState;
  readonly machine: MachineInfo;

  stop(): Promise<void>;
  cont(): Promise<void>;
  reset(): Promise<void>;
  /** Asks the guest to shut down. */
  powerdown(): Promise<void>;
  /** Ends the machine. Does not wait for the end. */
  quit(): void;

  onEvent(listener: <N extends EventName>(name: N, data: EventData<N>) => void): void;

  readonly cpus: readonly CpuInfo[];
  /** Runs `look` while no hart executes guest code; the run state stays what it is. */
  halted<T>(look: () => T): Promise<T>;
  /** Exact only inside of halted(). */
  hart(index: number): HartRegisters;
  /**
   * Bytes of RAM or ROM at a guest physical address; null where there is neither. Device registers are not memory: looking
   * must not change anything.
   */
  readMemory(address: bigint, length: number): Uint8Array | null;

  readonly iothreads: readonly IoThreadInfo[];
  readonly blocks: readonly BlockInfo[];
  readonly chardevs: readonly ChardevInfo[];
  readonly network: NetworkView;
  readonly memoryBackends: readonly MemoryBackendInfo[];
  readonly memoryDevices: readonly MemoryDeviceInfo[];
  readonly roms: readonly RomInfo[];
  /** Interrupt controllers, with the inputs that have come or that are enabled. */
  readonly interrupts: readonly InterruptController[];
  /** All virtio devices, the latest first, as QEMU lists them. */
  readonly virtio: readonly VirtioInfo[];
  /** The PCI buses; null on a machine without. */
  readonly pci: readonly PciBusInfo[] | null;
  /** The buses of the machine and what sits on them, from the main system bus on. */
  readonly busTree: BusNode;
  readonly addressSpaces: readonly AddressSpace[];
  readonly balloon: BalloonControl | null;
  readonly input: InputControl;
  /** What the translator of guest code has done; null: there is none (-accel interp). */
  readonly jit: JitStatistics | null;

  readonly qom: QomView;
  /** @throws MonitorError, RingsideError */
  addDevice(driver: string, properties: Record<string, Json>): Promise<void>;
  /** Resolves when the request has been made: the guest may have to agree (DEVICE_DELETED tells). */
  removeDevice(id: string): Promise<void>;
  /**
   * Opens a disk image.
   *
   * @param options withDevice: it is closed when the device is unplugged that uses it
   */
  addDrive(id: string, properties: Record<string, Json>, options: { withDevice: boolean }): Promise<void>;
  /** Of a drive that no device uses. */
  removeDrive(id: string): Promise<void>;
  addObject(type: string, id: string, properties: Record<string, Json>): Promise<void>;
  removeObject(id: string): Promise<void>;
  addNetdev(type: string, id: string, properties: Record<string, Json>): Promise<void>;
  removeNetdev(id: string): Promise<void>;
  addChardev(id: string, backend: ChardevInput): Promise<{ pty?: string }>;
  /** Another back end; what uses it stays. */
  changeChardev(id: string, backend: ChardevInput): Promise<{ pty?: string }>;
  removeChardev(id: string): Promise<void>;
  sendBreak(id: string): Promise<void>;
  /** What a ringbuf holds. @throws MonitorError */
  ringbuf(id: string): { put(bytes: Uint8Array): void; take(most: number): Uint8Array };

  readonly trace: TraceControl;
}

export interface InterruptController {
  /** e.g. "riscv.sifive.plic". */
  readonly name: string;
  readonly inputs: readonly InterruptInput[];
}

export interface InterruptInput {
  readonly number: number;
  /** How often it has risen since power-on. */
  readonly count: number;
  /** A wire; null: it is a message. */
  readonly level: boolean | null;
  readonly pending: boolean;
  readonly claimed: boolean;
  readonly priority: number | null;
  /** Who gets it, e.g. "hart 0 S". */
  readonly enabledFor: readonly string[];
  /** Who sends it, e.g. "UART", "disk1 vector 2". */
  readonly from: readonly string[];
}

export interface MachineInfo {
  /** The machine type, e.g. "virt". */
  readonly type: string;
  readonly cpuType: string;
  readonly maxCpus: number;
  readonly ramId: string;
}

export interface CpuInfo {
  readonly index: number;
  /** Of the thread that executes it. */
  readonly threadId: number;
  readonly qomPath: string;
}

/** A hart's registers, in the order in which "info registers" prints them. */
export interface HartRegisters {
  readonly pc: bigint;
  /** 0 U, 1 S, 3 M. */
  readonly privilege: number;
  /** By name, e.g. mstatus. */
  readonly csrs: ReadonlyMap<string, bigint>;
  readonly x: readonly bigint[];
  readonly f: readonly bigint[];
}

export interface IoThreadInfo {
  readonly id: string;
  readonly threadId: number;
  readonly tuning: IoThreadTuning;
}

export interface BlockInfo {
  /** The drive's id. */
  readonly device: string;
  readonly nodeName: string;
  /** Name of the node of the file that it is in. */
  readonly fileNode: string;
  readonly file: string;
  readonly format: string;
  /** Bytes. */
  readonly virtualSize: number;
  /** Bytes on the host's disk. */
  readonly actualSize: number;
  readonly readonly: boolean;
  /** The device that has it, by id or path; null without. */
  readonly qdev: string | null;
  readonly ioStatus: 'ok' | 'failed' | 'nospace';
  readonly cache: { readonly writeback: boolean; readonly direct: boolean; readonly noFlush: boolean };
  /** Of the device that has it; null without. */
  readonly statistics: BlkStatistics | null;
}

export interface ChardevInfo {
  readonly label: string;
  readonly filename: string;
  /** Whether a device's driver has it open. */
  readonly frontendOpen: boolean;
}

/** `data` has the keys of -chardev. */
export interface ChardevInput {
  readonly type: string;
  readonly data: Record<string, Json>;
}

/** A memory-backend-* object. */
export interface MemoryBackendInfo {
  readonly id: string;
  /** Bytes. */
  readonly size: number;
  readonly share: boolean;
}

/** A virtio-pmem device. */
export interface MemoryDeviceInfo {
  readonly id: string | null;
  /** Guest physical. */
  readonly address: bigint;
  readonly size: bigint;
  /** Path of the object behind it. */
  readonly memdev: string;
}

export interface RomInfo {
  readonly name: string;
  readonly address: bigint;
  readonly size: number;
  readonly memory: 'rom' | 'ram';
}

export interface VirtioInfo {
  /** QOM path of the virtio device (for PCI: .../virtio-backend). */
  readonly path: string;
  /** e.g. "virtio-blk". */
  readonly name: string;
  readonly deviceId: number;
  /** Of the bus that the device itself makes, e.g. a SCSI bus; null without. */
  readonly busName: string | null;
  /** Bits of the device type, named. */
  readonly featureInfo: readonly FeatureInfo[];
  readonly hostFeatures: bigint;
  readonly guestFeatures: bigint;
  readonly status: number;
  readonly isr: number;
  readonly queueSel: number;
  /** The device waits for a reset after an error; and the error, also when feature negotiation failed. */
  readonly broken: boolean;
  readonly error: string | null;
  readonly started: boolean;
  /** ioeventfd, guest notifier masks: as the transport has them. */
  readonly useGuestNotifierMask: boolean;
  readonly legacyCheckDisabled: boolean;
  readonly queues: readonly VirtioQueueInfo[];
  /**
   * A queue's ring as it stands in guest memory.
   *
   * @param slot of the available ring, or of the descriptor ring of a packed queue; null: the next that the device will take
   */
  inspect(queue: number, slot: number | null): Promise<RingElement>;
}

export interface VirtioQueueInfo {
  readonly index: number;
  readonly name: string;
  /** 0: not set up. */
  readonly size: number;
  readonly maxSize: number;
  readonly desc: bigint;
  readonly driver: bigint;
  readonly device: bigint;
  readonly inUse: number;
  readonly usedIdx: number;
  readonly lastAvailIdx: number;
  /** What the driver has written; null when it cannot be looked at. */
  readonly availIdx: number | null;
  readonly signalledUsed: number;
  readonly signalledUsedValid: boolean;
  readonly packed: boolean;
  readonly error: string | null;
}

export interface PciBusInfo {
  readonly bus: number;
  readonly devices: readonly PciDeviceInfo[];
}
export interface PciDeviceInfo {
  readonly bus: number;
  readonly slot: number;
  readonly function: number;
  /** class << 8 | subclass. */
  readonly classCode: number;
  readonly vendor: number;
  readonly device: number;
  readonly subsystemVendor: number | null;
  readonly subsystem: number | null;
  /** The line, once the guest has set it; null without a pin. */
  readonly irq: number | null;
  /** 0 none, 1 INTA. */
  readonly irqPin: number;
  readonly qdevId: string;
  readonly regions: readonly PciRegionInfo[];
  readonly bridge: PciBridgeInfo | null;
}
export interface PciRegionInfo {
  readonly bar: number;
  readonly type: 'io' | 'memory';
  /** All ones: not mapped. */
  readonly address: bigint;
  readonly size: bigint;
  readonly prefetch: boolean;
  readonly mem64: boolean;
}
export interface PciBridgeInfo {
  readonly primary: number;
  readonly secondary: number;
  readonly subordinate: number;
  readonly io: { readonly base: bigint; readonly limit: bigint };
  readonly memory: { readonly base: bigint; readonly limit: bigint };
  readonly prefetchable: { readonly base: bigint; readonly limit: bigint };
  readonly devices: readonly PciDeviceInfo[];
}

/** "info qtree". */
export interface BusNode {
  readonly name: string;
  readonly type: string;
  readonly devices: readonly DeviceNode[];
}
/** `bare`: text that stands without quotes, as QEMU has PCI addresses. */
export interface DeviceProperty {
  readonly name: string;
  readonly value: Json;
  readonly kind: PropertySpec['kind'] | 'bare';
}
export interface DeviceNode {
  readonly driver: string;
  readonly id: string;
  readonly gpio: readonly string[];
  readonly properties: readonly DeviceProperty[];
  /** Lines of the bus that it sits on, e.g. "class Host bridge, addr 00:00.0, ...". */
  readonly busLines: readonly string[];
  readonly mmio: readonly { readonly address: bigint; readonly size: bigint }[];
  readonly buses: readonly BusNode[];
}

/** "info mtree". */
export interface AddressSpace {
  readonly name: string;
  readonly root: MemoryRegion | null;
}
export interface MemoryRegion {
  readonly name: string;
  /** Relative to the region that it is in. */
  readonly offset: bigint;
  /** Bytes, up to 2^64. */
  readonly size: bigint;
  readonly priority: number;
  readonly kind: 'i/o' | 'ram' | 'rom' | 'romd' | 'container';
  /** e.g. "owner:{dev id=disk0}"; "" without. */
  readonly owner: string;
  /** false: as if it were not there. */
  readonly enabled?: boolean;
  readonly alias?: { readonly target: MemoryRegion; readonly offset: bigint };
  readonly children: readonly MemoryRegion[];
}

export interface BalloonControl {
  /** Bytes that the guest has. */
  readonly actual: number;
  setTarget(bytes: number): Promise<void>;
}

/** Keyboards, mice and tablets. */
export interface InputControl {
  readonly mice: readonly MouseInfo[];
  /** Whether there is a device for an event. */
  accepts(event: InputEvent): boolean;
  /**
   * Gives events to the devices that have such, the newest of those first that a driver has; they arrive together. What
   * comes while the machine stands still is lost.
   *
   * @throws MonitorError when there is no device for one of them; none is given then
   */
  send(events: readonly InputEvent[]): void;
}

export interface MouseInfo {
  readonly name: string;
  readonly index: number;
  /** It is the one that gets buttons. */
  readonly current: boolean;
  /** A tablet. */
  readonly absolute: boolean;
}

export const INPUT_BUTTONS = [
  'left',
  'middle',
  'right',
  'wheel-up',
  'wheel-down',
  'side',
  'extra',
  'wheel-left',
  'wheel-right',
  'touch',
] as const;
export type InputButton = (typeof INPUT_BUTTONS)[number];

/** As in qapi/ui.json; keys by their Linux numbers (KEY_*). */
export type InputEvent =
  | { readonly type: 'key'; readonly key: number; readonly down: boolean }
  | { readonly type: 'btn'; readonly button: InputButton; readonly down: boolean }
  /** Steps; or 0 to 0x7fff of the screen's width or height. */
  | { readonly type: 'rel' | 'abs'; readonly axis: 'x' | 'y'; readonly value: number };

/** The object tree and the types (QOM). */
export interface QomView {
  /** By path, absolute or partial; 'ambiguous' when a partial path fits several. */
  find(path: string): QomObject | 'ambiguous' | null;
  types(): readonly QomType[];
}
export interface QomObject {
  readonly path: string;
  readonly type: string;
  /** Sorted by name. */
  readonly children: readonly { readonly name: string; readonly object: QomObject }[];
  properties(): readonly { readonly name: string; readonly type: string }[];
  /** @throws MonitorError when there is none of the name */
  get(property: string): Json;
  /** @throws MonitorError */
  set(property: string, value: Json): Promise<void>;
}
export interface QomType {
  readonly name: string;
  /** null: the root of all types. */
  readonly parent: string | null;
  readonly abstract: boolean;
  readonly description: string | null;
  /** For devices that a user can have. */
  readonly device: { readonly bus: string | null; readonly category: string; readonly userCreatable: boolean } | null;
  /** With those of its parents. */
  properties(): readonly QomTypeProperty[];
}
export interface QomTypeProperty {
  readonly name: string;
  /** QEMU's name of it, e.g. "uint32". */
  readonly type: string;
  readonly description: string | null;
  /** undefined: it has none. */
  readonly default?: Json;
}

export interface TraceControl {
  readonly events: readonly { readonly name: string; readonly enabled: boolean }[];
  /** Only for a name of `events`. */
  set(name: string, enabled: boolean): void;
  /** A line of an event of the monitor itself, if it is on. */
  emit(name: 'handle_qmp_command' | 'handle_hmp_command' | 'monitor_protocol_event_emit', text: string): void;
  /** Told of all lines. */
  onLine(listener: (line: string) => void): void;
}
