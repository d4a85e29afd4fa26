/**
 * Finds the JSON values in a stream of bytes that comes in pieces of any size, with white space, line ends or nothing
 * between them. After something that is no JSON it goes on at the next line.
 */
import { MAX_NESTING, parseJson } from './json.ts';
import type { Json } from './json.ts';

/** Bytes of one value. */
export const MAX_MESSAGE = 1 << 20;

export type StreamItem = { value: Json } | { error: string };

const QUOTE = 0x22;
const APOSTROPHE = 0x27;
const BACKSLASH = 0x5c;
const NEWLINE = 0x0a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
/** No byte of UTF-8. Clients send it to make the reader forget what it has of a value (QEMU's json-lexer). */
const RESET_FROM = 0xfe;

const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
/** What numbers and keywords consist of. */
const isWord = (byte: number): boolean =>
  (byte >= 0x30 && byte <= 0x39) ||
  (byte >= 0x61 && byte <= 0x7a) ||
  (byte >= 0x41 && byte <= 0x5a) ||
  byte === 0x2d ||
  byte === 0x2b ||
  byte === 0x2e;

export class JsonStream {
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  /** Bytes of the value that has begun. */
  #pieces: Uint8Array[] = [];
  #length = 0;
  /** The quotation mark that ends the string; 0 outside of strings. */
  #quote = 0;
  #escaped = false;
  /** In a number or keyword that is a value of its own. */
  #word = false;
  #braces = 0;
  #brackets = 0;
  /** Everything up to the end of the line is skipped. */
  #skipping = false;

  /** In order; to be consumed before the next call. */
  *feed(bytes: Uint8Array): Generator<StreamItem> {
    let start = 0;
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at];
      if (byte >= RESET_FROM) {
        const unfinished = this.#begun && !this.#skipping;
        this.#reset();
        start = at + 1;
        if (unfinished) yield { error: 'JSON parse error, the value was given up' };
      } else if (this.#skipping) {
        start = at + 1;
        if (byte === NEWLINE) this.#reset();
      } else if (this.#length + (at - start) >= MAX_MESSAGE) {
        this.#skip();
        start = at;
        at--;
        yield { error: 'JSON token size limit exceeded' };
      } else {
        const wordEnds = this.#word && !isWord(byte);
        if (wordEnds) {
          yield this.#take(bytes.subarray(start, at));
          start = at;
        }
        if (!this.#begun && start === at && isSpace(byte)) {
          start = at + 1;
          continue;
        }
        const ends = this.#step(byte);
        if (ends === 'too-deep') {
          this.#skip();
          start = at + 1;
          yield { error: 'JSON nesting depth limit exceeded' };
        } else if (ends === 'bad') {
          const shown = String.fromCharCode(byte);
          this.#skip();
          if (byte === NEWLINE) this.#reset();
          start = at + 1;
          yield { error: `JSON parse error, stray '${shown < ' ' || byte > 0x7e ? `\\x${hex(byte)}` : shown}'` };
        } else if (ends) {
          yield this.#take(bytes.subarray(start, at + 1));
          start = at + 1;
        }
      }
    }
    if (start < bytes.length && !this.#skipping) {
      this.#pieces.push(bytes.slice(start));
      this.#length += bytes.length - start;
    }
  }

  get #begun(): boolean {
    return this.#length > 0 || this.#quote !== 0 || this.#word || this.#braces > 0 || this.#brackets > 0;
  }

  /** Whether a value ends with this byte. */
  #step(byte: number): boolean | 'bad' | 'too-deep' {
    if (this.#quote !== 0) {
      if (byte < 0x20) return 'bad';
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === this.#quote) {
        this.#quote = 0;
        return this.#braces === 0 && this.#brackets === 0;
      }
      return false;
    }
    switch (byte) {
      case QUOTE:
      case APOSTROPHE:
        this.#quote = byte;
        return false;
      case OPEN_BRACE:
        this.#braces++;
        return this.#braces + this.#brackets > MAX_NESTING ? 'too-deep' : false;
      case OPEN_BRACKET:
        this.#brackets++;
        return this.#braces + this.#brackets > MAX_NESTING ? 'too-deep' : false;
      case CLOSE_BRACE:
        this.#braces--;
        return this.#closed();
      case CLOSE_BRACKET:
        this.#brackets--;
        return this.#closed();
    }
    if (this.#braces > 0 || this.#brackets > 0) return false;
    if (!isWord(byte)) return 'bad';
    this.#word = true;
    return false;
  }

  /** One kind of bracket too many ends the value as well: it is none. */
  #closed(): boolean {
    return (this.#braces === 0 && this.#brackets === 0) || this.#braces < 0 || this.#brackets < 0;
  }

  #take(last: Uint8Array): StreamItem {
    const bytes = this.#pieces.length === 0 ? last : Buffer.concat([...this.#pieces, last]);
    this.#reset();
    let text: string;
    try {
      text = this.#decoder.decode(bytes);
    } catch {
      return { error: 'JSON parse error, invalid UTF-8 sequence in string' };
    }
    try {
      return { value: parseJson(text) };
    } catch (error) {
      return { error: (error as Error).message };
    }
  }

  #reset(): void {
    this.#pieces = [];
    this.#length = 0;
    this.#quote = 0;
    this.#escaped = false;
    this.#word = false;
    this.#braces = 0;
    this.#brackets = 0;
    this.#skipping = false;
  }

  #skip(): void {
    this.#reset();
    this.#skipping = true;
  }
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
