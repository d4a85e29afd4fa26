/**
 * Goldfish real-time clock (Android's goldfish virtual hardware description; QEMU hw/rtc/goldfish_rtc.c): nanoseconds
 * since 1970 and an alarm. Lives on the control thread.
 */

const TIME_LOW = 0x00;
const TIME_HIGH = 0x04;
const ALARM_LOW = 0x08;
const ALARM_HIGH = 0x0c;
const IRQ_ENABLED = 0x10;
const CLEAR_ALARM = 0x14;
const ALARM_STATUS = 0x18;
const CLEAR_INTERRUPT = 0x1c;

const LOW = 0xffffffffn;
const NS_PER_MS = 1_000_000n;
const NS_PER_S = 1e9;
/** setTimeout takes no more; a later alarm is looked at again then. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export interface GoldfishRtcOptions {
  /** Drives the interrupt line (PLIC source RTC_IRQ). */
  setIrq: (level: boolean) => void;
  /** The driver has set the time: how far it is now from the host's, s. */
  onSet?: (offset: number) => void;
  /** Milliseconds since 1970. */
  now?: () => number;
}

export class GoldfishRtc {
  readonly #setIrq: (level: boolean) => void;
  readonly #onSet: (offset: number) => void;
  readonly #now: () => number;
  /** What writes to TIME_* have added to the host's clock, ns. */
  #offset = 0n;
  /** Latched by a read of TIME_LOW. */
  #timeHigh = 0n;
  #alarm = 0n;
  #alarmTimer: ReturnType<typeof setTimeout> | undefined;
  #irqPending = false;
  #irqEnabled = false;

  constructor({ setIrq, onSet = () => {}, now = Date.now }: GoldfishRtcOptions) {
    this.#onSet = onSet;
    this.#setIrq = setIrq;
    this.#now = now;
  }

  /** Reads the 32-bit register at `offset`; 0 where there is none. */
  read(offset: number, _size: number): number {
    switch (offset) {
      case TIME_LOW: {
        const time = this.#time();
        this.#timeHigh = time >> 32n;
        return Number(time & LOW);
      }
      case TIME_HIGH:
        return Number(this.#timeHigh);
      case ALARM_LOW:
        return Number(this.#alarm & LOW);
      case ALARM_HIGH:
        return Number(this.#alarm >> 32n);
      case IRQ_ENABLED:
        return this.#irqEnabled ? 1 : 0;
      case ALARM_STATUS:
        return this.#alarmTimer === undefined ? 0 : 1;
      default:
        return 0;
    }
  }

  /** Writes the 32-bit register at `offset`; ignored where there is none. */
  write(offset: number, _size: number, value: number): void {
    const word = BigInt(value >>> 0);
    switch (offset) {
      case TIME_LOW:
        // The driver writes the high half first: with this one the time is set.
        this.#setTime((this.#time() & ~LOW) | word);
        this.#onSet(Math.round(Number(BigInt.asIntN(64, this.#offset)) / NS_PER_S));
        break;
      case TIME_HIGH:
        this.#setTime((this.#time() & LOW) | (word << 32n));
        break;
      case ALARM_LOW:
        // The driver writes the high half first: this one sets the alarm.
        this.#alarm = (this.#alarm & ~LOW) | word;
        this.#armAlarm();
        break;
      case ALARM_HIGH:
        this.#alarm = (this.#alarm & LOW) | (word << 32n);
        break;
      case IRQ_ENABLED:
        this.#irqEnabled = (value & 1) !== 0;
        this.#updateIrq();
        break;
      case CLEAR_ALARM:
        this.#disarm();
        break;
      case CLEAR_INTERRUPT:
        this.#irqPending = false;
        this.#updateIrq();
        break;
    }
  }

  /** Board reset: the alarm goes, the time stays as the guest set it. */
  reset(): void {
    this.#disarm();
    this.#alarm = 0n;
    this.#irqPending = false;
    this.#irqEnabled = false;
    this.#updateIrq();
  }

  /** Releases the timer. */
  dispose(): void {
    this.#disarm();
  }

  #time(): bigint {
    return BigInt.asUintN(64, BigInt(Math.trunc(this.#now() * 1000)) * 1000n + this.#offset);
  }

  #setTime(time: bigint): void {
    this.#offset += time - this.#time();
    // An alarm is an instant of this clock, so its distance has changed.
    if (this.#alarmTimer !== undefined) this.#armAlarm();
  }

  #disarm(): void {
    clearTimeout(this.#alarmTimer);
    this.#alarmTimer = undefined;
  }

  #armAlarm(): void {
    this.#disarm();
    const wait = this.#alarm - this.#time();
    if (wait <= 0n) {
      this.#irqPending = true;
      this.#updateIrq();
      return;
    }
    const milliseconds = Number((wait + NS_PER_MS - 1n) / NS_PER_MS);
    this.#alarmTimer = setTimeout(() => this.#armAlarm(), Math.min(milliseconds, MAX_TIMEOUT_MS));
    // An alarm alone keeps no process alive.
    this.#alarmTimer.unref?.();
  }

  #updateIrq(): void {
    this.#setIrq(this.#irqPending && this.#irqEnabled);
  }
}
