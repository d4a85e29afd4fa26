/** What a console shows, appended to a file as it comes: first the scrollback, then what follows, across restarts of the VM. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { RingsideError } from '../../core/errors.ts';
import type { BytePort } from '../ipc/contract.ts';
import { ConsoleClient } from '../ipc/contract/console-client.ts';
import { fileError } from './fs-errors.ts';

export class ConsoleLog {
  readonly file: string;
  readonly #handle: FileHandle;
  readonly #onEnd: (error: unknown) => void;
  readonly #client: ConsoleClient;
  #writes: Promise<void> = Promise.resolve();
  #closed = false;

  /**
   * @param file absolute
   * @param append whether to go on with a file that is there
   * @param port a stream of the console; closed with the log
   * @param onEnd it ended by itself: null with the console, an error when it cannot be written
   * @throws RingsideError when the file cannot be opened, is there (in-use) or is no file (not-a-file)
   */
  static async open(
    file: string,
    append: boolean,
    port: BytePort,
    onEnd: (error: unknown) => void,
  ): Promise<ConsoleLog> {
    let handle: FileHandle | null = null;
    try {
      // Not blocking: a pipe that nobody reads is no place for a log, but must not hang it either.
      const { O_WRONLY, O_CREAT, O_APPEND, O_EXCL, O_NONBLOCK } = constants;
      handle = await open(file, O_WRONLY | O_CREAT | O_APPEND | (append ? O_NONBLOCK : O_EXCL), 0o600);
      if (!(await handle.stat()).isFile()) {
        throw new RingsideError('not-a-file', `${file} is not a file: choose another`);
      }
      return new ConsoleLog(file, handle, port, onEnd);
    } catch (error) {
      port.close();
      await handle?.close();
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
        throw new RingsideError('in-use', `${file} is there already`, { cause: error });
      }
      throw error instanceof RingsideError ? error : fileError(error, file);
    }
  }

  private constructor(file: string, handle: FileHandle, port: BytePort, onEnd: (error: unknown) => void) {
    this.file = file;
    this.#handle = handle;
    this.#onEnd = onEnd;
    this.#client = new ConsoleClient(port, {
      data: (bytes, _replay, shown) => this.#write(bytes.slice(), shown),
      gap: (skipped) => this.#write(Buffer.from(`\r\n[${skipped} bytes are missing here]\r\n`)),
      reset: () => {},
      closed: () => void this.#finish(null),
    });
  }

  /** Resolves when what has come so far is in the file, and the file is closed. */
  async close(): Promise<void> {
    if (this.#closed) return this.#writes;
    this.#closed = true;
    this.#client.close();
    await (this.#writes = this.#writes.then(() => this.#handle.close()).catch(() => undefined));
  }

  #write(bytes: Uint8Array, written = () => {}): void {
    this.#writes = this.#writes.then(async () => {
      try {
        await this.#handle.appendFile(bytes);
        written();
      } catch (error) {
        void this.#finish(fileError(error, this.file));
      }
    });
  }

  async #finish(error: unknown): Promise<void> {
    if (this.#closed) return;
    await this.close();
    this.#onEnd(error);
  }
}
