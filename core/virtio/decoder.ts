/**
 * What a device's requests are, for people: each device type says it in its folder (core/virtio/<device>/decode.ts), and
 * core/virtio/decoders.ts lists them. I/O workers use the short form while a queue is watched; the control thread shows all
 * of it. Nothing here judges a driver: what cannot be read is simply not there.
 */
import type { WatchedRule } from './lint/rules.ts';

/** Buffers of a chain in one direction, as one run of bytes. Segments are. */
export interface ByteSource {
  readonly length: number;
  /** @returns the number copied: less than asked where the bytes end */
  copyOut(offset: number, target: Uint8Array, length?: number): number;
}

/** Buffers of a chain in one direction that can be written. */
export interface ByteSink extends ByteSource {
  copyIn(offset: number, source: Uint8Array, length?: number): number;
}

/** A request in three numbers. */
export interface RequestSummary {
  /** Its type, 0 to 0xffff, in the device's own numbering; NO_TYPE when there is none. */
  type: number;
  /** What distinguishes it: QueueDecoder.detail says what that is. Up to 2^53. */
  detail: number;
  /** How much it covers from `detail` on, in the same unit: a request for sectors 8 to 15 has 8 and 8. */
  span: number;
}

export const NO_TYPE = 0xffff;
/** Of a status: the device has none. */
export const NO_STATUS = 0xffff;

export interface DecodedField {
  /** As in the spec: "type", "sector", "num_buffers". */
  readonly name: string;
  /** For a person: "VIRTIO_BLK_T_OUT (1)". */
  readonly value: string;
  /** Where it stands. */
  readonly part: 'readable' | 'writable';
  readonly offset: number;
  readonly length: number;
}

export interface NamedCode {
  readonly code: number;
  readonly name: string;
}

/** What a device makes of one of its queues. */
export interface QueueDecoder {
  /** What the device does with it: requests that the driver sends, or buffers that it gives to be filled. */
  readonly purpose: 'requests' | 'buffers';
  /** Types of requests, by name; empty when there is but one sort. */
  readonly types: readonly NamedCode[];
  /** What a used request may end with, by name; empty when there is no status. */
  readonly statuses: readonly NamedCode[];
  /** What RequestSummary.detail is, e.g. "sector"; null: nothing. */
  readonly detail: string | null;
  summarize(readable: ByteSource, writable: ByteSource, summary: RequestSummary): void;
  /** The status of a request that has been done; NO_STATUS when there is none. */
  status(readable: ByteSource, writable: ByteSource, written: number): number;
  /**
   * @param written the used length; null: it is not used yet, and what is device-writable means nothing
   */
  fields(readable: ByteSource, writable: ByteSource, written: number | null): DecodedField[];
  /**
   * Answers a request with an error instead of doing it.
   *
   * @param status of `statuses`
   * @returns the used length
   */
  refuse(readable: ByteSource, writable: ByteSink, status: number): number;
  /**
   * Looks for what a driver must not do, but the device puts up with.
   *
   * @param features negotiated
   */
  lint?(
    readable: ByteSource,
    writable: ByteSource,
    found: (rule: WatchedRule, detail: () => string) => void,
    features: bigint,
  ): void;
}

/** @param queue its name in the device's list of queues */
export type DeviceDecoder = (queue: string) => QueueDecoder;

/** A queue of which nothing is known but its buffers. */
export const PLAIN_QUEUE: QueueDecoder = {
  purpose: 'buffers',
  types: [],
  statuses: [],
  detail: null,
  summarize(_readable, _writable, summary) {
    summary.type = NO_TYPE;
    summary.detail = 0;
    summary.span = 0;
  },
  status: () => NO_STATUS,
  fields: () => [],
  refuse: () => 0,
};

/** Names of the constants of a module that begin with a prefix, e.g. P9_T. */
export function codesOf(module: object, prefix: string): NamedCode[] {
  return Object.entries(module)
    .filter((entry): entry is [string, number] => entry[0].startsWith(prefix) && typeof entry[1] === 'number')
    .map(([name, code]) => ({ name, code }));
}

/** A little-endian number of a message; 0 when it is not there. */
export function peek(source: ByteSource, offset: number, size: 1 | 2 | 4): number {
  scratch.fill(0);
  if (offset < 0 || source.copyOut(offset, scratch, size) < size) return 0;
  return scratchData.getUint32(0, true);
}

const scratch = new Uint8Array(4);
const scratchData = new DataView(scratch.buffer);

/** The name of a code, with the number behind it; the number alone when it has none. */
export function codeName(codes: readonly NamedCode[], code: number): string {
  const name = codes.find((candidate) => candidate.code === code)?.name;
  return name === undefined ? `${code}` : `${name} (${code})`;
}

/** Reads little-endian numbers of a message for its fields; a field that is not wholly there is left out. */
export class FieldReader {
  readonly #source: ByteSource;
  readonly #part: 'readable' | 'writable';
  readonly #fields: DecodedField[];
  readonly #bytes = new Uint8Array(8);
  readonly #data = new DataView(this.#bytes.buffer);

  constructor(part: 'readable' | 'writable', source: ByteSource, fields: DecodedField[]) {
    this.#part = part;
    this.#source = source;
    this.#fields = fields;
  }

  /**
   * @param size bytes: 1, 2, 4 or 8
   * @returns the number; null when it is not there
   */
  number(name: string, offset: number, size: 1 | 2 | 4 | 8, show?: (value: bigint) => string): bigint | null {
    this.#bytes.fill(0);
    if (offset < 0 || this.#source.copyOut(offset, this.#bytes, size) < size) return null;
    const value = this.#data.getBigUint64(0, true);
    this.#add(name, offset, size, show ? show(value) : value.toString());
    return value;
  }

  /** Text up to its NUL; what cannot be printed is shown as \xNN. At most 4 KiB of it. */
  text(name: string, offset: number, length: number): void {
    const bytes = new Uint8Array(Math.min(Math.max(0, length), 4096));
    const count = this.#source.copyOut(offset, bytes);
    if (count === 0) return;
    this.#add(name, offset, count, printable(bytes.subarray(0, count)));
  }

  bytes(name: string, offset: number, length: number, show = hexBytes): void {
    const bytes = new Uint8Array(Math.min(Math.max(0, length), 64));
    const count = this.#source.copyOut(offset, bytes);
    if (count === 0) return;
    const more = length > count ? ` … (${length} bytes)` : '';
    this.#add(name, offset, Math.min(length, this.#source.length - offset), show(bytes.subarray(0, count)) + more);
  }

  #add(name: string, offset: number, length: number, value: string): void {
    this.#fields.push({ name, value, part: this.#part, offset, length });
  }
}

export function hexBytes(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

function printable(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) {
    if (byte === 0) break;
    if (byte === 10) text += '\\n';
    else if (byte === 13) text += '\\r';
    else if (byte === 9) text += '\\t';
    else text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return text;
}
