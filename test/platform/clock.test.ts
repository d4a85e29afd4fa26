import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CLINT_PHYS } from '../../core/machine/virt-map.ts';
import {
  CONTROL_BASE,
  CTL_CLOCK_DEADLINE,
  CTL_CLOCK_WAKE,
  H_MENVCFG,
  H_POLL,
  H_WAKE,
} from '../../core/worker/layout.ts';
import { Board, compilePlatform } from './build.ts';

const MSIP = 1 << 3;
const STIP = 1 << 5;
const MTIP = 1 << 7;
const STCE = 1n << 63n;
const NEVER = 2n ** 64n - 1n;
const MTIME = 0xbff8;
const mtimecmp = (hart: number): number => 0x4000 + hart * 8;

let module: WebAssembly.Module;
let board: Board;
beforeAll(async () => {
  module = await compilePlatform();
}, 60_000);
beforeEach(async () => {
  board = await Board.create(module);
});

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);
const read = (offset: number, size: number): bigint => {
  const value = board.platform.mmioRead(board.hart(0), BigInt(CLINT_PHYS + offset), size);
  expect(board.platform.mmioFault.value).toBe(0);
  return u64(value);
};
const write = (offset: number, size: number, value: bigint): void => {
  board.platform.mmioWrite(board.hart(0), BigInt(CLINT_PHYS + offset), size, value);
  expect(board.platform.mmioFault.value).toBe(0);
};
/** Sets the host's clock so that mtime is `ticks` (100 ns each) since it was started. */
const at = (ticks: number): void => {
  board.clock.now = ticks / 10_000;
};
const tick = (): bigint => u64(board.platform.clockTick());
const wakes = (): number => board.word(CONTROL_BASE + CTL_CLOCK_WAKE);

describe('software interrupts', () => {
  it('are one bit a hart', () => {
    write(4, 4, 0xffff_ffffn);
    expect([board.lines(0), board.lines(1), read(0, 4), read(4, 4)]).toEqual([0, MSIP, 0n, 1n]);
    expect(board.word(board.hart(1) + H_POLL)).toBe(1);
    expect(board.word(board.hart(1) + H_WAKE)).toBe(1);
    write(4, 4, 0xffff_fffen);
    expect([board.lines(1), read(4, 4)]).toEqual([0, 0n]);
  });

  it('to harts that are not there go nowhere', () => {
    write(8, 4, 1n);
    expect([read(8, 4), board.lines(0), board.lines(1)]).toEqual([0n, 0, 0]);
  });
});

describe('mtime', () => {
  it('runs at 10 MHz', () => {
    at(0);
    expect(read(MTIME, 8)).toBe(0n);
    board.clock.now = 1000;
    expect(read(MTIME, 8)).toBe(10_000_000n);
  });

  it('can be set, whole or by halves, and runs on from there', () => {
    at(500);
    write(MTIME, 8, 0x1_0000_0000n);
    expect([read(MTIME, 8), read(MTIME, 4), read(MTIME + 4, 4)]).toEqual([0x1_0000_0000n, 0n, 1n]);
    at(600);
    expect(read(MTIME, 8)).toBe(0x1_0000_0064n);
    write(MTIME + 4, 4, 7n);
    expect(read(MTIME, 8)).toBe(0x7_0000_0064n);
    write(MTIME, 4, 0n);
    expect(read(MTIME, 8)).toBe(0x7_0000_0000n);
  });

  it('set forward makes timers due, set back takes them away', () => {
    write(mtimecmp(0), 8, 1000n);
    const before = wakes();
    write(MTIME, 8, 5000n);
    expect(board.lines(0)).toBe(MTIP);
    write(MTIME, 8, 0n);
    expect(board.lines(0)).toBe(0);
    expect(wakes()).toBe(before + 2);
  });
});

describe('mtimecmp', () => {
  it('is never due after reset', () => {
    expect(read(mtimecmp(0), 8)).toBe(NEVER);
    at(1e15);
    expect(tick()).toBe(NEVER);
    expect([board.lines(0), board.lines(1)]).toEqual([0, 0]);
  });

  it('raises MTIP when the time has come, and lowers it when it is moved ahead', () => {
    at(1000);
    write(mtimecmp(1), 8, 1000n);
    expect([board.lines(0), board.lines(1)]).toEqual([0, MTIP]);
    write(mtimecmp(1), 8, 1001n);
    expect(board.lines(1)).toBe(0);
    at(1001);
    expect(tick()).toBe(NEVER);
    expect(board.lines(1)).toBe(MTIP);
  });

  it('can be written by halves', () => {
    write(mtimecmp(0) + 4, 4, 0x12n);
    write(mtimecmp(0), 4, 0x3456n);
    expect([read(mtimecmp(0), 8), read(mtimecmp(0) + 4, 4)]).toEqual([0x12_0000_3456n, 0x12n]);
  });
});

describe('stimecmp', () => {
  it('drives STIP only where menvcfg.STCE is set', () => {
    at(1000);
    board.platform.setStimecmp(board.hart(0), 10n);
    expect(board.lines(0)).toBe(0);
    board.setLong(board.hart(0) + H_MENVCFG, STCE);
    board.platform.updateTimerLines(board.hart(0));
    expect(board.lines(0)).toBe(STIP);
    board.setLong(board.hart(0) + H_MENVCFG, 0n);
    board.platform.updateTimerLines(board.hart(0));
    expect(board.lines(0)).toBe(0);
  });
});

describe('the clock worker', () => {
  it('is told the next deadline of all harts', () => {
    board.setLong(board.hart(0) + H_MENVCFG, STCE);
    board.platform.setStimecmp(board.hart(0), 3000n);
    write(mtimecmp(0), 8, 2000n);
    write(mtimecmp(1), 8, 1500n);
    expect(tick()).toBe(1500n);
    expect(board.long(CONTROL_BASE + CTL_CLOCK_DEADLINE)).toBe(1500n);
    at(1500);
    expect(tick()).toBe(2000n);
    at(2999);
    expect(tick()).toBe(3000n);
    at(3000);
    expect(tick()).toBe(NEVER);
    expect([board.lines(0), board.lines(1)]).toEqual([MTIP | STIP, MTIP]);
  });

  it('is woken by an earlier deadline only', () => {
    write(mtimecmp(0), 8, 5000n);
    tick();
    const before = wakes();
    write(mtimecmp(1), 8, 6000n);
    expect(wakes()).toBe(before);
    write(mtimecmp(1), 8, 4000n);
    expect(wakes()).toBe(before + 1);
    // Nobody need hurry to one that is due already.
    write(mtimecmp(1), 8, 0n);
    expect(wakes()).toBe(before + 1);
  });
});
