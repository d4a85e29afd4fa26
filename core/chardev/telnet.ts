/** As much of the telnet protocol as QEMU's character devices have (RFC 854, 856, 857, 858): each character as it is typed. */

const IAC = 255;
const DONT = 254;
const DO = 253;
const WILL = 251;
const SB = 250;
const BREAK = 243;
const SE = 240;
const OPTION_BINARY = 0;
const OPTION_ECHO = 1;
const OPTION_SUPPRESS_GO_AHEAD = 3;

/** We echo, nothing goes ahead, both send bytes as they are. */
export const TELNET_GREETING = Uint8Array.from([
  ...[IAC, WILL, OPTION_ECHO],
  ...[IAC, WILL, OPTION_SUPPRESS_GO_AHEAD],
  ...[IAC, WILL, OPTION_BINARY],
  ...[IAC, DO, OPTION_BINARY],
]);

/** Bytes for a client: 255 is written twice. */
export function escapeTelnet(bytes: Uint8Array): Uint8Array {
  if (!bytes.includes(IAC)) return bytes;
  const escaped: number[] = [];
  for (const byte of bytes) escaped.push(...(byte === IAC ? [IAC, IAC] : [byte]));
  return Uint8Array.from(escaped);
}

/** Takes commands out of what a client sends. */
export class TelnetFilter {
  readonly #onBreak: () => void;
  /** Where in a command the client is. */
  #state: 'data' | 'command' | 'option' | 'negotiation' | 'negotiation-command' = 'data';

  constructor(onBreak: () => void) {
    this.#onBreak = onBreak;
  }

  feed(bytes: Uint8Array): Uint8Array {
    if (this.#state === 'data' && !bytes.includes(IAC)) return bytes;
    const data: number[] = [];
    for (const byte of bytes) if (this.#take(byte)) data.push(byte);
    return Uint8Array.from(data);
  }

  /** Whether the byte is data. */
  #take(byte: number): boolean {
    switch (this.#state) {
      case 'data':
        if (byte === IAC) this.#state = 'command';
        return byte !== IAC;
      case 'command':
        this.#state = byte >= WILL && byte <= DONT ? 'option' : byte === SB ? 'negotiation' : 'data';
        if (byte === BREAK) this.#onBreak();
        return byte === IAC;
      case 'option':
        this.#state = 'data';
        return false;
      case 'negotiation':
        if (byte === IAC) this.#state = 'negotiation-command';
        return false;
      case 'negotiation-command':
        this.#state = byte === SE ? 'data' : 'negotiation';
        return false;
    }
  }
}
