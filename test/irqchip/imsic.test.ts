/** IMSIC interrupt files (RISC-V AIA 1.0, chapter 3): their pages, what the hart sees of them, and threads at them. */
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { IMSIC_M_PHYS, IMSIC_S_PHYS, PLIC_PHYS, RAM_PHYS } from '../../core/machine/virt-map.ts';
import {
  DEVICE_BASE,
  FIRMWARE_SBI,
  IRQCHIP_APLIC,
  IRQCHIP_IMSIC,
  IRQCHIP_PLIC,
  RAM_OFFSET,
} from '../../core/worker/layout.ts';
import { Board, compilePlatform } from '../platform/build.ts';
import type { RaceData, RaceJob } from './race-worker.ts';

const M = 0;
const S = 1;
const SEIP = 1 << 9;
const MEIP = 1 << 11;
const EIDELIVERY = 0x70;
const EITHRESHOLD = 0x72;
const EIP0 = 0x80;
const EIE0 = 0xc0;
const ALL = (1n << 64n) - 1n;
const PAGE = 0x1000;
const SETEIPNUM_BE = 4;

let module: WebAssembly.Module;
let board: Board;
beforeAll(async () => {
  module = await compilePlatform();
}, 60_000);
beforeEach(async () => {
  board = await Board.create(module, 2, { irqchip: IRQCHIP_IMSIC });
});

const get = (hart: number, level: number, register: number): bigint =>
  BigInt.asUintN(64, board.platform.imsicReadRegister(hart, level, register));
const put = (hart: number, level: number, register: number, value: bigint, mask = ALL): void =>
  board.platform.imsicWriteRegister(hart, level, register, value, mask);
const top = (hart: number, level: number): number => board.platform.imsicTop(hart, level);
const send = (hart: number, level: number, identity: number): void =>
  board.platform.msiWrite((level === M ? IMSIC_M_PHYS : IMSIC_S_PHYS) + hart * PAGE, identity);
/** Delivers all identities. */
function open(hart: number, level: number): void {
  put(hart, level, EIDELIVERY, 1n);
  for (let k = 0; k < 8; k += 2) put(hart, level, EIE0 + k, ALL);
}

describe('an interrupt file', () => {
  it('drives the line of its level until its interrupts are claimed', () => {
    open(0, S);
    open(1, M);
    send(0, S, 200);
    send(1, M, 3);
    expect([board.lines(0), board.lines(1)]).toEqual([SEIP, MEIP]);
    expect([top(0, S), top(0, M), top(1, M)]).toEqual([200, 0, 3]);
    board.platform.imsicClaim(0, S, 200);
    board.platform.imsicClaim(1, M, 3);
    expect([board.lines(0), board.lines(1), top(0, S), get(0, S, EIP0 + 6)]).toEqual([0, 0, 0, 0n]);
  });

  it('shows the lowest pending and enabled identity', () => {
    put(0, S, EIE0, ~(1n << 5n));
    put(0, S, EIE0 + 2, ALL);
    for (const identity of [255, 64, 63, 5]) send(0, S, identity);
    expect(get(0, S, EIP0)).toBe((1n << 63n) | (1n << 5n));
    expect(top(0, S)).toBe(63);
    put(0, S, EIP0, 0n, 1n << 63n);
    expect(top(0, S)).toBe(64);
    board.platform.imsicClaim(0, S, 64);
    expect(top(0, S), '255 is not enabled').toBe(0);
    put(0, S, EIE0, 1n << 5n, 1n << 5n);
    expect(top(0, S)).toBe(5);
  });

  it('shows nothing at or above its threshold', () => {
    open(0, S);
    send(0, S, 9);
    for (const [threshold, shown] of [
      [9n, 0],
      [10n, 9],
      [1n, 0],
      [0n, 9],
      [0x7ffn, 9],
    ] as const) {
      // prettier-ignore
      put(0, S, EITHRESHOLD, threshold);
      expect([top(0, S), board.lines(0)], `threshold ${threshold}`).toEqual([shown, shown === 0 ? 0 : SEIP]);
    }
  });

  it('with delivery off shows its top and leaves the line', () => {
    open(0, S);
    put(0, S, EIDELIVERY, 0n);
    send(0, S, 9);
    expect([top(0, S), board.lines(0)]).toEqual([9, 0]);
    put(0, S, EIDELIVERY, 1n);
    expect(board.lines(0)).toBe(SEIP);
  });

  it('takes software’s pending bits as messages', () => {
    open(0, S);
    put(0, S, EIP0 + 2, 1n << 1n);
    expect([top(0, S), board.lines(0)]).toEqual([65, SEIP]);
    put(0, S, EIP0 + 2, 0n);
    expect([top(0, S), board.lines(0)]).toEqual([0, 0]);
  });
});

describe('registers', () => {
  it('keep what fits them', () => {
    for (const [register, kept] of [
      [EIDELIVERY, 1n],
      [EITHRESHOLD, 0x7ffn],
      [EIP0, ALL - 1n],
      [EIP0 + 6, ALL],
      [EIE0, ALL - 1n],
      [EIE0 + 6, ALL],
      // Reserved, and identities that there are not.
      ...[0x71, 0x73, 0x7f, EIP0 + 8, EIP0 + 62, EIE0 + 8, EIE0 + 62].map((r) => [r, 0n] as const),
    ] as const) {
      put(0, M, register, ALL);
      expect(get(0, M, register), `register ${register}`).toBe(kept);
      put(0, M, register, 0n);
    }
    put(0, M, EIDELIVERY, 0x40000000n);
    expect(get(0, M, EIDELIVERY), 'no other controller is at the hart').toBe(0n);
  });

  it('of arrays with odd numbers do not exist on RV64, nor does anything outside', () => {
    const exists = (register: number): boolean => board.platform.imsicHas(register) !== 0;
    expect([0x70, 0x71, 0x72, 0x7f, 0x80, 0xbe, 0xc0, 0xfe].every(exists)).toBe(true);
    expect([0, 0x30, 0x6f, 0x81, 0xbf, 0xc1, 0xff, 0x100, 0x1ff, -1].some(exists)).toBe(false);
  });

  it('change in no bits but those that are meant', () => {
    put(0, S, EIE0, 0xff00n);
    put(0, S, EIE0, 0x0ff0n, 0x0f0fn);
    expect(get(0, S, EIE0)).toBe(0xff00n);
    put(0, S, EIE0, 0x00f0n, 0x0ff0n);
    expect(get(0, S, EIE0)).toBe(0xf0f0n);
  });

  it('are as the spec says after any messages, claims and writes', () => {
    const operation = fc.record({ do: fc.nat(5), identity: fc.nat(260), word: fc.bigInt({ min: 0n, max: ALL }) });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60, size: 'max' }), (operations) => {
        board.platform.irqchipReset();
        const pending = new Set<number>();
        const enabled = new Set<number>();
        let threshold = 0;
        let delivery = false;
        for (const { do: what, identity, word } of operations) {
          const k = identity & 3;
          const ids = (value: bigint): number[] =>
            Array.from({ length: 64 }, (_, i) => i).filter((i) => (value >> BigInt(i)) & 1n && k * 64 + i !== 0);
          const assign = (set: Set<number>): void => {
            for (let i = 0; i < 64; i++) set.delete(k * 64 + i);
            for (const i of ids(word)) set.add(k * 64 + i);
          };
          const now = [...pending].filter((id) => enabled.has(id)).sort((a, b) => a - b)[0] ?? 0;
          const shown = threshold !== 0 && now >= threshold ? 0 : now;
          if (what === 0) {
            send(1, S, identity);
            if (identity >= 1 && identity <= 255) pending.add(identity);
          } else if (what === 1) {
            put(1, S, EIE0 + 2 * k, word);
            assign(enabled);
          } else if (what === 2) {
            put(1, S, EIP0 + 2 * k, word);
            assign(pending);
          } else if (what === 3) {
            board.platform.imsicClaim(1, S, top(1, S));
            pending.delete(shown);
          } else if (what === 4) {
            threshold = identity & 0xff;
            put(1, S, EITHRESHOLD, BigInt(threshold));
          } else {
            delivery = (identity & 1) === 1;
            put(1, S, EIDELIVERY, BigInt(identity & 1));
          }
          const best = [...pending].filter((id) => enabled.has(id)).sort((a, b) => a - b)[0] ?? 0;
          const expected = threshold !== 0 && best >= threshold ? 0 : best;
          expect(top(1, S)).toBe(expected);
          expect(board.lines(1)).toBe(delivery && expected !== 0 ? SEIP : 0);
        }
        expect([board.lines(0), get(1, M, EIP0), get(0, S, EIP0)]).toEqual([0, 0n, 0n]);
      }),
      { numRuns: 300 },
    );
  });
});

describe('pages', () => {
  const load = (pa: number, size = 4): number => {
    const value = board.platform.mmioRead(board.hart(0), BigInt(pa), size);
    return board.platform.mmioFault.value !== 0 ? -1 : Number(value);
  };
  const store = (pa: number, value: number, size = 4): number => {
    board.platform.mmioWrite(board.hart(0), BigInt(pa), size, BigInt(value));
    return board.platform.mmioFault.value;
  };

  it('take stores of harts, little-endian and big-endian, and read 0', () => {
    expect(store(IMSIC_S_PHYS + PAGE, 7)).toBe(0);
    expect(store(IMSIC_S_PHYS + PAGE + SETEIPNUM_BE, 0x08000000)).toBe(0);
    expect(store(IMSIC_M_PHYS, 9)).toBe(0);
    expect([get(1, S, EIP0), get(0, M, EIP0), get(1, M, EIP0)]).toEqual([0x180n, 0x200n, 0n]);
    expect([load(IMSIC_S_PHYS + PAGE), load(IMSIC_S_PHYS + PAGE + 4), load(IMSIC_S_PHYS + PAGE + 0xffc)]).toEqual([
      0, 0, 0,
    ]);
  });

  it('ignore identities that there are not, and other registers', () => {
    for (const value of [0, 256, 2048, 0xffffffff]) expect(store(IMSIC_S_PHYS, value)).toBe(0);
    for (const offset of [8, 0x800, 0xffc]) expect(store(IMSIC_S_PHYS + offset, 5)).toBe(0);
    expect([0, 2, 4, 6].map((k) => get(0, S, EIP0 + k))).toEqual([0n, 0n, 0n, 0n]);
  });

  it('fault on other sizes, and where there is no hart', () => {
    expect([1, 2, 8].map((size) => [load(IMSIC_S_PHYS, size), store(IMSIC_S_PHYS, 5, size)])).toEqual(
      Array(3).fill([-1, 1]),
    );
    for (const base of [IMSIC_S_PHYS, IMSIC_M_PHYS]) {
      expect([load(base + 2 * PAGE), store(base + 2 * PAGE, 1), store(base - 4, 1)]).toEqual([-1, 1, 1]);
    }
  });

  it('are not there with a PLIC or with an APLIC alone; a PLIC is not there with an APLIC', async () => {
    for (const irqchip of [IRQCHIP_PLIC, IRQCHIP_APLIC]) {
      board = await Board.create(module, 2, { irqchip });
      expect([load(IMSIC_S_PHYS), store(IMSIC_M_PHYS, 1)]).toEqual([-1, 1]);
      board.platform.msiWrite(IMSIC_S_PHYS, 5);
      expect(get(0, S, EIP0)).toBe(0n);
      // Where the PLIC has the S context of hart 0, the APLIC's root domain has come to its end.
      expect(load(PLIC_PHYS + 0x200000)).toBe(irqchip === IRQCHIP_PLIC ? 0 : -1);
    }
  });
});

describe('a message of a device', () => {
  it('may go to RAM, as any write', () => {
    board.platform.msiWrite(RAM_PHYS + 0x1000, 0x12345678);
    board.platform.msiWrite(RAM_PHYS + 16 * 2 ** 20 - 4, -1);
    expect([board.word(RAM_OFFSET + 0x1000), board.word(RAM_OFFSET + 16 * 2 ** 20 - 4)]).toEqual([0x12345678, -1]);
  });

  it('to anywhere else is lost', () => {
    const before = board.bytes.slice(0, 0x110000);
    for (const address of [0, 0x1000, 0x10000000, RAM_PHYS - 4, RAM_PHYS + 16 * 2 ** 20, RAM_PHYS + 2, 2 ** 32 + 4]) {
      board.platform.msiWrite(address, 5);
    }
    for (const address of [IMSIC_S_PHYS + 1, IMSIC_S_PHYS + 2 * PAGE, 2 ** 52, 2 ** 64, 1e300, -4, NaN, Infinity]) {
      board.platform.msiWrite(address, 5);
    }
    expect(get(0, S, EIP0)).toBe(0n);
    expect(Buffer.compare(board.bytes.slice(0, 0x110000), before)).toBe(0);
    expect(board.bytes.subarray(RAM_OFFSET, RAM_OFFSET + 64).every((byte) => byte === 0)).toBe(true);
  });
});

describe('threads', () => {
  const SCRATCH = DEVICE_BASE + 0x20000;
  let workers: Worker[] = [];
  afterEach(async () => {
    await Promise.all(workers.map((worker) => worker.terminate()));
    workers = [];
  });

  async function race(jobs: RaceJob[]): Promise<void> {
    await Promise.all(
      jobs.map((job) => {
        const workerData: RaceData = { module, memory: board.memory, scratch: SCRATCH, threads: jobs.length, job };
        const worker = new Worker(new URL('./race-worker.ts', import.meta.url), { workerData });
        workers.push(worker);
        return new Promise<void>((resolve, reject) => {
          worker.once('message', () => resolve());
          worker.once('error', reject);
        });
      }),
    );
  }

  it('lose no message between devices that send and a hart that claims', { timeout: 90_000 }, async () => {
    open(0, S);
    const total = 100_000;
    const identities = [1, 63, 64, 255];
    await race([
      { role: 'hart', hart: 0, total, identities, sources: [] },
      { role: 'sender', hart: 0, total, identities: identities.slice(0, 2) },
      { role: 'sender', hart: 0, total, identities: identities.slice(2) },
    ]);
    expect([top(0, S), board.lines(0)]).toEqual([0, 0]);
  });

  it('lose no level between wired devices, the APLIC and a hart', { timeout: 90_000 }, async () => {
    board = await Board.create(module, 2, { irqchip: IRQCHIP_IMSIC, firmware: FIRMWARE_SBI });
    open(0, S);
    const DOMAIN_S = 1;
    const LEVEL1 = 6;
    const sources = [3, 40];
    board.platform.aplicWrite(DOMAIN_S, 0, 1 << 8);
    for (const source of sources) {
      board.platform.aplicWrite(DOMAIN_S, 4 * source, LEVEL1);
      board.platform.aplicWrite(DOMAIN_S, 0x3000 + 4 * source, source);
      board.platform.aplicWrite(DOMAIN_S, 0x1edc, source);
    }
    const total = 100_000;
    await race([
      { role: 'hart', hart: 0, total, identities: [], sources },
      ...sources.map((source) => ({ role: 'wired', source, total }) as const),
    ]);
    expect(board.platform.aplicRead(DOMAIN_S, 0x1d00), 'inputs').toBe(0);
    expect(board.platform.aplicRead(DOMAIN_S, 0x1c00), 'pending').toBe(0);
  });
});
