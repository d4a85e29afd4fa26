/** A capture of what goes through a network card, into a pcapng file. */
import { closeSync, openSync, writeSync } from 'node:fs';

import { RingsideError, errorLine } from '../errors.ts';
import type { Frame } from './frame.ts';
import { pcapngHeader, pcapngPacket } from './pcapng.ts';
import type { Direction } from './pcapng.ts';

/** Written at once when so much has gathered. */
const BUFFER_BYTES = 256 * 1024;

export interface CaptureOptions {
  /** Path. */
  readonly file: string;
  /** What is there is not replaced, but an error. */
  readonly exclusive?: boolean;
  /** Name of the interface in the capture. */
  readonly name: string;
  /** Bytes of a frame that are kept. */
  readonly maxBytes: number;
}

export class Capture {
  readonly #fd: number;
  readonly #maxBytes: number;
  readonly #onError: (message: string) => void;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #failed = false;

  /**
   * @param onError told once, when the file cannot be written any more: the capture ends there
   * @throws RingsideError 'io' when the file cannot be made
   */
  constructor({ file, exclusive, name, maxBytes }: CaptureOptions, onError: (message: string) => void) {
    this.#maxBytes = maxBytes;
    this.#onError = onError;
    try {
      this.#fd = openSync(file, exclusive ? 'wx' : 'w', 0o600);
    } catch (error) {
      if (exclusive && (error as NodeJS.ErrnoException).code === 'EEXIST') {
        throw new RingsideError('io', `"${file}" is there already: choose another name for the capture.`);
      }
      throw new RingsideError('io', `The capture "${file}" cannot be made: ${errorLine(error)}.`, { cause: error });
    }
    this.#add(pcapngHeader(name, maxBytes));
    this.flush();
  }

  /** The frame as it is: an offload that is still to be done is still to be done in the capture. */
  frame(frame: Frame, direction: Direction): void {
    if (this.#failed) return;
    const now = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));
    this.#add(pcapngPacket(frame.data, now, direction, this.#maxBytes));
    if (this.#bytes >= BUFFER_BYTES) this.flush();
  }

  #add(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
  }

  /** Writes out what has gathered. */
  flush(): void {
    if (this.#bytes === 0) return;
    const bytes = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    try {
      for (let done = 0; done < bytes.length;) done += writeSync(this.#fd, bytes, done);
    } catch (error) {
      this.#failed = true;
      this.#onError(`the capture has ended: ${errorLine(error)}`);
    }
  }

  close(): void {
    this.flush();
    closeSync(this.#fd);
  }
}
