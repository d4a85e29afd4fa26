/** Queues that clients watch: batches of a machine's inspector to byte streams, no faster than each takes them. */
import { constants } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { QueueBatch } from '../../core/api/inspect.ts';
import { RingsideError, errorLine } from '../../core/errors.ts';
import { createHost } from '../../core/host/node-host.ts';
import { CaptureFile } from '../../core/inspect/capture-format.ts';
import { captureBatches, capturedRequestView, captureInfoOf } from '../../core/inspect/capture-view.ts';
import { replay } from '../../core/inspect/replay.ts';
import { LINT_RULES } from '../../core/virtio/lint/rules.ts';
import type { BytePort, Params, Result } from '../ipc/contract.ts';
import { encodeBatch, MAX_UNACKNOWLEDGED } from '../ipc/contract/inspect-frames.ts';
import type { Session } from '../ipc/dispatcher.ts';
import type { MachineInspection } from './machine.ts';
import { CaptureFiles } from './capture-files.ts';
import { userPath } from './paths.ts';
import type { Streams } from './streams.ts';

/** A ticket that nobody redeems: the watch ends then, ms. */
const UNCLAIMED_MS = 30_000;

export class InspectService {
  readonly #files = new CaptureFiles();
  readonly #streams: Streams;
  readonly #folder: string;
  readonly #inspector: (id: string) => MachineInspection;

  /**
   * @param folder where captures go unless told otherwise; made when one does
   * @param inspector of a VM that is on; throws RingsideError otherwise
   */
  constructor(streams: Streams, folder: string, inspector: (id: string) => MachineInspection) {
    this.#streams = streams;
    this.#folder = folder;
    this.#inspector = inspector;
  }

  async watch({ id, device, queue }: Params<'inspect.watch'>, session: Session): Promise<Result<'inspect.watch'>> {
    const watcher = new Watcher();
    const handle = await this.#inspector(id).watch(device, queue, watcher);
    watcher.onEnd(() => handle.close());
    const stream = this.#offer(session, watcher);
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

  async capture({ id, device, queue, action }: Params<'inspect.capture'>): Promise<Result<'inspect.capture'>> {
    const inspector = this.#inspector(id);
    if (action.op === 'state') return { capture: await inspector.capture(device, queue) };
    if (action.op === 'stop') return { capture: await inspector.capture(device, queue, null) };
    const { limit, keep } = action;
    return { capture: await inspector.capture(device, queue, { file: await this.#newFile(action.file), limit, keep }) };
  }

  async packets({ id, device, action }: Params<'inspect.packets'>): Promise<Result<'inspect.packets'>> {
    const inspector = this.#inspector(id);
    if (action.op === 'state') return { packets: await inspector.capturePackets(device) };
    if (action.op === 'stop') return { packets: await inspector.capturePackets(device, null) };
    return { packets: await inspector.capturePackets(device, await this.#newFile(action.file)) };
  }

  async #newFile(text: string): Promise<string> {
    const file = userPath(text);
    if (path.dirname(file) === this.#folder) await mkdir(this.#folder, { recursive: true });
    return file;
  }

  profile({ id, device, queue }: Params<'inspect.profile'>): Result<'inspect.profile'> {
    return this.#inspector(id).profile(device, queue);
  }

  async active({ id }: Params<'inspect.active'>): Promise<Result<'inspect.active'>> {
    return { queues: await this.#inspector(id).active() };
  }

  async clearAll({ id }: Params<'inspect.clearAll'>): Promise<Result<'inspect.clearAll'>> {
    await this.#inspector(id).clearAll();
    return {};
  }

  async openCapture({ file }: Params<'inspect.openCapture'>, session: Session): Promise<Result<'inspect.openCapture'>> {
    const capture = await CaptureFile.open(userPath(file));
    const watcher = new Watcher();
    watcher.onEnd(() => capture.close());
    const info = captureInfoOf(capture);
    const stream = this.#offer(session, watcher, () => watcher.play(captureBatches(capture)));
    return { stream, info };
  }

  capturedRequest({ file, index }: Params<'inspect.capturedRequest'>): Promise<Result<'inspect.capturedRequest'>> {
    return this.#files.look(userPath(file), (capture) => capturedRequestView(capture, index));
  }

  async replay({ file, image, copy }: Params<'inspect.replay'>, session: Session): Promise<Result<'inspect.replay'>> {
    const capture = await CaptureFile.open(userPath(file));
    let wanted = true;
    session.onClose(() => (wanted = false));
    try {
      try {
        await copyFile(userPath(image), userPath(copy), constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
          throw new RingsideError('io', `"${copy}" is there already: choose another name for the copy.`);
        }
        throw new RingsideError('io', `"${image}" cannot be copied to "${copy}": ${errorLine(error)}.`, {
          cause: error,
        });
      }
      return await replay({
        capture,
        image: userPath(copy),
        host: createHost({ addon: { reason: "a copy is nobody else's" } }),
        progress: () => wanted,
      });
    } finally {
      capture.close();
    }
  }

  /** A ticket for a watcher's stream. @throws RingsideError 'bad-state' when there are too many */
  #offer(session: Session, watcher: Watcher, begun: () => void = () => {}): string {
    const unclaimed = setTimeout(() => watcher.end(), UNCLAIMED_MS);
    unclaimed.unref();
    watcher.onEnd(() => clearTimeout(unclaimed));
    session.onClose(() => watcher.end());
    const stream = this.#streams.offer(session, (port) => {
      clearTimeout(unclaimed);
      watcher.begin(port);
      begun();
    });
    if (stream !== null) return stream;
    watcher.end();
    throw new RingsideError('bad-state', 'too many queues are being watched: close some');
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
  /** What is still to be sent, of a file: no faster than it is taken. */
  #playing: Iterator<QueueBatch> | null = null;
  #ended = false;
  readonly #endings: (() => void)[] = [];

  begin(port: BytePort): void {
    if (this.#ended) return port.close();
    this.#port = port;
    port.onClose(() => this.end());
    port.onMessage((message) => {
      // A client that acknowledges what it was not sent loses its stream.
      if (message.length !== 1 || this.#unacknowledged === 0) this.end();
      else {
        this.#unacknowledged--;
        this.#playMore();
      }
    });
  }

  /** Sends all batches, and ends behind the last one that was taken. */
  play(batches: Iterator<QueueBatch>): void {
    this.#playing = batches;
    this.#playMore();
  }

  #playMore(): void {
    const playing = this.#playing;
    while (playing !== null && !this.#ended && this.#unacknowledged < MAX_UNACKNOWLEDGED) {
      let next;
      try {
        next = playing.next();
      } catch {
        // The file has changed under our eyes.
        return this.end();
      }
      if (!next.done) this.batch(next.value);
      else if (this.#unacknowledged === 0) return this.end();
      else return;
    }
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
