/** The memory regions that a frontend has told of, mapped into our linear memory. */
import type { Host } from '../../host/host.ts';
import { isHostError } from '../../host/host.ts';
import { RAM_OFFSET } from '../../worker/layout.ts';
import { VhostUserError } from '../error.ts';
import { MEMORY_SLOTS_MAX } from '../spec.ts';
import { MappedGuestMemory, createRangeTable, publishRanges } from './mapped-memory.ts';

/** Region addresses and sizes are whole pages. */
const PAGE = 4096;
const GIB = 2 ** 30;
/** Pages of 64 KiB of a 32-bit and of a 64-bit linear memory (V8's limit). */
const PAGES_32 = 65536;
const PAGES_64 = 262144n;

/** All addresses and sizes in bytes. */
export interface Region {
  /** Guest physical. */
  readonly guest: bigint;
  readonly size: bigint;
  /** What the frontend calls the address, in ring addresses: only a name. */
  readonly user: bigint;
  /** Of its start in the file. */
  readonly offset: bigint;
}

interface Mapped extends Region {
  readonly mapping: number;
}

export class MemoryMap {
  readonly memory: MappedGuestMemory;
  readonly #host: Host;
  readonly #ranges = createRangeTable();
  #regions: Mapped[] = [];

  constructor(host: Host) {
    this.#host = host;
    this.memory = new MappedGuestMemory({ memory: reserve(), ranges: this.#ranges });
  }

  /** Guest physical address space that there is room for, bytes. */
  get capacity(): number {
    return this.memory.size;
  }

  get regions(): readonly Region[] {
    return this.#regions;
  }

  /**
   * Maps a region. Others may be in use meanwhile.
   *
   * @param fd may be closed afterwards
   * @throws VhostUserError
   */
  add(region: Region, fd: number): void {
    const { guest, size, offset } = region;
    const where = `memory region [0x${guest.toString(16)}, +0x${size.toString(16)})`;
    this.#check(region, where);
    let mapping: number;
    try {
      const start = RAM_OFFSET + Number(guest);
      mapping = this.#host.mapGuarded(this.memory.memory, start, Number(size), fd, Number(offset));
    } catch (error) {
      if (!isHostError(error) && !(error instanceof RangeError)) throw error;
      throw new VhostUserError('protocol', `${where} cannot be mapped: ${error.message}`, { cause: error });
    }
    this.#regions.push({ ...region, mapping });
    this.#publish();
  }

  #check({ guest, size, user, offset }: Region, where: string): void {
    const refuse = (why: string, kind: 'protocol' | 'unsupported' = 'protocol'): never => {
      throw new VhostUserError(kind, `${where}: ${why}`);
    };
    if (size === 0n) refuse('it is empty');
    for (const value of [guest, size, offset]) {
      if (value % BigInt(PAGE) !== 0n) refuse(`0x${value.toString(16)} is no multiple of ${PAGE}`);
    }
    if (user + size > 2n ** 64n) refuse('its user addresses wrap around');
    if (offset > BigInt(Number.MAX_SAFE_INTEGER)) refuse('its offset is beyond any file');
    if (guest + size > BigInt(this.capacity)) {
      const most = Math.floor(this.capacity / GIB);
      refuse(`guest memory must be below ${most} GiB here. Give the guest less memory`, 'unsupported');
    }
    if (this.#regions.length === MEMORY_SLOTS_MAX) refuse(`it is one more than ${MEMORY_SLOTS_MAX}`);
    for (const other of this.#regions) {
      if (guest < other.guest + other.size && other.guest < guest + size) refuse('it overlaps another');
      if (user < other.user + other.size && other.user < user + size) refuse('its user addresses overlap another');
    }
  }

  /**
   * Nothing may be using it.
   *
   * @throws VhostUserError when there is no such region
   */
  remove({ guest, size, user }: Region): void {
    const found = this.#regions.find(
      (region) => region.guest === guest && region.size === size && region.user === user,
    );
    if (!found) throw new VhostUserError('protocol', `there is no memory region at 0x${guest.toString(16)} to remove`);
    this.#drop([found]);
  }

  /** Nothing may be using any. */
  clear(): void {
    this.#drop(this.#regions);
  }

  #drop(gone: readonly Mapped[]): void {
    this.#regions = this.#regions.filter((region) => !gone.includes(region));
    this.#publish();
    for (const { mapping } of gone) this.#host.unmapGuarded(mapping);
  }

  #publish(): void {
    publishRanges(
      this.#ranges,
      this.#regions.map(({ guest, size }) => ({ start: Number(guest), end: Number(guest + size) })),
    );
  }

  /** @returns the guest physical address of what the frontend calls `user`; null when it is in no region */
  guestAddress(user: bigint): number | null {
    const region = this.#regions.find((one) => user >= one.user && user < one.user + one.size);
    return region ? Number(region.guest + (user - region.user)) : null;
  }

  /** Whether the frontend has made a file shorter than it said, and we have been there. */
  get faulted(): boolean {
    return this.#regions.some(({ mapping }) => this.#host.guardFaulted(mapping));
  }
}

/** Addresses only: memory comes with the mappings. */
function reserve(): WebAssembly.Memory {
  try {
    // Not in TypeScript's types yet.
    const wide = { address: 'i64', initial: PAGES_64, maximum: PAGES_64, shared: true };
    return new WebAssembly.Memory(wide as unknown as WebAssembly.MemoryDescriptor);
  } catch {
    // An engine without 64-bit memories, or a limit on address space.
    return new WebAssembly.Memory({ initial: PAGES_32, maximum: PAGES_32, shared: true });
  }
}
