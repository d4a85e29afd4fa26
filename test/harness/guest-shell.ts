/**
 * A guest's console as a test uses it: what has come is searched for patterns or taken byte by byte, and on a shell's
 * console commands are run with their output and exit status.
 */
import type { MachineConsole } from '../../core/machine/console.ts';

const ESC = String.fromCharCode(0x1b);
/** The debian guest's prompt, behind which its line editor asks the terminal where the cursor is. */
export const PROMPT = new RegExp(`root@ringside:[^\\n]*# (${ESC}\\[6n)?$`);
/** Control sequences (ECMA-48), such as the line editor's. */
const CONTROL_SEQUENCE = new RegExp(`${ESC}\\[[0-?]*[ -/]*[@-~]`, 'g');
/** The guest's line editor takes no more. */
const LINE_MAX = 1000;
/** Milliseconds: a bound for what hangs, on a host that is very busy. */
const DEFAULT_LIMIT = 180_000;

export interface Ran {
  readonly status: number;
  /** Standard output and error, without carriage returns, trimmed. */
  readonly text: string;
}

/** A console's output, kept until it is asked for, and its input, however slowly the guest takes it. */
export class ConsoleEnd {
  readonly #console: MachineConsole;
  /** A character a byte. */
  #unread = '';
  /** The end of what has been read, for messages. */
  #read = '';
  #changed: () => void = () => {};
  #roomMade: () => void = () => {};
  /** Called with all output as it comes. */
  onOutput: (text: string) => void = () => {};

  constructor(console: MachineConsole) {
    this.#console = console;
    console.onData((bytes) => {
      const text = Buffer.from(bytes).toString('latin1');
      this.#unread += text;
      this.onOutput(text);
      this.#changed();
    });
    console.onRoom(() => this.#roomMade());
  }

  /** Resolves when all of it has been taken. One at a time. */
  async write(bytes: Uint8Array | string): Promise<void> {
    let rest = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    for (;;) {
      const room = new Promise<void>((resolve) => (this.#roomMade = resolve));
      rest = rest.subarray(this.#console.write(rest));
      if (rest.length === 0) return;
      await room;
    }
  }

  /** Takes what `look` finds in the unread output; it gives the number of characters, or -1 to wait for more. */
  async #take(look: (unread: string) => number, limit: number, what: string): Promise<string> {
    const late = Date.now() + limit;
    for (;;) {
      const length = look(this.#unread);
      if (length >= 0) {
        const taken = this.#unread.slice(0, length);
        this.#unread = this.#unread.slice(length);
        this.#read = (this.#read + taken).slice(-1000);
        return taken;
      }
      let timer: NodeJS.Timeout | undefined;
      const inTime = await new Promise<boolean>((resolve) => {
        this.#changed = () => resolve(true);
        timer = setTimeout(() => resolve(false), late - Date.now());
      });
      clearTimeout(timer);
      if (!inTime) throw new Error(`no ${what} within ${limit} ms. The console had:\n${this.tail}`);
    }
  }

  /** Output up to the end of the pattern's first match. */
  until(pattern: RegExp, limit = DEFAULT_LIMIT): Promise<string> {
    const find = (unread: string): number => {
      const match = pattern.exec(unread);
      return match ? match.index + match[0].length : -1;
    };
    return this.#take(find, limit, String(pattern));
  }

  /** The next `count` bytes. */
  async bytes(count: number, limit = DEFAULT_LIMIT): Promise<Buffer> {
    const taken = await this.#take((unread) => (unread.length < count ? -1 : count), limit, `${count} bytes`);
    return Buffer.from(taken, 'latin1');
  }

  /** Forgets what is unread. */
  skip(): void {
    this.#read = (this.#read + this.#unread).slice(-1000);
    this.#unread = '';
  }

  /** The last lines, for messages. */
  get tail(): string {
    return (this.#read + this.#unread).slice(-1500);
  }
}

/** A shell on a console. One command at a time. */
export class GuestShell extends ConsoleEnd {
  #commands = 0;

  /** Waits for the prompt of a guest that boots. */
  async ready(limit = 300_000): Promise<void> {
    await this.until(PROMPT, limit);
  }

  /**
   * Runs a command line.
   * @throws Error when it takes longer than `limit` ms
   */
  async run(command: string, limit = DEFAULT_LIMIT): Promise<Ran> {
    const begun = await this.begin(command);
    return begun.end(limit);
  }

  /** As run; resolves when the command is being run, for what is to happen meanwhile. */
  async begin(command: string): Promise<{ end(limit?: number): Promise<Ran> }> {
    const number = ++this.#commands;
    // printf puts the marks together, so that the echo of the command line is none. Each is a line of its own.
    const line = `printf '\\n%s${number}\\n' BEGIN-; ${command}; printf '\\n%s${number}-%d\\n' END- $?\n`;
    if (line.length > LINE_MAX) throw new RangeError(`the guest's line editor takes no ${line.length} characters`);
    await this.write(line);
    await this.until(new RegExp(`\\r\\nBEGIN-${number}\\r*\\n`));
    const end = async (limit = DEFAULT_LIMIT): Promise<Ran> => {
      const output = await this.until(new RegExp(`\\r*\\nEND-${number}-\\d+\\r*\\n`), limit);
      const [, text, status] = /^([^]*)\r*\nEND-\d+-(\d+)\r*\n$/.exec(output)!;
      await this.until(PROMPT, limit);
      return { status: Number(status), text: text.replaceAll('\r', '').replace(CONTROL_SEQUENCE, '').trim() };
    };
    return { end };
  }

  /** As run, of a command that must succeed; its output. */
  async ok(command: string, limit = DEFAULT_LIMIT): Promise<string> {
    const { status, text } = await this.run(command, limit);
    if (status !== 0) throw new Error(`"${command}" ended with ${status}:\n${text}`);
    return text;
  }
}
