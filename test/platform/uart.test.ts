import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { UART_PHYS } from '../../core/machine/virt-map.ts';
import {
  CHARDEV_BASE,
  CONTROL_BASE,
  CTL_ATTENTION,
  RING_HEAD,
  RING_IN,
  RING_OUT,
  RING_SIZE,
  RING_TAIL,
  RING_WANT_DATA,
  RING_WANT_ROOM,
} from '../../core/worker/layout.ts';
import { Board, compilePlatform } from './build.ts';
import { hasQemu, Qtest } from './qtest.ts';

const [DATA, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR] = [0, 1, 2, 3, 4, 5, 6, 7];
const FIFO_ON = 0x01;
const TRIGGER_8 = 0x80;
const LOOP = 0x10;
const RX_INTERRUPT = 1;
const TX_INTERRUPT = 2;
const LINE_STATUS_INTERRUPT = 4;
const NONE = 0x01;
const THR_EMPTY = 0x02;
const RX_DATA = 0x04;
const LINE_STATUS = 0x06;
const RX_TIMEOUT = 0x0c;
const DATA_READY = 0x01;
const OVERRUN = 0x02;
const BREAK = 0x10;
const TX_READY = 0x60;
const PLIC_PENDING = 0x1000;

const OUT = CHARDEV_BASE + RING_OUT;
const IN = CHARDEV_BASE + RING_IN;

let module: WebAssembly.Module;
let board: Board;
beforeAll(async () => {
  module = await compilePlatform();
}, 60_000);
beforeEach(async () => {
  board = await Board.create(module);
});

const read = (register: number): number => board.platform.uartRead(register);
const write = (register: number, value: number): void => board.platform.uartWrite(register, value);
/** Interrupt identification without the FIFO bits. */
const iir = (): number => read(IIR_FCR) & 0x0f;
/** The level of PLIC source 10: it is pending once the level has risen. */
const interrupted = (): boolean => (board.platform.plicRead(PLIC_PENDING) & (1 << 10)) !== 0;
const attention = (): number => board.word(CONTROL_BASE + CTL_ATTENTION);

describe('a break', () => {
  beforeEach(() => {
    write(IIR_FCR, FIFO_ON);
    write(IER, RX_INTERRUPT | LINE_STATUS_INTERRUPT);
  });

  it('is a zero byte alone, between what came before and what comes after', () => {
    board.type('a');
    board.platform.uartBreak();
    board.type('b');
    expect(read(LSR)).toBe(TX_READY | DATA_READY);
    expect(read(DATA)).toBe(97);
    expect(iir()).toBe(LINE_STATUS);
    expect(read(LSR)).toBe(TX_READY | DATA_READY | BREAK);
    expect(read(LSR) & BREAK).toBe(0);
    expect(read(DATA)).toBe(0);
    expect(read(DATA)).toBe(98);
    expect(interrupted()).toBe(true);
  });

  it('does not hold up input when the driver never reads LSR', () => {
    board.platform.uartBreak();
    board.type('x');
    expect(read(DATA)).toBe(0);
    expect(read(DATA)).toBe(120);
  });
});

describe('a driver that never reads IIR', () => {
  it('is interrupted once for an empty transmitter, and again after each byte', () => {
    write(IER, TX_INTERRUPT);
    expect(interrupted()).toBe(true);
    expect(read(LSR)).toBe(TX_READY);
    // Claim and complete, as its interrupt handler does.
    const claim = (): void => {
      const enable = 0x2000;
      const context = 0x200004;
      board.platform.plicWrite(10 * 4, 1);
      board.platform.plicWrite(enable, 1 << 10);
      board.platform.plicWrite(context, board.platform.plicRead(context));
    };
    claim();
    expect(interrupted()).toBe(false);
    write(DATA, 65);
    expect(interrupted()).toBe(true);
    expect(iir()).toBe(THR_EMPTY);
  });
});

describe('sending', () => {
  it('puts bytes on the ring at once and is always ready for more', () => {
    for (const char of 'hello') {
      expect(read(LSR)).toBe(TX_READY);
      write(DATA, char.charCodeAt(0));
    }
    expect(board.takeOutput()).toBe('hello');
  });

  it('wakes the host only if it sleeps', () => {
    const before = attention();
    write(DATA, 65);
    expect(attention()).toBe(before);
    board.setWord(OUT + RING_WANT_DATA, 1);
    write(DATA, 66);
    expect(attention()).toBe(before + 1);
  });

  it('stops while the host does not read, and loses nothing of a driver that heeds THRE', () => {
    write(IIR_FCR, FIFO_ON);
    write(IER, TX_INTERRUPT);
    let sent = 0;
    let received = '';
    let lsrReads = 0;
    while (sent < 3 * RING_SIZE) {
      if (read(LSR) & 0x20) {
        for (let i = 0; i < 16; i++) write(DATA, 32 + (sent++ % 90));
      } else {
        expect(board.word(OUT + RING_WANT_ROOM)).toBe(1);
        expect(iir()).toBe(NONE);
        received += board.takeOutput(100);
        board.platform.uartPoll();
        expect(board.word(OUT + RING_WANT_ROOM)).toBe(0);
        expect(iir()).toBe(THR_EMPTY);
      }
      expect(lsrReads++).toBeLessThan(RING_SIZE);
    }
    received += board.takeOutput();
    expect(received.length).toBe(sent);
    expect([...received].every((char, i) => char.charCodeAt(0) === 32 + (i % 90))).toBe(true);
  });

  it('drops what a driver writes into a full ring, and nothing else', () => {
    for (let i = 0; i < RING_SIZE + 10; i++) write(DATA, 65 + (i % 26));
    const out = board.takeOutput();
    expect(out.length).toBe(RING_SIZE);
    expect(out.slice(0, 3)).toBe('ABC');
  });

  it('interrupts when the transmitter is empty, until IIR is read or more is sent', () => {
    write(IER, TX_INTERRUPT);
    expect(interrupted()).toBe(true);
    expect([iir(), iir()]).toEqual([THR_EMPTY, NONE]);
    write(DATA, 65);
    expect([iir(), iir()]).toEqual([THR_EMPTY, NONE]);
    write(IER, 0);
    write(IER, TX_INTERRUPT);
    expect(iir()).toBe(THR_EMPTY);
  });
});

describe('receiving', () => {
  it('takes a byte at a time without FIFO, sixteen with it, and leaves the others on the ring', () => {
    board.type('abc');
    expect(board.word(IN + RING_TAIL)).toBe(1);
    expect([read(LSR) & DATA_READY, read(DATA), read(DATA), read(DATA), read(LSR)]).toEqual([1, 97, 98, 99, TX_READY]);
    write(IIR_FCR, FIFO_ON);
    board.type('x'.repeat(40));
    expect(board.word(IN + RING_HEAD) - board.word(IN + RING_TAIL)).toBe(24);
  });

  it('tells the host when the ring it found full has room', () => {
    board.setWord(IN + RING_WANT_ROOM, 1);
    const before = attention();
    board.type('a');
    expect(attention()).toBeGreaterThan(before);
  });

  it('interrupts: data at the trigger level, timeout below it', () => {
    write(IIR_FCR, FIFO_ON | TRIGGER_8);
    write(IER, RX_INTERRUPT);
    expect([iir(), interrupted()]).toEqual([NONE, false]);
    board.type('abc');
    expect([read(IIR_FCR), interrupted()]).toEqual([0xc0 | RX_TIMEOUT, true]);
    board.type('defgh');
    expect(iir()).toBe(RX_DATA);
    for (let i = 0; i < 8; i++) read(DATA);
    expect(iir()).toBe(NONE);
  });

  it('forgets the FIFO when it is reset or switched', () => {
    write(IIR_FCR, FIFO_ON);
    board.type('abc');
    write(IIR_FCR, FIFO_ON | 0x02);
    expect(read(LSR)).toBe(TX_READY);
    board.type('def');
    write(IIR_FCR, 0);
    expect(read(LSR)).toBe(TX_READY);
  });

  it('keeps a long paste whole', () => {
    write(IIR_FCR, FIFO_ON);
    const text = Array.from({ length: 20000 }, (_, i) => String.fromCharCode(33 + (i % 90))).join('');
    board.type(text);
    let got = '';
    while (read(LSR) & DATA_READY) got += String.fromCharCode(read(DATA));
    expect(got).toBe(text);
  });
});

describe('loopback', () => {
  it('receives what it sends, sends nothing out, and overruns', () => {
    write(MCR, LOOP);
    write(IER, LINE_STATUS_INTERRUPT);
    board.type('typed');
    write(DATA, 65);
    write(DATA, 66);
    expect(iir()).toBe(LINE_STATUS);
    expect(read(LSR)).toBe(TX_READY | DATA_READY | OVERRUN);
    expect([iir(), read(DATA), read(LSR)]).toEqual([NONE, 66, TX_READY]);
    expect(board.takeOutput()).toBe('');
    // What was typed meanwhile comes when loopback ends.
    write(MCR, 0);
    expect(read(DATA)).toBe(0x74);
  });

  it('shows the modem control bits as modem status', () => {
    expect(read(MSR)).toBe(0xb0);
    for (const [control, status] of [
      [0x01, 0x20],
      [0x02, 0x10],
      [0x04, 0x40],
      [0x08, 0x80],
    ] as const) {
      write(MCR, LOOP | control);
      expect(read(MSR)).toBe(status);
    }
  });
});

describe.skipIf(!hasQemu)('against QEMU', () => {
  let qemu: Qtest;
  beforeAll(() => {
    qemu = new Qtest(['-bios', 'none']);
  });
  afterAll(() => qemu.end());

  /**
   * Trigger level 1 only: QEMU's character timeout needs its clock, which stands still. FIFO_ON and the receive reset go
   * together with bit 2, which resets a transmit FIFO that we have not got.
   */
  const operation = fc.oneof(
    fc.record({ register: fc.constantFrom(IER, LCR, SCR), value: fc.nat(255) }),
    fc.record({ register: fc.constant(IIR_FCR), value: fc.constantFrom(0, 1, 3, 7, 0x09) }),
    fc.record({ register: fc.constant(MCR), value: fc.constantFrom(LOOP, LOOP | 5, LOOP | 10, LOOP | 15) }),
    fc.record({ register: fc.constant(DATA), value: fc.nat(255) }),
    fc.record({ register: fc.constantFrom(DATA, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR), value: fc.constant(null) }),
  );

  it('all registers read the same after any operations in loopback mode', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 60 }), async (operations) => {
        const each = async (register: number, value: number): Promise<void> => {
          write(register, value);
          await qemu.writeb(UART_PHYS + register, value);
        };
        const same = async (register: number): Promise<void> => {
          const theirs = await qemu.readb(UART_PHYS + register);
          expect(read(register), `register ${register}`).toBe(theirs);
        };
        await each(LCR, 0);
        await each(IER, 0);
        await each(MCR, LOOP);
        await each(IIR_FCR, 1);
        await each(IIR_FCR, 0);
        await each(DATA, 0);
        for (const register of [LSR, DATA, LSR]) {
          read(register);
          await qemu.readb(UART_PHYS + register);
        }
        for (const { register, value } of operations) {
          if (value === null) await same(register);
          else await each(register, value);
        }
        for (const register of [IIR_FCR, LSR, LCR, MCR, SCR]) await same(register);
      }),
      { numRuns: 300 },
    );
  });
});
