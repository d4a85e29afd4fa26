/**
 * Random accesses through random page tables and PMP entries, on our hart and on qemu-system-riscv64: causes, tval, what was
 * loaded, and the tables themselves (A and D bits) must come out the same. RINGSIDE_SEED repeats a run.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BareMetal } from '../harness/bare-metal.ts';
import type { BareMetalOptions } from '../harness/bare-metal.ts';
import { leaf, PageTables, PTE } from '../harness/page-tables.ts';
import type { Mode } from '../harness/page-tables.ts';
import { DATA, reg, runHere, runInQemu, TrapProgram, whyNoQemuSystem } from '../harness/trap-program.ts';
import { Random } from './random.ts';

const seed = Number(process.env['RINGSIDE_SEED'] ?? Date.now() % 1_000_000);
const CASES = 3000;
const SPACES = 24;
/** What a case says (doublewords), and where its result goes. */
const FIELD = {
  satp: 0,
  status: 8,
  va: 16,
  kind: 24,
  pmpcfg: 32,
  pmpaddr: 40,
  cause: 72,
  tval: 80,
  value: 88,
} as const;
const CASE_SIZE = 96;
const PMP_ENTRIES = 4;
const KINDS = ['load', 'store', 'amo', 'fetch'] as const;

const RECORDS = DATA;
const TABLES = DATA + 0x100000;
const TABLES_SIZE = 0x600000;
const FRAMES = DATA + 0x800000;
const FRAME_COUNT = 32;
const EBREAKS = 0x9002900290029002n;
/** Past the end of RAM. */
const NOWHERE = 0xb000_0000n;
const MS = { MPP_S: 1n << 11n, SUM: 1n << 18n, MXR: 1n << 19n } as const;
const ENV_ADUE = 1n << 61n;
const ENV_PBMTE = 1n << 62n;
const TOR = 1;
const LOAD_FAULTS = ['5', 'd'];
const STORE_FAULTS = ['7', 'f'];
const { a0, a1, a2, a3, a4, t0, s0, s1 } = reg;

/** Does all cases, one after the other. */
function driver(): TrapProgram {
  const p = new TrapProgram();
  // Only M-mode gets at the driver, its records and the harness; entry 15 opens the rest unless another entry matches.
  const napot = (base: number, size: number): bigint => (BigInt(base) >> 2n) | BigInt((size >> 3) - 1);
  p.csrwi('pmpaddr0', napot(0x80000000, 0x200000));
  p.csrsi('menvcfg', ENV_ADUE | ENV_PBMTE);
  p.la(t0, 'trapped').csrw('mtvec', t0).li(s0, RECORDS).li(s1, CASES);
  p.label('case');
  p.op('ld', { rd: a0, rs1: s0, imm: FIELD.satp }).csrw('satp', a0);
  p.op('ld', { rd: a0, rs1: s0, imm: FIELD.pmpcfg }).csrw('pmpcfg0', a0);
  for (let i = 0; i < PMP_ENTRIES; i++)
    p.op('ld', { rd: a0, rs1: s0, imm: FIELD.pmpaddr + i * 8 }).csrw(`pmpaddr${i + 1}`, a0);
  p.op('sfence.vma').li(a4, 0);
  p.op('ld', { rd: a0, rs1: s0, imm: FIELD.va })
    .op('ld', { rd: a1, rs1: s0, imm: FIELD.status })
    .op('ld', { rd: a2, rs1: s0, imm: FIELD.kind });
  p.csrci('mstatus', (3n << 11n) | MS.SUM | MS.MXR)
    .csrs('mstatus', a1)
    .li(a3, EBREAKS);
  p.li(t0, KINDS.indexOf('fetch')).op('beq', { rs1: a2, rs2: t0 }, 'fetch');
  p.csrsi('mstatus', 1n << 17n);
  KINDS.slice(0, 3).forEach((kind, i) => {
    p.li(t0, i).op('bne', { rs1: a2, rs2: t0 }, `not ${kind}`);
    if (kind === 'load') p.op('ld', { rd: a4, rs1: a0 });
    if (kind === 'store') p.op('sd', { rs1: a0, rs2: a3 });
    if (kind === 'amo') p.op('amoor.d', { rd: a4, rs1: a0, rs2: a3 });
    p.label(`not ${kind}`);
  });
  p.op('ebreak');
  p.label('fetch').csrw('mepc', a0).op('mret');
  p.align(64)
    .label('trapped')
    .csrci('mstatus', 1n << 17n);
  p.csrr(a0, 'mcause')
    .op('sd', { rs1: s0, rs2: a0, imm: FIELD.cause })
    .csrr(a0, 'mtval')
    .op('sd', { rs1: s0, rs2: a0, imm: FIELD.tval });
  p.op('sd', { rs1: s0, rs2: a4, imm: FIELD.value });
  p.op('addi', { rd: s0, rs1: s0, imm: CASE_SIZE })
    .op('addi', { rd: s1, rs1: s1, imm: -1 })
    .op('beq', { rs1: s1 }, 'all done')
    .jump('case');
  return p.label('all done').csrwi('satp', 0).end();
}

interface Slot {
  satp: bigint;
  va: bigint;
}

/**
 * One address space: pages of all sizes with flags that are mostly right.
 * @param strict without what QEMU 7.2 faults on only after it has set A and D
 */
function space(bare: BareMetal, random: Random, area: number, strict: boolean): Slot[] {
  const mode = random.pick<Mode>(['sv39', 'sv39', 'sv48', 'sv57']);
  const levels = { sv39: 3, sv48: 4, sv57: 5 }[mode];
  const t = new PageTables(bare, area, mode);
  const slots: Slot[] = [];
  const changed = new Set<bigint>();
  for (let n = 0; n < 12; n++) {
    const level = random.chance(0.6) ? 0 : random.below(Math.min(levels, 3));
    const size = 1n << (12n + 9n * BigInt(level));
    const target = random.chance(0.95) ? BigInt(FRAMES + random.below(FRAME_COUNT) * 4096) : NOWHERE;
    const low = (BigInt(random.below(2)) << 30n) | (BigInt(random.below(4)) << 21n) | (BigInt(random.below(64)) << 12n);
    const sign = random.chance(0.2) ? -(1n << (11n + 9n * BigInt(levels))) : 0n;
    const base = ((sign + low) / size) * size;
    let va = BigInt.asUintN(64, base + (target % size));
    // Now and then an address that is not canonical.
    if (random.chance(0.03)) va ^= 1n << BigInt(random.between(12 + 9 * levels, 63));
    const some = (bit: bigint, chance: number): bigint => (random.chance(chance) ? bit : 0n);
    let flags =
      some(PTE.V, 0.96) |
      some(PTE.R, 0.85) |
      some(PTE.W, 0.7) |
      some(PTE.X, 0.6) |
      some(PTE.U, 0.5) |
      some(PTE.A, 0.5) |
      some(PTE.D, 0.5) |
      some(PTE.G, 0.2);
    flags |= random.chance(0.9) ? 0n : random.pick([PTE.NC, PTE.IO]);
    // No pointer to a table where no memory is: QEMU 7.2 makes a page fault of it, not an access fault (12.3.2, step 2).
    if (target === NOWHERE && level > 0) flags |= PTE.R;
    // Not the reserved bits 54 to 60 and not type 3: QEMU 7.2 does not look at them.
    let pte = leaf((target / size) * size, flags);
    if (random.chance(0.05)) pte |= 1n << BigInt(10 + random.below(9));
    if (level === 0 && random.chance(0.1))
      pte = (pte & ~(15n << 10n)) | PTE.N | (BigInt(random.pick(strict ? [8] : [8, 8, 8, 4, 0])) << 10n);
    try {
      const entry = t.entry(base, level);
      if (bare.readU64(entry) === 0n) bare.writeU64(entry, pte);
      if (level < levels - 1 && random.chance(0.06)) {
        const pointer = t.entry(base, level + 1);
        const before = bare.readU64(pointer);
        const bit = random.pick([PTE.V, PTE.A, PTE.D, PTE.U, PTE.NC, PTE.N, PTE.W, PTE.X]);
        // N in the leaf of a large page is reserved: QEMU 7.2 finds out after it has set A and D; it knows no reserved
        // memory type.
        const late = bit === PTE.N && (before & (PTE.R | PTE.W | PTE.X)) !== 0n;
        const reserved = ((before ^ bit) & PTE.PBMT_RESERVED) === PTE.PBMT_RESERVED;
        if (!changed.has(pointer) && !(strict && late) && !reserved) bare.writeU64(pointer, before ^ bit);
        changed.add(pointer);
      }
    } catch {
      // A larger page is in the way, or a pointer has become nonsense: what is there is as good.
    }
    slots.push({ satp: t.satp(random.below(4)), va });
  }
  return slots;
}

const MODES: { name: string; options: BareMetalOptions }[] = [
  { name: 'interpreted', options: { accel: 'interp' } },
  { name: 'translated', options: { accel: 'jit', jit: { threshold: 1, eager: true, synchronous: true } } },
];

describe.skipIf(whyNoQemuSystem() !== undefined).each(MODES)(
  `random translations $name, seed ${seed}`,
  ({ options }) => {
    let bare: BareMetal;
    let rounds = 0;
    beforeAll(async () => {
      bare = await BareMetal.create(options);
    });
    afterAll(() => bare[Symbol.asyncDispose]());

    // The tables can only be compared without AMOs, whose loads and stores QEMU 7.2 translates one after the other.
    test.each([false, true])('round, tables compared: %s', { timeout: 60_000 }, async (strict) => {
      const random = new Random(seed + rounds++);
      const kinds = strict ? ['load', 'store', 'fetch'] : KINDS;
      bare.ram(RECORDS, CASES * CASE_SIZE).fill(0);
      bare.ram(TABLES, TABLES_SIZE).fill(0);
      for (let i = 0; i < FRAME_COUNT * 512; i++) bare.writeU64(FRAMES + i * 8, EBREAKS);
      const slots = Array.from({ length: SPACES }, (_, i) =>
        space(bare, random, TABLES + i * (TABLES_SIZE / SPACES), strict),
      ).flat();
      for (let n = 0; n < CASES; n++) {
        const at = RECORDS + n * CASE_SIZE;
        const slot = random.pick(slots);
        const put = (field: number, value: bigint): void => bare.writeU64(at + field, value);
        put(FIELD.satp, slot.satp);
        put(FIELD.va, slot.va + BigInt(random.below(64) * 8));
        const chosen = random.pick(kinds);
        put(FIELD.kind, BigInt(KINDS.findIndex((kind) => kind === chosen)));
        put(
          FIELD.status,
          (random.chance(0.5) ? MS.MPP_S : 0n) |
            (random.chance(0.5) ? MS.SUM : 0n) |
            (random.chance(0.5) ? MS.MXR : 0n),
        );
        // Entry 0 is the driver's: NAPOT, no rights.
        let config = 0x18n;
        for (let i = 0; i < PMP_ENTRIES; i++) {
          const about = random.chance(0.7)
            ? FRAMES + random.below(FRAME_COUNT * 512) * 8
            : TABLES + random.below(TABLES_SIZE / 8) * 8;
          const size = random.pick([8, 64, 512, 4096, 8192, 65536, 1 << 20]);
          const kind = random.chance(0.4) ? random.below(4) : 0;
          put(
            FIELD.pmpaddr + i * 8,
            kind === 3 ? (BigInt(about - (about % size)) >> 2n) | BigInt((size >> 3) - 1) : BigInt(about) >> 2n,
          );
          // Tables are open to S or not: QEMU 7.2 does not ask PMP whether it may write A and D.
          const rights = kind === TOR || about < FRAMES ? [7, 7, 0] : [7, 7, 7, 5, 4, 3, 1, 0];
          config |= BigInt((kind << 3) | random.pick(rights)) << BigInt(8 + i * 8);
        }
        put(FIELD.pmpcfg, config);
      }
      const program = driver();
      const { ram } = runInQemu(bare, program);
      const before = bare.ram(TABLES, TABLES_SIZE).slice();
      await runHere(bare, program, undefined, 20_000);

      const differences: string[] = [];
      for (let n = 0; n < CASES && differences.length < 10; n++) {
        const at = RECORDS + n * CASE_SIZE;
        const read = (field: number): string => bare.readU64(at + field).toString(16);
        const theirs = (field: number): string => ram.readBigUInt64LE(at - 0x80000000 + field).toString(16);
        const result = [FIELD.cause, FIELD.tval, FIELD.value];
        const amo = KINDS[Number(bare.readU64(at + FIELD.kind))] === 'amo';
        if (result.every((field) => read(field) === theirs(field))) continue;
        // QEMU 7.2 has no tval for ebreak, and what an AMO may not read is a load's fault there, whatever else is wrong.
        const [cause, theirCause] = [read(FIELD.cause), theirs(FIELD.cause)];
        if (cause === '3' && theirCause === '3' && read(FIELD.value) === theirs(FIELD.value)) continue;
        if (
          amo &&
          STORE_FAULTS.includes(cause) &&
          LOAD_FAULTS.includes(theirCause) &&
          read(FIELD.tval) === theirs(FIELD.tval)
        )
          continue;
        const pmp = Array.from({ length: PMP_ENTRIES }, (_, i) => read(FIELD.pmpaddr + i * 8)).join(' ');
        differences.push(
          `case ${n}: ${KINDS[Number(bare.readU64(at + FIELD.kind))]} of ${read(FIELD.va)}, satp ${read(FIELD.satp)}, status ${read(FIELD.status)}, ` +
            `pmpcfg ${read(FIELD.pmpcfg)}, pmpaddr ${pmp}: ours ${result.map(read).join(' ')}, theirs ${result.map(theirs).join(' ')}; ${walk(bare, at, before)}`,
        );
      }
      for (let at = TABLES; strict && at < TABLES + TABLES_SIZE && differences.length < 10; at += 8) {
        const theirs = ram.readBigUInt64LE(at - 0x80000000);
        if (bare.readU64(at) !== theirs)
          differences.push(
            `entry at ${at.toString(16)}: ours ${bare.readU64(at).toString(16)}, theirs ${theirs.toString(16)}`,
          );
      }
      expect(differences).toEqual([]);
    });
  },
);

/** The entries on the way to a case's address, as they were. */
function walk(bare: BareMetal, at: number, tables: Uint8Array): string {
  const view = new DataView(tables.buffer);
  const satp = bare.readU64(at + FIELD.satp);
  const va = bare.readU64(at + FIELD.va);
  const entries: string[] = [];
  let table = (satp & 0xfffffffffffn) << 12n;
  for (let level = Number(satp >> 60n) - 6; level >= 0; level--) {
    const entry = Number(table + ((va >> BigInt(12 + 9 * level)) & 511n) * 8n) - TABLES;
    if (entry < 0 || entry >= TABLES_SIZE) break;
    const pte = view.getBigUint64(entry, true);
    entries.push(pte.toString(16));
    if ((pte & 0xfn) !== 1n) break;
    table = ((pte >> 10n) & 0xfffffffffffn) << 12n;
  }
  return `entries ${entries.join(', ')}`;
}
