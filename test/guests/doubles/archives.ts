/** Builds the archives that a Debian mirror hands out, good and bad ones. */
import { crc32, gzipSync } from 'node:zlib';

export interface TarItem {
  name: string;
  data?: Uint8Array | string;
  type?: string;
  linkname?: string;
  mode?: number;
  /** The size that the header claims, where it is to lie. */
  size?: number;
}

const BLOCK = 512;

export function tarHeader({ name, data = '', type = '0', linkname = '', mode = 0o644, size }: TarItem): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;
  header.write(name, 0, 100, 'utf8');
  header.write(octal(mode, 7), 100);
  header.write(octal(0, 7), 108);
  header.write(octal(0, 7), 116);
  header.write(octal(size ?? Buffer.byteLength(data), 11), 124);
  header.write(octal(0, 11), 136);
  header.write(' '.repeat(8), 148);
  header.write(type, 156);
  header.write(linkname, 157, 100);
  header.write('ustar\0' + '00', 257);
  return withChecksum(header);
}

export function withChecksum(header: Buffer): Buffer {
  header.write(' '.repeat(8), 148);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

export function padded(data: Uint8Array | string): Buffer {
  const bytes = Buffer.from(data as string);
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & (BLOCK - 1))]);
}

export function makeTar(items: TarItem[]): Buffer {
  const parts = items.flatMap((item) => [tarHeader(item), padded(item.data ?? '')]);
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

export function makeAr(members: { name: string; data: Uint8Array | string; size?: number }[]): Buffer {
  const parts = members.flatMap(({ name, data, size }) => {
    const bytes = Buffer.from(data as string);
    const header = `${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${String(
      size ?? bytes.length,
    ).padEnd(10)}\`\n`;
    return [Buffer.from(header), bytes, Buffer.alloc(bytes.length % 2, '\n')];
  });
  return Buffer.concat([Buffer.from('!<arch>\n'), ...parts]);
}

/** A binary package; its data archive is gzipped. */
export function makeDeb(items: TarItem[]): Buffer {
  return makeAr([
    { name: 'debian-binary', data: '2.0\n' },
    { name: 'control.tar.gz', data: gzipSync(makeTar([])) },
    { name: 'data.tar.gz', data: gzipSync(makeTar(items)) },
  ]);
}

/**
 * An .xz file (The .xz File Format 1.2) that holds its data in uncompressed LZMA2 chunks: what a test needs where there
 * is no xz program.
 */
export function makeXz(data: Uint8Array | string): Buffer {
  const bytes = Buffer.from(data as string);
  const CHUNK = 0x10000;
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += CHUNK) {
    const chunk = bytes.subarray(at, at + CHUNK);
    // Control 1 resets the dictionary, 2 does not; then the size less one, big-endian.
    chunks.push(Buffer.from([at === 0 ? 1 : 2, (chunk.length - 1) >> 8, (chunk.length - 1) & 0xff]), chunk);
  }
  const packed = Buffer.concat([...chunks, Buffer.from([0])]);
  const flags = Buffer.from([0, 1]); // check: CRC32
  // One filter, LZMA2 (0x21), with one property byte: a dictionary of 64 KiB.
  const blockHeader = withCrc(Buffer.from([2, 0, 0x21, 1, 8, 0, 0, 0]));
  const check = le32(crc32(bytes));
  const unpaddedSize = blockHeader.length + packed.length + check.length;
  const index = Buffer.concat([Buffer.from([0, 1]), vli(unpaddedSize), vli(bytes.length)]);
  const indexWithCrc = withCrc(Buffer.concat([index, Buffer.alloc(-index.length & 3)]));
  const backward = Buffer.concat([le32(indexWithCrc.length / 4 - 1), flags]);
  return Buffer.concat([
    Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]),
    flags,
    le32(crc32(flags)),
    blockHeader,
    packed,
    Buffer.alloc(-packed.length & 3),
    check,
    indexWithCrc,
    le32(crc32(backward)),
    backward,
    Buffer.from('YZ'),
  ]);
}

function withCrc(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, le32(crc32(bytes))]);
}

function le32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function vli(value: number): Buffer {
  const bytes: number[] = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value & 0x7f) | 0x80);
  return Buffer.from([...bytes, value]);
}

/** The smallest ELF file that passes for a kernel module. */
export function makeModule(modinfo: string[], tail = ''): Buffer {
  const names = Buffer.from('\0.shstrtab\0.modinfo\0');
  const info = Buffer.from(modinfo.map((line) => `${line}\0`).join(''));
  const header = Buffer.alloc(64);
  const table = 64 + names.length + info.length;
  header.write('\x7fELF', 0, 'latin1');
  header.set([2, 1, 1], 4);
  header.writeUInt16LE(1, 16); // ET_REL
  header.writeUInt16LE(243, 18); // EM_RISCV
  header.writeBigUInt64LE(BigInt(table), 40);
  header.writeUInt16LE(64, 58);
  header.writeUInt16LE(3, 60);
  header.writeUInt16LE(1, 62);
  const section = (name: number, type: number, offset: number, size: number): Buffer => {
    const bytes = Buffer.alloc(64);
    bytes.writeUInt32LE(name, 0);
    bytes.writeUInt32LE(type, 4);
    bytes.writeBigUInt64LE(BigInt(offset), 24);
    bytes.writeBigUInt64LE(BigInt(size), 32);
    bytes.writeBigUInt64LE(1n, 48);
    return bytes;
  };
  return Buffer.concat([
    header,
    names,
    info,
    section(0, 0, 0, 0),
    section(1, 3, 64, names.length),
    section(11, 1, 64 + names.length, info.length),
    Buffer.from(tail),
  ]);
}

/** A kernel that has the header of a RISC-V Image and nothing else. */
export function makeImage(text = 'kernel'): Buffer {
  const image = Buffer.alloc(128);
  image.write('MZ');
  image.write('RSC\x05', 0x38, 'latin1');
  image.write(text, 64);
  return image;
}
