/**
 * Kernel files: what format a file has, and what it says of itself. Linux Documentation/arch/riscv/boot-image-header.rst
 * for the Image header; PE/COFF 11.0 section headers tell where a file with an EFI stub must end.
 */
import * as zlib from 'node:zlib';
import { RingsideError } from '../errors.ts';
import { isElf } from './elf.ts';

const HEADER_SIZE = 64;
const TEXT_OFFSET = 8;
const IMAGE_SIZE = 16;
const FLAGS = 24;
const MAGIC2_OFFSET = 56;
/** "RSC\x05" little-endian. */
const MAGIC2_RISCV = 0x05435352;
/** "ARM\x64". */
const MAGIC2_ARM64 = 0x644d5241;
const FLAG_BIG_ENDIAN = 1n;
const PE_OFFSET = 60;
const PE_MAGIC = 0x4550;
const MZ_MAGIC = 0x5a4d;
/** EFI zboot: "zimg" behind "MZ". */
const ZIMG_MAGIC = 0x676d697a;
const ZIMG_PAYLOAD_OFFSET = 8;
const ZIMG_PAYLOAD_SIZE = 12;
const ZIMG_COMPRESSION = 24;
const X86_MAGIC_OFFSET = 0x202;
/** "HdrS". */
const X86_MAGIC = 0x53726448;
const UIMAGE_MAGIC = 0x27051956;

/** Kernels are loaded at multiples of this (the size of a leaf of the first page-table level). */
export const KERNEL_ALIGNMENT = 2 * 2 ** 20;

export type KernelFormat =
  | { kind: 'elf' }
  /** textOffset: bytes from the start of RAM; imageSize: bytes in memory including bss, 0 when the header does not say. */
  | { kind: 'image'; textOffset: number; imageSize: number }
  /** Anything else is code to be put into memory as it is, as QEMU does. */
  | { kind: 'raw' };

function isGzip(file: Uint8Array): boolean {
  return file.length >= 3 && file[0] === 0x1f && file[1] === 0x8b && file[2] === 8;
}

function inflate(file: Uint8Array, what: string, limit: number, method: typeof zlib.gunzipSync): Uint8Array {
  try {
    return method(file, { maxOutputLength: limit });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      const advice = 'Give the machine more memory (-m).';
      throw new RingsideError('too-large', `${what} does not fit into memory when it is unpacked. ${advice}`, {
        cause,
      });
    }
    const message = `${what} is damaged or truncated: it cannot be unpacked. Give an intact file.`;
    throw new RingsideError('bad-kernel', message, { cause });
  }
}

/** The kernel inside an EFI zboot file. */
function unpackZboot(file: Uint8Array, what: string, limit: number): Uint8Array {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const at = view.getUint32(ZIMG_PAYLOAD_OFFSET, true);
  const size = view.getUint32(ZIMG_PAYLOAD_SIZE, true);
  if (at + size > file.length) throw new RingsideError('bad-kernel', `${what} is truncated. Give an intact file.`);
  const name = new TextDecoder('latin1').decode(file.subarray(ZIMG_COMPRESSION, ZIMG_COMPRESSION + 6));
  const payload = file.subarray(at, at + size);
  if (name.startsWith('gzip')) return inflate(payload, what, limit, zlib.gunzipSync);
  if (name.startsWith('zstd')) return inflate(payload, what, limit, zlib.zstdDecompressSync as typeof zlib.gunzipSync);
  const kind = name.replace(/\0.*/s, '').replace(/[^\w-]/g, '?');
  const advice = 'Give the Image file inside it.';
  throw new RingsideError(
    'unsupported',
    `${what} is an EFI program with ${kind} compression, which is not supported. ${advice}`,
  );
}

/**
 * Unpacks a gzip'd or EFI zboot kernel; other files as they are.
 *
 * @param limit bytes that the result may have.
 * @throws RingsideError bad-kernel, too-large, unsupported.
 */
export function unpackKernel(file: Uint8Array, what: string, limit: number): Uint8Array {
  if (isGzip(file)) return inflate(file, what, limit, zlib.gunzipSync);
  if (file.length < HEADER_SIZE) return file;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const isZboot = view.getUint16(0, true) === MZ_MAGIC && view.getUint32(4, true) === ZIMG_MAGIC;
  return isZboot ? unpackZboot(file, what, limit) : file;
}

/** Where the sections of a PE file end, 0 if it is none or the headers themselves are cut off. */
function peEnd(file: Uint8Array): number | 'cut' {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getUint16(0, true) !== MZ_MAGIC) return 0;
  const at = view.getUint32(PE_OFFSET, true);
  if (at + 24 > file.length) return 'cut';
  if (view.getUint32(at, true) !== PE_MAGIC) return 0;
  const sections = view.getUint16(at + 6, true);
  const table = at + 24 + view.getUint16(at + 20, true);
  if (table + sections * 40 > file.length) return 'cut';
  let end = 0;
  for (let index = 0; index < sections; index++) {
    const section = table + index * 40;
    end = Math.max(end, view.getUint32(section + 20, true) + view.getUint32(section + 16, true));
  }
  return end;
}

/**
 * Tells a kernel's format.
 *
 * @throws RingsideError bad-kernel: empty, truncated, or made for another machine.
 */
export function kernelFormat(file: Uint8Array, what: string): KernelFormat {
  const bad = (why: string, advice: string): never => {
    throw new RingsideError('bad-kernel', `${what} ${why}. ${advice}`);
  };
  if (file.length === 0) bad('is empty', 'Give a kernel.');
  if (isElf(file)) return { kind: 'elf' };
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const riscv = 'Give a RISC-V kernel (Image or ELF).';
  if (file.length < HEADER_SIZE) {
    if (file.length >= 2 && view.getUint16(0, true) === MZ_MAGIC) bad('is truncated', 'Give an intact file.');
    return { kind: 'raw' };
  }
  if (view.getUint32(0) === UIMAGE_MAGIC) bad('is a U-Boot image', 'Give the Image or ELF file that it was made from.');
  const magic2 = view.getUint32(MAGIC2_OFFSET, true);
  if (magic2 === MAGIC2_ARM64) bad('is a kernel for 64-bit ARM, not RISC-V', riscv);
  const x86 = file.length >= X86_MAGIC_OFFSET + 4 && view.getUint32(X86_MAGIC_OFFSET, true) === X86_MAGIC;
  if (x86 && magic2 !== MAGIC2_RISCV) bad('is a kernel for x86, not RISC-V', riscv);

  const end = peEnd(file);
  if (end === 'cut' || end > file.length) bad('is truncated', 'Give an intact file.');
  if (magic2 !== MAGIC2_RISCV) {
    if (end !== 0) bad('is an EFI program but no RISC-V kernel', riscv);
    return { kind: 'raw' };
  }
  if (view.getBigUint64(FLAGS, true) & FLAG_BIG_ENDIAN) bad('is a big-endian kernel', riscv);
  const textOffset = Number(view.getBigUint64(TEXT_OFFSET, true));
  if (textOffset % KERNEL_ALIGNMENT !== 0) bad('has a damaged header', 'Give an intact file.');
  return { kind: 'image', textOffset, imageSize: Number(view.getBigUint64(IMAGE_SIZE, true)) };
}
