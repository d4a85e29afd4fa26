/** Progress of long work on stderr: one line that changes on a terminal, else a line for each step. */
import type { WriteStream } from 'node:tty';

export interface Progress {
  /** One line for a person. */
  message: string;
  /** Bytes done, of how many, where that is known. */
  done?: number;
  total?: number;
}

const MIB = 2 ** 20;
/** Between two changes of the line on a terminal, ms. */
const INTERVAL = 100;

export function progressPrinter(stream: Pick<WriteStream, 'write'> & { isTTY?: boolean; columns?: number }): {
  show: (progress: Progress) => void;
  /** Ends the changing line. */
  end: () => void;
} {
  let lastMessage = '';
  let lastTime = 0;
  let open = false;

  const amount = ({ done, total }: Progress): string => {
    if (done === undefined) return '';
    const mib = (bytes: number) => (bytes / MIB).toFixed(1);
    return total ? ` ${mib(done)} of ${mib(total)} MiB` : ` ${mib(done)} MiB`;
  };

  const show = (progress: Progress): void => {
    const fresh = progress.message !== lastMessage;
    lastMessage = progress.message;
    if (!stream.isTTY) {
      if (fresh) stream.write(`ringside: ${progress.message}\n`);
      return;
    }
    const complete = progress.done !== undefined && progress.done === progress.total;
    if (!fresh && !complete && performance.now() - lastTime < INTERVAL) return;
    lastTime = performance.now();
    const line = `ringside: ${progress.message}${amount(progress)}`.slice(0, (stream.columns ?? 80) - 1);
    stream.write(`\r${line}\x1b[K`);
    open = true;
  };

  const end = (): void => {
    if (open) stream.write('\r\x1b[K');
    open = false;
  };

  return { show, end };
}
