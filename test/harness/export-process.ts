/** `ringside export` in a process of its own. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const CLI = fileURLToPath(new URL('../../main/cli/main.ts', import.meta.url));
/** Milliseconds until one that does not come up has failed the test. */
const PATIENCE = 15_000;

export class ExportProcess {
  readonly child: ChildProcess;
  readonly socket: string;
  /** What it has said so far. */
  log = '';
  readonly #exited: Promise<unknown>;

  private constructor(socket: string, child: ChildProcess) {
    this.socket = socket;
    this.child = child;
    this.#exited = once(child, 'exit');
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.log += text));
  }

  /** Resolves when it listens. @param args without --socket */
  static async start(socket: string, args: readonly string[]): Promise<ExportProcess> {
    const child = spawn(process.execPath, [CLI, 'export', ...args, '--socket', socket], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const made = new ExportProcess(socket, child);
    await made.said('serving on');
    return made;
  }

  /** Waits until it has said something that `text` is in, from `from` on. */
  async said(text: string, from = 0): Promise<void> {
    const end = performance.now() + PATIENCE;
    while (!this.log.includes(text, from)) {
      if (this.child.exitCode !== null) throw new Error(`ringside export has ended: ${this.log}`);
      if (performance.now() > end) throw new Error(`"${text}" was not said: ${this.log}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Open file descriptors. */
  get descriptors(): number {
    return readdirSync(`/proc/${this.child.pid}/fd`).length;
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    this.child.kill(signal);
    await this.#exited;
  }

  /** @returns the exit status */
  async end(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.kill('SIGTERM');
    return this.child.exitCode;
  }
}
