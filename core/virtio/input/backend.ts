/** The I/O worker's half of virtio-input: events to the driver, LEDs and the like from it. */
import type { BackendContext, VirtioBackend } from '../backend/backend.ts';
import type { DescriptorChain } from '../queue/descriptor-chain.ts';
import { QueueFault } from '../queue/queue-fault.ts';
import type { RunningQueue } from '../queue/running-queue.ts';
import {
  EV_LED,
  EV_SND,
  INPUT_EVENTQ,
  INPUT_EVENT_CODE,
  INPUT_EVENT_SIZE,
  INPUT_EVENT_TYPE,
  INPUT_EVENT_VALUE,
  INPUT_STATUSQ,
} from '../spec/input.ts';

/** Events from the control thread: groups of struct virtio_input_event, each ended by SYN_REPORT. */
export interface InputChange {
  readonly groups: readonly Uint8Array[];
}

/** [type, code, value] of what the driver has switched. */
export interface InputReport {
  readonly status: readonly (readonly [number, number, number])[];
}

/** Events that wait for a driver that is slow; what comes then is dropped, a group at a time. */
const BACKLOG_EVENTS = 1024;
const TURN_BUFFERS = 64;
/** The control thread hears of LEDs so often at most, ms; in between the last state counts. */
const REPORT_INTERVAL = 10;
/** LEDs and sounds have codes below this. */
const STATUS_CODES = 16;

export function createInputBackend(_options: unknown, context: BackendContext): VirtioBackend {
  return new InputBackend(context);
}

export class InputBackend implements VirtioBackend {
  readonly #context: BackendContext;
  #eventq: RunningQueue | null = null;
  #statusq: RunningQueue | null = null;
  #backlog: Uint8Array[] = [];
  #backlogEvents = 0;
  /** Buffers taken for a group that needs more. */
  #buffers: DescriptorChain[] = [];
  /** There are events, but the driver has no buffer: its notification will say when. */
  #starved = false;
  /** What the control thread does not know yet, by type and code. */
  readonly #status = new Map<number, readonly [number, number, number]>();
  #reportAt = -Infinity;

  constructor(context: BackendContext) {
    this.#context = context;
  }

  start(queues: readonly RunningQueue[]): void {
    for (const queue of queues) {
      if (queue.index === INPUT_EVENTQ) this.#eventq = queue;
      if (queue.index === INPUT_STATUSQ) this.#statusq = queue;
    }
    this.#starved = false;
  }

  stop(queues: readonly number[]): void {
    if (queues.includes(INPUT_STATUSQ)) this.#statusq = null;
    if (!queues.includes(INPUT_EVENTQ)) return;
    this.#eventq = null;
    this.#buffers = [];
    this.#backlog = [];
    this.#backlogEvents = 0;
  }

  configure(change: unknown): void {
    const eventq = this.#eventq;
    // Without a driver nobody is there to see them.
    if (!eventq) return;
    for (const group of (change as InputChange).groups) {
      const events = group.length / INPUT_EVENT_SIZE;
      if (events > eventq.size || this.#backlogEvents + events > BACKLOG_EVENTS) continue;
      this.#backlog.push(group);
      this.#backlogEvents += events;
    }
  }

  isDue(queue: number): boolean {
    if (queue === INPUT_EVENTQ) return !this.#starved && this.#backlog.length > 0;
    return this.#status.size > 0 && this.#context.now() >= this.#reportAt;
  }

  deadline(): number {
    return this.#status.size > 0 ? this.#reportAt : Infinity;
  }

  serve(queue: number): boolean {
    if (queue === INPUT_EVENTQ) return this.#eventq !== null && this.#send(this.#eventq);
    return this.#statusq !== null && this.#receive(this.#statusq);
  }

  /** A group goes when there is a buffer for each of its events, so that the driver never sees half of one. */
  #send(queue: RunningQueue): boolean {
    this.#starved = false;
    for (let turn = 0; turn < TURN_BUFFERS; turn++) {
      const group = this.#backlog[0];
      if (!group) {
        queue.disableNotifications();
        queue.flush();
        return false;
      }
      const events = group.length / INPUT_EVENT_SIZE;
      if (this.#buffers.length < events) {
        const chain = queue.pop();
        if (chain) {
          if (chain.writable.length < INPUT_EVENT_SIZE) {
            throw new QueueFault('bad-request', `chain ${chain.head}: no room for an event of 8 bytes (5.8.6.1)`);
          }
          this.#buffers.push(chain);
        } else if (!queue.enableNotifications()) {
          this.#starved = true;
          return false;
        }
        continue;
      }
      for (const [i, chain] of this.#buffers.splice(0, events).entries()) {
        chain.writable.copyIn(0, group.subarray(i * INPUT_EVENT_SIZE, (i + 1) * INPUT_EVENT_SIZE));
        queue.push(chain, INPUT_EVENT_SIZE);
      }
      queue.flush();
      this.#backlog.shift();
      this.#backlogEvents -= events;
    }
    return true;
  }

  /** Section 5.8.6.2: the driver's feedback. */
  #receive(queue: RunningQueue): boolean {
    const bytes = new Uint8Array(INPUT_EVENT_SIZE);
    const view = new DataView(bytes.buffer);
    let more = true;
    for (let turn = 0; turn < TURN_BUFFERS && more; turn++) {
      const chain = queue.pop();
      if (!chain) {
        queue.flush();
        more = queue.enableNotifications();
        continue;
      }
      if (chain.readable.copyOut(0, bytes) < INPUT_EVENT_SIZE) {
        throw new QueueFault('bad-request', `chain ${chain.head}: an event has 8 bytes (5.8.6)`);
      }
      const type = view.getUint16(INPUT_EVENT_TYPE, true);
      const code = view.getUint16(INPUT_EVENT_CODE, true);
      if ((type === EV_LED || type === EV_SND) && code < STATUS_CODES) {
        this.#status.set((type << 16) | code, [type, code, view.getInt32(INPUT_EVENT_VALUE, true)]);
      }
      queue.push(chain, 0);
    }
    queue.flush();
    this.#report();
    return more;
  }

  #report(): void {
    const now = this.#context.now();
    if (this.#status.size === 0 || now < this.#reportAt) return;
    const detail: InputReport = { status: [...this.#status.values()] };
    this.#context.report({ kind: 'device', detail });
    this.#status.clear();
    this.#reportAt = now + REPORT_INTERVAL;
  }
}
