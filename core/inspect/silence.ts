/**
 * Buffers that were made available and of which the device was never told: section 2.7.10.1 wants a notification where the
 * device asks for one. Whether none comes is seen in two looks with time between them: a driver may be on its way to the
 * doorbell, and a thread of a busy host too.
 */
import { CONTROL_BASE, CTL_RUN, RUN_RUNNING } from '../worker/layout.ts';
import { queueDecoder } from '../virtio/decoders.ts';
import { inspectSlot } from '../virtio/inspect.ts';
import { readQueueStats } from '../virtio/queue/queue-stats.ts';
import type { VirtioTransport } from '../virtio/transport/transport.ts';

/** Silence of so long is no accident, ms. */
const LONG_MS = 3000;

interface Silence {
  /** All that would have moved. */
  readonly mark: string;
  /** ms of performance.now(). */
  readonly since: number;
  told: boolean;
}

export class SilenceLinter {
  readonly #buffer: SharedArrayBuffer;
  readonly #now: () => number;
  readonly #silences = new Map<string, Silence>();

  /** @param now ms */
  constructor(buffer: SharedArrayBuffer, now: () => number = () => performance.now()) {
    this.#buffer = buffer;
    this.#now = now;
  }

  /** Looks at all queues of a device that its driver uses for requests: others are filled when there is something. */
  async look(transport: VirtioTransport): Promise<void> {
    for (const { index, running } of transport.queues) {
      const key = `${transport.device.id} ${index}`;
      const { purpose } = queueDecoder(transport.device.type, transport.queueName(index));
      const found =
        running && purpose === 'requests' && this.#machineRuns() ? await waiting(this.#buffer, transport, index) : null;
      const before = this.#silences.get(key);
      if (found === null) this.#silences.delete(key);
      else if (before?.mark !== found.mark) {
        this.#silences.set(key, { mark: found.mark, since: this.#now(), told: false });
      } else if (!before.told && this.#now() - before.since >= LONG_MS) {
        before.told = true;
        transport.found('notify-missing', index, () => found.detail);
      }
    }
  }

  #machineRuns(): boolean {
    return Atomics.load(new Int32Array(this.#buffer, CONTROL_BASE + CTL_RUN, 1), 0) === RUN_RUNNING;
  }
}

/** null: nothing waits in the queue, or the device knows, or has not asked to be told. */
async function waiting(
  buffer: SharedArrayBuffer,
  transport: VirtioTransport,
  index: number,
): Promise<{ mark: string; detail: string } | null> {
  const control = await transport.controlQueue(index, { op: 'state' }).catch(() => null);
  const look = await transport.inspection(index).catch(() => null);
  if (control === null || control.active || look === null || look.held.length > 0) return null;
  const { avail, used, packed } = inspectSlot(look, null);
  if (packed || avail.idx === null) return null;
  const { lastAvailIdx } = readQueueStats(buffer, transport.slot, index);
  const ahead = (avail.idx - lastAvailIdx) & 0xffff;
  // With VIRTIO_F_EVENT_IDX it is asked for at avail_event, otherwise by flags of 0.
  const asked = used.event === null ? (used.flags & 1) === 0 : used.event === (lastAvailIdx & 0xffff);
  if (ahead === 0 || !asked) return null;
  const doorbell = transport.doorbell(index);
  return {
    mark: `${avail.idx} ${lastAvailIdx} ${doorbell}`,
    detail: `${ahead} buffers wait from index ${lastAvailIdx & 0xffff} on, ${
      used.event === null ? 'used.flags is 0' : `avail_event is ${used.event}`
    }, and the doorbell is silent`,
  };
}
