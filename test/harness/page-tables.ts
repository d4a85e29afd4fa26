/** Page tables in a bare-metal guest's RAM (privileged manual 12.3 to 12.6). */
import type { BareMetal } from './bare-metal.ts';

export const PTE = {
  V: 1n,
  R: 2n,
  W: 4n,
  X: 8n,
  U: 16n,
  G: 32n,
  A: 64n,
  D: 128n,
  /** Svpbmt: non-cacheable, I/O, and the value that is reserved. */
  NC: 1n << 61n,
  IO: 2n << 61n,
  PBMT_RESERVED: 3n << 61n,
  /** Svnapot. */
  N: 1n << 63n,
} as const;
export const PTE_ALL = PTE.V | PTE.R | PTE.W | PTE.X | PTE.A | PTE.D;

export type Mode = 'sv39' | 'sv48' | 'sv57';
const LEVELS = { sv39: 3, sv48: 4, sv57: 5 } as const;
const SATP_MODE = { sv39: 8n, sv48: 9n, sv57: 10n } as const;
const PAGE = 4096n;

/** The entry of a leaf that maps to `pa`. */
export const leaf = (pa: bigint | number, flags: bigint): bigint => ((BigInt(pa) >> 12n) << 10n) | flags;

export class PageTables {
  readonly #bare: BareMetal;
  readonly #levels: number;
  readonly #mode: Mode;
  readonly root: bigint;
  #next: bigint;

  /** @param area guest physical address from which pages are taken for tables */
  constructor(bare: BareMetal, area: bigint | number, mode: Mode = 'sv39') {
    this.#bare = bare;
    this.#mode = mode;
    this.#levels = LEVELS[mode];
    this.root = BigInt(area);
    this.#next = this.root;
    this.#newTable();
  }

  #newTable(): bigint {
    const table = this.#next;
    this.#next += PAGE;
    this.#bare.ram(table, Number(PAGE)).fill(0);
    return table;
  }

  /** Value for satp. */
  satp(asid = 0): bigint {
    return (SATP_MODE[this.#mode] << 60n) | (BigInt(asid) << 44n) | (this.root >> 12n);
  }

  /** Guest physical address of the entry for `va` at a level (0: 4 KiB pages); tables on the way are made. */
  entry(va: bigint | number, level = 0): bigint {
    let table = this.root;
    for (let l = this.#levels - 1; ; l--) {
      const at = table + ((BigInt.asUintN(64, BigInt(va)) >> (12n + 9n * BigInt(l))) & 511n) * 8n;
      if (l === level) return at;
      const pte = this.#bare.readU64(at);
      if ((pte & PTE.V) !== 0n) {
        table = ((pte >> 10n) & 0xfff_ffff_ffffn) << 12n;
        continue;
      }
      table = this.#newTable();
      this.#bare.writeU64(at, leaf(table, PTE.V));
    }
  }

  /** Maps one page; at level 1 it is of 2 MiB, at level 2 of 1 GiB. */
  map(va: bigint | number, pa: bigint | number, flags: bigint = PTE_ALL, level = 0): this {
    this.#bare.writeU64(this.entry(va, level), leaf(pa, flags));
    return this;
  }

  /** The entry as it is now. */
  read(va: bigint | number, level = 0): bigint {
    return this.#bare.readU64(this.entry(va, level));
  }
}
