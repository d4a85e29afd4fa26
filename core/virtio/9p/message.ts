/** Fields of 9P messages: little-endian, strings with a 16-bit length. Strings here are a character a byte. */
import { EINVAL, EMSGSIZE, LinuxError } from '../../hostfs/errors.ts';
import { P9_HEADER_BYTES } from './protocol.ts';

/** Reads a request; the bytes are a private copy. */
export class P9Reader {
  readonly #bytes: Buffer;
  #at = P9_HEADER_BYTES;
  #end = P9_HEADER_BYTES;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** Begins behind the header of a message. */
  reset(length: number): void {
    this.#at = P9_HEADER_BYTES;
    this.#end = length;
  }

  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.#end) throw new LinuxError(EINVAL);
    this.#at = at + count;
    return at;
  }

  u8(): number {
    return this.#bytes[this.#take(1)];
  }
  u16(): number {
    return this.#bytes.readUInt16LE(this.#take(2));
  }
  u32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }
  u64(): bigint {
    return this.#bytes.readBigUInt64LE(this.#take(8));
  }
  /** A 64-bit offset or size. */
  offset(): number {
    const value = this.u64();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new LinuxError(EINVAL);
    return Number(value);
  }
  string(): string {
    const length = this.u16();
    const at = this.#take(length);
    return this.#bytes.toString('latin1', at, at + length);
  }
}

export interface Qid {
  readonly type: number;
  readonly version: number;
  readonly path: bigint;
}

/** Puts a reply together, header included. */
export class P9Writer {
  readonly bytes: Buffer;
  #at = P9_HEADER_BYTES;

  constructor(capacity: number) {
    this.bytes = Buffer.alloc(capacity);
  }

  get length(): number {
    return this.#at;
  }

  reset(): void {
    this.#at = P9_HEADER_BYTES;
  }

  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.bytes.length) throw new LinuxError(EMSGSIZE);
    this.#at = at + count;
    return at;
  }

  u8(value: number): void {
    this.bytes[this.#take(1)] = value;
  }
  u16(value: number): void {
    this.bytes.writeUInt16LE(value, this.#take(2));
  }
  u32(value: number): void {
    this.bytes.writeUInt32LE(value >>> 0, this.#take(4));
  }
  u64(value: bigint): void {
    this.bytes.writeBigUInt64LE(value, this.#take(8));
  }
  string(value: string): void {
    this.u16(value.length);
    this.bytes.write(value, this.#take(value.length), 'latin1');
  }
  qid({ type, version, path }: Qid): void {
    this.u8(type);
    this.u32(version);
    this.u64(path);
  }
  /** Writes a field that stands before what is behind it. */
  patchU32(at: number, value: number): void {
    this.bytes.writeUInt32LE(value, at);
  }

  /** Fills in the header. */
  finish(type: number, tag: number): void {
    this.bytes.writeUInt32LE(this.#at, 0);
    this.bytes[4] = type;
    this.bytes.writeUInt16LE(tag, 5);
  }
}
