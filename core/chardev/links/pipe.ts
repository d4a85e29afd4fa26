/** Named pipes (mkfifo): PATH.in and PATH.out, or one PATH for both ways. */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { RingsideError } from '../../errors.ts';
import { openError } from '../file-sink.ts';
import { StreamLink } from './stream.ts';

export class PipeLink extends StreamLink {
  readonly filename = 'pipe';

  /**
   * @param path `path`.in is what the guest reads, `path`.out what it writes; where they are not, `path` is both
   * @throws RingsideError 'not-found', 'not-a-file', 'permission', 'io'
   */
  constructor(path: string) {
    super();
    const input = openFifo(`${path}.in`);
    const output = input === null ? null : openOutput(`${path}.out`, input);
    if (input !== null && output !== null) {
      this.adopt(
        new Socket({ fd: input, readable: true, writable: false }),
        new Socket({ fd: output, readable: false, writable: true }),
      );
      return;
    }
    if (input !== null) closeSync(input);
    const both = openFifo(path);
    if (both === null) {
      const message = `there is no pipe ${path}: make it with "mkfifo ${path}.in ${path}.out".`;
      throw new RingsideError('not-found', message);
    }
    const stream = new Socket({ fd: both, readable: true, writable: true });
    this.adopt(stream, stream);
  }

  protected end(): Promise<void> {
    return this.dismiss();
  }
}

/** @param input is closed when it fails */
function openOutput(path: string, input: number): number | null {
  try {
    return openFifo(path);
  } catch (error) {
    closeSync(input);
    throw error;
  }
}

/** Null where there is nothing. Open for both ways, so that a FIFO does not end when a program at its other end does. */
function openFifo(path: string): number | null {
  let fd;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw openError(path, error);
  }
  if (fstatSync(fd).isFIFO()) return fd;
  closeSync(fd);
  throw new RingsideError('not-a-file', `${path} is no pipe: make one with "mkfifo".`);
}
