/** What tests of address translation share: a machine for each file, physical pages, accesses in any mode. */
import { afterAll, beforeAll } from 'vitest';
import { BareMetal } from '../harness/bare-metal.ts';
import { PageTables, PTE, PTE_ALL } from '../harness/page-tables.ts';
import type { Mode } from '../harness/page-tables.ts';
import { CAUSE, DATA, reg, runHere, TrapProgram } from '../harness/trap-program.ts';
import type { ModeName, Result } from '../harness/trap-program.ts';

export let bare: BareMetal;
beforeAll(async () => {
  bare = await BareMetal.create();
});
afterAll(() => bare[Symbol.asyncDispose]());

const { a0, a1, a2 } = reg;
export const TABLES = DATA + 0x100000;
/** Physical pages that tests map, each filled with its own number. */
export const FRAME = DATA + 0x300000;
export const frame = (n: number): number => FRAME + n * 4096;
export const MS = { SUM: 1n << 18n, MXR: 1n << 19n, MPRV: 1n << 17n, MPP: 3n << 11n, MPP_S: 1n << 11n } as const;
export const ENV = { ADUE: 1n << 61n, PBMTE: 1n << 62n } as const;
export const VA = 0x40_0000_0000n - 0x4000_0000n;
export const U = PTE_ALL | PTE.U;

/** An access to one address, and what is expected of it. */
export interface Access {
  mode?: ModeName;
  /** What the program's own code does: `ld`, `sd`, `amoadd.d`, `lr.d` at the address, or `fetch` from it. */
  kind: 'load' | 'store' | 'amo' | 'lr' | 'fetch';
  va: bigint;
  /** Bits of mstatus to be set. */
  status?: bigint;
}

export interface Setup {
  mode?: Mode;
  tables: (t: PageTables) => void;
  menvcfg?: bigint;
  accesses: Access[];
}

export const OPS = { load: 'ld', store: 'sd', amo: 'amoadd.d', lr: 'lr.d' } as const;

/**
 * Does accesses one after the other, from identity-mapped code. Data accesses are made in M-mode with MPRV, so that the code
 * itself needs no mapping; fetches are real jumps to the address, where `ebreak` awaits them.
 */
export async function run({
  mode = 'sv39',
  tables,
  menvcfg = 0n,
  accesses,
}: Setup): Promise<Result & { tables: PageTables }> {
  const t = new PageTables(bare, TABLES, mode);
  for (let n = 0; n < 64; n++) {
    bare.ram(frame(n), 4096).fill(0);
    bare.writeU64(frame(n), BigInt(n));
    bare.writeU64(frame(n) + 8, 0x0010_0073n);
  }
  tables(t);
  const p = new TrapProgram();
  p.csrwi('menvcfg', menvcfg).csrwi('satp', t.satp()).op('sfence.vma');
  for (const { mode: as = 'S', kind, va, status = 0n } of accesses) {
    p.csrci('mstatus', MS.SUM | MS.MXR | MS.MPRV).csrsi('mstatus', status);
    if (kind === 'fetch') {
      p.call(as, va).li(a1, 0);
    } else {
      p.li(a0, va).li(a1, -1).li(a2, 0x1000);
      p.inMode('M', () => {
        p.csrci('mstatus', MS.MPP).csrsi('mstatus', MS.MPRV | (as === 'S' ? MS.MPP_S : 0n));
        p.op(
          OPS[kind],
          kind === 'store' ? { rs1: a0, rs2: a2 } : kind === 'amo' ? { rd: a1, rs1: a0, rs2: a2 } : { rd: a1, rs1: a0 },
        );
        p.csrci('mstatus', MS.MPRV);
      });
      p.csrci('mstatus', MS.MPRV);
    }
    p.keep(a1);
  }
  p.end();
  return { ...(await runHere(bare, p)), tables: t };
}

/** Causes of the accesses' traps; null for those that did not fault. */
export const faults = (r: Result): (bigint | null)[] =>
  r.traps.map((t) => (t.cause === CAUSE.ecallM || t.cause === CAUSE.breakpoint ? null : t.cause));
