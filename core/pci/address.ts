/** Where a function is on its bus, as QEMU's `addr` says it. */
import { RingsideError } from '../errors.ts';

const LAST_SLOT = 0x1f;

export interface PciAddress {
  readonly slot: number;
  readonly function: number;
}

/**
 * `06.1`, `6`, `0x6`: hexadecimal.
 *
 * @param text null: nowhere in particular
 * @throws RingsideError 'bad-option'
 */
export function parsePciAddress(text: string | null): PciAddress | null {
  if (text === null) return null;
  const match = /^(?:0x)?([\da-f]{1,2})(?:\.([0-7]))?$/i.exec(text);
  const slot = parseInt(match?.[1] ?? '', 16);
  if (!(slot <= LAST_SLOT)) {
    throw new RingsideError(
      'bad-option',
      `addr: "${text}" is not a slot and function, 0 to 1f and .0 to .7, e.g. 06.0`,
    );
  }
  return { slot, function: Number(match?.[2] ?? 0) };
}

/** e.g. "06.0". */
export function pciAddressText({ slot, function: fn }: PciAddress): string {
  return `${slot.toString(16).padStart(2, '0')}.${fn}`;
}
