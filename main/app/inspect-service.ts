/** Queues that clients watch: batches of a machine's inspector to byte streams, no faster than each takes them. */
import type { QueueBatch } from '../../core/api/inspect.ts';
import { RingsideError } from '../../core/errors.ts';
import { LINT_RULES } from '../../core/virtio/lint/rules.ts';
import type { BytePort, Params, Result } from '../ipc/contract.ts';
import { encodeBatch, MAX_UNACKNOWLEDGED } from '../ipc/contract/inspect-frames.ts';
import type { Session } from '../ipc/dispatcher.ts';
import type { MachineInspection } from './machine.ts';
import type { Streams } from './streams.ts';

/** A ticket that nobody redeems: the watch ends then, ms. */
const UNCLAIMED_MS = 30_000;

export class InspectService {
  readonly #streams: Streams;
  readonly #inspector: (id: string) => MachineInspection;

  /** @param inspector of a VM that is on; throws RingsideError otherwise */
  constructor(streams: Streams, inspector: (id: string) => MachineInspection) {
    this.#streams = streams;
    this.#inspector = inspector;
  }

  async watch({ id, device, queue }: Params<'inspect.watch'>, session: Session): Promise<Result<'inspect.watch'>> {
    const watcher = new Watcher();
    const handle = await this.#inspector(id).watch(device, queue, watcher);
    watcher.onEnd(() => handle.close());
    const unclaimed = setTimeout(() => watcher.end(), UNCLAIMED_MS);
    unclaimed.unref();
    session.onClose(() => watcher.end());
    const stream = this.#streams.offer(session, (port) => {
      clearTimeout(unclaimed);
      watcher.begin(port);
    });
    if (stream === null) {
      clearTimeout(unclaimed);
      watcher.end();
      throw new RingsideError('bad-state', 'too many queues are being watched: close some');
    }
    return { stream, profile: handle.profile, epoch: handle.epoch };
  }

  control({ id, device, queue, command }: Params<'inspect.control'>): Promise<Result<'inspect.control'>> {
    return this.#inspector(id).control(device, queue, command);
  }

  queue({ id, device, queue, from, count }: Params<'inspect.queue'>): Promise<Result<'inspect.queue'>> {
    return this.#inspector(id).view(device, queue, from, count);
  }

  async findings({ id, device, clear }: Params<'inspect.findings'>): Promise<Result<'inspect.findings'>> {
    return { findings: await this.#inspector(id).findings(device, clear) };
  }

  rules(): Result<'inspect.rules'> {
    return { rules: [...LINT_RULES] };
  }

  bytes({ id, address, length }: Params<'inspect.bytes'>): Result<'inspect.bytes'> {
    return { bytes: Buffer.from(this.#inspector(id).bytes(BigInt(address), length)).toString('hex') };
  }
}

/** One stream. */
class Watcher {
  #port: BytePort | null = null;
  #unacknowledged = 0;
  #ended = false;
  readonly #endings: (() => void)[] = [];

  begin(port: BytePort): void {
    if (this.#ended) return port.close();
    this.#port = port;
    port.onClose(() => this.end());
    port.onMessage((message) => {
      // A client that acknowledges what it was not sent loses its stream.
      if (message.length !== 1 || this.#unacknowledged === 0) this.end();
      else this.#unacknowledged--;
    });
  }

  batch(batch: QueueBatch): void {
    if (this.#port === null || this.#unacknowledged >= MAX_UNACKNOWLEDGED) return;
    this.#unacknowledged++;
    this.#port.send(encodeBatch(batch));
  }

  /** The device or the machine is gone. */
  ended(): void {
    this.end();
  }

  onEnd(listener: () => void): void {
    if (this.#ended) listener();
    else this.#endings.push(listener);
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const listener of this.#endings) listener();
    this.#port?.close();
  }
}
