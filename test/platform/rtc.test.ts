import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { GoldfishRtc } from '../../core/devices/goldfish-rtc.ts';
import { SifiveTest } from '../../core/devices/sifive-test.ts';
import { EXIT_FAIL, EXIT_POWEROFF, EXIT_RESET } from '../../core/worker/layout.ts';

const [TIME_LOW, TIME_HIGH, ALARM_LOW, ALARM_HIGH, IRQ_ENABLED, CLEAR_ALARM, ALARM_STATUS, CLEAR_INTERRUPT] = [
  0, 4, 8, 12, 16, 20, 24, 28,
];
const START = Date.UTC(2026, 0, 1);

describe('goldfish RTC', () => {
  let irq: boolean;
  let offsets: number[];
  let rtc: GoldfishRtc;
  beforeEach(() => {
    vi.useFakeTimers({ now: START });
    irq = false;
    offsets = [];
    rtc = new GoldfishRtc({ setIrq: (level) => (irq = level), onSet: (offset) => offsets.push(offset) });
  });
  afterEach(() => {
    rtc.dispose();
    vi.useRealTimers();
  });

  const time = (): bigint => BigInt(rtc.read(TIME_LOW, 4)) | (BigInt(rtc.read(TIME_HIGH, 4)) << 32n);
  const setAlarm = (ns: bigint): void => {
    rtc.write(ALARM_HIGH, 4, Number(ns >> 32n));
    rtc.write(ALARM_LOW, 4, Number(ns & 0xffffffffn));
  };

  it('counts nanoseconds since 1970, the high half belonging to the low half read before', () => {
    expect(time()).toBe(BigInt(START) * 1_000_000n);
    vi.advanceTimersByTime(1500);
    expect(time()).toBe(BigInt(START + 1500) * 1_000_000n);
    const low = BigInt(rtc.read(TIME_LOW, 4));
    vi.advanceTimersByTime(10_000);
    expect((BigInt(rtc.read(TIME_HIGH, 4)) << 32n) | low).toBe(BigInt(START + 1500) * 1_000_000n);
  });

  it('runs on from what it is set to', () => {
    rtc.write(TIME_HIGH, 4, 1);
    rtc.write(TIME_LOW, 4, 0x8000_0000);
    expect(time()).toBe(0x1_8000_0000n);
    vi.advanceTimersByTime(1);
    expect(time()).toBe(0x1_8000_0000n + 1_000_000n);
  });

  it('tells how far it is from the host when it has been set', () => {
    const hourAgo = BigInt(START - 3_600_000) * 1_000_000n;
    rtc.write(TIME_HIGH, 4, Number(hourAgo >> 32n));
    expect(offsets).toEqual([]);
    rtc.write(TIME_LOW, 4, Number(hourAgo & 0xffffffffn));
    expect(offsets).toEqual([-3600]);
  });

  it('rings when the alarm comes, if it may, until it is cleared', () => {
    setAlarm(BigInt(START + 5000) * 1_000_000n);
    expect([rtc.read(ALARM_STATUS, 4), rtc.read(ALARM_HIGH, 4)]).toEqual([
      1,
      Number((BigInt(START + 5000) * 1_000_000n) >> 32n),
    ]);
    vi.advanceTimersByTime(4999);
    rtc.write(IRQ_ENABLED, 4, 1);
    expect(irq).toBe(false);
    vi.advanceTimersByTime(1);
    expect([irq, rtc.read(ALARM_STATUS, 4)]).toEqual([true, 0]);
    rtc.write(IRQ_ENABLED, 4, 0);
    expect(irq).toBe(false);
    rtc.write(IRQ_ENABLED, 4, 1);
    expect(irq).toBe(true);
    rtc.write(CLEAR_INTERRUPT, 4, 0);
    expect(irq).toBe(false);
  });

  it('rings at once for an alarm in the past, and never for one that is taken back', () => {
    rtc.write(IRQ_ENABLED, 4, 1);
    setAlarm(BigInt(START - 1) * 1_000_000n);
    expect(irq).toBe(true);
    rtc.write(CLEAR_INTERRUPT, 4, 0);
    setAlarm(BigInt(START + 10) * 1_000_000n);
    rtc.write(CLEAR_ALARM, 4, 0);
    vi.advanceTimersByTime(1000);
    expect([irq, rtc.read(ALARM_STATUS, 4)]).toEqual([false, 0]);
  });

  it('keeps alarms that are further away than a timer goes', () => {
    rtc.write(IRQ_ENABLED, 4, 1);
    const days = 40 * 86_400_000;
    setAlarm(BigInt(START + days) * 1_000_000n);
    vi.advanceTimersByTime(days - 1);
    expect(irq).toBe(false);
    vi.advanceTimersByTime(1);
    expect(irq).toBe(true);
  });

  it('forgets the alarm at reset, and reads 0 where nothing is', () => {
    rtc.write(IRQ_ENABLED, 4, 1);
    setAlarm(0n);
    setAlarm(BigInt(START + 10) * 1_000_000n);
    rtc.reset();
    vi.advanceTimersByTime(1000);
    expect([irq, rtc.read(IRQ_ENABLED, 4), rtc.read(ALARM_LOW, 4), rtc.read(0x20, 4)]).toEqual([false, 0, 0, 0]);
  });
});

describe('test finisher', () => {
  const exits: [number, number][] = [];
  const finisher = new SifiveTest({ onExit: (exit, code) => exits.push([exit, code]) });
  beforeEach(() => exits.splice(0));

  it('powers off, fails with a code, resets', () => {
    finisher.write(0, 4, 0x5555);
    finisher.write(0, 4, 0xffff3333);
    finisher.write(0, 2, 0x7777);
    expect(exits).toEqual([
      [EXIT_POWEROFF, 0],
      [EXIT_FAIL, 0xffff],
      [EXIT_RESET, 0],
    ]);
  });

  it('ignores everything else', () => {
    finisher.write(0, 4, 0);
    finisher.write(4, 4, 0x5555);
    expect([exits, finisher.read(0, 4)]).toEqual([[], 0]);
  });
});
