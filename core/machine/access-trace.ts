/** Trace events of register accesses that come to the control thread. Asked only while something is traced. */
import type { MachineExit, MachineState } from '../api/machine.ts';
import type { TracedQueue } from '../inspect/queue-trace.ts';
import type { ObjectTree } from '../qom/tree.ts';
import { virtioInstance } from '../virtio/proxy.ts';
import * as reg from '../virtio/spec/mmio.ts';
import type { Trace } from '../trace/trace.ts';
import {
  PCIE_ECAM_PHYS,
  PCIE_ECAM_SIZE,
  RTC_PHYS,
  RTC_SIZE,
  VIRTIO_PHYS,
  VIRTIO_SLOTS,
  VIRTIO_SLOT_SIZE,
} from './virt-map.ts';

/** Of an offset into ECAM (PCI Express 5.0, section 7.2.2). */
const BUS_SHIFT = 20;
const SLOT_SHIFT = 15;
const FUNCTION_SHIFT = 12;
const REGISTER_MASK = 0xfff;

/** What is asked of the machine. */
export interface AccessPlaces {
  /** The name of the PCI function at a place of configuration space; null: there is none. */
  functionName(bus: number, devfn: number): string | null;
  /** Of the queue that a virtio-mmio slot's driver has selected. */
  queueSizeMax(slot: number): number;
}

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

export class AccessTrace {
  readonly #trace: Trace;
  readonly #places: AccessPlaces;

  constructor(trace: Trace, places: AccessPlaces) {
    this.#trace = trace;
    this.#places = places;
  }

  /** Also the accesses that harts serve by themselves. */
  get wantsAll(): boolean {
    return this.#trace.isOn('virtio_mmio_read') || this.#trace.isOn('virtio_mmio_write_offset');
  }

  read(address: number, value: number | bigint): void {
    const trace = this.#trace;
    if (inSlots(address)) {
      trace.emit('virtio_mmio_read', `virtio_mmio_read offset ${hex(slotOffset(address))}`);
    } else if (within(address, PCIE_ECAM_PHYS, PCIE_ECAM_SIZE)) {
      this.#config('pci_cfg_read', address - PCIE_ECAM_PHYS, '->', value);
    } else if (within(address, RTC_PHYS, RTC_SIZE)) {
      trace.emit('goldfish_rtc_read', rtcText(address - RTC_PHYS, value));
    }
  }

  write(address: number, value: bigint): void {
    const trace = this.#trace;
    if (inSlots(address)) this.#slotWrite(address, value);
    else if (within(address, PCIE_ECAM_PHYS, PCIE_ECAM_SIZE)) {
      this.#config('pci_cfg_write', address - PCIE_ECAM_PHYS, '<-', value);
    } else if (within(address, RTC_PHYS, RTC_SIZE)) {
      trace.emit('goldfish_rtc_write', rtcText(address - RTC_PHYS, value));
    }
  }

  #slotWrite(address: number, value: bigint): void {
    const offset = slotOffset(address);
    const trace = this.#trace;
    trace.emit('virtio_mmio_write_offset', `virtio_mmio_write offset ${hex(offset)} value ${hex(value)}`);
    if (offset === reg.MMIO_QUEUE_SIZE && trace.isOn('virtio_mmio_queue_write')) {
      const max = this.#places.queueSizeMax(Math.floor((address - VIRTIO_PHYS) / VIRTIO_SLOT_SIZE));
      trace.emit('virtio_mmio_queue_write', `mmio_queue write ${hex(value)} max ${max}`);
    } else if (offset === reg.MMIO_GUEST_PAGE_SIZE) {
      const shift = value > 0n ? Math.floor(Math.log2(Number(value))) : 0;
      trace.emit('virtio_mmio_guest_page', `guest page size ${hex(value)} shift ${shift}`);
    }
  }

  #config(name: 'pci_cfg_read' | 'pci_cfg_write', offset: number, arrow: string, value: number | bigint): void {
    if (!this.#trace.isOn(name)) return;
    const bus = offset >>> BUS_SHIFT;
    const slot = (offset >>> SLOT_SHIFT) & 0x1f;
    const one = (offset >>> FUNCTION_SHIFT) & 7;
    const device = this.#places.functionName(bus, (slot << 3) | one);
    if (device === null) return;
    const place = `${bus.toString(16).padStart(2, '0')}:${slot.toString(16).padStart(2, '0')}.${one}`;
    this.#trace.emit(name, `${device} ${place} @${hex(offset & REGISTER_MASK)} ${arrow} ${hex(value)}`);
  }
}

function rtcText(offset: number, value: number | bigint): string {
  return `addr 0x${offset.toString(16).padStart(2, '0')} value 0x${value.toString(16).padStart(8, '0')}`;
}

function inSlots(address: number): boolean {
  return within(address, VIRTIO_PHYS, VIRTIO_SLOTS * VIRTIO_SLOT_SIZE);
}

function slotOffset(address: number): number {
  return (address - VIRTIO_PHYS) % VIRTIO_SLOT_SIZE;
}

function within(address: number, base: number, size: number): boolean {
  return address >= base && address < base + size;
}

/** QEMU's RunState of a machine's states, and their numbers. */
const RUN_STATES: Record<MachineState, readonly [number, string]> = {
  created: [6, 'prelaunch'],
  running: [9, 'running'],
  paused: [4, 'paused'],
  shutdown: [11, 'shutdown'],
  crashed: [2, 'internal-error'],
};

export function traceRunState(trace: Trace, from: MachineState, to: MachineState): void {
  const [oldNumber, oldName] = RUN_STATES[from];
  const [number, name] = RUN_STATES[to];
  trace.emit('runstate_set', `current_run_state ${oldNumber} (${oldName}) new_state ${number} (${name})`);
  trace.emit('vm_state_notify', `running ${to === 'running' ? 1 : 0} reason ${number} (${name})`);
}

/** QEMU's ShutdownCause. */
const SHUTDOWN_CAUSES: Record<MachineExit['reason'], number> = {
  crash: 1,
  'host-quit': 2,
  'guest-poweroff': 6,
  'guest-reset': 7,
  'guest-fail': 8,
};

export function traceShutdown(trace: Trace, { reason }: MachineExit): void {
  trace.emit('qemu_system_shutdown_request', `reason=${SHUTDOWN_CAUSES[reason]}`);
}

/** The queues of all virtio devices. */
export function tracedQueues(tree: ObjectTree): TracedQueue[] {
  return [...tree.root.walk()].flatMap((object) => {
    const transport = object.type.isA('virtio-device') ? virtioInstance(object)?.plug.transport : undefined;
    if (transport === undefined) return [];
    const { id, type } = transport.device;
    return transport.queues.map(({ index, name }) => ({ device: id, type, queue: index, name }));
  });
}
