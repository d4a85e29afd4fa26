/**
 * Guest RAM as the device models see it: by guest physical address, bounds checked, little-endian. The bytes are those
 * of the machine's one shared WebAssembly.Memory from RAM_OFFSET on, so a store here is what a hart loads, with no
 * copy.
 */
import { RAM_OFFSET } from '../worker/layout.ts';

/** Guest physical address of the first byte of RAM (`virt` board, VIRT_DRAM). */
export const RAM_BASE = 0x8000_0000;

/** What a worker needs to see guest RAM; survives structured clone. */
export interface GuestMemoryHandle {
  readonly memory: WebAssembly.Memory;
  /** Bytes of guest RAM. */
  readonly ramSize: number;
  /** Bytes of guest memory from the start of RAM on: RAM, and behind it what files back. Default: RAM. */
  readonly size?: number;
  /** Guest physical address of what is at RAM_OFFSET. Default: RAM_BASE. */
  readonly base?: number;
}

/**
 * An access that is not wholly inside guest memory. A driver that hands out such an address is wrong, not we: devices
 * catch this and fail the request or the queue.
 */
export class GuestAddressError extends RangeError {
  readonly address: number;
  readonly length: number;

  constructor(address: number, length: number) {
    super(`guest physical [0x${address.toString(16)}, +${length}) is not inside guest RAM`);
    this.name = 'GuestAddressError';
    this.address = address;
    this.length = length;
  }
}

/**
 * Accessors over guest RAM. Addresses are guest physical, as numbers: a u64 from a descriptor above 2^53 loses low bits
 * on the way, but anything that large is outside RAM and refused all the same. Every method throws GuestAddressError
 * for a range that is not wholly inside RAM. Any thread may have its own instance over the same memory.
 */
export class GuestMemory implements GuestMemoryHandle {
  readonly memory: WebAssembly.Memory;
  readonly ramSize: number;
  readonly size: number;
  readonly base: number;
  readonly #buffer: SharedArrayBuffer;
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  readonly #u16: Uint16Array<SharedArrayBuffer>;
  readonly #u32: Uint32Array<SharedArrayBuffer>;
  readonly #data: DataView<SharedArrayBuffer>;

  constructor({ memory, ramSize, size = ramSize, base = RAM_BASE }: GuestMemoryHandle) {
    const buffer = memory.buffer;
    if (!(buffer instanceof SharedArrayBuffer)) throw new TypeError('guest memory must be a shared WebAssembly.Memory');
    if (!Number.isSafeInteger(ramSize) || ramSize <= 0 || size < ramSize || RAM_OFFSET + size > buffer.byteLength) {
      throw new RangeError(
        `guest RAM of ${ramSize} bytes, ${size} with what is behind it, is not inside a linear memory of ${buffer.byteLength}`,
      );
    }
    this.memory = memory;
    this.ramSize = ramSize;
    this.size = size;
    this.base = base;
    this.#buffer = buffer;
    this.#bytes = new Uint8Array(buffer, RAM_OFFSET, size);
    this.#u16 = new Uint16Array(buffer, RAM_OFFSET, Math.floor(size / 2));
    this.#u32 = new Uint32Array(buffer, RAM_OFFSET, Math.floor(size / 4));
    this.#data = new DataView(buffer, RAM_OFFSET, size);
  }

  /** To be sent to a worker, which makes its own GuestMemory of it. */
  get handle(): GuestMemoryHandle {
    return { memory: this.memory, ramSize: this.ramSize, size: this.size, base: this.base };
  }

  /** Guest physical address just behind RAM. */
  get end(): number {
    return this.base + this.ramSize;
  }

  /**
   * Whether [address, address + length) is wholly inside guest memory: RAM, or what files back behind it. An empty range is if its address is (the end included).
   */
  contains(address: number, length: number): boolean {
    const offset = address - this.base;
    // Written so that NaN and what is beyond 2^53 come out false.
    return offset >= 0 && length >= 0 && offset <= this.size && length <= this.size - offset;
  }

  /** Offset into guest RAM. */
  #offset(address: number, length: number): number {
    if (!this.contains(address, length)) throw new GuestAddressError(address, length);
    return address - this.base;
  }

  /**
   * Byte offset into linear memory (the address that wasm uses) of a guest physical range. Below 2^32, maybe above
   * 2^31.
   */
  linear(address: number, length: number): number {
    return RAM_OFFSET + this.#offset(address, length);
  }

  /** The live bytes of a range: reads and writes go to guest RAM. Other threads may change them at any time. */
  view(address: number, length: number): Uint8Array<SharedArrayBuffer> {
    return new Uint8Array(this.#buffer, RAM_OFFSET + this.#offset(address, length), length);
  }

  /** A private copy of a range, which no other thread can change while it is being looked at. */
  read(address: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.view(address, length));
  }

  write(address: number, bytes: ArrayLike<number>): void {
    this.#bytes.set(bytes, this.#offset(address, bytes.length));
  }

  fill(address: number, length: number, value: number): void {
    const offset = this.#offset(address, length);
    this.#bytes.fill(value, offset, offset + length);
  }

  readU8(address: number): number {
    return this.#bytes[this.#offset(address, 1)];
  }

  readU16(address: number): number {
    return this.#data.getUint16(this.#offset(address, 2), true);
  }

  readU32(address: number): number {
    return this.#data.getUint32(this.#offset(address, 4), true);
  }

  readU64(address: number): bigint {
    return this.#data.getBigUint64(this.#offset(address, 8), true);
  }

  /**
   * A 64-bit word as a number, rounded when it is above 2^53. For guest addresses and lengths, which are checked
   * against RAM before use: no value above 2^53 passes, rounded or not. No allocation, unlike readU64.
   */
  readU64Number(address: number): number {
    const offset = this.#offset(address, 8);
    return this.#data.getUint32(offset + 4, true) * 2 ** 32 + this.#data.getUint32(offset, true);
  }

  writeU8(address: number, value: number): void {
    this.#bytes[this.#offset(address, 1)] = value;
  }

  writeU16(address: number, value: number): void {
    this.#data.setUint16(this.#offset(address, 2), value, true);
  }

  writeU32(address: number, value: number): void {
    this.#data.setUint32(this.#offset(address, 4), value, true);
  }

  writeU64(address: number, value: bigint): void {
    this.#data.setBigUint64(this.#offset(address, 8), value, true);
  }

  /** Sequentially consistent load of an aligned 16-bit word (a ring index or its flags). */
  loadU16(address: number): number {
    return Atomics.load(this.#u16, this.#aligned(address, 2) / 2);
  }

  /** Sequentially consistent store of an aligned 16-bit word. */
  storeU16(address: number, value: number): void {
    Atomics.store(this.#u16, this.#aligned(address, 2) / 2, value);
  }

  loadU32(address: number): number {
    return Atomics.load(this.#u32, this.#aligned(address, 4) / 4);
  }

  storeU32(address: number, value: number): void {
    Atomics.store(this.#u32, this.#aligned(address, 4) / 4, value);
  }

  #aligned(address: number, size: number): number {
    const offset = this.#offset(address, size);
    if (offset % size !== 0) throw new GuestAddressError(address, size);
    return offset;
  }
}
