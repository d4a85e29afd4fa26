/** The inspector of a machine that is a script: a test says what is seen, and controls are kept as a real queue's gate has them. */
import type { CaptureStateView, PacketCapture } from '../../../core/api/capture.ts';
import type { ActiveQueue, QueueBatch, QueueCommand, QueueControl, QueueProfile } from '../../../core/api/inspect.ts';
import type { LintFinding } from '../../../core/api/lint.ts';
import type { QueueView } from '../../../core/api/queue-view.ts';
import { RingsideError } from '../../../core/errors.ts';
import { QueueGate } from '../../../core/inspect/queue-gate.ts';
import { queueDecoder } from '../../../core/virtio/decoders.ts';
import type { MachineInspection } from '../../../main/app/machine.ts';

type Listener = Parameters<MachineInspection['watch']>[2];

export class FakeInspection implements MachineInspection {
  readonly #devices: () => readonly { id: string; type: string; queues: readonly { name: string }[] }[];
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #gates = new Map<string, QueueGate>();

  /** @param devices those that the machine has */
  constructor(devices: () => readonly { id: string; type: string; queues: readonly { name: string }[] }[]) {
    this.#devices = devices;
  }

  async watch(device: string, queue: number, listener: Listener) {
    const profile = this.profile(device, queue);
    const key = `${device} ${queue}`;
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners);
    listeners.add(listener);
    return { profile, epoch: Date.now(), close: () => listeners.delete(listener) };
  }

  async control(device: string, queue: number, command: QueueCommand): Promise<QueueControl> {
    this.profile(device, queue);
    const key = `${device} ${queue}`;
    const gate = this.#gates.get(key) ?? new QueueGate(() => 0);
    this.#gates.set(key, gate);
    gate.obey(command);
    return gate.state;
  }

  /** What view() gives; the page's own tests say what it is. */
  queueView: QueueView | null = null;

  async view(device: string, queue: number): Promise<QueueView> {
    this.profile(device, queue);
    if (this.queueView === null)
      throw new RingsideError('bad-state', `Queue ${queue} of ${device} has not been set up by the driver.`);
    return { ...this.queueView, device, queue };
  }

  /** What drivers are said to have done, by device. */
  readonly found = new Map<string, LintFinding[]>();

  async findings(device: string, clear: boolean): Promise<LintFinding[]> {
    const findings = this.found.get(device) ?? [];
    if (clear) this.found.delete(device);
    return findings;
  }

  /** Captures that go on, and what they have, by "device queue". */
  readonly captures = new Map<string, CaptureStateView>();
  /** Cards whose packets are captured, and the files. */
  readonly packets = new Map<string, string>();

  async capture(
    device: string,
    queue: number,
    options?: { file: string; limit: number; keep: number } | null,
  ): Promise<CaptureStateView | null> {
    this.profile(device, queue);
    const key = `${device} ${queue}`;
    if (options) {
      const { file, limit } = options;
      this.captures.set(key, { file, limit, requests: 0, leftOut: 0, bytes: 0, error: null });
    }
    const state = this.captures.get(key) ?? null;
    if (options === null) this.captures.delete(key);
    return state;
  }

  async capturePackets(device: string, file?: string | null): Promise<PacketCapture | null> {
    if (file === null) this.packets.delete(device);
    else if (file !== undefined) this.packets.set(device, file);
    const going = this.packets.get(device);
    return going === undefined ? null : { device, file: going };
  }

  async active(): Promise<ActiveQueue[]> {
    return this.#devices().flatMap(({ id, queues }) =>
      queues.flatMap((_, queue) => {
        const state = this.#gates.get(`${id} ${queue}`)?.state;
        const control = state?.active ? state : null;
        const capturing = this.captures.has(`${id} ${queue}`);
        return control === null && !capturing ? [] : [{ device: id, queue, control, capturing }];
      }),
    );
  }

  async clearAll(): Promise<void> {
    for (const gate of this.#gates.values()) gate.obey({ op: 'clear' });
  }

  /** RAM in which each byte is the lowest of its address. */
  bytes(address: bigint, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => Number(address & 0xffn) + i);
  }

  /** How many watch a queue. */
  watchers(device: string, queue: number): number {
    return this.#listeners.get(`${device} ${queue}`)?.size ?? 0;
  }

  /** Shows a batch to those who watch. */
  show(device: string, queue: number, batch: QueueBatch): void {
    for (const listener of this.#listeners.get(`${device} ${queue}`) ?? []) listener.batch(batch);
  }

  /** The machine is gone. */
  end(): void {
    for (const listeners of this.#listeners.values()) for (const listener of [...listeners]) listener.ended();
    this.#listeners.clear();
  }

  profile(device: string, queue: number): QueueProfile {
    const found = this.#devices().find(({ id }) => id === device);
    if (found?.queues[queue] === undefined)
      throw new RingsideError('not-found', `there is no queue ${queue} of "${device}".`);
    const { purpose, types, statuses, detail } = queueDecoder(found.type, found.queues[queue].name);
    return { purpose, types: [...types], statuses: [...statuses], detail };
  }
}
