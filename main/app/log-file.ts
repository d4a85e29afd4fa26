/**
 * The log on disk: one line an entry, in a few files of bounded size. Writing is in the background and in order; an app
 * that cannot write its log goes on without.
 */
import { appendFile, mkdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { LogEntry } from '../ipc/contract.ts';

const NAME = 'ringside.log';

export interface LogFileOptions {
  /** Bytes after which a file is put aside. */
  size?: number;
  /** Files that were put aside and are kept: ringside.1.log (the newest), ringside.2.log... */
  kept?: number;
  /** Bytes of entries that may wait to be written; what is beyond is dropped, and how much is said. */
  waiting?: number;
}

export class LogFile {
  /** Where the files are. */
  readonly folder: string;
  readonly #size: number;
  readonly #kept: number;
  readonly #mostWaiting: number;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #dropped = 0;
  /** Bytes in the present file, once it has been looked at. */
  #bytes: number | null = null;
  #writing: Promise<void> | null = null;

  constructor(folder: string, { size = 2 ** 20, kept = 4, waiting = 2 ** 20 }: LogFileOptions = {}) {
    this.folder = folder;
    this.#size = size;
    this.#kept = kept;
    this.#mostWaiting = waiting;
  }

  add(entry: LogEntry): void {
    const line = lineOf(entry);
    if (this.#waitingBytes + line.length > this.#mostWaiting) {
      this.#dropped++;
      return;
    }
    this.#waiting.push(line);
    this.#waitingBytes += line.length;
    this.#writing ??= this.#write();
  }

  /** Resolves when everything so far has been written, or could not be. */
  async flush(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
  }

  async #write(): Promise<void> {
    // What comes in the same turn goes out in one piece.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const lines = this.#waiting;
      if (this.#dropped > 0) lines.push(`${new Date().toISOString()} warning ${this.#dropped} entries were dropped\n`);
      this.#waiting = [];
      this.#waitingBytes = 0;
      this.#dropped = 0;
      try {
        await this.#append(lines.join(''));
      } catch {
        // A full or read-only disk must not keep VMs from running; the next entry tries again.
        this.#bytes = null;
      }
    }
    this.#writing = null;
  }

  async #append(text: string): Promise<void> {
    const file = path.join(this.folder, NAME);
    if (this.#bytes === null) {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      this.#bytes = (await stat(file).catch(() => null))?.size ?? 0;
    }
    if (this.#bytes >= this.#size) {
      await this.#rotate(file);
      this.#bytes = 0;
    }
    await appendFile(file, text, { mode: 0o600 });
    this.#bytes += Buffer.byteLength(text);
  }

  async #rotate(file: string): Promise<void> {
    const aside = (at: number) => path.join(this.folder, NAME.replace('.', `.${at}.`));
    await rm(aside(this.#kept), { force: true });
    for (let at = this.#kept - 1; at >= 1; at--) await rename(aside(at), aside(at + 1)).catch(() => undefined);
    await rename(file, aside(1));
  }
}

/** Control characters of a guest or a file name must not make lines of their own, or move a terminal's cursor. */
function lineOf({ time, level, vm, text }: LogEntry): string {
  // eslint-disable-next-line no-control-regex -- they are what is replaced
  const safe = text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) =>
    character === '\n' ? '\\n' : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `${new Date(time).toISOString()} ${level}${vm === null ? '' : ` [${vm}]`} ${safe}\n`;
}
