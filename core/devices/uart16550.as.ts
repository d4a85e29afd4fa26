/**
 * 16550A UART (National PC16550D data sheet) on chardev 0, as QEMU's virt board has it: a register a byte, clock
 * 3686400 Hz, interrupt source 10. The line is as fast as the host reads: a byte goes to the chardev's ring at once, and
 * the transmitter is "empty" as long as that ring has room for a whole FIFO, so a driver that heeds THRE loses nothing
 * when the host is slow. The receive FIFO takes bytes from the ring as the guest makes room; a character timeout
 * (4 character times without a read) comes at once, because no more time than that passes on a line with no speed.
 *
 * The built-in SBI's console is the same chardev; it goes through uartTakeByte and uartPutBytes, under the same lock.
 */
import { DEVICE_BASE, DEV_UART, RING_WANT_ROOM } from '../worker/layout';
import { UART_IRQ } from '../machine/virt-map';
import { inRing, outRing, ringPut, ringRoom, ringTake, ringWrite } from '../chardev/ring.as';
import { irqSetLevel } from '../irqchip/irqchip.as';
import { lock, unlock } from '../memory/lock.as';

// Registers. With LCR.DLAB set, 0 and 1 are the divisor latch.
const RBR_THR_DLL = 0;
const IER_DLM = 1;
const IIR_FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;
const SCR = 7;

const IER_ERBFI = 0x01;
const IER_ETBEI = 0x02;
const IER_ELSI = 0x04;
const IER_MASK = 0x0f;

const IIR_NONE = 0x01;
const IIR_THR_EMPTY = 0x02;
const IIR_RX_DATA = 0x04;
const IIR_LINE_STATUS = 0x06;
const IIR_RX_TIMEOUT = 0x0c;
const IIR_FIFO_ENABLED = 0xc0;

const FCR_ENABLE = 0x01;
const FCR_RESET_RX = 0x02;
const FCR_RESET_TX = 0x04;
const FCR_TRIGGER_SHIFT = 6;
const FCR_STICKY = 0xc9;

const LCR_DLAB = 0x80;

const MCR_DTR = 0x01;
const MCR_RTS = 0x02;
const MCR_OUT1 = 0x04;
const MCR_OUT2 = 0x08;
const MCR_LOOP = 0x10;
const MCR_MASK = 0x1f;

const LSR_DATA_READY = 0x01;
const LSR_OVERRUN = 0x02;
const LSR_BREAK = 0x10;
const LSR_THR_EMPTY = 0x20;
const LSR_TX_EMPTY = 0x40;

const MSR_CTS = 0x10;
const MSR_DSR = 0x20;
const MSR_RI = 0x40;
const MSR_DCD = 0x80;
/** Nothing on the other end ever hangs up. */
const MSR_CONNECTED = MSR_CTS | MSR_DSR | MSR_DCD;

const FIFO_SIZE: u32 = 16;
/** 9600 baud. */
const DIVISOR_RESET = 12;

// State: i32 words at DEVICE_BASE + DEV_UART, all under LOCK.
const STATE: usize = DEVICE_BASE + DEV_UART;
const LOCK: usize = STATE;
const S_IER: usize = STATE + 4;
const S_FCR: usize = STATE + 8;
const S_LCR: usize = STATE + 12;
const S_MCR: usize = STATE + 16;
const S_SCR: usize = STATE + 20;
const S_DIVISOR: usize = STATE + 24;
const S_OVERRUN: usize = STATE + 28;
/** LSR.THRE and TEMT: the OUT ring has room for a FIFO. */
const S_THR_EMPTY: usize = STATE + 32;
/**
 * 1: THR empty is pending (reading IIR or writing THR clears it). 2: still pending, but the driver has read THRE in LSR: the
 * line is let go. The chip would hold it, and QEMU's PLIC does not interrupt again for a line that is merely held:
 * drivers that never read IIR (xv6's) live by that, and would be interrupted for ever by a PLIC that goes by the level.
 */
const S_THR_INTERRUPT: usize = STATE + 36;
const S_RX_COUNT: usize = STATE + 40;
const S_RX_READ: usize = STATE + 44;
/** What the interrupt controller was last told. */
const S_LEVEL: usize = STATE + 48;
/** The last byte that came without FIFO: what the receiver buffer register goes on showing. */
const S_RBR: usize = STATE + 52;
/** A break: 1 asked for by the host, 2 received (LSR.BI, with a zero byte alone in the FIFO), 0 none. */
const S_BREAK: usize = STATE + 56;
const S_RX_DATA: usize = STATE + 64;
const STATE_END: usize = STATE + 80;

// @ts-ignore: decorator
@inline
function fifoEnabled(): bool {
  return (load<i32>(S_FCR) & FCR_ENABLE) != 0;
}

// @ts-ignore: decorator
@inline
function loopback(): bool {
  return (load<i32>(S_MCR) & MCR_LOOP) != 0;
}

// @ts-ignore: decorator
@inline
function receiveDepth(): u32 {
  return fifoEnabled() ? FIFO_SIZE : 1;
}

function receive(byte: u32): void {
  const count = load<u32>(S_RX_COUNT);
  if (!fifoEnabled()) store<i32>(S_RBR, byte);
  store<u8>(S_RX_DATA + ((load<u32>(S_RX_READ) + count) & (FIFO_SIZE - 1)), <u8>byte);
  store<u32>(S_RX_COUNT, count + 1);
}

function takeReceived(): i32 {
  const count = load<u32>(S_RX_COUNT);
  if (count == 0) return -1;
  const at = load<u32>(S_RX_READ);
  store<u32>(S_RX_READ, (at + 1) & (FIFO_SIZE - 1));
  store<u32>(S_RX_COUNT, count - 1);
  if (load<i32>(S_BREAK) == 2) store<i32>(S_BREAK, 0);
  return <i32>load<u8>(S_RX_DATA + at);
}

/** Moves bytes from the IN ring to the receive FIFO, as many as it has room for. */
function fillReceiver(): void {
  if (loopback()) return;
  if (load<i32>(S_BREAK) != 0) {
    // It comes behind what is in the FIFO and before what is in the ring.
    if (load<i32>(S_BREAK) == 1 && load<u32>(S_RX_COUNT) == 0) {
      receive(0);
      store<i32>(S_BREAK, 2);
    }
    return;
  }
  while (load<u32>(S_RX_COUNT) < receiveDepth()) {
    const byte = ringTake(inRing(0));
    if (byte < 0) return;
    receive(byte);
  }
}

/** Sets THRE when the OUT ring has room again; while it has not, asks its reader to say when it has. */
function updateTransmitter(): void {
  if (load<i32>(S_THR_EMPTY) != 0) return;
  const ring = outRing(0);
  if (ringRoom(ring) < FIFO_SIZE) {
    atomic.store<i32>(ring + RING_WANT_ROOM, 1);
    // The reader may have made room before it could see that we want it.
    if (ringRoom(ring) < FIFO_SIZE) return;
  }
  atomic.store<i32>(ring + RING_WANT_ROOM, 0);
  store<i32>(S_THR_EMPTY, 1);
  store<i32>(S_THR_INTERRUPT, 1);
}

function triggerLevel(): u32 {
  if (!fifoEnabled()) return 1;
  const code = load<u32>(S_FCR) >> FCR_TRIGGER_SHIFT;
  return code == 0 ? 1 : code == 1 ? 4 : code == 2 ? 8 : 14;
}

/** The interrupt of highest priority that is pending and enabled (IIR bits 3..0). */
function interruptId(): i32 {
  const enabled = load<i32>(S_IER);
  if ((enabled & IER_ELSI) != 0 && (load<i32>(S_OVERRUN) != 0 || load<i32>(S_BREAK) == 2)) return IIR_LINE_STATUS;
  const count = load<u32>(S_RX_COUNT);
  if ((enabled & IER_ERBFI) != 0 && count != 0) return count >= triggerLevel() ? IIR_RX_DATA : IIR_RX_TIMEOUT;
  if ((enabled & IER_ETBEI) != 0 && load<i32>(S_THR_INTERRUPT) != 0) return IIR_THR_EMPTY;
  return IIR_NONE;
}

/** Brings FIFO, transmitter and interrupt line up to date. Lock held. */
function update(): void {
  fillReceiver();
  updateTransmitter();
  const id = interruptId();
  const level = id != IIR_NONE && (id != IIR_THR_EMPTY || load<i32>(S_THR_INTERRUPT) == 1) ? 1 : 0;
  if (level == load<i32>(S_LEVEL)) return;
  store<i32>(S_LEVEL, level);
  irqSetLevel(UART_IRQ, level);
}

function transmit(byte: u32): void {
  store<i32>(S_THR_INTERRUPT, 0);
  if (loopback()) {
    if (load<u32>(S_RX_COUNT) >= receiveDepth()) {
      // A full FIFO stays as it is; a full buffer register is overwritten.
      store<i32>(S_OVERRUN, 1);
      if (!fifoEnabled()) takeReceived();
    }
    if (load<u32>(S_RX_COUNT) < receiveDepth()) receive(byte);
    store<i32>(S_THR_INTERRUPT, 1);
    return;
  }
  // A driver that writes without THRE overruns the transmitter; the byte is gone, as on the chip.
  ringPut(outRing(0), byte);
  store<i32>(S_THR_EMPTY, 0);
}

function readReceiver(): i32 {
  const byte = takeReceived();
  if (byte >= 0) return byte;
  return fifoEnabled() ? 0 : load<i32>(S_RBR);
}

function writeFifoControl(value: i32): void {
  const toggled = ((value ^ load<i32>(S_FCR)) & FCR_ENABLE) != 0;
  if (toggled || (value & FCR_RESET_RX) != 0) store<u32>(S_RX_COUNT, 0);
  // There is no transmit FIFO to empty, what was written is on its way; but a reset reports it empty anew.
  if (toggled || (value & FCR_RESET_TX) != 0) store<i32>(S_THR_INTERRUPT, load<i32>(S_THR_EMPTY));
  store<i32>(S_FCR, (value & FCR_ENABLE) != 0 ? value & FCR_STICKY : 0);
}

function modemStatus(): i32 {
  if (!loopback()) return MSR_CONNECTED;
  const control = load<i32>(S_MCR);
  return (
    ((control & MCR_RTS) != 0 ? MSR_CTS : 0) |
    ((control & MCR_DTR) != 0 ? MSR_DSR : 0) |
    ((control & MCR_OUT1) != 0 ? MSR_RI : 0) |
    ((control & MCR_OUT2) != 0 ? MSR_DCD : 0)
  );
}

function readRegister(register: u32): i32 {
  const latch = (load<i32>(S_LCR) & LCR_DLAB) != 0;
  switch (register) {
    case RBR_THR_DLL:
      return latch ? load<i32>(S_DIVISOR) & 0xff : readReceiver();
    case IER_DLM:
      return latch ? load<i32>(S_DIVISOR) >> 8 : load<i32>(S_IER);
    case IIR_FCR: {
      const id = interruptId();
      if (id == IIR_THR_EMPTY) store<i32>(S_THR_INTERRUPT, 0);
      return fifoEnabled() ? id | IIR_FIFO_ENABLED : id;
    }
    case LCR:
      return load<i32>(S_LCR);
    case MCR:
      return load<i32>(S_MCR);
    case LSR: {
      const status =
        (load<u32>(S_RX_COUNT) != 0 ? LSR_DATA_READY : 0) |
        (load<i32>(S_OVERRUN) != 0 ? LSR_OVERRUN : 0) |
        (load<i32>(S_BREAK) == 2 ? LSR_BREAK : 0) |
        (load<i32>(S_THR_EMPTY) != 0 ? LSR_THR_EMPTY | LSR_TX_EMPTY : 0);
      store<i32>(S_OVERRUN, 0);
      if (load<i32>(S_BREAK) == 2) store<i32>(S_BREAK, 0);
      if (load<i32>(S_THR_INTERRUPT) == 1 && interruptId() == IIR_THR_EMPTY) store<i32>(S_THR_INTERRUPT, 2);
      return status;
    }
    case MSR:
      return modemStatus();
    default:
      return load<i32>(S_SCR);
  }
}

function writeRegister(register: u32, value: i32): void {
  const latch = (load<i32>(S_LCR) & LCR_DLAB) != 0;
  switch (register) {
    case RBR_THR_DLL:
      if (latch) store<i32>(S_DIVISOR, (load<i32>(S_DIVISOR) & 0xff00) | value);
      else transmit(value);
      break;
    case IER_DLM:
      if (latch) {
        store<i32>(S_DIVISOR, (load<i32>(S_DIVISOR) & 0xff) | (value << 8));
      } else {
        // Enabling the interrupt raises it if the transmitter is empty, even if that has been seen before.
        if (((value & ~load<i32>(S_IER)) & IER_ETBEI) != 0) store<i32>(S_THR_INTERRUPT, load<i32>(S_THR_EMPTY));
        store<i32>(S_IER, value & IER_MASK);
      }
      break;
    case IIR_FCR:
      writeFifoControl(value);
      break;
    case LCR:
      store<i32>(S_LCR, value);
      break;
    case MCR:
      store<i32>(S_MCR, value & MCR_MASK);
      break;
    case SCR:
      store<i32>(S_SCR, value);
      break;
    default: // LSR and MSR are read-only.
      break;
  }
}

/** Reads the register at `offset` (0..7); the value is a byte. */
export function uartRead(offset: u32): u32 {
  lock(LOCK);
  update();
  const value = readRegister(offset & 7);
  update();
  unlock(LOCK);
  return value;
}

/** Writes the low byte of `value` to the register at `offset` (0..7). */
export function uartWrite(offset: u32, value: u32): void {
  lock(LOCK);
  update();
  writeRegister(offset & 7, value & 0xff);
  update();
  unlock(LOCK);
}

/** To be called when the IN ring got bytes or the OUT ring got room: refills the FIFO, recomputes interrupts. */
export function uartPoll(): void {
  lock(LOCK);
  update();
  unlock(LOCK);
}

/** The host sends a break (magic SysRq on a Linux console). */
export function uartBreak(): void {
  lock(LOCK);
  if (load<i32>(S_BREAK) == 0) store<i32>(S_BREAK, 1);
  update();
  unlock(LOCK);
}

/** Power-on state, lock free; the rings stay as they are. Only while no hart runs. */
export function uartReset(): void {
  memory.fill(STATE, 0, STATE_END - STATE);
  store<i32>(S_DIVISOR, DIVISOR_RESET);
  store<i32>(S_MCR, MCR_OUT2);
  store<i32>(S_THR_EMPTY, ringRoom(outRing(0)) >= FIFO_SIZE ? 1 : 0);
  irqSetLevel(UART_IRQ, 0);
}

/** The SBI console's input: the next byte for the guest, -1 if there is none. */
export function uartTakeByte(): i32 {
  lock(LOCK);
  update();
  const byte = takeReceived();
  update();
  unlock(LOCK);
  return byte;
}

/**
 * The SBI console's output: writes up to `count` bytes from linear address `from`, returns how many were taken (fewer
 * when the host is slow). Leaves room for what a 16550 driver that has seen THRE may write.
 */
export function uartPutBytes(from: usize, count: u32): u32 {
  lock(LOCK);
  const ring = outRing(0);
  const room = ringRoom(ring);
  const taken = room <= FIFO_SIZE ? 0 : ringWrite(ring, from, min<u32>(count, room - FIFO_SIZE));
  unlock(LOCK);
  return taken;
}

/** As uartPutBytes, one byte; whether it was taken. */
export function uartPutByte(byte: u32): bool {
  lock(LOCK);
  const ring = outRing(0);
  const taken = ringRoom(ring) > FIFO_SIZE && ringPut(ring, byte);
  unlock(LOCK);
  return taken;
}
