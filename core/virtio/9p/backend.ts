/** The I/O worker's half of virtio-9p: requests of one queue to the 9P server. */
import type { SharedFolderHandle } from '../../hostfs/shared-folder.ts';
import type { BackendContext, VirtioBackend } from '../backend/backend.ts';
import { QueueFault } from '../queue/queue-fault.ts';
import type { RunningQueue } from '../queue/running-queue.ts';
import { P9_HEADER_BYTES } from './protocol.ts';
import { P9Server } from './server.ts';

export interface P9BackendOptions {
  readonly folder: SharedFolderHandle;
}

/** What the control half is told. */
export interface P9Event {
  readonly warning: string;
}

/** Requests served before other queues and the control thread have their turn. */
const TURN_REQUESTS = 32;
/** Used buffers are shown to the driver at the latest after so many requests. */
const BATCH_REQUESTS = 8;

export function createP9Backend(options: unknown, context: BackendContext): VirtioBackend {
  return new P9Backend(options as P9BackendOptions, context);
}

export class P9Backend implements VirtioBackend {
  readonly #server: P9Server;
  #queue: RunningQueue | null = null;

  constructor({ folder }: P9BackendOptions, { host, report }: BackendContext) {
    this.#server = new P9Server({
      folder,
      host,
      warn: (warning) => report({ kind: 'device', detail: { warning } satisfies P9Event }),
    });
  }

  start(queues: readonly RunningQueue[]): void {
    this.#queue = queues[0] ?? this.#queue;
  }

  stop(queues: readonly number[]): void {
    if (!this.#queue || !queues.includes(this.#queue.index)) return;
    this.#queue = null;
    this.#server.reset();
  }

  serve(): boolean {
    const queue = this.#queue;
    if (!queue) return false;
    queue.disableNotifications();
    for (let turn = 1; turn <= TURN_REQUESTS; turn++) {
      const chain = queue.pop();
      if (!chain) {
        queue.flush();
        if (!queue.enableNotifications()) return false;
        queue.disableNotifications();
        continue;
      }
      const { readable, writable } = chain;
      if (readable.length < P9_HEADER_BYTES) {
        throw new QueueFault('bad-request', `chain ${chain.head}: ${readable.length} bytes are no 9P message`);
      }
      const length = this.#server.handle(chain);
      if (length > writable.length) {
        const detail = `chain ${chain.head}: no room for the 9P reply, ${length} bytes into ${writable.length}`;
        throw new QueueFault('bad-request', detail);
      }
      queue.push(chain, length);
      if (turn % BATCH_REQUESTS === 0) queue.flush();
    }
    queue.flush();
    return true;
  }

  close(): void {
    this.#server.reset();
  }
}
