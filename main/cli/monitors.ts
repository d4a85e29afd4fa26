/** The monitors of `ringside run`: their sockets, and the one on the terminal. */
import { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import { MonitorListener } from '../../core/monitor/listener.ts';
import { Monitor } from '../../core/monitor/monitor.ts';
import type { MonitorTarget } from '../../core/monitor/target.ts';
import { commandLineOptions } from './options/command-line.ts';
import type { MonitorRequest } from './options/monitors.ts';

export class Monitors {
  readonly #monitor: Monitor;
  readonly #listeners: MonitorListener[] = [];

  /** @throws RingsideError when a socket cannot be made; none is left then */
  static async create(target: MonitorTarget, requests: readonly MonitorRequest[], version: string): Promise<Monitors> {
    const monitors = new Monitors(
      new Monitor({ target, version: { ringside: version }, commandLine: commandLineOptions() }),
    );
    try {
      for (const request of requests) await monitors.#listen(request);
      return monitors;
    } catch (error) {
      await monitors.close();
      throw error;
    }
  }

  private constructor(monitor: Monitor) {
    this.#monitor = monitor;
  }

  async #listen({ mode, pretty, place }: MonitorRequest): Promise<void> {
    if (place.kind === 'stdio') return;
    const accept = (socket: Socket): void => {
      if (mode === 'control') this.#monitor.qmp(socket, { pretty });
      else this.#monitor.hmp(socket);
    };
    this.#listeners.push(await MonitorListener.listen(place.endpoint, accept));
  }

  /** Resolves when all sockets that are to be waited for have a client. */
  async ready(requests: readonly MonitorRequest[]): Promise<void> {
    const sockets = requests.filter(({ place }) => place.kind === 'socket');
    const waited = sockets.flatMap(({ place }, index) =>
      place.kind === 'socket' && place.wait ? [this.#listeners[index].connected] : [],
    );
    await Promise.all(waited);
  }

  /** A monitor on a terminal. */
  open(terminal: MonitorTerminal, { mode, pretty }: Pick<MonitorRequest, 'mode' | 'pretty'>): void {
    if (mode === 'control') this.#monitor.qmp(terminal, { pretty });
    else terminal.onFocus = this.#monitor.hmp(terminal);
  }

  async close(): Promise<void> {
    this.#monitor.close();
    await Promise.all(this.#listeners.map((listener) => listener.close()));
  }
}

/** Bytes typed ahead at which the terminal is not read. */
const TYPED_AHEAD = 64 * 1024;

/** The terminal as a monitor sees it: what is typed while it has it, and what it writes. */
export class MonitorTerminal extends Duplex {
  /** Shows the prompt again: somebody has come back. */
  onFocus: () => void = () => {};
  readonly #output: NodeJS.WritableStream;

  constructor(output: NodeJS.WritableStream) {
    super({ readableHighWaterMark: TYPED_AHEAD });
    this.#output = output;
  }

  /** What somebody types. Beyond what a person can type ahead it is lost. */
  type(bytes: Uint8Array): void {
    if (this.readableLength < TYPED_AHEAD) this.push(bytes);
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#output.write(chunk, done);
  }
}
