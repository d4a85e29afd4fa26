/** Entry point of a vsock device's socket worker. */
import { parentPort, workerData } from 'node:worker_threads';

import { VsockSockets } from './sockets.ts';

export interface SocketWorkerData {
  readonly path: string;
  readonly shared: SharedArrayBuffer;
  readonly memory: WebAssembly.Memory;
}

/** What the worker tells: that programs can connect; why not (an error code); that all is closed. */
export type SocketWorkerMessage = { type: 'listening' } | { type: 'failed'; code: string } | { type: 'closed' };

const { path, shared, memory } = workerData as SocketWorkerData;
const sockets = new VsockSockets(path, shared, memory);
const tell = (message: SocketWorkerMessage): void => parentPort!.postMessage(message);
parentPort!.once('message', () => void sockets.close().then(() => tell({ type: 'closed' })));
try {
  await sockets.listen();
  tell({ type: 'listening' });
} catch (error) {
  tell({ type: 'failed', code: String((error as { code?: unknown }).code ?? error) });
}
