/** One client of HMP: banner, prompt, lines. */
import type { Duplex } from 'node:stream';
import type { CommandContext } from '../commands/command.ts';
import { QEMU_VERSION } from '../commands/machine.ts';
import { MonitorOutput } from '../output.ts';
import type { HmpState } from './command.ts';
import { HmpInterpreter } from './interpreter.ts';
import { Readline } from './readline.ts';

const PROMPT = '(qemu) ';
/** Characters typed ahead, while a command is executed, at which no more is read. */
const TYPED_AHEAD = 4096;

export interface HmpSessionOptions {
  stream: Duplex;
  context: CommandContext;
  /** A line that was entered, for the trace. */
  onLine?: (line: string) => void;
}

export class HmpSession {
  readonly #options: HmpSessionOptions;
  readonly #output: MonitorOutput;
  readonly #readline: Readline;
  readonly #interpreter: HmpInterpreter;

  constructor(options: HmpSessionOptions) {
    this.#options = options;
    const { stream, context } = options;
    this.#output = new MonitorOutput(stream);
    const write = (text: string): void => this.#output.write(text);
    this.#readline = new Readline({
      prompt: PROMPT,
      write,
      onLine: (line) => void this.#execute(line),
      complete: (before) => this.#interpreter.complete(before),
    });
    const state: HmpState = { cpu: 0, format: null, history: this.#readline.history };
    this.#interpreter = new HmpInterpreter(context, state);
    const { major, minor, micro } = QEMU_VERSION;
    write(
      `QEMU ${major}.${minor}.${micro} monitor (Ringside ${context.version.ringside}) - type 'help' for more information\r\n`,
    );
    this.#readline.prompt();
    stream.on('data', (bytes: Uint8Array) => {
      this.#readline.feed(bytes);
      if (this.#readline.backlog > TYPED_AHEAD) stream.pause();
    });
  }

  /** The prompt and what has been typed, on a line of their own. */
  show(): void {
    this.#readline.show();
  }

  async #execute(line: string): Promise<void> {
    const { stream, onLine } = this.#options;
    onLine?.(line);
    await this.#interpreter.execute(line, (text) => this.#output.write(text.replaceAll('\n', '\r\n')));
    await this.#output.ready();
    if (stream.destroyed) return;
    this.#readline.prompt();
    if (this.#readline.backlog <= TYPED_AHEAD) stream.resume();
  }
}
