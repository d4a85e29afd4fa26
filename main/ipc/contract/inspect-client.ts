/** The watcher's end of a queue's stream (inspect-frames.ts). */
import type { QueueBatch } from '../../../core/api/inspect.ts';
import type { BytePort } from '../contract.ts';
import { decodeBatch, FRAME_INSPECT_ACK } from './inspect-frames.ts';

export interface QueueListener {
  batch(batch: QueueBatch): void;
  /** The VM or the device is gone, or the connection. */
  closed(): void;
}

/** @returns the function that ends the watch */
export function watchQueue(port: BytePort, listener: QueueListener): () => void {
  let open = true;
  port.onClose(() => {
    if (!open) return;
    open = false;
    listener.closed();
  });
  port.onMessage((message) => {
    if (!open) return;
    const batch = decodeBatch(message);
    port.send(FRAME_INSPECT_ACK);
    listener.batch(batch);
  });
  return () => {
    open = false;
    port.close();
  };
}
