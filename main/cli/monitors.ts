/** The monitors of `ringside run`: those on character devices, and the one on the terminal. */
import { Duplex } from 'node:stream';
import { Monitor } from '../../core/monitor/monitor.ts';
import type { MonitorTarget } from '../../core/monitor/target.ts';
import { commandLineOptions } from './options/command-line.ts';
import type { MonitorKind, MonitorRequest } from './options/monitors.ts';

/** What is used of a machine. */
export interface MonitoredChardevs {
  /** `accept` gets a stream for each client that comes. @throws RingsideError */
  serveChardev(id: string, accept: (stream: Duplex) => void): void;
}

export class Monitors {
  readonly #monitor: Monitor;

  constructor(target: MonitorTarget, version: string) {
    this.#monitor = new Monitor({ target, version: { ringside: version }, commandLine: commandLineOptions() });
  }

  /** @throws RingsideError for a character device that is not there, or that something else has */
  serve(machine: MonitoredChardevs, requests: readonly MonitorRequest[]): void {
    for (const { chardev, mode, pretty } of requests) {
      machine.serveChardev(chardev, (stream) => {
        if (mode === 'control') this.#monitor.qmp(stream, { pretty });
        else this.#monitor.hmp(stream);
      });
    }
  }

  /** A monitor on a terminal. */
  open(terminal: MonitorTerminal, { mode, pretty }: MonitorKind): void {
    if (mode === 'control') this.#monitor.qmp(terminal, { pretty });
    else terminal.onFocus = this.#monitor.hmp(terminal);
  }

  close(): void {
    this.#monitor.close();
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
