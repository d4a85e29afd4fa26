/**
 * What the app needs of a machine. core/machine's Machine is one; the tests bring a scripted one. Nothing else of the
 * emulator is known here.
 */
import type { CaptureStateView, PacketCapture } from '../../core/api/capture.ts';
import type { ActiveQueue, QueueBatch, QueueCommand, QueueControl, QueueProfile } from '../../core/api/inspect.ts';
import type { LintFinding } from '../../core/api/lint.ts';
import type { LiveParts } from '../../core/api/live.ts';
import type { MachineConfig, MachineExit, MachineSnapshot, MachineState } from '../../core/api/machine.ts';
import type { QueueView } from '../../core/api/queue-view.ts';
import type { MachineView, ObjectView, RegistersView } from '../../core/api/machine-view.ts';
import type { DeviceName } from '../../core/machine/device-removal.ts';
import type { AddBackendOptions, BackendKind, DeviceInput, PropertyInputs } from '../../core/machine/object-model.ts';
import type { MonitorTarget } from '../../core/monitor/target.ts';

/** One end of a character device. */
export interface ConsoleDevice {
  /** Returns how many bytes were taken, from the front. */
  write(bytes: Uint8Array): number;
  /** Called when there is room again after a write that was not taken whole. */
  onRoom(listener: () => void): void;
  /** The bytes are only valid during the call. */
  onData(listener: (bytes: Uint8Array) => void): void;
  /** Tells the guest the size of the terminal, in characters; false where that is not possible. */
  resize?(cols: number, rows: number): boolean;
  /** Whether resize() reaches the guest. */
  readonly resizable?: boolean;
}

/** What a machine lets people see and do inside (core/inspect). */
export interface MachineInspection {
  watch(
    device: string,
    queue: number,
    listener: { batch(batch: QueueBatch): void; ended(): void },
  ): Promise<{ readonly profile: QueueProfile; readonly epoch: number; close(): void }>;
  control(device: string, queue: number, command: QueueCommand): Promise<QueueControl>;
  view(device: string, queue: number, from: number, count: number): Promise<QueueView>;
  capture(
    device: string,
    queue: number,
    options?: { file: string; limit: number; keep: number } | null,
  ): Promise<CaptureStateView | null>;
  capturePackets(device: string, file?: string | null): Promise<PacketCapture | null>;
  profile(device: string, queue: number): QueueProfile;
  active(): Promise<ActiveQueue[]>;
  clearAll(): Promise<void>;
  findings(device: string, clear: boolean): Promise<LintFinding[]>;
  bytes(address: bigint, length: number): Uint8Array;
}

export interface RunningMachine {
  readonly inspector: MachineInspection;
  readonly state: MachineState;
  start(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  reset(): Promise<void>;
  /** Pulls the plug; disks are flushed. */
  powerOff(): Promise<MachineExit>;
  snapshot(): MachineSnapshot;
  view(): MachineView;
  viewObject(path: string): ObjectView;
  viewRegisters(hart: number): Promise<RegistersView>;
  /** What of it can come, go and change while it is there. */
  liveParts(): LiveParts;
  /** Resolves when it is plugged in. */
  deviceAdd(device: DeviceInput): Promise<unknown>;
  /** Asks the guest to let go of it: 'device-deleted' or 'device-kept' follows, or nothing. */
  deviceDel(id: string): Promise<void>;
  objectAdd(
    kind: BackendKind,
    type: string,
    id: string,
    properties: PropertyInputs,
    options: AddBackendOptions,
  ): Promise<unknown>;
  objectDel(kind: BackendKind, id: string): Promise<void>;
  /** Makes a drive's raw image larger; the guest is told. */
  resizeDrive(id: string, size: number): Promise<void>;
  /** What a monitor works on. */
  monitor(name: string): MonitorTarget;
  /** By port: serial0, console0. */
  readonly chardevs: ReadonlyMap<string, ConsoleDevice>;
  on(event: 'state', listener: (state: MachineState) => void): unknown;
  on(event: 'exit', listener: (exit: MachineExit) => void): unknown;
  on(event: 'message', listener: (message: string) => void): unknown;
  on(event: 'device-deleted' | 'device-kept', listener: (device: DeviceName) => void): unknown;
  dispose(): Promise<void>;
}

export interface MachineFactory {
  create(config: MachineConfig): Promise<RunningMachine>;
}
