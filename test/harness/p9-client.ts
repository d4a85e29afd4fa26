/** A 9P2000.L client on the mock driver: messages as Linux's net/9p puts them together. */
import { P9_RLERROR } from '../../core/virtio/9p/protocol.ts';
import type { MemoryBoard, VirtioDriver } from './virtio-driver.ts';

/** A field of a message; strings are sent as UTF-8, a Buffer as raw bytes without a length. */
export type Field = { u8: number } | { u16: number } | { u32: number } | { u64: bigint | number } | string | Buffer;

export class P9Error extends Error {
  readonly errno: number;
  constructor(errno: number) {
    super(`Rlerror ${errno}`);
    this.errno = errno;
  }
}

export function encode(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.map((field) => {
      if (Buffer.isBuffer(field)) return field;
      if (typeof field === 'string') {
        const text = Buffer.from(field);
        const length = Buffer.alloc(2);
        length.writeUInt16LE(text.length);
        return Buffer.concat([length, text]);
      }
      const bytes = Buffer.alloc(8);
      const [[kind, value]] = Object.entries(field) as [string, number | bigint][];
      bytes.writeBigUInt64LE(BigInt(value));
      return bytes.subarray(0, Number(kind.slice(1)) / 8);
    }),
  );
}

export class P9Client {
  readonly driver: VirtioDriver;
  readonly #board: MemoryBoard;
  readonly #request: number;
  readonly #reply: number;
  /** Bytes offered for a reply. */
  replyBytes = 128 * 1024;
  tag = 1;

  constructor(driver: VirtioDriver, board: MemoryBoard) {
    this.driver = driver;
    this.#board = board;
    this.#request = board.allocator.alloc(128 * 1024);
    this.#reply = board.allocator.alloc(128 * 1024);
  }

  /** Sends bytes as they are; the whole reply. */
  async raw(message: Buffer): Promise<Buffer> {
    const { memory } = this.#board.allocator;
    memory.write(this.#request, message);
    // The reply in two buffers, its header apart, as Linux has it for large reads.
    const used = await this.driver.submit(this.driver.queues[0], [
      { address: this.#request, length: message.length },
      { address: this.#reply, length: 11, writable: true },
      { address: this.#reply + 11, length: this.replyBytes - 11, writable: true },
    ]);
    return Buffer.from(memory.read(this.#reply, used.length));
  }

  /** A request; the reply behind its header. Throws P9Error for Rlerror. */
  async call(type: number, ...fields: Field[]): Promise<Buffer> {
    const body = encode(fields);
    const tag = this.tag++ & 0xfff;
    const header = encode([{ u32: body.length + 7 }, { u8: type }, { u16: tag }]);
    const reply = await this.raw(Buffer.concat([header, body]));
    if (reply.readUInt32LE(0) !== reply.length)
      throw new Error(`size ${reply.readUInt32LE(0)} of ${reply.length} bytes`);
    if (reply.readUInt16LE(5) !== tag) throw new Error(`tag ${reply.readUInt16LE(5)} for ${tag}`);
    if (reply[4] === P9_RLERROR) throw new P9Error(reply.readUInt32LE(7));
    if (reply[4] !== type + 1) throw new Error(`reply ${reply[4]} to ${type}`);
    return reply.subarray(7);
  }
}
