/** Replays a capture against a device: its requests, one after the other, to a back end that has no guest. */
import type { CaptureFile } from './capture-format.ts';
import { openDisk } from '../block/open.ts';
import { RingsideError } from '../errors.ts';
import type { Host } from '../host/host.ts';
import { createMachineMemory } from '../memory/create.ts';
import type { VirtioBackend } from '../virtio/backend/backend.ts';
import { BlkBackend } from '../virtio/blk/backend.ts';
import type { BlkActivation } from '../virtio/blk/backend.ts';
import { codeName } from '../virtio/decoder.ts';
import { queueDecoder } from '../virtio/decoders.ts';
import { DescriptorChain } from '../virtio/queue/descriptor-chain.ts';
import { QueueFault } from '../virtio/queue/queue-fault.ts';
import type { HeldChain, QueuePosition, RunningQueue } from '../virtio/queue/running-queue.ts';
import { RAM_OFFSET } from '../worker/layout.ts';

const MIB = 2 ** 20;
/** Room for the largest request that a capture keeps, in both directions. */
const MEMORY = 16 * MIB;
/** Requests between two looks at whether anybody has had enough. */
const SLICE = 16;
/** Sectors a request may discard, write zeroes to or erase: what the device promises by default is no more. */
const RANGE_SECTORS = 2 ** 22;
const STATUS = 5;
const EXAMPLES = 20;

export interface ReplayResult {
  /** Done. */
  requests: number;
  /** Not done: the capture did not keep all of their bytes. */
  skipped: number;
  /** Whose status or data were others than in the capture. */
  different: number;
  examples: { index: number; detail: string }[];
  /** Of the device's work. */
  seconds: number;
}

export interface ReplayOptions {
  readonly capture: CaptureFile;
  /** Path of the image: a copy, for it is written. */
  readonly image: string;
  readonly host: Host;
  /** Told from time to time how many are done; says whether to go on. */
  progress?(done: number, all: number): boolean;
}

/** @throws RingsideError 'unsupported' of a queue that is not virtio-blk's; and what opening the image throws */
export async function replay({ capture, image, host, progress }: ReplayOptions): Promise<ReplayResult> {
  if (capture.header.type !== 'virtio-blk') {
    throw new RingsideError('unsupported', `requests of ${capture.header.type} cannot be replayed: virtio-blk's can.`);
  }
  const { disk } = openDisk({ file: image, host });
  const memory = createMachineMemory({ ramSize: MEMORY, host, hugePages: false });
  try {
    const options = { serial: '', werror: 'report', rerror: 'report' } as const;
    const context = {
      memory: memory.guest,
      host,
      waitBlock: 0,
      maxBatch: 0,
      report: () => {},
      now: () => performance.now(),
    };
    const backend = new BlkBackend(disk, options, context);
    const queue = new ReplayQueue(new DescriptorChain(memory.guest));
    const activation: BlkActivation = {
      discard: RANGE_SECTORS,
      writeZeroes: RANGE_SECTORS,
      secureErase: RANGE_SECTORS,
      lifetime: false,
      writeThrough: false,
    };
    backend.start([queue], activation);
    try {
      return await run(capture, backend, queue, new Uint8Array(memory.guest.memory.buffer), progress);
    } finally {
      backend.close();
    }
  } finally {
    memory.close();
  }
}

async function run(
  capture: CaptureFile,
  backend: VirtioBackend,
  queue: ReplayQueue,
  bytes: Uint8Array,
  progress: ReplayOptions['progress'],
): Promise<ReplayResult> {
  const decoder = queueDecoder(capture.header.type, capture.header.name);
  const result: ReplayResult = { requests: 0, skipped: 0, different: 0, examples: [], seconds: 0 };
  const differ = (index: number, detail: string): void => {
    result.different++;
    if (result.examples.length < EXAMPLES) result.examples.push({ index, detail });
  };
  for (let index = 0; index < capture.count; index++) {
    if (index % SLICE === 0) {
      if (progress?.(index, capture.count) === false) break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { readable, readableLength, writable, writableLength, words } = capture.request(index);
    if (readable.length < readableLength || writable.length < writableLength) {
      result.skipped++;
      continue;
    }
    const { chain } = queue;
    chain.readable.clear();
    chain.writable.clear();
    bytes.set(readable, RAM_OFFSET);
    if (readable.length > 0) chain.readable.add(RAM_OFFSET, readable.length);
    if (writable.length > 0) chain.writable.add(RAM_OFFSET + readable.length, writable.length);
    // What a device does not write stays as it was in the capture.
    chain.writable.copyIn(0, writable);
    const began = performance.now();
    try {
      queue.offer();
      backend.serve(queue.index);
    } catch (error) {
      if (!(error instanceof QueueFault)) throw error;
      differ(index, error.message);
      continue;
    } finally {
      result.seconds += (performance.now() - began) / 1000;
    }
    result.requests++;
    const status = decoder.status(chain.readable, chain.writable, 0);
    if (status !== words[STATUS]) {
      const name = (code: number): string => codeName(decoder.statuses, code);
      differ(index, `status ${name(status)}, captured ${name(words[STATUS])}`);
      continue;
    }
    const now = new Uint8Array(writable.length);
    chain.writable.copyOut(0, now);
    const at = now.findIndex((byte, i) => byte !== writable[i]);
    if (at >= 0) differ(index, `byte ${at} of the answer is ${now[at]}, captured ${writable[at]}`);
  }
  return result;
}

/** A queue with one chain at a time. */
class ReplayQueue implements RunningQueue {
  readonly index = 0;
  readonly size = 1;
  readonly position: QueuePosition = { availIdx: 0, usedIdx: 0 };
  readonly chain: DescriptorChain;
  #offered = false;

  constructor(chain: DescriptorChain) {
    this.chain = chain;
  }

  offer(): void {
    this.#offered = true;
  }

  get inFlight(): number {
    return 0;
  }

  take(): DescriptorChain | null {
    if (!this.#offered) return null;
    this.#offered = false;
    return this.chain;
  }

  pop(): DescriptorChain | null {
    return this.take();
  }

  isEmpty(): boolean {
    return !this.#offered;
  }

  enableNotifications(): boolean {
    return false;
  }

  held(): HeldChain[] {
    return [];
  }

  put(): void {}
  push(): void {}
  putBack(): void {}
  flush(): void {}
  disableNotifications(): void {}
  watch(): void {}
  countNotifications(): void {}
  recordFault(): void {}
}
