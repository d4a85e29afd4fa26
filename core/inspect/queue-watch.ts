/** The hook of a watched queue, on the I/O worker: writes its events, and asks the gate, as far as either is there. */
import type { QueueCommand, QueueControl } from '../api/inspect.ts';
import { NO_STATUS } from '../virtio/decoder.ts';
import type { QueueDecoder, RequestSummary } from '../virtio/decoder.ts';
import type { DescriptorChain } from '../virtio/queue/descriptor-chain.ts';
import type { HookedQueue, QueueHook } from '../virtio/queue/queue-hook.ts';
import { CaptureWriter } from './capture-writer.ts';
import type { CaptureOptions, CaptureState } from './capture-writer.ts';
import { eventClock } from './clock.ts';
import {
  EVENT_AVAILABLE,
  EVENT_ENDED,
  EVENT_FAULT,
  EVENT_INJECTED,
  EVENT_NOTIFIED,
  EVENT_POPPED,
  EVENT_PUBLISHED,
  EVENT_PUSHED,
  EVENT_STARTED,
  EVENT_STOPPED,
  EventWriter,
  INTERRUPT_DROPPED,
  INTERRUPT_SENT,
  INTERRUPT_SUPPRESSED,
} from './event-ring.ts';
import { QueueGate } from './queue-gate.ts';
import type { QueueLinter } from './queue-linter.ts';

const INJECTED_ERROR = 1;
const INJECTED_DELAY = 2;

/** Where events go; survives structured clone. */
export interface ObservationSpec {
  readonly ring: SharedArrayBuffer;
  /** ms of monotonicNow() at which the ring's clock shows 0. */
  readonly epoch: number;
}

export class QueueWatch implements QueueHook {
  #decoder: QueueDecoder;
  readonly #linter: QueueLinter;
  readonly #ownClock = eventClock(0);
  #queue: HookedQueue | null = null;
  #writer: EventWriter | null = null;
  #gate: QueueGate | null = null;
  #capture: CaptureWriter | null = null;
  /** Between #ownClock and the capture's times, ns. */
  #captureOffset = 0;
  readonly #summary: RequestSummary = { type: 0, detail: 0, span: 0 };
  /** When the ring's last EVENT_AVAILABLE was, of which nothing has been taken yet; NaN: there is none. */
  #justSeen = NaN;
  /** When the device saw what it takes now, ns of #ownClock. */
  #seen = 0;

  /** @param linter looks on while there is a ring */
  constructor(decoder: QueueDecoder, linter: QueueLinter) {
    this.#decoder = decoder;
    this.#linter = linter;
  }

  // ---- what the control thread wants ---------------------------------------------------------------------------------

  observe(spec: ObservationSpec | null): void {
    this.#writer = spec && new EventWriter(spec.ring, eventClock(spec.epoch));
    if (spec && this.#queue) this.#writer!.record(EVENT_STARTED, 0, 0, 0, 0);
  }

  control(command: QueueCommand): QueueControl {
    const gate = this.#gate ?? new QueueGate(this.#ownClock);
    gate.obey(command);
    this.#gate = gate.idle ? null : gate;
    return gate.state;
  }

  /** Begins a capture. @throws RingsideError 'io' */
  capture(options: CaptureOptions): void {
    const writer = new CaptureWriter(options);
    this.#capture?.close();
    this.#capture = writer;
    this.#captureOffset = this.#ownClock() - eventClock(options.epoch)();
  }

  get captured(): CaptureState | null {
    return this.#capture && this.#capture.state;
  }

  endCapture(): CaptureState | null {
    const state = this.#capture && this.#capture.close();
    this.#capture = null;
    return state;
  }

  /** Nobody watches: the queue can do without its hook. */
  get idle(): boolean {
    return this.#writer === null && this.#capture === null && (this.#gate === null || this.#gate.idle);
  }

  // ---- the life of the queue -----------------------------------------------------------------------------------------

  /** The queue runs from now on. */
  started(queue: HookedQueue, position: number, decoder: QueueDecoder): void {
    this.#queue = queue;
    this.#decoder = decoder;
    this.#justSeen = NaN;
    this.#writer?.record(EVENT_STARTED, 0, 0, position, 0);
  }

  /** The queue is about to stop: gives back what the gate keeps. */
  ending(): void {
    const queue = this.#queue;
    if (queue === null) return;
    this.#gate?.takeDue((chain, written) => this.#put(chain, written), true);
    const parked = this.#gate?.ended();
    if (parked) queue.putBack(parked);
    this.#writer?.record(EVENT_ENDED, 0, 0, 0, 0);
    this.#queue = null;
  }

  /** When the queue is to be served whatever its doorbell says, in ms of performance.now(); Infinity for never. */
  get deadline(): number {
    if (this.#gate === null) return Infinity;
    const due = this.#gate.deadline;
    return due === Infinity ? Infinity : performance.now() + (due - this.#ownClock()) / 1e6;
  }

  /** Puts what has been delayed long enough; it is to be flushed. */
  serve(): void {
    this.#gate?.takeDue((chain, written) => this.#put(chain, written));
  }

  // ---- between ring and back end -------------------------------------------------------------------------------------

  get closed(): boolean {
    return this.#gate !== null && this.#gate.closed;
  }

  pop(): DescriptorChain | null {
    const gate = this.#gate;
    const queue = this.#queue!;
    if (gate === null) {
      const chain = queue.take();
      if (chain !== null) this.#popped(chain);
      else if (this.#writer !== null) this.#linter.empty();
      return chain;
    }
    for (;;) {
      if (gate.closed) return null;
      let chain = gate.unpark();
      if (chain !== null) {
        this.#decoder.summarize(chain.readable, chain.writable, this.#summary);
      } else {
        chain = queue.take();
        if (chain === null) {
          if (this.#writer !== null) this.#linter.empty();
          return null;
        }
        this.#popped(chain);
        if (this.#writer === null) this.#decoder.summarize(chain.readable, chain.writable, this.#summary);
        if (gate.stopsAt(chain, this.#summary, lengthOf(chain))) {
          this.#writer?.record(EVENT_STOPPED, 0, chain.head, chain.position, 0);
          return null;
        }
      }
      const error = gate.error(this.#summary, lengthOf(chain));
      if (error === null) {
        if (gate.entered(chain, this.#summary, lengthOf(chain))) this.#injected(INJECTED_DELAY, chain);
        return chain;
      }
      this.#injected(INJECTED_ERROR, chain);
      const status = error >= 0 ? error : (this.#decoder.statuses[0]?.code ?? 0);
      this.#put(chain, this.#decoder.refuse(chain.readable, chain.writable, status));
    }
  }

  #popped(chain: DescriptorChain): void {
    const writer = this.#writer;
    if (this.#gate !== null || this.#capture !== null) {
      chain.taken = this.#ownClock();
      chain.seen = this.#seen || chain.taken;
    } else {
      chain.seen = 0;
    }
    if (writer === null) return;
    const summary = this.#summary;
    this.#decoder.summarize(chain.readable, chain.writable, summary);
    this.#linter.chain(chain);
    const { head, position } = chain;
    // What is taken as soon as it is seen is taken at the same time.
    const time = Number.isNaN(this.#justSeen) ? undefined : this.#justSeen;
    this.#justSeen = NaN;
    writer.record(EVENT_POPPED, summary.type, head, position, lengthOf(chain), summary.detail, time);
  }

  #injected(what: number, chain: DescriptorChain): void {
    this.#writer?.record(EVENT_INJECTED, what, chain.head, chain.position, 0);
  }

  push(chain: DescriptorChain, written: number): void {
    const gate = this.#gate;
    if (gate !== null) {
      if (gate.looksAtLatency) this.#decoder.summarize(chain.readable, chain.writable, this.#summary);
      const latency = chain.seen === 0 ? 0 : this.#ownClock() - chain.seen;
      if (gate.leaves(chain, written, this.#summary, lengthOf(chain), latency)) return;
      if (gate.closed) this.#writer?.record(EVENT_STOPPED, 1, chain.head, chain.position, 0);
    }
    this.#put(chain, written);
  }

  #put(chain: DescriptorChain, written: number): void {
    const writer = this.#writer;
    if (this.#capture !== null && chain.seen !== 0) this.#record(this.#capture, chain, written);
    if (writer !== null) {
      const status = this.#decoder.status(chain.readable, chain.writable, written);
      writer.record(EVENT_PUSHED, status & NO_STATUS, chain.head, chain.position, written);
    }
    // While the driver cannot know yet that the chain is its own again.
    if (writer !== null) this.#linter.given(chain);
    this.#queue!.put(chain, written);
  }

  #record(capture: CaptureWriter, chain: DescriptorChain, written: number): void {
    const { head, position, readable, writable } = chain;
    const decoder = this.#decoder;
    const summary = { type: 0, detail: 0, span: 0 };
    decoder.summarize(readable, writable, summary);
    const now = this.#ownClock();
    const times = [chain.seen, chain.taken, now, now].map((time) => time - this.#captureOffset);
    const [low, high] = [summary.detail % 2 ** 32, Math.floor(summary.detail / 2 ** 32)];
    const status = decoder.status(readable, writable, written) & NO_STATUS;
    capture.request(
      times,
      [head, position, lengthOf(chain), written, summary.type, status, low, high],
      readable,
      writable,
    );
  }

  available(position: number, entries: number): void {
    if (this.#gate !== null || this.#capture !== null) this.#seen = this.#ownClock();
    if (this.#writer === null) return;
    this.#linter.available(entries);
    this.#justSeen = this.#writer.record(EVENT_AVAILABLE, 0, 0, position, entries);
  }

  published(count: number, wanted: boolean): boolean {
    const sends = wanted && !(this.#gate !== null && this.#gate.dropsInterrupt());
    const fate = sends ? INTERRUPT_SENT : wanted ? INTERRUPT_DROPPED : INTERRUPT_SUPPRESSED;
    if (this.#writer !== null) {
      this.#linter.published(count);
      this.#writer.record(EVENT_PUBLISHED, fate, 0, 0, count);
    }
    return sends;
  }

  notified(count: number): void {
    if (this.#writer === null) return;
    this.#linter.notified(count);
    this.#writer.record(EVENT_NOTIFIED, 0, 0, 0, count);
  }

  armed(position: number): void {
    if (this.#writer !== null) this.#linter.armed(position);
  }

  failed(code: number): void {
    this.#writer?.record(EVENT_FAULT, code, 0, 0, 0);
  }
}

function lengthOf(chain: DescriptorChain): number {
  return chain.readable.length + chain.writable.length;
}
