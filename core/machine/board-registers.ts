/** The rare registers: what harts leave to the control thread, by guest physical address. */
import type { GoldfishRtc } from '../devices/goldfish-rtc.ts';
import type { SifiveTest } from '../devices/sifive-test.ts';
import type { Trace } from '../trace/trace.ts';
import type { AccessTrace } from './access-trace.ts';
import type { Peripherals } from './peripherals.ts';
import { RTC_PHYS, RTC_SIZE, TEST_PHYS, TEST_SIZE } from './virt-map.ts';

export interface BoardRegistersOptions {
  readonly peripherals: Pick<Peripherals, 'accepts' | 'read' | 'write'>;
  readonly test: SifiveTest;
  readonly rtc: GoldfishRtc;
  readonly trace: Trace;
  readonly access: AccessTrace;
}

export class BoardRegisters {
  readonly #o: BoardRegistersOptions;

  constructor(options: BoardRegistersOptions) {
    this.#o = options;
  }

  /** @throws RangeError: nothing is there, and the access faults */
  read(address: number, size: number): number | bigint | Promise<number | bigint> {
    const value = this.#readDevice(address, size);
    const { trace, access } = this.#o;
    if (!trace.active) return value;
    if (!(value instanceof Promise)) access.read(address, value);
    else void value.then((late) => access.read(address, late)).catch(() => {});
    return value;
  }

  #readDevice(address: number, size: number): number | bigint | Promise<number | bigint> {
    const { peripherals, test, rtc } = this.#o;
    if (peripherals.accepts(address, size)) return peripherals.read(address, size);
    if (address >= TEST_PHYS && address < TEST_PHYS + TEST_SIZE) return test.read(address - TEST_PHYS, size);
    if (address >= RTC_PHYS && address < RTC_PHYS + RTC_SIZE) return rtc.read(address - RTC_PHYS, size);
    throw new RangeError('nothing is there');
  }

  /** @throws RangeError: nothing is there, and the access faults */
  write(address: number, size: number, value: bigint): void | Promise<void> {
    const { peripherals, test, rtc, trace, access } = this.#o;
    if (trace.active) access.write(address, value);
    if (peripherals.accepts(address, size)) return peripherals.write(address, size, value);
    const low = Number(value & 0xffffffffn);
    if (address >= TEST_PHYS && address < TEST_PHYS + TEST_SIZE) test.write(address - TEST_PHYS, size, low);
    else if (address >= RTC_PHYS && address < RTC_PHYS + RTC_SIZE) rtc.write(address - RTC_PHYS, size, low);
    else throw new RangeError('nothing is there');
  }
}
