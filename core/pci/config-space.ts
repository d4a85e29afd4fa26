/**
 * A function's configuration space: bytes, of which the software of the guest may write those bits that a mask says, and
 * clear (by writing 1) those that another says. PCI 3.0, chapter 6; PCI Express 5.0, section 7.5.
 */
import { PCI_CAPABILITY_LIST, PCI_HEADER_SIZE, PCI_STATUS, PCI_STATUS_CAP_LIST } from './spec.ts';

/** Behind the capabilities of a conventional function; express capabilities begin here. */
const CONVENTIONAL_END = 0x100;

export class PciConfigSpace {
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly #data: DataView;
  readonly #writable: Uint8Array;
  readonly #clearable: Uint8Array;
  #nextCapability = PCI_HEADER_SIZE;
  #lastExtended = 0;
  #nextExtended = CONVENTIONAL_END;

  /** @param size PCI_CONFIG_SPACE_SIZE or PCIE_CONFIG_SPACE_SIZE */
  constructor(size: number) {
    this.size = size;
    this.#bytes = new Uint8Array(size);
    this.#data = new DataView(this.#bytes.buffer);
    this.#writable = new Uint8Array(size);
    this.#clearable = new Uint8Array(size);
  }

  /** 1, 2 or 4 bytes, zero-extended; all ones behind the end. */
  read(offset: number, size: number): number {
    if (offset + size > this.size) return 2 ** (8 * size) - 1;
    if (size === 1) return this.#data.getUint8(offset);
    return size === 2 ? this.#data.getUint16(offset, true) : this.#data.getUint32(offset, true);
  }

  /** A write of the guest's. */
  write(offset: number, size: number, value: number): void {
    for (let i = 0; i < size && offset + i < this.size; i++) {
      const at = offset + i;
      const byte = (value >>> (8 * i)) & 0xff;
      const kept = this.#bytes[at] & ~this.#writable[at];
      this.#bytes[at] = (kept | (byte & this.#writable[at])) & ~(byte & this.#clearable[at]);
    }
  }

  /** Sets 1, 2 or 4 bytes from the device's side, whatever the guest may write. */
  set(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) this.#bytes[offset + i] = value >>> (8 * i);
  }

  /** Says which bits of 1, 2 or 4 bytes the guest may write. */
  allow(offset: number, size: number, mask: number): void {
    for (let i = 0; i < size; i++) this.#writable[offset + i] = mask >>> (8 * i);
  }

  /** Says which bits of 1, 2 or 4 bytes the guest clears by writing 1. */
  allowClear(offset: number, size: number, mask: number): void {
    for (let i = 0; i < size; i++) this.#clearable[offset + i] = mask >>> (8 * i);
  }

  /** Whether the bits of `mask` may be written: what a reset puts back. */
  writable(offset: number): number {
    return this.#writable[offset] | this.#clearable[offset];
  }

  /**
   * Puts a capability at the head of the list.
   *
   * @param size bytes, with its header
   * @param offset where; by default behind those that there are
   * @returns its offset
   */
  addCapability(id: number, size: number, offset = this.#nextCapability): number {
    if (offset + size > CONVENTIONAL_END) throw new RangeError(`no room for capability ${id}`);
    this.#nextCapability = Math.max(this.#nextCapability, offset + Math.ceil(size / 4) * 4);
    this.set(offset, 1, id);
    this.set(offset + 1, 1, this.read(PCI_CAPABILITY_LIST, 1));
    this.set(PCI_CAPABILITY_LIST, 1, offset);
    this.set(PCI_STATUS, 2, this.read(PCI_STATUS, 2) | PCI_STATUS_CAP_LIST);
    return offset;
  }

  /** Puts an extended capability at the end of their list (PCI Express, section 7.6.3). Returns its offset. */
  addExtendedCapability(id: number, version: number, size: number): number {
    const offset = this.#nextExtended;
    this.#nextExtended += Math.ceil(size / 4) * 4;
    this.set(offset, 4, id | (version << 16));
    if (this.#lastExtended !== 0) {
      this.set(this.#lastExtended, 4, (this.read(this.#lastExtended, 4) & 0xf_ffff) | (offset << 20));
    }
    this.#lastExtended = offset;
    return offset;
  }

  /** Offset of the capability with an id; 0 when there is none. */
  findCapability(id: number): number {
    let at = this.read(PCI_CAPABILITY_LIST, 1);
    while (at !== 0 && this.read(at, 1) !== id) at = this.read(at + 1, 1);
    return at;
  }

  /** The bytes as they are. */
  snapshot(): Uint8Array {
    return this.#bytes.slice();
  }

  /** Puts bytes back where the guest may write; what the device sets itself stays. */
  restoreWritable(bytes: Uint8Array): void {
    for (let at = 0; at < this.size; at++) {
      const mask = this.writable(at);
      this.#bytes[at] = (this.#bytes[at] & ~mask) | (bytes[at] & mask);
    }
  }
}

/** Whether the bytes of an access of `size` at `offset` lie in [start, start + length), some of them. */
export function touches(offset: number, size: number, start: number, length: number): boolean {
  return offset < start + length && offset + size > start;
}
