/** The escape key of the terminal, Ctrl-A, as in QEMU's multiplexed console. */

const CTRL_A = 0x01;

export type EscapeCommand = 'help' | 'quit' | 'break' | 'pause' | 'monitor';

const COMMANDS: Record<string, EscapeCommand> = {
  h: 'help',
  '?': 'help',
  x: 'quit',
  b: 'break',
  p: 'pause',
  c: 'monitor',
};

export const ESCAPE_HELP = [
  'C-a h    print this help',
  'C-a x    end the VM',
  'C-a p    pause, and go on again',
  'C-a b    send a break to the serial port',
  'C-a c    to the monitor, and back to the console',
  'C-a C-a  send C-a to the guest',
];

/** Splits what is typed into bytes for the guest and commands; the state lasts from one piece to the next. */
export class EscapeFilter {
  #escaped = false;

  /** In order of typing. An unknown key after Ctrl-A is swallowed, as in QEMU. */
  *feed(bytes: Uint8Array): Generator<Uint8Array | EscapeCommand> {
    let start = 0;
    for (let i = 0; i < bytes.length; i++) {
      if (this.#escaped) {
        this.#escaped = false;
        // The second Ctrl-A of a pair begins what is passed on.
        if (bytes[i] === CTRL_A) {
          start = i;
          continue;
        }
        start = i + 1;
        const command = COMMANDS[String.fromCharCode(bytes[i])];
        if (command !== undefined) yield command;
      } else if (bytes[i] === CTRL_A) {
        if (i > start) yield bytes.subarray(start, i);
        this.#escaped = true;
        start = bytes.length;
      }
    }
    if (start < bytes.length) yield bytes.subarray(start);
  }
}
