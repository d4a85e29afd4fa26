/** The initramfs format: cpio "newc" (Linux Documentation/driver-api/early-userspace/buffer-format.rst). */

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const S_IFCHR = 0o020000;
const NEWC_MAGIC = '070701';
const TRAILER = 'TRAILER!!!';

export type CpioEntry =
  | { readonly type: 'directory'; readonly name: string; readonly mode?: number }
  | { readonly type: 'file'; readonly name: string; readonly data: Uint8Array; readonly mode?: number }
  | { readonly type: 'symlink'; readonly name: string; readonly target: string }
  | {
      readonly type: 'char';
      readonly name: string;
      readonly mode: number;
      readonly major: number;
      readonly minor: number;
    };

/**
 * Writes an archive, owned by root and with zero times, so that the same input always gives the same bytes. Parent
 * directories must come before what is in them. The end is padded to 512 bytes: archives may be concatenated.
 */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  entries.forEach((entry, index) => append(parts, index + 1, entry));
  appendRaw(parts, { ino: 0, mode: 0, nlink: 1, name: TRAILER, data: new Uint8Array(0), major: 0, minor: 0 });
  const total = parts.reduce((sum, part) => sum + part.length, 0);
  parts.push(new Uint8Array(-total & 511));
  return Buffer.concat(parts);
}

function append(parts: Uint8Array[], ino: number, entry: CpioEntry): void {
  const base = { ino, nlink: 1, name: entry.name, data: new Uint8Array(0), major: 0, minor: 0 };
  switch (entry.type) {
    case 'directory':
      return appendRaw(parts, { ...base, nlink: 2, mode: S_IFDIR | (entry.mode ?? 0o755) });
    case 'file':
      return appendRaw(parts, { ...base, mode: S_IFREG | (entry.mode ?? 0o644), data: entry.data });
    case 'symlink':
      return appendRaw(parts, { ...base, mode: S_IFLNK | 0o777, data: Buffer.from(entry.target) });
    case 'char':
      return appendRaw(parts, { ...base, mode: S_IFCHR | entry.mode, major: entry.major, minor: entry.minor });
  }
}

interface RawEntry {
  ino: number;
  mode: number;
  nlink: number;
  name: string;
  data: Uint8Array;
  major: number;
  minor: number;
}

function appendRaw(parts: Uint8Array[], entry: RawEntry): void {
  const name = Buffer.from(`${entry.name}\0`);
  const fields = [
    entry.ino,
    entry.mode,
    0, // uid
    0, // gid
    entry.nlink,
    0, // mtime
    entry.data.length,
    0, // devmajor
    0, // devminor
    entry.major,
    entry.minor,
    name.length,
    0, // check
  ];
  const header = Buffer.from(NEWC_MAGIC + fields.map((field) => field.toString(16).padStart(8, '0')).join(''));
  // Header with name, and data, are each padded to four bytes.
  parts.push(header, name, new Uint8Array(-(header.length + name.length) & 3));
  parts.push(entry.data, new Uint8Array(-entry.data.length & 3));
}
