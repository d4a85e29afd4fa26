/** Two ends of a byte channel inside this process; messages arrive later, in order, as copies. */
import type { BytePort } from '../ipc/contract.ts';

export function bytePair(): [BytePort, BytePort] {
  const make = () => ({
    message: (_: Uint8Array) => {},
    closing: [] as (() => void)[],
    early: [] as Uint8Array[] | null,
  });
  const ends = [make(), make()];
  let closed = false;
  const close = () => {
    if (closed) return;
    closed = true;
    for (const end of ends) for (const listener of end.closing) listener();
  };
  const port = (own: number): BytePort => ({
    send: (bytes) => {
      const copy = bytes.slice();
      queueMicrotask(() => {
        if (closed) return;
        const other = ends[1 - own];
        if (other.early !== null) other.early.push(copy);
        else other.message(copy);
      });
    },
    close,
    buffered: 0,
    onMessage: (listener) => {
      const end = ends[own];
      end.message = listener;
      const early = end.early ?? [];
      end.early = null;
      for (const bytes of early) listener(bytes);
    },
    onClose: (listener) => ends[own].closing.push(listener),
  });
  return [port(0), port(1)];
}
