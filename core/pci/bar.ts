/** Base address registers (PCI 3.0, section 6.2.5). */

export type BarKind = 'io' | 'mem32' | 'mem64';

/** What is behind a BAR. A promise makes the hart that accesses it wait. */
export interface BarHandler {
  /**
   * @param offset into the BAR, a multiple of `size`
   * @param size 1, 2 or 4 bytes
   */
  read(offset: number, size: number): number | Promise<number>;
  write(offset: number, size: number, value: number): void | Promise<void>;
}

export interface BarSpec {
  /** 0 to 5; a 64-bit one takes the next too. */
  readonly index: number;
  readonly kind: BarKind;
  /** Bytes, a power of 2: at least 16 of memory, 4 of I/O. */
  readonly size: number;
  readonly prefetch?: boolean;
  readonly handler: BarHandler;
}

/** A BAR and where the guest has put it. */
export interface MappedBar extends BarSpec {
  /** Address in the space of its kind; null while it decodes nothing. */
  readonly address: number | null;
}
