/** The control thread's handle of an I/O worker. */
import { MessageChannel, Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';

import type { QueueCommand, QueueControl } from '../api/inspect.ts';
import { RingsideError, errorLine } from '../errors.ts';
import type { ErrorKind } from '../errors.ts';
import type { HostSpec } from '../host/host.ts';
import type { CaptureOptions, CaptureState } from '../inspect/capture-writer.ts';
import type { ObservationSpec } from '../inspect/queue-watch.ts';
import type { GuestMemoryHandle } from '../memory/guest-memory.ts';
import type { HeldBuffers, QueueId, QueueServer, QueueServerListener } from '../virtio/backend/queue-server.ts';
import type { BackendInit } from '../virtio/device.ts';
import type { RuleCount } from '../virtio/lint/findings.ts';
import type { RunningQueueConfig } from '../virtio/queue/running-queue.ts';
import type { InterruptSpec } from '../virtio/transport/interrupt.ts';
import type {
  DeactivateReply,
  IoThreadData,
  IoThreadMessage,
  IoThreadRequest,
  PollingWorkerData,
} from './iothread-messages.ts';
import { DEFAULT_TUNING } from './adaptive-poll.ts';
import type { IoThreadTuning } from './adaptive-poll.ts';
import {
  IOTHREAD_BASE,
  IOTHREAD_STRIDE,
  IOT_MAX_BATCH,
  IOT_POLL_GROW,
  IOT_POLL_MAX_NS,
  IOT_POLL_SHRINK,
  IOT_SLEEPING,
  IOT_WAKE,
  MAX_IOTHREADS,
} from './layout.ts';

export interface IoThreadOptions {
  guest: GuestMemoryHandle;
  /** 0..MAX_IOTHREADS-1, unique in the machine. */
  index: number;
  /** The engine's compiled module, or the descriptors that the worker sleeps on instead of the wait word. */
  engine: WebAssembly.Module | PollingOptions;
  host: HostSpec;
  /** The worker's entry point; by default core/worker/iothread.ts. */
  entry?: URL;
  /** The worker has ended though nobody asked it to. Its devices do nothing more; their disks are intact. */
  onCrash(error: RingsideError): void;
}

/** For queues whose drivers are in other processes. */
export interface PollingOptions {
  /** An eventfd, the caller's. */
  readonly wakeFd: number;
  /** Rings it. */
  wake(): void;
  /** A descriptor that was watched is ready, or broken; it is not watched any more. */
  onReady(fd: number): void;
  /** A queue's kick descriptor is of no use. */
  onKickLost(slot: number, queue: number, why: string): void;
}

const TUNING_WORDS: Readonly<Record<keyof IoThreadTuning, number>> = {
  pollMaxNs: IOT_POLL_MAX_NS,
  pollGrow: IOT_POLL_GROW,
  pollShrink: IOT_POLL_SHRINK,
  maxBatch: IOT_MAX_BATCH,
};

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class IoThreadHandle implements QueueServer {
  readonly index: number;
  readonly #waitBlock: number;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #polling: PollingOptions | null;
  readonly #listeners = new Map<number, QueueServerListener>();
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<unknown>;
  #nextSeq = 1;
  /** Why no request can be made any more. */
  #ended: RingsideError | null = null;

  constructor({ guest, index, engine, host, entry, onCrash }: IoThreadOptions) {
    if (!Number.isInteger(index) || index < 0 || index >= MAX_IOTHREADS) throw new RangeError(`no I/O worker ${index}`);
    this.index = index;
    this.#waitBlock = IOTHREAD_BASE + index * IOTHREAD_STRIDE;
    const buffer = guest.memory.buffer as SharedArrayBuffer;
    this.#words = new Int32Array(buffer, this.#waitBlock, IOTHREAD_STRIDE / 4);

    this.tune(DEFAULT_TUNING);

    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#port.on('message', (message: IoThreadMessage) => this.#receive(message));
    this.#polling = 'wakeFd' in engine ? engine : null;
    const workerData: IoThreadData | PollingWorkerData =
      'wakeFd' in engine
        ? { guest, index, port: port2, wakeFd: engine.wakeFd, host }
        : { guest, index, port: port2, engine, host };
    const usual = this.#polling
      ? new URL('./polling-worker.ts', import.meta.url)
      : new URL('./iothread.ts', import.meta.url);
    this.#worker = new Worker(entry ?? usual, {
      name: `iothread${index}`,
      workerData,
      transferList: [port2],
    });
    let cause: unknown;
    this.#worker.on('error', (error) => (cause = error));
    this.#exited = new Promise((resolve) => this.#worker.once('exit', resolve)).then(() => {
      this.#port.close();
      if (this.#ended) return;
      const why = cause === undefined ? 'it ended by itself' : errorLine(cause);
      const crash = new RingsideError('internal', `I/O worker ${index} has crashed: ${why}. Reset or restart the VM.`, {
        cause,
      });
      this.#end(crash);
      for (const listener of this.#listeners.values()) listener.lost(crash);
      onCrash(crash);
    });
  }

  /** It was closed or has crashed. */
  get ended(): boolean {
    return this.#ended !== null;
  }

  waitBlockOf(): number {
    return this.#waitBlock;
  }

  async attach(
    slot: number,
    interrupt: InterruptSpec,
    backend: BackendInit,
    listener: QueueServerListener,
  ): Promise<void> {
    this.#listeners.set(slot, listener);
    await this.#request({ op: 'attach', slot, interrupt, backend });
  }

  async detach(slot: number): Promise<void> {
    await this.#request({ op: 'detach', slot });
    this.#listeners.delete(slot);
  }

  async activate(slot: number, queues: RunningQueueConfig[], activation: unknown): Promise<void> {
    await this.#request({ op: 'activate', slot, queues, activation });
  }

  async deactivate(slot: number, queues: number[] | null): Promise<DeactivateReply> {
    return (await this.#request({ op: 'deactivate', slot, queues })) as DeactivateReply;
  }

  async held(slot: number, queue: number): Promise<HeldBuffers | null> {
    return (await this.#request({ op: 'held', slot, queue })) as HeldBuffers | null;
  }

  async observe(slot: number, queue: QueueId, spec: ObservationSpec | null): Promise<void> {
    await this.#request({ op: 'observe', slot, queue, spec });
  }

  async control(slot: number, queue: QueueId, command: QueueCommand): Promise<QueueControl> {
    return (await this.#request({ op: 'control', slot, queue, command })) as QueueControl;
  }

  async capture(slot: number, queue: QueueId, options?: CaptureOptions | null): Promise<CaptureState | null> {
    return (await this.#request({ op: 'capture', slot, queue, options })) as CaptureState | null;
  }

  async findings(slot: number, clear: boolean): Promise<RuleCount[]> {
    return (await this.#request({ op: 'findings', slot, clear })) as RuleCount[];
  }

  async configure(slot: number, change: unknown): Promise<void> {
    await this.#request({ op: 'configure', slot, change });
  }

  /** When it resolves the worker touches nothing of guest RAM, until resume(). */
  async quiesce(): Promise<void> {
    await this.#request({ op: 'quiesce' });
  }

  async resume(): Promise<void> {
    await this.#request({ op: 'resume' });
  }

  /** What is not given stays as it is. It holds at once. */
  tune(tuning: Partial<IoThreadTuning>): void {
    for (const [name, value] of Object.entries(tuning) as [keyof IoThreadTuning, number][]) {
      Atomics.store(this.#words, TUNING_WORDS[name] / 4, value);
    }
  }

  get tuning(): IoThreadTuning {
    const word = (name: keyof IoThreadTuning): number => Atomics.load(this.#words, TUNING_WORDS[name] / 4);
    return {
      pollMaxNs: word('pollMaxNs'),
      pollGrow: word('pollGrow'),
      pollShrink: word('pollShrink'),
      maxBatch: word('maxBatch'),
    };
  }

  wake(): void {
    Atomics.add(this.#words, IOT_WAKE / 4, 1);
    if (Atomics.load(this.#words, IOT_SLEEPING / 4) === 0) return;
    if (this.#polling) this.#polling.wake();
    else Atomics.notify(this.#words, IOT_WAKE / 4);
  }

  /** Which eventfds stand for a queue's notifications and interrupts; null: none, left out: as before. */
  async setRingFds(slot: number, queue: number, fds: { kick?: number | null; call?: number | null }): Promise<void> {
    await this.#request({ op: 'ring-fds', slot, queue, ...fds });
  }

  /** Tells once, by onReady, when a descriptor can be read, or with `write` when it can be written too. */
  async watchFd(fd: number, write = false): Promise<void> {
    await this.#request({ op: 'watch-fd', fd, write });
  }

  async unwatchFd(fd: number): Promise<void> {
    await this.#request({ op: 'unwatch-fd', fd });
  }

  /** Ends the worker; requests that it is serving are finished. May be called twice, and after a crash. */
  async close(): Promise<void> {
    if (!this.#ended) {
      const quit = this.#request({ op: 'quit' });
      this.#ended = new RingsideError('bad-state', `I/O worker ${this.index} has ended.`);
      // A worker that crashes on its last errand has ended too.
      await Promise.race([quit.catch(() => {}), this.#exited]);
    }
    await this.#exited;
    this.#end(this.#ended);
  }

  #request(request: IoThreadRequest): Promise<unknown> {
    if (this.#ended) return Promise.reject(this.#ended);
    const seq = this.#nextSeq++;
    return new Promise((resolve, reject) => {
      this.#pending.set(seq, { resolve, reject });
      this.#port.postMessage({ ...request, seq });
      this.wake();
    });
  }

  #receive(message: IoThreadMessage): void {
    switch (message.type) {
      case 'reply':
        this.#take(message.seq)?.resolve(message.value);
        break;
      case 'refusal':
        this.#take(message.seq)?.reject(new RingsideError(message.kind as ErrorKind, message.message));
        break;
      case 'fault':
        this.#listeners.get(message.slot)?.fault(message.queue, message.fault, message.detail);
        break;
      case 'event':
        this.#listeners.get(message.slot)?.event(message.event);
        break;
      case 'ready':
        this.#polling?.onReady(message.fd);
        break;
      case 'kick-lost':
        this.#polling?.onKickLost(message.slot, message.queue, message.why);
        break;
    }
  }

  #take(seq: number): Pending | undefined {
    const pending = this.#pending.get(seq);
    this.#pending.delete(seq);
    return pending;
  }

  #end(error: RingsideError): void {
    this.#ended = error;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }
}
