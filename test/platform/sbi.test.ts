import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RAM_PHYS } from '../../core/machine/virt-map.ts';
import {
  CHARDEV_BASE,
  CONTROL_BASE,
  CTL_ENTRY,
  CTL_EXIT,
  CTL_EXIT_CODE,
  CTL_FDT_ADDR,
  CTL_RAM_SIZE,
  EXIT_FAIL,
  EXIT_NONE,
  EXIT_POWEROFF,
  EXIT_RESET,
  FENCE_I,
  FENCE_VMA,
  H_HSM,
  H_IS_PARKED,
  H_MEDELEG,
  H_MENVCFG,
  H_MIDELEG,
  H_MIE,
  H_MSTATUS,
  H_PC,
  H_PMPADDR,
  H_PMPCFG,
  H_POLL,
  H_PRIV,
  H_REMOTE_FENCE,
  H_SATP,
  H_SLEEPING,
  H_STIMECMP,
  RAM_OFFSET,
  RING_HEAD,
  RING_OUT,
  RING_SIZE,
  RING_TAIL,
} from '../../core/worker/layout.ts';
import { Board, compilePlatform } from './build.ts';

const CONTINUE = 0;
const STOP = 1;
const EXIT = 2;
const RETRY = 3;
const FAULT = 4;

const SUCCESS = 0n;
const NOT_SUPPORTED = -2n;
const INVALID_PARAM = -3n;
const DENIED = -4n;
const INVALID_ADDRESS = -5n;
const ALREADY_AVAILABLE = -6n;
const DENIED_LOCKED = -14n;

const BASE = 0x10n;
const TIME = 0x54494d45n;
const IPI = 0x735049n;
const RFENCE = 0x52464e43n;
const HSM = 0x48534dn;
const SRST = 0x53525354n;
const DBCN = 0x4442434en;
const FWFT = 0x46574654n;

const [STARTED, STOPPED, START_PENDING, SUSPENDED] = [0, 1, 2, 4];
const SSIP = 1 << 1;
const STIP = 1 << 5;
const ALL_ONES = 2n ** 64n - 1n;
const ENTRY = 0x80200000n;
const FDT = 0x80e00000n;
const HARTS = 3;

let module: WebAssembly.Module;
let board: Board;
beforeAll(async () => {
  module = await compilePlatform();
}, 60_000);
beforeEach(async () => {
  board = await Board.create(module, HARTS);
  board.setLong(CONTROL_BASE + CTL_ENTRY, ENTRY);
  board.setLong(CONTROL_BASE + CTL_FDT_ADDR, FDT);
  for (let hart = 0; hart < HARTS; hart++) {
    board.platform.resetCode(board.hart(hart), hart, HARTS);
    board.platform.sbiResetHart(board.hart(hart), hart, hart === 1 ? 1 : 0);
    board.platform.resetMmu(board.hart(hart));
    board.platform.serveFences(board.hart(hart));
    // They are in wfi unless a test says otherwise.
    if (hart !== 0) board.setWord(board.hart(hart) + H_SLEEPING, 1);
  }
  board.setWord(board.hart(0) + H_HSM, STARTED);
});

/** An ecall of hart 0. */
function call(eid: bigint, fid: bigint, ...args: bigint[]): { code: number; error: bigint; value: bigint } {
  for (let i = 0; i < 6; i++) board.setX(0, 10 + i, args[i] ?? 0n);
  board.setX(0, 16, fid);
  board.setX(0, 17, eid);
  const code = board.platform.sbiCall(board.hart(0));
  return { code, error: BigInt.asIntN(64, board.x(0, 10)), value: board.x(0, 11) };
}

const ok = (value = 0n): object => ({ code: CONTINUE, error: SUCCESS, value });
const refused = (error: bigint): object => ({ code: CONTINUE, error });
const state = (hart: number, field: number): bigint => board.long(board.hart(hart) + field);

describe('power-on state', () => {
  it('of the boot hart is S-mode at the entry, with hart id and device tree', () => {
    expect([board.word(board.hart(1) + H_PRIV), state(1, H_PC)]).toEqual([1, ENTRY]);
    expect([board.x(1, 10), board.x(1, 11), state(1, H_SATP), state(1, H_MIE)]).toEqual([1n, FDT, 0n, 0n]);
    expect(board.word(board.hart(1) + H_HSM)).toBe(STARTED);
    expect(board.word(board.hart(2) + H_HSM)).toBe(STOPPED);
  });

  it('delegates everything that S-mode can take, and allows everything', () => {
    expect(state(1, H_MIDELEG)).toBe(0x222n);
    expect(state(1, H_MEDELEG)).toBe(0xb1ffn);
    // STCE, PBMTE, ADUE, CBZE, CBCFE, CBIE.
    expect(state(1, H_MENVCFG)).toBe(0xe0000000000000f0n);
    // SXL and UXL 64 bit, FS initial.
    expect(state(1, H_MSTATUS)).toBe(0xa00002000n);
    expect(board.bytes[board.hart(1) + H_PMPCFG]).toBe(0x1f);
    expect(state(1, H_PMPADDR)).toBe(2n ** 54n - 1n);
    expect(state(1, H_STIMECMP)).toBe(ALL_ONES);
  });
});

describe('base', () => {
  it('tells version 2.0 and what there is', () => {
    expect(call(BASE, 0n)).toEqual(ok(0x2000000n));
    for (const eid of [0n, 8n, BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN, FWFT])
      expect(call(BASE, 3n, eid)).toEqual(ok(1n));
    for (const eid of [9n, 0x504d55n, 0x53555350n, ALL_ONES]) expect(call(BASE, 3n, eid)).toEqual(ok(0n));
    for (const fid of [4n, 5n, 6n]) expect(call(BASE, fid)).toEqual(ok());
  });

  it('knows no unknown calls', () => {
    for (const [eid, fid] of [
      [BASE, 7n],
      [TIME, 1n],
      [IPI, 1n],
      [RFENCE, 3n],
      [HSM, 4n],
      [SRST, 1n],
      [DBCN, 3n],
      [FWFT, 2n],
      [9n, 0n],
      [0x504d55n, 0n],
      [ALL_ONES, 0n],
    ] as const) {
      expect(call(eid, fid), `${eid} ${fid}`).toMatchObject(refused(NOT_SUPPORTED));
    }
  });
});

describe('timer', () => {
  it.each([
    ['TIME', TIME],
    ['legacy', 0n],
  ])('%s set_timer sets stimecmp and clears the interrupt until then', (_name, eid) => {
    board.clock.now = 1;
    expect(call(eid, 0n, 5000n)).toMatchObject({ code: CONTINUE, error: SUCCESS });
    expect(board.lines(0)).toBe(STIP);
    call(eid, 0n, 20_000n);
    expect([board.lines(0), state(0, H_STIMECMP)]).toEqual([0, 20_000n]);
    board.clock.now = 2;
    expect(BigInt.asUintN(64, board.platform.clockTick())).toBe(ALL_ONES);
    expect(board.lines(0)).toBe(STIP);
    call(eid, 0n, ALL_ONES);
    expect(board.lines(0)).toBe(0);
  });
});

describe('IPI', () => {
  const receivers = (): number[] => [0, 1, 2].filter((hart) => board.lines(hart) & SSIP);

  it('goes to the harts of the mask', () => {
    expect(call(IPI, 0n, 0b101n, 0n)).toEqual(ok());
    expect(receivers()).toEqual([0, 2]);
  });

  it('counts the mask from its base, or takes all harts', () => {
    call(IPI, 0n, 1n, 2n);
    expect(receivers()).toEqual([2]);
    call(IPI, 0n, 0n, ALL_ONES);
    expect(receivers()).toEqual([0, 1, 2]);
  });

  it('refuses harts that are not there', () => {
    for (const [mask, base] of [
      [8n, 0n],
      [2n, 2n],
      [1n, 3n],
      [1n, 64n],
      [1n, 2n ** 63n],
      [ALL_ONES, 1n],
      [1n << 63n, 1n],
    ] as const) {
      expect(call(IPI, 0n, mask, base), `${mask} ${base}`).toMatchObject(refused(INVALID_PARAM));
    }
    expect(call(IPI, 0n, 0n, 100n)).toEqual(ok());
    expect(receivers()).toEqual([]);
  });

  it('legacy: the mask is in virtual memory, null is all; clearing tells whether there was one', () => {
    board.setLong(RAM_OFFSET + 0x1000, 0b110n);
    expect(call(4n, 0n, BigInt(RAM_PHYS + 0x1000), 77n)).toEqual({ code: CONTINUE, error: 0n, value: 77n });
    expect(receivers()).toEqual([1, 2]);
    call(4n, 0n, 0n);
    expect(receivers()).toEqual([0, 1, 2]);
    expect(call(3n, 0n).error).toBe(1n);
    expect(call(3n, 0n).error).toBe(0n);
    expect(receivers()).toEqual([1, 2]);
  });

  it("legacy: a mask that cannot be read is the caller's fault", () => {
    expect(call(4n, 0n, 0x10n).code).toBe(FAULT);
    // Load access fault, as cause + 1.
    expect(board.platform.fault.value).toBe(6);
  });
});

describe('remote fences', () => {
  const fence = (hart: number): number => board.word(board.hart(hart) + H_REMOTE_FENCE);

  it('are left for harts that sleep or are parked, and asked to be looked at', () => {
    board.setWord(board.hart(2) + H_SLEEPING, 0);
    board.setWord(board.hart(2) + H_IS_PARKED, 1);
    expect(call(RFENCE, 0n, 0b110n, 0n)).toEqual(ok());
    expect(call(RFENCE, 1n, 0b100n, 0n, 0x1000n, 0x1000n)).toEqual(ok());
    expect([fence(0), fence(1), fence(2)]).toEqual([0, FENCE_I, FENCE_I | FENCE_VMA]);
    expect(board.word(board.hart(1) + H_POLL)).toBe(1);
    board.platform.serveFences(board.hart(2));
    expect(fence(2)).toBe(0);
  });

  it('to oneself are done when the call returns', () => {
    expect(call(RFENCE, 2n, 1n, 0n)).toEqual(ok());
    expect(fence(0)).toBe(0);
  });

  it('legacy ones work as well', () => {
    expect(call(5n, 0n, 0n).error).toBe(0n);
    expect([fence(0), fence(1)]).toEqual([0, FENCE_I]);
    expect(call(6n, 0n, 0n).error).toBe(0n);
    expect(call(7n, 0n, 0n).error).toBe(0n);
    expect(fence(1)).toBe(FENCE_I | FENCE_VMA);
  });

  it('refuse harts that are not there', () => {
    expect(call(RFENCE, 1n, 0b1000n, 0n)).toMatchObject(refused(INVALID_PARAM));
  });
});

describe('hart state management', () => {
  const hsm = (hart: number): number => board.word(board.hart(hart) + H_HSM);

  it('starts a stopped hart', () => {
    expect(call(HSM, 0n, 2n, 0x80300000n, 0x1234n)).toEqual(ok());
    expect([hsm(2), call(HSM, 2n, 2n)]).toEqual([START_PENDING, ok(BigInt(START_PENDING))]);
    expect(call(HSM, 0n, 2n, 0x80300000n, 0n)).toMatchObject(refused(ALREADY_AVAILABLE));
    board.setLong(board.hart(2) + H_SATP, 5n);
    board.platform.sbiWake(board.hart(2));
    expect([hsm(2), state(2, H_PC), board.x(2, 10), board.x(2, 11), state(2, H_SATP)]).toEqual([
      STARTED,
      0x80300000n,
      2n,
      0x1234n,
      0n,
    ]);
  });

  it('refuses to start what cannot be', () => {
    expect(call(HSM, 0n, 3n, ENTRY, 0n)).toMatchObject(refused(INVALID_PARAM));
    expect(call(HSM, 0n, 2n ** 32n, ENTRY, 0n)).toMatchObject(refused(INVALID_PARAM));
    expect(call(HSM, 0n, 1n, ENTRY, 0n)).toMatchObject(refused(ALREADY_AVAILABLE));
    for (const address of [0n, 0x1000n, ENTRY + 1n, 0x90000000n, ALL_ONES - 1n]) {
      expect(call(HSM, 0n, 2n, address, 0n)).toMatchObject(refused(INVALID_ADDRESS));
    }
    expect(hsm(2)).toBe(STOPPED);
    expect(call(HSM, 2n, 3n)).toMatchObject(refused(INVALID_PARAM));
  });

  it('stops the caller, who can be started again', () => {
    expect(call(HSM, 1n).code).toBe(STOP);
    expect(hsm(0)).toBe(STOPPED);
    // Woken for nothing, it stays.
    board.platform.sbiWake(board.hart(0));
    expect(hsm(0)).toBe(STOPPED);
  });

  it('suspends retentively: everything stays', () => {
    board.setLong(board.hart(0) + H_PC, 0x80200104n);
    board.setLong(board.hart(0) + H_SATP, 5n);
    expect(call(HSM, 3n, 0n, 0n, 0n)).toEqual({ code: STOP, error: SUCCESS, value: 0n });
    expect(hsm(0)).toBe(SUSPENDED);
    board.platform.sbiWake(board.hart(0));
    expect([hsm(0), state(0, H_PC), state(0, H_SATP), board.x(0, 10)]).toEqual([STARTED, 0x80200104n, 5n, 0n]);
  });

  it('suspends non-retentively: goes on at the address given', () => {
    expect(call(HSM, 3n, 0x80000000n, 0x80400000n, 9n).code).toBe(STOP);
    board.platform.sbiWake(board.hart(0));
    expect([hsm(0), state(0, H_PC), board.x(0, 10), board.x(0, 11)]).toEqual([STARTED, 0x80400000n, 0n, 9n]);
  });

  it('refuses other kinds of suspend', () => {
    for (const type of [1n, 0x10000000n, 0x80000001n]) {
      expect(call(HSM, 3n, type, ENTRY, 0n)).toMatchObject(refused(INVALID_PARAM));
    }
    expect(call(HSM, 3n, 0x80000000n, 0n, 0n)).toMatchObject(refused(INVALID_ADDRESS));
  });
});

describe('system reset', () => {
  const exit = (): number[] => [board.word(CONTROL_BASE + CTL_EXIT), board.word(CONTROL_BASE + CTL_EXIT_CODE)];

  it.each([
    ['shutdown', [0n, 0n], [EXIT_POWEROFF, 0]],
    ['shutdown after a failure', [0n, 1n], [EXIT_FAIL, 1]],
    ['cold reboot', [1n, 0n], [EXIT_RESET, 0]],
    ['warm reboot', [2n, 1n], [EXIT_RESET, 1]],
  ] as const)('%s ends the machine', (_name, [type, reason], expected) => {
    expect(call(SRST, 0n, type, reason).code).toBe(EXIT);
    expect(exit()).toEqual(expected);
    // The hart runs no further.
    expect(board.word(board.hart(0) + H_HSM)).toBe(STOPPED);
  });

  it('the first request stays', () => {
    call(8n, 0n);
    expect(call(SRST, 0n, 1n, 1n).code).toBe(EXIT);
    expect(exit()).toEqual([EXIT_POWEROFF, 0]);
  });

  it('refuses other types and reasons', () => {
    for (const [type, reason] of [
      [3n, 0n],
      [0xf0000000n, 0n],
      [0n, 2n],
      [0n, 0xe0000000n],
    ] as const) {
      expect(call(SRST, 0n, type, reason)).toMatchObject(refused(INVALID_PARAM));
    }
    expect(exit()).toEqual([EXIT_NONE, 0]);
  });
});

describe('debug console', () => {
  const text = 'Hello from the guest';
  const at = BigInt(RAM_PHYS + 0x100);
  const ramEnd = (): bigint => BigInt(RAM_PHYS) + board.long(CONTROL_BASE + CTL_RAM_SIZE);
  /** Leaves room for `room` bytes in the ring towards the host. */
  const fill = (room: number): void => board.setWord(CHARDEV_BASE + RING_OUT + RING_HEAD, RING_SIZE - room);

  it('writes from memory', () => {
    board.bytes.set(new TextEncoder().encode(text), RAM_OFFSET + 0x100);
    expect(call(DBCN, 0n, BigInt(text.length), at, 0n)).toEqual(ok(BigInt(text.length)));
    expect(board.takeOutput()).toBe(text);
  });

  it('writes as much as there is room for, leaving the UART its FIFO', () => {
    fill(20);
    expect(call(DBCN, 0n, 100n, at, 0n)).toEqual(ok(4n));
    expect(call(DBCN, 0n, 100n, at, 0n)).toEqual(ok(0n));
    expect(call(DBCN, 0n, 0n, at, 0n)).toEqual(ok(0n));
  });

  it('reads into memory what has been typed, also what the UART has taken', () => {
    board.type('typed');
    expect(call(DBCN, 1n, 3n, at, 0n)).toEqual(ok(3n));
    expect(call(DBCN, 1n, 100n, at + 3n, 0n)).toEqual(ok(2n));
    expect(Buffer.from(board.bytes.slice(RAM_OFFSET + 0x100, RAM_OFFSET + 0x106)).toString()).toBe('typed\0');
    expect(call(DBCN, 1n, 100n, at, 0n)).toEqual(ok(0n));
  });

  it('refuses memory that is not all RAM', () => {
    for (const [count, low, high] of [
      [1n, 0n, 0n],
      [1n, ramEnd(), 0n],
      [2n, ramEnd() - 1n, 0n],
      [ALL_ONES, BigInt(RAM_PHYS), 0n],
      [2n ** 32n, BigInt(RAM_PHYS), 0n],
      [1n, BigInt(RAM_PHYS), 1n],
      [1n, BigInt(RAM_PHYS) - 1n, 0n],
      [1n, ALL_ONES, 0n],
    ] as const) {
      for (const fid of [0n, 1n])
        expect(call(DBCN, fid, count, low, high), `${count} ${low}`).toMatchObject(refused(INVALID_PARAM));
    }
    expect(board.takeOutput()).toBe('');
  });

  it.each([
    ['write_byte', DBCN, 2n],
    ['legacy putchar', 1n, 0n],
  ])('%s writes a byte, or has the ecall tried again', (_name, eid, fid) => {
    expect(call(eid, fid, 0x1_41n).code).toBe(CONTINUE);
    expect(board.takeOutput()).toBe('A');
    fill(16);
    board.setWord(CHARDEV_BASE + RING_OUT + RING_TAIL, 0);
    expect(call(eid, fid, 0x42n)).toMatchObject({ code: RETRY, error: 0x42n });
    board.takeOutput();
    expect(call(eid, fid, 0x42n).code).toBe(CONTINUE);
    expect(board.takeOutput()).toBe('B');
  });

  it('legacy getchar reads a byte, or -1', () => {
    board.type('x\xff');
    expect(call(2n, 0n).error).toBe(0x78n);
    expect(call(2n, 0n).error).toBe(0xc3n);
    expect(call(2n, 0n).error).toBe(0xbfn);
    expect(call(2n, 0n).error).toBe(-1n);
  });
});

describe('firmware features', () => {
  const AD_UPDATING = 4n;
  const LOCK = 1n;

  it('switch hardware A/D updating, until it is locked', () => {
    expect(call(FWFT, 1n, AD_UPDATING)).toEqual(ok(1n));
    expect(call(FWFT, 0n, AD_UPDATING, 0n, 0n)).toEqual(ok());
    expect(call(FWFT, 1n, AD_UPDATING)).toEqual(ok(0n));
    expect(state(0, H_MENVCFG)).toBe(0xc0000000000000f0n);
    expect(call(FWFT, 0n, AD_UPDATING, 1n, LOCK)).toEqual(ok());
    expect(call(FWFT, 0n, AD_UPDATING, 0n, 0n)).toMatchObject(refused(DENIED_LOCKED));
    expect(call(FWFT, 0n, AD_UPDATING, 1n, 0n)).toEqual(ok());
  });

  it('have misaligned accesses delegated, always', () => {
    expect(call(FWFT, 1n, 0n)).toEqual(ok(1n));
    expect(call(FWFT, 0n, 0n, 1n, 0n)).toEqual(ok());
    expect(call(FWFT, 0n, 0n, 0n, 0n)).toMatchObject(refused(DENIED));
  });

  it('refuse the others', () => {
    expect(call(FWFT, 0n, AD_UPDATING, 2n, 0n)).toMatchObject(refused(INVALID_PARAM));
    expect(call(FWFT, 0n, AD_UPDATING, 1n, 2n)).toMatchObject(refused(INVALID_PARAM));
    for (const feature of [1n, 2n, 3n, 5n]) expect(call(FWFT, 1n, feature)).toMatchObject(refused(NOT_SUPPORTED));
    for (const feature of [6n, 0x40000000n, 0xc0000000n])
      expect(call(FWFT, 0n, feature, 0n)).toMatchObject(refused(DENIED));
  });
});
