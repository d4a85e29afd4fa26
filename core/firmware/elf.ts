/** ELF64 RISC-V executables: what is to be loaded where. Headers are hostile. */
import { RingsideError } from '../errors.ts';

const ELF_MAGIC = 0x7f454c46;
const EI_CLASS = 4;
const EI_DATA = 5;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const ET_EXEC = 2;
const ET_DYN = 3;
const EM_RISCV = 243;
const PT_LOAD = 1;
const EHDR_SIZE = 64;
const PHDR_SIZE = 56;
/** Far more than any linker makes. */
const MAX_PROGRAM_HEADERS = 512;

/** Bytes for guest memory at [address, address + memorySize), the part behind `bytes` being zeros. */
export interface Segment {
  /** Guest physical. */
  address: number;
  bytes: Uint8Array;
  memorySize: number;
}

export interface Executable {
  /** Guest physical. */
  entry: number;
  segments: Segment[];
}

export function isElf(file: Uint8Array): boolean {
  return file.length >= 4 && new DataView(file.buffer, file.byteOffset).getUint32(0) === ELF_MAGIC;
}

/**
 * Reads the PT_LOAD segments at their physical addresses. Whether these are in RAM is the caller's question.
 *
 * @param what what the file is to the user, with its name: `kernel "a.elf"`.
 * @throws RingsideError bad-kernel: not an executable, not 64-bit little-endian RISC-V, truncated, senseless headers.
 */
export function parseElf(file: Uint8Array, what: string): Executable {
  const bad = (why: string, advice = 'Give an intact file.'): never => {
    throw new RingsideError('bad-kernel', `${what} ${why}. ${advice}`);
  };
  if (file.length < EHDR_SIZE) bad('is truncated: its ELF header is cut off');
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const wanted = 'Give a 64-bit RISC-V kernel.';
  if (file[EI_CLASS] !== ELFCLASS64) bad('is a 32-bit ELF file', wanted);
  if (file[EI_DATA] !== ELFDATA2LSB) bad('is a big-endian ELF file', wanted);
  if (view.getUint16(18, true) !== EM_RISCV) bad('is an ELF file for another processor, not RISC-V', wanted);
  const type = view.getUint16(16, true);
  if (type !== ET_EXEC && type !== ET_DYN) bad('is an ELF file but not an executable', 'Give a linked kernel.');

  /** A 64-bit field; anything beyond 2^53 only has to stay too large. */
  const u64 = (offset: number): number => Number(view.getBigUint64(offset, true));
  const tableAt = u64(32);
  const count = view.getUint16(56, true);
  if (view.getUint16(54, true) !== PHDR_SIZE || count > MAX_PROGRAM_HEADERS) bad('has a damaged ELF header');
  if (tableAt + count * PHDR_SIZE > file.length) bad('is truncated: its program headers are cut off');

  const segments: Segment[] = [];
  let entry = u64(24);
  for (let index = 0; index < count; index++) {
    const at = tableAt + index * PHDR_SIZE;
    const memorySize = u64(at + 40);
    if (view.getUint32(at, true) !== PT_LOAD || memorySize === 0) continue;
    const offset = u64(at + 8);
    const virtual = u64(at + 16);
    const address = u64(at + 24);
    const fileSize = u64(at + 32);
    if (fileSize > memorySize) bad('has a damaged program header');
    if (offset + fileSize > file.length) bad('is truncated: a segment is cut off');
    // The entry point is a virtual address; harts start with translation off.
    if (virtual !== address && entry >= virtual && entry - virtual < memorySize && u64(24) === entry) {
      entry = entry - virtual + address;
    }
    segments.push({ address, bytes: file.subarray(offset, offset + fileSize), memorySize });
  }
  if (segments.length === 0) bad('has nothing to load', 'Give a linked kernel.');
  return { entry, segments };
}
