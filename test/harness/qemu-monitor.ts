/** qemu-system-riscv64 with a guest, its console and QMP, beside which our own machine is put. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MachineConsole } from '../../core/machine/console.ts';
import { parseJson } from '../../core/monitor/qmp/json.ts';
import type { Json } from '../../core/monitor/qmp/json.ts';
import { GuestShell } from './guest-shell.ts';

const QEMU = 'qemu-system-riscv64';
/** ms. */
const START = 60_000;

/** e.g. "7.2"; null where there is none. */
export function qemuRelease(): string | null {
  const { status, stdout } = spawnSync(QEMU, ['--version'], { encoding: 'utf8' });
  return status === 0 ? (/version (\d+\.\d+)/.exec(stdout)?.[1] ?? null) : null;
}

export class QemuMonitor implements AsyncDisposable {
  readonly shell: GuestShell;
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #socket: Socket;
  #text = '';
  #arrived: () => void = () => {};

  /** @param folder for its socket */
  static async start(folder: string, args: readonly string[]): Promise<QemuMonitor> {
    const path = join(folder, 'qemu.sock');
    const where = [
      '-display',
      'none',
      '-monitor',
      'none',
      '-serial',
      'stdio',
      '-qmp',
      `unix:${path},server=on,wait=off`,
    ];
    const child = spawn(QEMU, ['-M', 'virt', ...where, ...args], { cwd: folder });
    let said = '';
    child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()));
    const late = Date.now() + START;
    for (;;) {
      const socket = connect(path);
      const connected = await new Promise<boolean>((resolve) => {
        socket.once('connect', () => resolve(true));
        socket.once('error', () => resolve(false));
      });
      if (connected) {
        const monitor = new QemuMonitor(child, socket);
        await monitor.#next();
        await monitor.qmp('qmp_capabilities');
        return monitor;
      }
      if (child.exitCode !== null || Date.now() > late) throw new Error(`QEMU does not start: ${said}`);
      await sleep(50);
    }
  }

  private constructor(child: ChildProcessWithoutNullStreams, socket: Socket) {
    this.#process = child;
    this.#socket = socket;
    socket.on('data', (bytes) => {
      this.#text += bytes.toString();
      this.#arrived();
    });
    const console: Pick<MachineConsole, 'onData' | 'onRoom' | 'write'> = {
      onData: (listener) => void child.stdout.on('data', (bytes: Buffer) => listener(bytes)),
      onRoom: () => {},
      write(bytes) {
        child.stdin.write(bytes);
        return bytes.length;
      },
    };
    this.shell = new GuestShell(console as MachineConsole);
  }

  async #next(): Promise<{ [key: string]: Json }> {
    for (;;) {
      const end = this.#text.indexOf('\n');
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return parseJson(line) as { [key: string]: Json };
      }
      await new Promise<void>((resolve) => (this.#arrived = resolve));
    }
  }

  /** What a command returns, or { error }. */
  async qmp(command: string, args: { [key: string]: Json } = {}): Promise<Json> {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    for (;;) {
      const message = await this.#next();
      if ('return' in message) return message['return'];
      if ('error' in message) return { error: message['error'] };
    }
  }

  async hmp(line: string): Promise<string> {
    return ((await this.qmp('human-monitor-command', { 'command-line': line })) as string).replaceAll('\r\n', '\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    const gone = new Promise<void>((resolve) => this.#process.once('exit', () => resolve()));
    this.#process.kill('SIGKILL');
    if (this.#process.exitCode === null && this.#process.signalCode === null) await gone;
  }
}
