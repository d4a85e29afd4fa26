/**
 * What is in memory when the first hart starts: firmware, kernel, initial ramdisk, device tree, reset vector. Places are
 * QEMU's (hw/riscv/boot.c), with two differences: nothing ever overlaps, and an initrd that does not fit where QEMU
 * would put it goes where it does fit.
 */
import { open } from 'node:fs/promises';
import { errorLine, RingsideError } from '../errors.ts';
import { RAM_PHYS } from '../machine/virt-map.ts';
import { FIRMWARE_M_MODE, FIRMWARE_SBI } from '../worker/layout.ts';
import { type Executable, isElf, parseElf, type Segment } from './elf.ts';
import { KERNEL_ALIGNMENT, kernelFormat, unpackKernel } from './kernel-image.ts';
import { makeResetVector } from './reset-vector.ts';

/** QEMU's riscv_load_initrd: this far behind the kernel's entry, or half of RAM if that is less. */
const INITRD_DISTANCE = 512 * 2 ** 20;
const PAGE = 4096;
/** QEMU's riscv_compute_fdt_addr: as high as possible, but below 3 GiB, at a multiple of 2 MiB. */
const FDT_CEILING = 3 * 2 ** 30;
const FDT_ALIGNMENT = 2 * 2 ** 20;
/** Firmware adds to the device tree in place. */
const FDT_SLACK = 64 * 1024;
/** Under the built-in SBI a kernel that does not say where it belongs goes where it would above a real firmware. */
const SBI_KERNEL_OFFSET = 2 * 2 ** 20;
const MIB = 2 ** 20;

export interface BootOptions {
  /** Bytes of guest RAM. */
  memory: number;
  /** 'default': built-in SBI; 'none': the kernel starts in M-mode; else the path of a firmware file. */
  bios: string;
  /** Paths. */
  kernel?: string | undefined;
  initrd?: string | undefined;
  /** Makes the device tree. Its size must not depend on the range's values, only on whether there is one. */
  fdt: (initrd: { start: number; end: number } | undefined) => Uint8Array;
}

export interface BootPlan {
  /** FIRMWARE_*, for CTL_FIRMWARE. */
  firmware: number;
  /** Guest physical: where the first hart starts under the built-in SBI (CTL_ENTRY). */
  entry: number;
  /** Guest physical (CTL_FDT_ADDR). */
  fdtAddress: number;
  /** For guest physical MROM_PHYS on (linear MROM_BASE). M-mode harts start at its first byte. */
  resetVector: Uint8Array;
  /** What to put into RAM, all inside it and none overlapping; RAM elsewhere is zeros. */
  segments: Segment[];
  initrd: { start: number; end: number } | undefined;
}

interface Placed {
  what: string;
  start: number;
  end: number;
}

const alignUp = (value: number, to: number): number => Math.ceil(value / to) * to;
const alignDown = (value: number, to: number): number => Math.floor(value / to) * to;
const size = (bytes: number): string => `${Math.ceil(bytes / MIB)} MiB`;

/** Reads a file that has to fit into RAM. */
async function readBootFile(path: string, what: string, limit: number): Promise<Uint8Array> {
  try {
    await using file = await open(path, 'r');
    const stat = await file.stat();
    if (!stat.isFile()) {
      throw new RingsideError(
        'not-a-file',
        `${what} is ${stat.isDirectory() ? 'a directory' : 'not a file'}. Choose a file.`,
      );
    }
    if (stat.size > limit) {
      const message = `${what} has ${size(stat.size)}, the machine ${size(limit)} of memory. Give it more (-m).`;
      throw new RingsideError('too-large', message);
    }
    return await file.readFile();
  } catch (cause) {
    if (cause instanceof RingsideError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ERR_INVALID_ARG_VALUE') {
      throw new RingsideError('bad-option', 'the path of a file must be text without NUL characters.', { cause });
    }
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG' || code === 'ELOOP') {
      throw new RingsideError('not-found', `${what} does not exist. Check the path.`, { cause });
    }
    if (code === 'EACCES' || code === 'EPERM') {
      throw new RingsideError('permission', `${what} may not be read. Change its permissions.`, { cause });
    }
    throw new RingsideError('io', `${what} cannot be read: ${errorLine(cause)}.`, { cause });
  }
}

/** Keeps what was put into RAM, and refuses what is outside it or on top of something else. */
class RamLayout {
  readonly segments: Segment[] = [];
  readonly #placed: Placed[] = [];
  readonly #end: number;

  constructor(memory: number) {
    this.#end = RAM_PHYS + memory;
  }

  get end(): number {
    return this.#end;
  }

  add(what: string, segment: Segment): void {
    const end = segment.address + segment.memorySize;
    if (segment.address < RAM_PHYS || segment.address >= this.#end) {
      const where = `0x${segment.address.toString(16)}`;
      const ram = `0x${RAM_PHYS.toString(16)}`;
      throw new RingsideError(
        'bad-kernel',
        `${what} wants to be at ${where}, where no RAM is. Link it for RAM, which starts at ${ram}.`,
      );
    }
    if (end > this.#end) {
      const needed = size(end - RAM_PHYS);
      throw new RingsideError('too-large', `${what} needs ${needed} of memory. Give the machine more (-m).`);
    }
    const other = this.#placed.find((placed) => segment.address < placed.end && placed.start < end);
    if (other) {
      throw new RingsideError(
        'bad-kernel',
        `${what} overlaps ${other.what} in memory. Link one of them for another address.`,
      );
    }
    this.#placed.push({ what, start: segment.address, end });
    this.segments.push(segment);
  }

  /** End of what lies in memory so far. */
  get top(): number {
    return this.#placed.reduce((top, placed) => Math.max(top, placed.end), RAM_PHYS);
  }

  /** Whether [start, start + length) is RAM with nothing in it. */
  isFree(start: number, length: number): boolean {
    const end = start + length;
    if (start < RAM_PHYS || end > this.#end) return false;
    return this.#placed.every((placed) => end <= placed.start || placed.end <= start);
  }
}

function addExecutable(ram: RamLayout, what: string, { entry, segments }: Executable): number {
  for (const segment of segments) ram.add(what, segment);
  const inside = segments.some((segment) => entry >= segment.address && entry < segment.address + segment.memorySize);
  if (!inside || entry % 2 !== 0) {
    throw new RingsideError('bad-kernel', `${what} starts outside its own code. Give an intact file.`);
  }
  return entry;
}

/** Firmware: raw at the start of RAM, or an ELF file where it says. Returns its entry. */
async function placeFirmware(ram: RamLayout, path: string, memory: number): Promise<number> {
  const what = `firmware "${path}"`;
  const file = await readBootFile(path, what, memory);
  if (file.length === 0) throw new RingsideError('bad-kernel', `${what} is empty. Give a firmware such as OpenSBI.`);
  if (isElf(file)) return addExecutable(ram, what, parseElf(file, what));
  ram.add(what, { address: RAM_PHYS, bytes: file, memorySize: file.length });
  return RAM_PHYS;
}

/** Kernel: ELF where it says, else at the first possible place from `base` on. Returns its entry. */
async function placeKernel(ram: RamLayout, path: string, memory: number, bios: string): Promise<number> {
  const what = `kernel "${path}"`;
  const file = unpackKernel(await readBootFile(path, what, memory), what, memory);
  const format = kernelFormat(file, what);
  if (format.kind === 'elf') return addExecutable(ram, what, parseElf(file, what));
  let address: number;
  if (bios === 'none') address = RAM_PHYS;
  else if (bios === 'default') address = RAM_PHYS + SBI_KERNEL_OFFSET;
  else address = alignUp(ram.top, KERNEL_ALIGNMENT);
  if (format.kind === 'image') address = Math.max(address, RAM_PHYS + format.textOffset);
  const memorySize = format.kind === 'image' ? Math.max(file.length, format.imageSize) : file.length;
  ram.add(what, { address, bytes: file, memorySize });
  return address;
}

/** Where the device tree goes: QEMU's place, or, where that is taken, the highest free one below it, above the kernel. */
function placeFdt(ram: RamLayout, length: number, kernelEnd: number): number {
  let address = alignDown(Math.min(ram.end, FDT_CEILING) - length, FDT_ALIGNMENT);
  while (address >= kernelEnd && !ram.isFree(address, length)) address -= FDT_ALIGNMENT;
  if (address < kernelEnd) {
    throw new RingsideError('too-large', 'kernel and device tree do not fit into memory. Give the machine more (-m).');
  }
  return address;
}

/** Where the initrd goes: QEMU's place behind the kernel, or else as high as there is room above the kernel. */
function placeInitrd(
  ram: RamLayout,
  length: number,
  kernelEntry: number,
  kernelEnd: number,
  memory: number,
  what: string,
): number {
  const preferred = alignDown(kernelEntry + Math.min(memory / 2, INITRD_DISTANCE), PAGE);
  if (preferred >= kernelEnd && ram.isFree(preferred, length)) return preferred;
  const lowest = alignUp(kernelEnd, PAGE);
  const candidates = [...ram.segments.map((segment) => segment.address), ram.end]
    .map((end) => alignDown(end - length, PAGE))
    .filter((start) => start >= lowest && ram.isFree(start, length));
  if (candidates.length === 0) {
    const message = `${what} (${size(length)}) does not fit into memory beside the kernel. Give the machine more (-m).`;
    throw new RingsideError('too-large', message);
  }
  return Math.max(...candidates);
}

/**
 * Reads the files and lays out memory.
 *
 * @throws RingsideError bad-option (nothing to start), not-found, not-a-file, permission, io, bad-kernel, too-large,
 * unsupported.
 */
export async function planBoot(options: BootOptions): Promise<BootPlan> {
  const { bios, memory } = options;
  const hasFirmware = bios !== 'default' && bios !== 'none';
  if (options.kernel === undefined && !hasFirmware) {
    throw new RingsideError(
      'bad-option',
      'there is nothing to start. Give a kernel (-kernel FILE) or a firmware (-bios FILE).',
    );
  }
  if (options.initrd !== undefined && options.kernel === undefined) {
    throw new RingsideError('bad-option', 'an initrd needs a kernel. Give one (-kernel FILE).');
  }
  const ram = new RamLayout(memory);
  const firmwareEntry = hasFirmware ? await placeFirmware(ram, bios, memory) : undefined;
  const kernelEntry = options.kernel === undefined ? 0 : await placeKernel(ram, options.kernel, memory, bios);
  const kernelEnd = ram.top;

  const initrdName = `initrd "${options.initrd}"`;
  const initrdFile = options.initrd === undefined ? undefined : await readBootFile(options.initrd, initrdName, memory);
  const fdtSize = options.fdt(initrdFile && { start: RAM_PHYS, end: RAM_PHYS }).length;
  const fdtAddress = placeFdt(ram, fdtSize + FDT_SLACK, kernelEnd);
  ram.add('the device tree', { address: fdtAddress, bytes: new Uint8Array(0), memorySize: fdtSize + FDT_SLACK });

  let initrd: { start: number; end: number } | undefined;
  if (initrdFile) {
    const start = placeInitrd(ram, initrdFile.length, kernelEntry, kernelEnd, memory, initrdName);
    initrd = { start, end: start + initrdFile.length };
    if (initrdFile.length > 0)
      ram.add(initrdName, { address: start, bytes: initrdFile, memorySize: initrdFile.length });
  }
  const fdt = options.fdt(initrd);
  if (fdt.length !== fdtSize) throw new RingsideError('internal', 'the device tree changed its size. Report this.');
  const segments = ram.segments.map((segment) =>
    segment.address === fdtAddress ? { ...segment, bytes: fdt } : segment,
  );
  return {
    firmware: bios === 'default' ? FIRMWARE_SBI : FIRMWARE_M_MODE,
    entry: kernelEntry,
    fdtAddress,
    resetVector: makeResetVector({ start: firmwareEntry ?? kernelEntry, fdt: fdtAddress, next: kernelEntry }),
    segments,
    initrd,
  };
}

/** Writes a plan's segments into RAM, a view of all of it. RAM behind a segment's bytes is made zeros; the rest is left. */
export function writeSegments(ram: Uint8Array, segments: readonly Segment[]): void {
  for (const { address, bytes, memorySize } of segments) {
    const at = address - RAM_PHYS;
    ram.set(bytes, at);
    ram.fill(0, at + bytes.length, at + memorySize);
  }
}
