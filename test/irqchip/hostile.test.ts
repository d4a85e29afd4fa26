/** Any writes at all to APLIC and IMSICs, wires that change and messages meanwhile: what the specification promises holds. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { APLIC_M_PHYS, APLIC_S_PHYS, APLIC_SIZE, IMSIC_M_PHYS, IMSIC_S_PHYS } from '../../core/machine/virt-map.ts';
import {
  DEV_APLIC,
  DEV_IMSIC,
  DEV_PLIC,
  DEVICE_BASE,
  FIRMWARE_M_MODE,
  FIRMWARE_SBI,
  HART_BASE,
  H_IRQ,
  H_POLL,
  H_STAT_MMIO,
  H_WAKE,
  IRQCHIP_APLIC,
  IRQCHIP_IMSIC,
  RAM_OFFSET,
} from '../../core/worker/layout.ts';
import { Board, compilePlatform } from '../platform/build.ts';

const [M, S] = [0, 1];
const SOURCES = 96;
const IE = 1 << 8;
const DELEGATE = 1 << 10;
const LEVEL1 = 6;
const SETIP = 0x1c00;
const IN_CLRIP = 0x1d00;
const SETIE = 0x1e00;
const CLRIE = 0x1f00;
const SETIPNUM = 0x1cdc;
const CLRIPNUM = 0x1ddc;
const SETIENUM = 0x1edc;
const CLRIENUM = 0x1fdc;
const SETIPNUM_LE = 0x2000;
const target = (source: number): number => 0x3000 + 4 * source;
const idc = (hart: number): number => 0x4000 + 32 * hart;
const TOPI = 0x18;
const LINES = [1 << 11, 1 << 9];

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await compilePlatform();
}, 60_000);

interface Operation {
  do: 'write' | 'read' | 'level' | 'message';
  where: number;
  value: number;
}

/** Few sources, so that operations meet. */
const source = fc.constantFrom(1, 2, 33, 96);
const anything = fc.integer().map((n) => n >>> 0);
type Where = Pick<Operation, 'where' | 'value'>;
const at = (where: fc.Arbitrary<number>, value: fc.Arbitrary<number>): fc.Arbitrary<Where> =>
  fc.record({ where, value });
const register = fc.oneof(
  {
    weight: 6,
    arbitrary: at(
      source.map((n) => 4 * n),
      fc.constantFrom(0, 1, 4, 5, 6, 7, 2, DELEGATE, DELEGATE | 7),
    ),
  },
  { weight: 3, arbitrary: at(source.map(target), fc.oneof(anything, fc.constantFrom(0, 1, 8, (1 << 18) | 3))) },
  { weight: 6, arbitrary: at(fc.constantFrom(SETIPNUM, CLRIPNUM, SETIENUM, CLRIENUM, SETIPNUM_LE), source) },
  {
    weight: 2,
    arbitrary: at(
      fc.constantFrom(SETIP, IN_CLRIP, SETIE, CLRIE).map((word) => word + 4),
      anything,
    ),
  },
  { weight: 2, arbitrary: at(fc.constant(0), fc.constantFrom(0, IE, 0xffffffff)) },
  {
    weight: 3,
    arbitrary: at(
      fc.nat(8 * 3).map((word) => idc(0) + 4 * word),
      fc.nat(9),
    ),
  },
  {
    weight: 2,
    arbitrary: at(
      fc.nat(0xff).map((word) => 0x1bc0 + 4 * word),
      anything,
    ),
  },
  {
    weight: 2,
    arbitrary: at(
      fc.nat(APLIC_SIZE / 4 - 1).map((word) => 4 * word),
      anything,
    ),
  },
);
const whatever: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 10, arbitrary: register.map((r) => ({ do: 'write' as const, ...r })) },
  { weight: 2, arbitrary: register.map((r) => ({ do: 'read' as const, ...r })) },
  { weight: 6, arbitrary: at(source, fc.nat(1)).map((r) => ({ do: 'level' as const, ...r })) },
  {
    weight: 1,
    arbitrary: at(fc.nat(0x4000), fc.oneof(source, anything)).map((r) => ({ do: 'message' as const, ...r })),
  },
);

function checkDomain(board: Board, domain: number, msi: boolean): void {
  const read = (at: number): number => board.platform.aplicRead(domain, at) >>> 0;
  const bit = (register: number, source: number): boolean =>
    ((read(register + 4 * (source >> 5)) >>> (source & 31)) & 1) === 1;
  const on = (read(0) & IE) !== 0;
  for (let source = 1; source <= SOURCES; source++) {
    const config = read(4 * source);
    const delegated = (board.platform.aplicRead(M, 4 * source) & DELEGATE) !== 0;
    if (domain === S && !delegated) expect(config).toBe(0);
    const [pending, enabled, input] = [bit(SETIP, source), bit(SETIE, source), bit(IN_CLRIP, source)];
    if (config === 0 || config === DELEGATE) {
      expect([pending, enabled, input, read(target(source))], `inactive source ${source}`).toEqual([
        ...[false, false, false, 0],
      ]);
      continue;
    }
    expect([1, 4, 5, 6, 7]).toContain(config);
    if (config >= LEVEL1 && !msi) expect(pending, `level of source ${source}`).toBe(input);
    if (config >= LEVEL1 && !input) expect(pending, `source ${source} is quiet`).toBe(false);
    if (msi) expect(on && pending && enabled, `source ${source} is forwarded`).toBe(false);
    else expect(read(target(source)) & 0xff, 'priority').toBeGreaterThan(0);
  }
  expect(
    [SETIP, SETIE, IN_CLRIP].map((register) => read(register) & 1),
    'source 0',
  ).toEqual([0, 0, 0]);
  if (msi) return;
  for (let hart = 0; hart < 2; hart++) {
    const [delivery, force] = [read(idc(hart)), read(idc(hart) + 4)];
    const high = on && delivery === 1 && (force === 1 || read(idc(hart) + TOPI) !== 0);
    expect((board.lines(hart) & LINES[domain]!) !== 0, `line of hart ${hart}`).toBe(high);
  }
}

describe.each([
  ['wires', IRQCHIP_APLIC],
  ['messages', IRQCHIP_IMSIC],
])('with %s', (_name, irqchip) => {
  it('registers and lines agree after any operations, and nothing else has changed', { timeout: 120_000 }, async () => {
    const board = await Board.create(module, 2, { irqchip, firmware: FIRMWARE_M_MODE });
    const sbi = await Board.create(module, 2, { irqchip, firmware: FIRMWARE_SBI });
    const untouched = (b: Board): Buffer => {
      const bytes = Buffer.from(b.bytes.buffer, 0, RAM_OFFSET);
      return Buffer.concat([
        bytes.subarray(0x100000, DEVICE_BASE + DEV_PLIC + 0x8000),
        bytes.subarray(DEVICE_BASE + 0x9000, DEVICE_BASE + DEV_APLIC),
        bytes.subarray(DEVICE_BASE + DEV_APLIC + 0x1400, DEVICE_BASE + DEV_IMSIC),
        bytes.subarray(DEVICE_BASE + DEV_IMSIC + 0x1000, 0x200000),
        bytes.subarray(HART_BASE, HART_BASE + H_IRQ),
        bytes.subarray(HART_BASE + H_WAKE + 4, HART_BASE + H_STAT_MMIO),
        bytes.subarray(HART_BASE + H_STAT_MMIO + 8, HART_BASE + 0x1000),
      ]);
    };
    expect(H_POLL).toBe(H_IRQ + 4);
    const before = [untouched(board), untouched(sbi)];
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.array(fc.tuple(fc.boolean(), whatever), { maxLength: 60, size: 'max' }),
        (delegated, operations) => {
          const on = delegated ? sbi : board;
          on.platform.irqchipReset();
          for (const [child, { do: what, where, value }] of operations) {
            const base = child ? APLIC_S_PHYS : APLIC_M_PHYS;
            if (what === 'write') on.platform.mmioWrite(on.hart(0), BigInt(base + where), 4, BigInt(value));
            else if (what === 'read') on.platform.mmioRead(on.hart(0), BigInt(base + where), 4);
            else if (what === 'level') on.platform.irqSetLevel(where, value);
            else {
              on.platform.msiWrite((child ? IMSIC_S_PHYS : IMSIC_M_PHYS) + where, value);
              on.platform.msiWrite(base + where, value);
            }
          }
          for (const domain of [M, S]) checkDomain(on, domain, irqchip === IRQCHIP_IMSIC);
        },
      ),
      { numRuns: 400 },
    );
    expect([untouched(board).equals(before[0]!), untouched(sbi).equals(before[1]!)]).toEqual([true, true]);
  });
});
