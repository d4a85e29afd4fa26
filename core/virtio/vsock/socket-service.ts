/** The control thread's handle of a vsock device's socket worker. */
import { existsSync, lstatSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';

import { RingsideError, errorLine } from '../../errors.ts';
import { SHARED_BYTES } from './shared-slots.ts';
import type { SocketWorkerData, SocketWorkerMessage } from './socket-worker.ts';

/** sun_path of Linux, without its NUL; the ports behind PATH_ want room too. */
const PATH_BYTES_MAX = 107 - '_4294967295'.length;

export class SocketService {
  readonly shared: SharedArrayBuffer;
  /** The worker has ended by itself: nobody serves the sockets. */
  onLost: (reason: string) => void = () => {};
  readonly #worker: Worker;
  #closing = false;

  private constructor(worker: Worker, shared: SharedArrayBuffer) {
    this.#worker = worker;
    this.shared = shared;
  }

  /**
   * Listens on `path`.
   *
   * @param id of the device, for messages
   * @throws RingsideError 'bad-option', 'in-use', 'permission', 'not-found', 'io'
   */
  static async start(id: string, path: string, memory: WebAssembly.Memory): Promise<SocketService> {
    if (Buffer.byteLength(path) > PATH_BYTES_MAX || path.includes('\0')) {
      throw new RingsideError('bad-option', `${id}: socket "${path}" is longer than ${PATH_BYTES_MAX} bytes.`);
    }
    if (!existsSync(dirname(path))) {
      throw new RingsideError('not-found', `${id}: there is no folder "${dirname(path)}" for its socket. Make it.`);
    }
    await removeStale(id, path);
    const shared = new SharedArrayBuffer(SHARED_BYTES);
    const workerData: SocketWorkerData = { path, shared, memory };
    const worker = new Worker(new URL('./socket-worker.ts', import.meta.url), { name: `vsock-${id}`, workerData });
    const service = new SocketService(worker, shared);
    const first = await new Promise<SocketWorkerMessage>((resolve) => {
      worker.once('message', resolve);
      worker.once('error', (error) => resolve({ type: 'failed', code: errorLine(error) }));
    });
    if (first.type !== 'listening') {
      await worker.terminate();
      const code = first.type === 'failed' ? first.code : 'ended';
      const kind = code === 'EACCES' ? 'permission' : code === 'EADDRINUSE' ? 'in-use' : 'io';
      throw new RingsideError(kind, `${id}: cannot listen on socket "${path}" (${code}). Choose another path.`);
    }
    let cause = '';
    worker.on('error', (error) => (cause = errorLine(error)));
    worker.once('exit', () => {
      if (!service.#closing) service.onLost(cause || 'it ended by itself');
    });
    return service;
  }

  /** Closes all sockets. May be called twice. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    const closed = new Promise((resolve) => {
      this.#worker.once('message', resolve);
      this.#worker.once('exit', resolve);
    });
    this.#worker.postMessage('close');
    await closed;
    await this.#worker.terminate();
  }
}

/** Takes away a socket that nobody listens on any more: a VM that crashed has left it. */
async function removeStale(id: string, path: string): Promise<void> {
  try {
    if (!lstatSync(path).isSocket()) {
      throw new RingsideError('in-use', `${id}: "${path}" exists and is no socket. Choose another path.`);
    }
  } catch (error) {
    if (error instanceof RingsideError) throw error;
    return;
  }
  const answered = await new Promise<boolean>((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => resolve((error as { code?: string }).code !== 'ECONNREFUSED'));
  });
  if (answered) {
    throw new RingsideError('in-use', `${id}: another program listens on socket "${path}". Choose another path.`);
  }
  unlinkSync(path);
}
