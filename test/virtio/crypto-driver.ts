/** The driver's side of virtio-crypto (virtio 1.3, section 5.9.7): sessions and requests. */
import * as spec from '../../core/virtio/spec/crypto.ts';
import type { VirtioDriver } from '../harness/virtio-driver.ts';
import type { GuestAllocator } from '../harness/guest.ts';

export interface Answer {
  readonly status: number;
  /** What the used ring says was written. */
  readonly used: number;
  readonly data: Buffer;
}

export class CryptoDriver {
  readonly driver: VirtioDriver;
  readonly #allocator: GuestAllocator;

  constructor(driver: VirtioDriver, allocator: GuestAllocator) {
    this.driver = driver;
    this.#allocator = allocator;
  }

  async #submit(queue: number, readable: readonly Uint8Array[], writable: number): Promise<[number, Buffer]> {
    const { driver } = this;
    const memory = this.#allocator.memory;
    const answer = this.#allocator.alloc(writable);
    const used = await driver.submit(driver.queues[queue], [
      ...readable
        .filter(({ length }) => length > 0)
        .map((bytes) => ({ address: this.#allocator.put(bytes), length: bytes.length })),
      { address: answer, length: writable, writable: true },
    ]);
    return [used.length, Buffer.from(memory.read(answer, writable))];
  }

  get #controlq(): number {
    return this.driver.queues.length - 1;
  }

  /** @param words of the request's union */
  async createSession(opcode: number, words: readonly number[], key: Uint8Array, symOp = 1) {
    const request = Buffer.alloc(spec.CTRL_REQUEST_SIZE);
    request.writeUInt32LE(opcode, spec.CTRL_OPCODE);
    words.forEach((word, i) => request.writeUInt32LE(word, spec.CTRL_UNION + 4 * i));
    if (opcode === 2) request.writeUInt32LE(symOp, spec.CTRL_SYM_OP_TYPE);
    const [, answer] = await this.#submit(this.#controlq, [request, key], spec.SESSION_INPUT_SIZE);
    return { id: answer.readBigUInt64LE(0), status: answer.readUInt32LE(spec.SESSION_INPUT_STATUS) };
  }

  async destroySession(opcode: number, id: bigint): Promise<number> {
    const request = Buffer.alloc(spec.CTRL_REQUEST_SIZE);
    request.writeUInt32LE(opcode, spec.CTRL_OPCODE);
    request.writeBigUInt64LE(id, spec.CTRL_UNION);
    return (await this.#submit(this.#controlq, [request], 1))[1][0];
  }

  /** @param room bytes before the status */
  async request(opcode: number, id: bigint, words: readonly number[], parts: readonly Uint8Array[], room: number) {
    const request = Buffer.alloc(spec.DATA_REQUEST_SIZE);
    request.writeUInt32LE(opcode, spec.DATA_OPCODE);
    request.writeBigUInt64LE(id, spec.DATA_SESSION_ID);
    words.forEach((word, i) => request.writeUInt32LE(word, spec.DATA_UNION + 4 * i));
    const [used, answer] = await this.#submit(0, [request, ...parts], room + 1);
    return { status: answer[room], used, data: answer.subarray(0, room) } satisfies Answer;
  }

  /** @param words of struct virtio_crypto_alg_chain_session_para. @param keys of the cipher, then of the MAC */
  chainSession(words: readonly number[], keys: readonly Uint8Array[]) {
    const opcode = spec.VIRTIO_CRYPTO_CREATE_SESSION;
    return this.createSession(opcode, words, Buffer.concat(keys), spec.VIRTIO_CRYPTO_SYM_OP_ALGORITHM_CHAINING);
  }

  /** @param words of struct virtio_crypto_alg_chain_data_para. @param parts IV, source, AAD. @param room before the status */
  chain(encrypt: boolean, id: bigint, words: readonly number[], parts: readonly Uint8Array[], room: number) {
    const opcode = encrypt ? spec.VIRTIO_CRYPTO_CIPHER_ENCRYPT : spec.VIRTIO_CRYPTO_CIPHER_DECRYPT;
    const operation = [...words, ...Array<number>(10 - words.length).fill(0), 2];
    return this.request(opcode, id, operation, parts, room);
  }

  cipherSession(algorithm: number, key: Uint8Array, op = spec.VIRTIO_CRYPTO_OP_ENCRYPT) {
    return this.createSession(spec.VIRTIO_CRYPTO_CREATE_SESSION, [algorithm, key.length, op], key);
  }

  cipher(encrypt: boolean, id: bigint, iv: Uint8Array, source: Uint8Array, room = source.length) {
    const opcode = encrypt ? spec.VIRTIO_CRYPTO_CIPHER_ENCRYPT : spec.VIRTIO_CRYPTO_CIPHER_DECRYPT;
    return this.request(opcode, id, [iv.length, source.length, room], [iv, source], room);
  }
}
