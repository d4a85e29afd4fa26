/**
 * Makes the machine's linear memory: the core's own state, then guest RAM (core/worker/layout.ts), and where the host
 * can, a memfd under the RAM, so that another process can map it.
 */
import { endianness, totalmem } from 'node:os';

import { errorLine, RingsideError } from '../errors.ts';
import type { Capability, MemorySharing } from '../host/host.ts';
import { CODE_BASE, CONTROL_BASE, CTL_RAM_SIZE, RAM_OFFSET } from '../worker/layout.ts';
import { FileRegions } from './file-region.ts';
import { GuestMemory } from './guest-memory.ts';

const MIB = 2 ** 20;
const WASM_PAGE = 65536;
/** A 32-bit linear memory ends at 4 GiB. */
const LINEAR_MEMORY_MAX = 2 ** 32;

/** The most RAM a machine can have, bytes. */
export const RAM_SIZE_MAX = LINEAR_MEMORY_MAX - RAM_OFFSET;

export interface MachineMemory {
  readonly guest: GuestMemory;
  /** Whether another process can be given guest RAM, or why not. */
  readonly sharing: Capability;
  /** The memfd that holds guest RAM from its byte 0 on; null when there is none. Owned by this object. */
  readonly fd: number | null;
  /** Files as guest memory, in the space that was kept for them. */
  readonly regions: FileRegions;
  /** What the user should know, one line each: more RAM than the host has. */
  readonly warnings: string[];
  /**
   * Gives the RAM back to the host at once (a WebAssembly.Memory itself goes only when it is collected). For when all
   * workers have ended: guest RAM and predecoded code read as zero afterwards. May be called twice.
   */
  close(): void;
}

export interface MachineMemoryOptions {
  /** Bytes, a multiple of 1 MiB, at least 1 MiB, at most RAM_SIZE_MAX. */
  ramSize: number;
  /** Bytes behind RAM for memory that files back (regionSpace). Default 0. */
  regionSpace?: number;
  /** The host's means of sharing memory. */
  host: MemorySharing;
  /** Ask the host for huge pages. Default true. */
  hugePages?: boolean;
}

/**
 * @throws RingsideError 'too-large' when the RAM does not fit in a linear memory or the host does not have the address
 *   space, 'bad-option' when the size is no multiple of 1 MiB, 'unsupported' on a big-endian host
 */
export function createMachineMemory({
  ramSize,
  regionSpace = 0,
  host,
  hugePages = true,
}: MachineMemoryOptions): MachineMemory {
  checkRamSize(ramSize);
  const size = ramSize + regionSpace;
  checkSpace(ramSize, size);
  const memory = allocate(size);
  const control = new DataView(memory.buffer, CONTROL_BASE);
  control.setBigUint64(CTL_RAM_SIZE, BigInt(size), true);

  const { fd, sharing } = overlay(memory, ramSize, host);
  if (hugePages) host.adviseHugePages(memory, RAM_OFFSET, ramSize);

  let open = true;
  const guest = new GuestMemory({ memory, ramSize, size });
  return {
    guest,
    regions: new FileRegions(guest),
    sharing,
    fd,
    warnings: ramWarnings(ramSize, totalmem()),
    close() {
      if (!open) return;
      open = false;
      if (fd === null) return;
      // With the predecoded code in front of it. The rest of the core's state is small, and rings may still be read.
      host.unmapSharedMemory(memory, CODE_BASE, RAM_OFFSET - CODE_BASE + ramSize);
      host.close(fd);
    },
  };
}

function checkRamSize(ramSize: number): void {
  // Views of guest RAM are read in the host's byte order by Atomics, and wasm is little-endian.
  if (endianness() !== 'LE') throw new RingsideError('unsupported', 'Ringside needs a little-endian host.');
  if (ramSize > RAM_SIZE_MAX) {
    throw new RingsideError(
      'too-large',
      `${mib(ramSize)} of RAM is too much: a machine can have at most ${RAM_SIZE_MAX / MIB} MiB. Give it less.`,
    );
  }
  if (!Number.isInteger(ramSize) || ramSize < MIB || ramSize % MIB !== 0) {
    throw new RingsideError(
      'bad-option',
      `RAM size must be a multiple of 1 MiB, at least 1 MiB; ${ramSize} bytes is not.`,
    );
  }
}

function checkSpace(ramSize: number, size: number): void {
  if (size <= RAM_SIZE_MAX) return;
  throw new RingsideError(
    'too-large',
    `${mib(ramSize)} of RAM and ${mib(size - ramSize)} of memory that files back are too much: together a machine can have ` +
      `at most ${RAM_SIZE_MAX / MIB} MiB. Give it less of either.`,
  );
}

function allocate(ramSize: number): WebAssembly.Memory {
  const pages = (RAM_OFFSET + ramSize) / WASM_PAGE;
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (cause) {
    throw new RingsideError(
      'too-large',
      `This host has no address space left for a machine with ${mib(ramSize)} of RAM. ` +
        'Give it less, stop another VM, or raise the limit (ulimit -v).',
      { cause },
    );
  }
}

function overlay(
  memory: WebAssembly.Memory,
  ramSize: number,
  host: MemorySharing,
): { fd: number | null; sharing: Capability } {
  if (!host.sharedMemory.available) return { fd: null, sharing: host.sharedMemory };
  let fd: number | null = null;
  try {
    fd = host.createSharedMemory('ringside-ram', ramSize);
    host.mapSharedMemory(memory, RAM_OFFSET, ramSize, fd);
    return { fd, sharing: { available: true } };
  } catch (error) {
    // The machine runs as well without; only what needs another process to see RAM will say why it cannot.
    if (fd !== null) host.close(fd);
    const reason = `the host refused shared memory for guest RAM: ${errorLine(error)}`;
    return { fd: null, sharing: { available: false, reason } };
  }
}

/** What to tell the user about this much RAM on a host that has `hostMemory` bytes. */
export function ramWarnings(ramSize: number, hostMemory: number): string[] {
  if (ramSize <= hostMemory) return [];
  return [
    `The machine has ${mib(ramSize)} of RAM and this host only ${mib(hostMemory)}: ` +
      'it may become very slow or be killed when the guest uses it all.',
  ];
}

function mib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`;
}
