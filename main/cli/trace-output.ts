/** Where lines of trace events go: stderr, or a file. A reader that does not read loses lines; the machine does not wait. */
import { createWriteStream, openSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { errorLine } from '../../core/errors.ts';
import { badOption } from './options/syntax.ts';

/** Bytes that wait for the reader. */
const WAITING = 4 * 2 ** 20;

export class TraceOutput {
  readonly #stream: Writable;
  #lost = 0;

  /**
   * @param file null: stderr
   * @param append what is in the file stays
   * @throws RingsideError bad-option
   */
  static open(file: string | null, append: boolean): TraceOutput {
    if (file === null) return new TraceOutput(process.stderr);
    try {
      return new TraceOutput(createWriteStream('', { fd: openSync(file, append ? 'a' : 'w') }));
    } catch (error) {
      throw badOption('-trace', `${file} cannot be written: ${errorLine(error)}`);
    }
  }

  constructor(stream: Writable) {
    this.#stream = stream;
    // A disk that is full, a pipe that nobody reads: lines are lost.
    if (stream !== process.stderr) stream.on('error', () => {});
  }

  write(line: string): void {
    if (this.#stream.writableLength > WAITING) {
      this.#lost++;
      return;
    }
    if (this.#lost > 0) this.#stream.write(`(${this.#lost} lines lost: nobody read them)\n`);
    this.#lost = 0;
    this.#stream.write(`${line}\n`);
  }
}
