/**
 * Device configuration space (virtio 1.3, section 2.5): a little-endian structure of named fields. Legacy drivers see
 * the guest's byte order, which on RISC-V is little-endian too (section 2.5.3).
 */

export interface ConfigField {
  readonly name: string;
  /** Bytes from the start of the space. */
  readonly offset: number;
  /** 1 to 8 bytes: 1, 2, 4 or 8 for a number, 6 for a MAC address. */
  readonly size: number;
  /** The driver may write it. */
  readonly writable?: boolean;
}

export class ConfigSpace {
  readonly fields: readonly ConfigField[];
  readonly #bytes: Uint8Array;
  readonly #data: DataView;
  readonly #writable: Uint8Array;

  /** @param size bytes; the fields lie inside */
  constructor(size: number, fields: readonly ConfigField[]) {
    this.fields = fields;
    this.#bytes = new Uint8Array(size);
    this.#data = new DataView(this.#bytes.buffer);
    this.#writable = new Uint8Array(size);
    for (const field of fields) {
      if (field.writable) this.#writable.fill(1, field.offset, field.offset + field.size);
    }
  }

  get size(): number {
    return this.#bytes.length;
  }

  /**
   * What a driver reads: 1, 2 or 4 bytes, zero-extended. Beyond the end all ones, as QEMU has it.
   */
  read(offset: number, size: number): number {
    if (offset + size > this.size) return 2 ** (8 * size) - 1;
    if (size === 1) return this.#data.getUint8(offset);
    return size === 2 ? this.#data.getUint16(offset, true) : this.#data.getUint32(offset, true);
  }

  /**
   * A driver's write of 1, 2 or 4 bytes. Bytes of read-only fields, and those beyond the end, are not changed.
   *
   * @returns whether any byte could be written
   */
  write(offset: number, size: number, value: number): boolean {
    let written = false;
    for (let i = 0; i < size && offset + i < this.size; i++) {
      if (this.#writable[offset + i] === 0) continue;
      this.#bytes[offset + i] = value >>> (8 * i);
      written = true;
    }
    return written;
  }

  get(offset: number): bigint {
    const field = this.#field(offset);
    let value = 0n;
    for (let i = field.size - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[offset + i]);
    return value;
  }

  /** Sets a field from the device's side. */
  set(offset: number, value: number | bigint): void {
    const field = this.#field(offset);
    const big = BigInt(value);
    for (let i = 0; i < field.size; i++) this.#bytes[offset + i] = Number((big >> BigInt(8 * i)) & 0xffn);
  }

  /** Sets bytes from the device's side, of a part that no field describes: `source`, and zeroes up to `size`. */
  setBytes(offset: number, size: number, source: Uint8Array): void {
    this.#bytes.fill(0, offset, offset + size);
    this.#bytes.set(source.subarray(0, size), offset);
  }

  #field(offset: number): ConfigField {
    const field = this.fields.find((candidate) => candidate.offset === offset);
    if (!field) throw new RangeError(`no configuration field at ${offset}`);
    return field;
  }
}
