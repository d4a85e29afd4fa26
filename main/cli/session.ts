/**
 * A machine on a terminal: stdin and stdout are its console, signals and the escape key end it, and the way it ended is
 * an exit status. Messages go to stderr.
 */
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import type { MachineExit, MachineState } from '../../core/api/machine.ts';
import { errorLine } from '../../core/errors.ts';
import { ESCAPE_HELP, type EscapeCommand, EscapeFilter } from './escape.ts';
import { MonitorTerminal } from './monitors.ts';
import type { MonitorMode } from './options/monitors.ts';
import { type ConsoleDevice, InputPump, OutputPump, discardOutput } from './pump.ts';
import type { RunRequest } from './qemu-options.ts';
import { type ProcessEvents, Terminal, type TerminalInput } from './terminal.ts';

/** What is used of core/machine's Machine. */
export interface ConsoleMachine {
  readonly state: MachineState;
  start(): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  powerOff(): Promise<MachineExit>;
  readonly chardevs: ReadonlyMap<string, ConsoleDevice & { sendBreak?(): void }>;
  on(event: 'state', listener: (state: MachineState) => void): unknown;
  on(event: 'exit', listener: (exit: MachineExit) => void): unknown;
  on(event: 'message', listener: (message: string) => void): unknown;
  dispose(): Promise<void>;
}

/** The process's surroundings; tests bring their own. */
export interface SessionIo {
  stdin: Readable & TerminalInput;
  stdout: Writable;
  /** Writes one message. */
  say(line: string): void;
  events: ProcessEvents;
  /** Stops this process until SIGCONT. */
  stop(): void;
  /** Ends this process at once. */
  exit(status: number): void;
  /** Puts a monitor on the terminal. */
  openMonitor?(terminal: MonitorTerminal, how: { mode: MonitorMode; pretty: boolean }): void;
}

export const EXIT_ERROR = 1;
/** How long an orderly end (flushing disks, writing the rest of the output) may take once somebody wants out, ms. */
const END_LIMIT = 10_000;
/** Console output still unwritten when the user or a signal ends the VM: how long stdout's reader is waited for, ms. */
const OUTPUT_LIMIT = 1_000;
/** Input kept while the guest does not read. A terminal is read further than a pipe, or Ctrl-A x could not be seen. */
const PIPE_BACKLOG = 64 * 1024;
const TERMINAL_BACKLOG = 16 * 1024 * 1024;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
const CTRL_C = 0x03;
const QUIT_KEYS = 'C-a x';
/** A second signal this much later, ms, wants out at once; sooner, it is the same one by another way (process group). */
const SECOND_THOUGHT = 1_000;

/** The exit status for the way a VM ended: see README.md, "Exit status". */
export function exitStatus(exit: MachineExit): number {
  switch (exit.reason) {
    case 'guest-poweroff':
    case 'guest-reset':
    case 'host-quit':
      return 0;
    case 'guest-fail':
      // An exit status has 8 bits, the test finisher's code 16: what does not fit is still a failure.
      return exit.code >= 1 && exit.code <= 255 ? exit.code : 255;
    case 'crash':
      return EXIT_ERROR;
  }
}

function farewell(exit: MachineExit): string | undefined {
  const detail = exit.detail === undefined ? '' : `: ${exit.detail}`;
  switch (exit.reason) {
    case 'guest-poweroff':
      return undefined;
    case 'guest-reset':
      return 'the guest reset the machine (-no-reboot)';
    case 'host-quit':
      return 'terminated';
    case 'guest-fail':
      return `the guest reported a failure, code ${exit.code}${detail}`;
    case 'crash':
      return `the machine crashed${detail}`;
  }
}

const timeLimit = <T>(work: Promise<T>, limit: number): Promise<T | undefined> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), limit);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });

/**
 * Runs a machine that has been created to its end and disposes of it.
 * @returns the exit status
 */
export async function runSession(machine: ConsoleMachine, request: RunRequest, io: SessionIo): Promise<number> {
  const session = new Session(machine, request, io);
  try {
    return await session.run();
  } finally {
    session.close();
    await timeLimit(machine.dispose(), END_LIMIT);
  }
}

class Session {
  #machine: ConsoleMachine;
  #request: RunRequest;
  #io: SessionIo;
  #terminal: Terminal;
  #output: OutputPump | undefined;
  /** Set once it is ended from our side. */
  #ending: { status: number; why: string; since: number } | undefined;
  #pausing = false;
  /** Once it has been asked for; `focused`: what is typed goes to it. */
  #monitor: MonitorTerminal | undefined;
  #focused = false;
  #finished!: (end: { exit?: MachineExit }) => void;
  #end = new Promise<{ exit?: MachineExit }>((resolve) => (this.#finished = resolve));
  #failed!: (error: unknown) => void;
  #failure = new Promise<never>((_, reject) => (this.#failed = reject));
  #undo: (() => void)[] = [];

  constructor(machine: ConsoleMachine, request: RunRequest, io: SessionIo) {
    this.#machine = machine;
    this.#request = request;
    this.#io = io;
    this.#terminal = new Terminal(io.stdin, io.events, () => io.stop());
    // It may come when nobody waits for it any more.
    this.#failure.catch(() => {});
  }

  async run(): Promise<number> {
    const { port, monitor } = this.#request.terminal;
    for (const [name, device] of this.#machine.chardevs) if (name !== port) discardOutput(device);
    this.#machine.on('exit', (exit) => this.#finished({ exit }));
    this.#machine.on('message', (message) => this.#io.say(message));
    this.#machine.on('state', (state) => {
      // After an I/O error, say, whose message came before.
      if (state === 'paused' && !this.#pausing && !this.#ending) this.#io.say(`paused${this.#hint('goes on')}`);
    });
    for (const signal of SIGNALS) this.#listen(signal, () => this.#quit(128 + constants.signals[signal], signal));
    if (port !== null) this.#connect(port);
    else if (monitor !== undefined) this.#connectMonitor(monitor);
    if (this.#request.startPaused) this.#io.say(`not started (-S)${this.#hint('starts it')}`);
    else this.#machine.start().catch(this.#failed);

    const { exit } = await Promise.race([this.#end, this.#failure]);
    await this.#lastOutput();
    this.close();
    // A status of our own stands only for an end that was our doing: the guest may have been quicker.
    if (this.#ending !== undefined && (exit === undefined || exit.reason === 'host-quit')) {
      if (this.#ending.why === QUIT_KEYS) this.#io.say('terminated');
      return this.#ending.status;
    }
    if (exit === undefined) return EXIT_ERROR;
    const words = farewell(exit);
    if (words !== undefined) this.#io.say(words);
    return exitStatus(exit);
  }

  /** Gives the terminal and the signals back. */
  close(): void {
    this.#terminal.leave();
    for (const undo of this.#undo.splice(0)) undo();
  }

  #listen(event: string, listener: () => void): void {
    this.#io.events.on(event, listener);
    this.#undo.push(() => this.#io.events.removeListener(event, listener));
  }

  #escapes(): boolean {
    const rule = this.#request.terminal.escapes;
    return rule === 'always' || (rule === 'on-a-terminal' && this.#io.stdin.isTTY === true);
  }

  #hint(does: string): string {
    return this.#escapes() ? `: C-a p ${does}` : '';
  }

  #connect(port: string): void {
    const { stdin, stdout } = this.#io;
    const device = this.#machine.chardevs.get(port);
    if (device === undefined) throw new Error(`the machine has no ${port}`);
    this.#output = new OutputPump(device, stdout, (error) => this.#stdoutFailed(error));
    const input = new InputPump(device, stdin, stdin.isTTY ? TERMINAL_BACKLOG : PIPE_BACKLOG);
    const filter = this.#escapes() ? new EscapeFilter() : undefined;
    const onData = (bytes: Buffer) => {
      if (filter === undefined) {
        // Raw mode makes Ctrl-C a byte; with no escape key it has to be the way out, as for any other program.
        if (stdin.isTTY && bytes.includes(CTRL_C)) this.#quit(128 + constants.signals.SIGINT, 'SIGINT');
        input.push(bytes);
        return;
      }
      for (const part of filter.feed(bytes)) {
        if (typeof part === 'string') this.#command(part, device);
        else if (this.#focused) this.#monitor!.type(part);
        else input.push(part);
      }
    };
    // The end of stdin, or an error on it (a terminal that hung up), is not the end of the VM.
    const onError = () => {};
    stdin.on('data', onData).on('error', onError);
    this.#undo.push(() => {
      stdin.removeListener('data', onData);
      stdin.pause();
    });
    this.#terminal.enter();
    if (stdin.isTTY && filter !== undefined) this.#io.say('C-a x ends the VM, C-a h lists the other keys');
  }

  /** The terminal is the monitor's alone. */
  #connectMonitor(how: { mode: MonitorMode; pretty: boolean }): void {
    const { stdin, stdout } = this.#io;
    const monitor = this.#openMonitor(how);
    stdout.on('error', (error: NodeJS.ErrnoException) => this.#stdoutFailed(error));
    const onData = (bytes: Buffer) => {
      if (stdin.isTTY && bytes.includes(CTRL_C)) this.#quit(128 + constants.signals.SIGINT, 'SIGINT');
      else monitor.type(bytes);
    };
    // As in QEMU the machine stays when there is nobody left who could type.
    stdin.on('data', onData).on('error', () => {});
    this.#undo.push(() => {
      stdin.removeListener('data', onData);
      stdin.pause();
    });
    if (how.mode === 'readline') this.#terminal.enter();
  }

  #openMonitor(how: { mode: MonitorMode; pretty: boolean }): MonitorTerminal {
    const monitor = new MonitorTerminal(this.#io.stdout);
    this.#monitor = monitor;
    this.#io.openMonitor?.(monitor, how);
    this.#undo.push(() => monitor.destroy());
    return monitor;
  }

  /** From the console to the monitor, or back. */
  #switch(): void {
    if (this.#io.openMonitor === undefined) return this.#io.say('there is no monitor here');
    this.#focused = !this.#focused;
    if (!this.#focused) this.#io.stdout.write('\r\n');
    else if (this.#monitor === undefined) {
      this.#io.stdout.write('\r\n');
      this.#openMonitor({ mode: 'readline', pretty: false });
    } else this.#monitor.onFocus();
  }

  #command(command: EscapeCommand, device: { sendBreak?(): void }): void {
    const { say } = this.#io;
    switch (command) {
      case 'help':
        for (const line of ESCAPE_HELP) say(line);
        break;
      case 'quit':
        this.#quit(0, QUIT_KEYS);
        break;
      case 'break':
        if (device.sendBreak) device.sendBreak();
        else say('this console has no break');
        break;
      case 'pause':
        this.#pauseOrGoOn().catch((error: unknown) => say(errorLine(error)));
        break;
      case 'monitor':
        this.#switch();
        break;
    }
  }

  async #pauseOrGoOn(): Promise<void> {
    switch (this.#machine.state) {
      case 'created':
        return this.#machine.start();
      case 'paused':
        await this.#machine.resume();
        return this.#io.say('running');
      case 'running':
        this.#pausing = true;
        try {
          await this.#machine.pause();
        } finally {
          this.#pausing = false;
        }
        return this.#io.say(`paused${this.#hint('goes on')}`);
      case 'shutdown':
      case 'crashed':
    }
  }

  #stdoutFailed(error: NodeJS.ErrnoException): void {
    if (error.code === 'EPIPE') {
      this.#quit(128 + constants.signals.SIGPIPE, 'EPIPE');
    } else {
      this.#io.say(`cannot write the console to stdout: ${error.message}`);
      this.#quit(EXIT_ERROR, 'stdout');
    }
  }

  /** Ends the VM from our side. Asked once more by a signal, a while later, it does not wait for anything. */
  #quit(status: number, why: string): void {
    if (this.#ending !== undefined) {
      if (!why.startsWith('SIG') || Date.now() - this.#ending.since < SECOND_THOUGHT) return;
      this.#terminal.leave();
      this.#io.exit(status);
      return;
    }
    const ending = { status, why, since: Date.now() };
    this.#ending = ending;
    timeLimit(this.#machine.powerOff(), END_LIMIT).then((exit) => {
      if (exit === undefined) {
        this.#io.say(`the machine has not ended within ${END_LIMIT / 1000} s; leaving it`);
        ending.status ||= EXIT_ERROR;
      }
      this.#finished({ exit });
    }, this.#failed);
  }

  async #lastOutput(): Promise<void> {
    if (this.#output === undefined) return;
    const finished = this.#output.finish().then(() => true);
    // A guest that ended by itself has a right to its last words; somebody who wants out does not wait for a slow reader.
    const whole = await (this.#ending === undefined
      ? Promise.race([finished, this.#interrupted().then(() => false)])
      : timeLimit(finished, OUTPUT_LIMIT));
    if (!whole) this.#io.stdout.destroy();
  }

  /** Resolves when a signal wants to end a VM that has ended already. */
  #interrupted(): Promise<void> {
    return new Promise((resolve) => {
      for (const signal of SIGNALS) this.#listen(signal, resolve);
    });
  }
}
