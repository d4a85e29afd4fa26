/**
 * A streaming tar reader: ustar (POSIX.1-1988), GNU long names and base-256 sizes, and pax path, linkpath and size
 * records. What the caller does not ask for is skipped without being kept.
 */
import { badArchive, safeMemberName } from './limits.ts';

const BLOCK = 512;
const FIELD = {
  name: [0, 100],
  mode: [100, 8],
  size: [124, 12],
  checksum: [148, 8],
  type: [156, 1],
  linkname: [157, 100],
  magic: [257, 5],
  prefix: [345, 155],
} as const;

const MAX_ENTRIES = 100_000;
/** Of a long name or a pax record: PATH_MAX with room to spare. */
const MAX_META = 64 * 1024;

export type TarType = 'file' | 'directory' | 'symlink' | 'hardlink' | 'other';

export interface TarHeader {
  /** Relative and checked (see `safeMemberName`); '' is the root itself. */
  readonly name: string;
  readonly type: TarType;
  readonly mode: number;
  readonly size: number;
  /** Target of a link, as written. */
  readonly linkname: string;
}

export interface TarEntry extends TarHeader {
  readonly data: Uint8Array;
}

/**
 * Yields the entries that `want` accepts, with their data.
 * @param maxEntrySize bytes an accepted entry may have
 * @throws RingsideError 'bad-image' for a damaged, truncated or unsafe archive.
 */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
  want: (header: TarHeader) => boolean,
  maxEntrySize: number,
): AsyncGenerator<TarEntry> {
  const reader = new BlockReader(source);
  let overrides: Partial<Record<'path' | 'linkpath' | 'size', string>> = {};
  try {
    for (let entries = 0; ; entries++) {
      if (entries > MAX_ENTRIES) throw badArchive('a tar archive with too many members');
      const block = await reader.read(BLOCK);
      if (block === null || block.every((byte) => byte === 0)) return;
      checkChecksum(block);
      const type = text(block, FIELD.type);
      const size = overrides.size !== undefined ? decimal(overrides.size) : octal(block, FIELD.size);
      if (type === 'L' || type === 'K' || type === 'x') {
        const meta = await readPadded(reader, boundedSize(size, MAX_META));
        if (type === 'x') Object.assign(overrides, paxRecords(meta));
        else overrides[type === 'L' ? 'path' : 'linkpath'] = cString(meta);
        continue;
      }
      if (type === 'g') {
        await skipPadded(reader, boundedSize(size, MAX_META));
        continue;
      }
      const header: TarHeader = {
        name: safeMemberName(overrides.path ?? ustarName(block)),
        type: typeOf(type),
        mode: octal(block, FIELD.mode) & 0o7777,
        size,
        linkname: overrides.linkpath ?? text(block, FIELD.linkname),
      };
      overrides = {};
      const dataSize = header.type === 'file' ? size : 0;
      if (want(header)) yield { ...header, data: await readPadded(reader, boundedSize(dataSize, maxEntrySize)) };
      else await skipPadded(reader, dataSize);
    }
  } finally {
    await reader.close();
  }
}

function typeOf(flag: string): TarType {
  switch (flag) {
    case '':
    case '0':
    case '7':
      return 'file';
    case '1':
      return 'hardlink';
    case '2':
      return 'symlink';
    case '5':
      return 'directory';
    default:
      return 'other';
  }
}

function ustarName(block: Buffer): string {
  const prefix =
    text(block, FIELD.magic) === 'ustar' && block[FIELD.magic[0] + 5] === 0 ? text(block, FIELD.prefix) : '';
  const name = text(block, FIELD.name);
  return prefix === '' ? name : `${prefix}/${name}`;
}

function text(block: Buffer, [at, size]: readonly [number, number]): string {
  return cString(block.subarray(at, at + size));
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

function octal(block: Buffer, field: readonly [number, number]): number {
  const [at, size] = field;
  if (block[at] === 0x80) {
    // GNU base-256: the rest is one big-endian number.
    let value = 0;
    for (let i = at + 1; i < at + size; i++) value = value * 256 + block[i];
    if (!Number.isSafeInteger(value)) throw badArchive('a tar member with an impossible size');
    return value;
  }
  const digits = text(block, field).trim();
  if (!/^[0-7]*$/.test(digits)) throw badArchive('a damaged tar header');
  return digits === '' ? 0 : parseInt(digits, 8);
}

function decimal(digits: string): number {
  const value = Number(digits);
  if (!/^\d+$/.test(digits) || !Number.isSafeInteger(value)) throw badArchive('a tar member with an impossible size');
  return value;
}

/** The sum of the header's bytes with the checksum field itself taken as blanks. */
function checkChecksum(block: Buffer): void {
  const [at, size] = FIELD.checksum;
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= at && i < at + size ? 0x20 : block[i];
  if (sum !== octal(block, FIELD.checksum)) throw badArchive('a damaged tar header');
}

function paxRecords(meta: Buffer): Record<string, string> {
  const records: Record<string, string> = {};
  for (let at = 0; at < meta.length;) {
    const blank = meta.indexOf(0x20, at);
    const length = blank < 0 ? 0 : Number(meta.toString('latin1', at, blank));
    const record = meta.toString('utf8', blank + 1, at + length - 1);
    const equals = record.indexOf('=');
    if (!(length > 0) || at + length > meta.length || equals < 0) throw badArchive('a damaged pax header');
    const key = record.slice(0, equals);
    if (key === 'path' || key === 'linkpath' || key === 'size') records[key] = record.slice(equals + 1);
    at += length;
  }
  return records;
}

function boundedSize(size: number, limit: number): number {
  if (size > limit) throw badArchive(`a tar member of ${size} bytes where at most ${limit} are expected`);
  return size;
}

async function readPadded(reader: BlockReader, size: number): Promise<Buffer> {
  const padded = Math.ceil(size / BLOCK) * BLOCK;
  const data = await reader.read(padded);
  if (data === null && padded > 0) throw badArchive('a truncated tar archive');
  // A copy: the block may be a view of a much larger chunk, which it would keep alive.
  return Buffer.from((data ?? Buffer.alloc(0)).subarray(0, size));
}

async function skipPadded(reader: BlockReader, size: number): Promise<void> {
  await reader.skip(Math.ceil(size / BLOCK) * BLOCK);
}

/** Cuts a chunked stream into the lengths asked for. */
class BlockReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** `size` bytes; null at the exact end of the stream. */
  async read(size: number): Promise<Buffer | null> {
    const parts: Uint8Array[] = [];
    let missing = size;
    while (missing > 0) {
      if (this.#rest.length === 0 && !(await this.#next())) {
        if (missing === size) return null;
        throw badArchive('a truncated tar archive');
      }
      const part = this.#rest.subarray(0, missing);
      parts.push(part);
      this.#rest = this.#rest.subarray(part.length);
      missing -= part.length;
    }
    return parts.length === 1 ? Buffer.from(parts[0].buffer, parts[0].byteOffset, size) : Buffer.concat(parts);
  }

  async skip(size: number): Promise<void> {
    let missing = size;
    while (missing > 0) {
      if (this.#rest.length === 0 && !(await this.#next())) throw badArchive('a truncated tar archive');
      const part = Math.min(missing, this.#rest.length);
      this.#rest = this.#rest.subarray(part);
      missing -= part;
    }
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }

  async #next(): Promise<boolean> {
    const { done, value } = await this.#source.next();
    if (done) return false;
    this.#rest = value;
    return true;
  }
}
