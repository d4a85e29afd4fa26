/** The contract through the preload (main/electron/preload.ts). */
import type { Transport } from '../../../main/ipc/contract/client.ts';
import type { BytePort } from '../../../main/ipc/contract.ts';
import { STREAM_MESSAGE } from '../../../main/ipc/contract/channels.ts';

export interface Preload {
  call(name: string, params: unknown): Promise<unknown>;
  onEvent(listener: (name: string, payload: unknown) => void): void;
  openStream(ticket: string): void;
  /** Where a file that was dropped is on this computer; empty when it is nowhere. */
  pathOf?(file: File): string;
}

export function electronTransport(preload: Preload): Transport {
  return {
    call: (name, params) => preload.call(name, params),
    onEvent: (listener) => preload.onEvent(listener),
    openStream: (ticket) =>
      new Promise((resolve) => {
        const receive = (event: MessageEvent) => {
          const message = event.data as { ringside?: unknown; ticket?: unknown } | null;
          if (event.source !== window || message?.ringside !== STREAM_MESSAGE || message.ticket !== ticket) return;
          window.removeEventListener('message', receive);
          resolve(portBytes(event.ports[0]));
        };
        window.addEventListener('message', receive);
        preload.openStream(ticket);
      }),
  };
}

function portBytes(port: MessagePort): BytePort {
  return {
    send: (bytes) => port.postMessage(bytes),
    close: () => port.close(),
    buffered: 0,
    onMessage: (listener) => {
      port.onmessage = ({ data }) => {
        if (data instanceof Uint8Array) listener(data);
      };
    },
    onClose: (listener) => port.addEventListener('close', listener),
  };
}
