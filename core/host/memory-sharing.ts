/**
 * What core asks of the host to let another process see guest RAM: a memfd mapped over a part of linear memory.
 * Implemented by the host interface of core/host when the native addon is there.
 */

/** Something the host can do, or the reason (one line, for a person) why it cannot. */
export type Capability = { available: true } | { available: false; reason: string };

export interface MemorySharing {
  readonly sharedMemory: Capability;

  /**
   * A new memfd of `size` bytes, all zero, close-on-exec, sealed against shrinking, growing and further seals, so that no
   * process it is passed to can make an access of ours fault.
   *
   * @param name shown in /proc/PID/maps, at most 200 bytes
   * @returns the file descriptor, owned by the caller
   */
  createSharedMemory(name: string, size: number): number;

  /**
   * Replaces the pages of `memory` at [offset, offset + length) by those of `fd` from its start. What the range held is
   * lost. The mapping keeps the file alive by itself.
   *
   * @param offset bytes, a multiple of the host's page size
   * @param length bytes, a multiple of the host's page size, at most the size of the file
   */
  mapSharedMemory(memory: WebAssembly.Memory, offset: number, length: number, fd: number): void;

  /** Replaces the range by private zero pages, which gives its memory back to the host. Undoes mapSharedMemory. */
  unmapSharedMemory(memory: WebAssembly.Memory, offset: number, length: number): void;

  /** Asks for huge pages behind the range. Never fails: it is advice, and many hosts take none. */
  adviseHugePages(memory: WebAssembly.Memory, offset: number, length: number): void;

  close(fd: number): void;
}

/** A host that cannot share memory, for the given reason. */
export function noMemorySharing(reason: string): MemorySharing {
  const refuse = (): never => {
    throw new Error(reason);
  };
  return {
    sharedMemory: { available: false, reason },
    createSharedMemory: refuse,
    mapSharedMemory: refuse,
    unmapSharedMemory: refuse,
    adviseHugePages: () => undefined,
    close: refuse,
  };
}
