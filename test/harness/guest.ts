/** Guest RAM for device tests, and an allocator that lays things out in it. */
import { createHost } from '../../core/host/node-host.ts';
import type { HostSpec } from '../../core/host/host.ts';
import { createMachineMemory } from '../../core/memory/create.ts';
import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import type { GuestMemory } from '../../core/memory/guest-memory.ts';

const MIB = 2 ** 20;

/** Without the addon: what device tests use works on every host. */
export const HOST: HostSpec = { addon: { reason: 'not in this test' } };

/** @param regionMib room behind RAM for files as memory */
export function makeGuest(mib = 16, spec = HOST, regionMib = 0): GuestMemory {
  return createMachineMemory({
    ramSize: mib * MIB,
    regionSpace: regionMib * MIB,
    host: createHost(spec),
    hugePages: false,
  }).guest;
}

/** Hands out zeroed guest memory from the start of RAM on; nothing is ever given back but all at once. */
export class GuestAllocator {
  readonly memory: GuestMemory;
  #next = RAM_BASE;

  constructor(memory: GuestMemory) {
    this.memory = memory;
  }

  /** @returns a guest physical address */
  alloc(bytes: number, align = 16): number {
    const address = Math.ceil(this.#next / align) * align;
    this.#next = address + bytes;
    if (this.#next > this.memory.end) throw new Error('the test has used up its guest RAM');
    this.memory.fill(address, bytes, 0);
    return address;
  }

  /** Puts bytes somewhere. */
  put(bytes: Uint8Array, align = 16): number {
    const address = this.alloc(bytes.length, align);
    this.memory.write(address, bytes);
    return address;
  }

  /** Takes back what was handed out behind a mark; all without one. */
  reset(mark = RAM_BASE): void {
    this.#next = mark;
  }

  get mark(): number {
    return this.#next;
  }
}
