/** Quantities as people read and write them. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** "1.5 GiB"; exact values without a fraction: "512 MiB". */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const text = Number.isInteger(value) || value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2);
  return `${text.includes('.') ? text.replace(/\.?0+$/, '') : text} ${UNITS[unit]}`;
}

const SCALE: Record<string, number> = { '': 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/**
 * Bytes from "1.5 GiB", "512M", "4g" (QEMU's spelling); a bare number is in `unit`. null when it is not a size.
 */
export function parseSize(text: string, unit: 'b' | 'm' | 'g'): number | null {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmgtb]?)(?:i?b)?\s*$/i.exec(text);
  if (match === null) return null;
  const scale = SCALE[match[2] === '' ? unit : match[2].toLowerCase()];
  const value = Math.round(Number(match[1]) * scale);
  return Number.isSafeInteger(value) ? value : null;
}

/** Milliseconds as "2 h 5 min", "3 min 12 s", "8 s". */
export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

export function timeOfDay(ms: number): string {
  return clock.format(ms);
}

const precise = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
});

/** To the millisecond. */
export function preciseTime(ms: number): string {
  return precise.format(ms);
}

export function dateAndTime(ms: number): string {
  return ms === 0 ? '' : day.format(ms);
}

const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** 1234567 as "1,234,567". */
export function count(value: number): string {
  return grouped.format(value);
}

/** How often: "once", "twice", "1,240 times". */
export function times(value: number): string {
  return ['0 times', 'once', 'twice'][value] ?? `${count(value)} times`;
}

/** A rate as short as it can be: "0", "7.5", "1,240", "52k". */
export function perSecond(value: number): string {
  if (value < 0.05) return '0';
  if (value < 10) return value.toFixed(1);
  return value < 10_000 ? grouped.format(value) : `${(value / 1000).toFixed(value < 100_000 ? 1 : 0)}k`;
}

/** Nanoseconds as "850 ns", "12.3 µs", "4.56 ms", "1.20 s": three digits that count. */
export function nanoseconds(ns: number): string {
  if (ns < 1000) return `${Math.round(ns)} ns`;
  const [value, unit] = ns < 1e6 ? [ns / 1e3, 'µs'] : ns < 1e9 ? [ns / 1e6, 'ms'] : [ns / 1e9, 's'];
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
}

/** 0x and at least so many digits, in groups of four from eight on: "0x8200_0000". */
export function hexText(value: number | bigint, digits = 1): string {
  const text = value.toString(16).padStart(digits, '0');
  return `0x${text.length < 8 ? text : text.replace(/\B(?=([0-9a-f]{4})+$)/g, '_')}`;
}

/** The last part of a path. */
export function baseName(path: string): string {
  return path.split(/[/\\]/).at(-1) ?? path;
}
