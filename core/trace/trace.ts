/**
 * Trace events, with QEMU's names and words (docs/devel/tracing.rst of QEMU): lines about what devices and the machine do, for
 * people who debug drivers. Where QEMU prints pointers there are names: a device's id, a queue's name.
 */

export const TRACE_EVENTS = [
  // Run state.
  'runstate_set',
  'vm_state_notify',
  'qemu_system_shutdown_request',
  'qemu_system_powerdown_request',
  // Registers that the control thread serves; with one of virtio_mmio_* on, all of virtio-mmio.
  'virtio_mmio_read',
  'virtio_mmio_write_offset',
  'virtio_mmio_queue_write',
  'virtio_mmio_guest_page',
  'pci_cfg_read',
  'pci_cfg_write',
  'goldfish_rtc_read',
  'goldfish_rtc_write',
  'virtio_set_status',
  // Queues, from their event rings.
  'virtio_queue_notify',
  'virtio_notify',
  'virtqueue_pop',
  'virtqueue_fill',
  'virtqueue_flush',
  'virtio_blk_handle_read',
  'virtio_blk_handle_write',
  'virtio_blk_req_complete',
  // Devices.
  'virtio_balloon_to_target',
  'virtio_net_announce_notify',
  // The monitor.
  'handle_qmp_command',
  'handle_hmp_command',
  'monitor_protocol_event_emit',
] as const;
export type TraceName = (typeof TRACE_EVENTS)[number];

export function isTraceName(name: string): name is TraceName {
  return (TRACE_EVENTS as readonly string[]).includes(name);
}

export class Trace {
  readonly #on = new Set<TraceName>();
  readonly #listeners = new Set<(line: string) => void>();
  readonly #changed: (() => void)[] = [];

  /** Ask before a line is put together. */
  isOn(name: TraceName): boolean {
    return this.#on.has(name);
  }

  /** Whether anything is on. */
  get active(): boolean {
    return this.#on.size > 0;
  }

  set(name: TraceName, enabled: boolean): void {
    if (this.#on.has(name) === enabled) return;
    if (enabled) this.#on.add(name);
    else this.#on.delete(name);
    for (const changed of this.#changed) changed();
  }

  /** Called when an event was turned on or off. */
  onChange(listener: () => void): void {
    this.#changed.push(listener);
  }

  /** @returns ends it */
  onLine(listener: (line: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** A line, if the event is on. */
  emit(name: TraceName, text: string): void {
    if (!this.#on.has(name)) return;
    for (const listener of this.#listeners) listener(`${name} ${text}`);
  }
}

/** Glob matching (* and ?) in linear space and without backtracking into earlier stars. */
export function matchesPattern(pattern: string, name: string): boolean {
  let p = 0;
  let n = 0;
  let star = -1;
  let mark = 0;
  while (n < name.length) {
    if (p < pattern.length && (pattern[p] === '?' || pattern[p] === name[n])) {
      p++;
      n++;
    } else if (pattern[p] === '*') {
      star = p++;
      mark = n;
    } else if (star >= 0) {
      p = star + 1;
      n = ++mark;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
