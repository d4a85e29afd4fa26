/**
 * What an I/O worker does: serves the doorbells of the running queues it owns and the byte rings behind them, obeys the
 * control thread, and sleeps on its wait word when there is nothing to do.
 */
import { receiveMessageOnPort } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';

import { RingsideError, errorLine } from '../errors.ts';
import type { Host } from '../host/host.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import type { BackendFactory } from '../virtio/backend/backend.ts';
import type { InterruptSink, InterruptSpec } from '../virtio/transport/interrupt.ts';
import { AdaptivePoll } from './adaptive-poll.ts';
import type { PollTuning } from './adaptive-poll.ts';
import { DeviceRunner } from './device-runner.ts';
import { FdDoors } from './fd-doors.ts';
import type { IoThreadMessage, IoThreadRequest, NumberedRequest } from './iothread-messages.ts';
import {
  IOTHREAD_BASE,
  IOTHREAD_STRIDE,
  IOT_POLL_GROW,
  IOT_POLL_MAX_NS,
  IOT_POLL_SHRINK,
  IOT_SLEEPING,
  IOT_WAKE,
} from './layout.ts';

type RingFds = Extract<IoThreadRequest, { op: 'ring-fds' }>;

/** Looks at the wait word between two at the clock. */
const POLL_LOOKS = 16;

export interface IoLoopOptions {
  memory: GuestMemory;
  /** Which wait block is this worker's own. */
  index: number;
  port: MessagePort;
  irq: InterruptSink;
  host: Host;
  /** By BackendInit.type. */
  backends: Readonly<Record<string, BackendFactory>>;
  /** An eventfd that is rung when the wait word is: the worker then sleeps on descriptors. */
  wakeFd?: number;
}

export class IoLoop {
  readonly #options: IoLoopOptions;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #devices = new Map<number, DeviceRunner>();
  readonly #poll = new AdaptivePoll();
  readonly #doors: FdDoors | null;
  #quiesced = false;
  #quit = false;

  constructor(options: IoLoopOptions) {
    this.#options = options;
    const block = IOTHREAD_BASE + options.index * IOTHREAD_STRIDE;
    this.#words = new Int32Array(options.memory.memory.buffer as SharedArrayBuffer, block, IOTHREAD_STRIDE / 4);
    const { host, wakeFd } = options;
    this.#doors =
      wakeFd === undefined
        ? null
        : new FdDoors(host, wakeFd, {
            kicked: (slot, queue, count) => this.#devices.get(slot)?.kicked(queue, count),
            lost: (slot, queue, why) => this.#send({ type: 'kick-lost', slot, queue, why }),
            ready: (fd) => this.#send({ type: 'ready', fd }),
          });
  }

  /** Runs until the control thread says 'quit'. Blocks the thread. */
  run(): void {
    while (!this.#quit) {
      // Who has work for us bumps the word behind it: read before looking, it tells afterwards whether anything came.
      const wake = Atomics.load(this.#words, IOT_WAKE / 4);
      const more = this.turn();
      if (this.#quit) break;
      if (!more) this.#idle(wake);
      else this.#doors?.look(0);
    }
  }

  /**
   * Looks at everything once.
   *
   * @returns whether there is more to do at once
   */
  turn(): boolean {
    this.#readMessages();
    if (this.#quiesced) return false;
    let more = false;
    for (const device of this.#devices.values()) if (device.turn()) more = true;
    return more;
  }

  #idle(wake: number): void {
    const tuning = this.#tuning();
    // A machine that is paused, and a worker that is to do without, burn nothing.
    if (tuning.pollMaxNs === 0 || this.#quiesced) return this.#sleep(wake);
    const start = performance.now();
    if (!this.#pollUntil(wake, start + this.#poll.nanoseconds(tuning) / 1e6)) this.#sleep(wake);
    this.#poll.learn((performance.now() - start) * 1e6, tuning);
  }

  #tuning(): PollTuning {
    const word = (offset: number): number => Atomics.load(this.#words, offset / 4);
    return { pollMaxNs: word(IOT_POLL_MAX_NS), pollGrow: word(IOT_POLL_GROW), pollShrink: word(IOT_POLL_SHRINK) };
  }

  /** Looks for work until `end`; whether there is any. Who brings it need not make a system call meanwhile. */
  #pollUntil(wake: number, end: number): boolean {
    const deadline = Math.min(end, performance.now() + this.#timeout());
    do {
      for (let i = 0; i < POLL_LOOKS; i++) if (Atomics.load(this.#words, IOT_WAKE / 4) !== wake) return true;
    } while (performance.now() < deadline);
    return false;
  }

  #sleep(wake: number): void {
    Atomics.store(this.#words, IOT_SLEEPING / 4, 1);
    if (this.#doors === null) Atomics.wait(this.#words, IOT_WAKE / 4, wake, this.#timeout());
    else if (Atomics.load(this.#words, IOT_WAKE / 4) === wake) this.#doors.look(pollTimeout(this.#timeout()));
    Atomics.store(this.#words, IOT_SLEEPING / 4, 0);
  }

  /** Milliseconds to the earliest deadline. */
  #timeout(): number {
    if (this.#quiesced) return Infinity;
    let deadline = Infinity;
    for (const device of this.#devices.values()) deadline = Math.min(deadline, device.deadline);
    return deadline === Infinity ? Infinity : Math.max(0, deadline - performance.now());
  }

  #readMessages(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#options.port);
      if (!received) return;
      const request = received.message as NumberedRequest;
      try {
        this.#send({ type: 'reply', seq: request.seq, value: this.#obey(request) });
      } catch (error) {
        // What the user gave (an image that is gone) is refused; anything else is a fault of ours and ends the worker.
        if (!(error instanceof RingsideError)) throw error;
        this.#send({ type: 'refusal', seq: request.seq, kind: error.kind, message: errorLine(error) });
      }
      if (this.#quit) return;
    }
  }

  #obey(request: IoThreadRequest): unknown {
    switch (request.op) {
      case 'attach':
        return this.#attach(request.slot, request.interrupt, request.backend);
      case 'detach':
        this.#device(request.slot).close();
        this.#devices.delete(request.slot);
        return null;
      case 'activate':
        return this.#device(request.slot).activate(request.queues, request.activation);
      case 'deactivate':
        return this.#device(request.slot).deactivate(request.queues);
      case 'held':
        return this.#device(request.slot).held(request.queue);
      case 'observe':
        return this.#device(request.slot).observe(request.queue, request.spec);
      case 'control':
        return this.#device(request.slot).control(request.queue, request.command);
      case 'capture':
        return this.#device(request.slot).capture(request.queue, request.options);
      case 'findings':
        return this.#device(request.slot).findings(request.clear);
      case 'configure':
        return this.#device(request.slot).configure(request.change);
      case 'ring-fds':
        this.#setRingFds(request);
        return null;
      case 'watch-fd':
        this.#doors?.watch(request.fd, request.write);
        return null;
      case 'unwatch-fd':
        this.#doors?.unwatch(request.fd);
        return null;
      case 'quiesce':
        this.#quiesced = true;
        return null;
      case 'resume':
        this.#quiesced = false;
        for (const device of this.#devices.values()) device.resumed();
        return null;
      case 'quit':
        for (const device of this.#devices.values()) device.close();
        this.#devices.clear();
        this.#quit = true;
        return null;
    }
  }

  #setRingFds({ slot, queue, kick, call }: RingFds): void {
    if (kick !== undefined) this.#doors?.setKick(slot, queue, kick);
    if (call !== undefined) this.#device(slot).setCall(queue, call);
  }

  #attach(slot: number, interrupt: InterruptSpec, backend: { type: string; options: unknown }): null {
    const { memory, irq: sink, host, backends, index } = this.#options;
    const factory = Object.hasOwn(backends, backend.type) ? backends[backend.type] : undefined;
    if (!factory) throw new RingsideError('internal', `No I/O worker back end is called "${backend.type}".`);
    const runner = new DeviceRunner({
      memory,
      slot,
      type: backend.type,
      interrupt,
      sink,
      host,
      waitBlock: IOTHREAD_BASE + index * IOTHREAD_STRIDE,
      send: (message) => this.#send(message),
      make: (context) => factory(backend.options, context),
    });
    this.#devices.set(slot, runner);
    return null;
  }

  #device(slot: number): DeviceRunner {
    const device = this.#devices.get(slot);
    if (!device) throw new RingsideError('internal', `This I/O worker has no device in slot ${slot}.`);
    return device;
  }

  #send(message: IoThreadMessage): void {
    this.#options.port.postMessage(message);
  }
}

/** Milliseconds as poll(2) takes them: whole, not too early, -1 for ever. */
function pollTimeout(milliseconds: number): number {
  return milliseconds === Infinity ? -1 : Math.min(Math.ceil(milliseconds), 2 ** 31 - 1);
}
