/** Buffers of a chain with the fields that its device sees in them. */
import type { DecodedFieldView } from '../../../main/ipc/contract.ts';

export interface Part {
  /** e.g. "descriptor 7". */
  title: string;
  /** Guest physical; empty: not known. */
  address: string;
  /** Bytes that it has. */
  length: number;
  writable: boolean;
  /** Its first bytes; undefined: not read yet; null: it is not in guest RAM. */
  data: Uint8Array | null | undefined;
  /** What is writable shows what stood there before the device has written it. */
  before: boolean;
}

export interface MarkedPart extends Part {
  marks: { name: string; offset: number; length: number }[];
}

/** A field may go on in the next buffer; offsets are those of each buffer. */
export function partsOf(parts: readonly Part[], fields: readonly DecodedFieldView[]): MarkedPart[] {
  const offsets = { readable: 0, writable: 0 };
  return parts.map((part) => {
    const side = part.writable ? 'writable' : 'readable';
    const from = offsets[side];
    offsets[side] += part.length;
    const marks = fields
      .filter((field) => field.part === side && field.offset < from + part.length && field.offset + field.length > from)
      .map((field) => ({ name: `${field.name}: ${field.value}`, offset: field.offset - from, length: field.length }));
    return { ...part, marks };
  });
}
