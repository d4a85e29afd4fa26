/** The I/O worker's half of virtio-crypto: sessions, and the requests that use them (virtio 1.3, section 5.9.7). */
import type { BackendContext, VirtioBackend } from '../backend/backend.ts';
import type { DescriptorChain } from '../queue/descriptor-chain.ts';
import { QueueFault } from '../queue/queue-fault.ts';
import type { RunningQueue } from '../queue/running-queue.ts';
import * as spec from '../spec/crypto.ts';
import {
  CryptoFailure,
  aeadSession,
  cipherSession,
  hashSession,
  rsaSession,
  runAead,
  runCipher,
  runHash,
  runRsa,
  verifyRsa,
} from './algorithms.ts';
import type { Session as PlainSession } from './algorithms.ts';
import { chainSession, runChain } from './chain.ts';
import type { ChainSession } from './chain.ts';

type Session = PlainSession | ChainSession;

export interface CryptoBackendOptions {
  /** Data queues; the control queue comes behind them. */
  readonly dataQueues: number;
}

/** The device was reset: it has no sessions any more. */
export type CryptoChange = 'reset';

/** Sessions at a time (QEMU has 256). */
export const SESSIONS_MAX = 1024;
/** Bytes of the keys of ciphers, of MACs, and of RSA in DER. */
export const CIPHER_KEY_MAX = 64;
export const AUTH_KEY_MAX = 512;
const RSA_KEY_MAX = 4 * 1024;
/** Bytes of data in a request at most. */
export const REQUEST_BYTES_MAX = 16 * 2 ** 20;
/** Requests, and milliseconds, before others have their turn: an RSA operation can take some. */
const TURN_REQUESTS = 64;
const TURN_TIME = 5;

export function createCryptoBackend(options: unknown, context: BackendContext): VirtioBackend {
  return new CryptoBackend(options as CryptoBackendOptions, context);
}

export class CryptoBackend implements VirtioBackend {
  readonly #dataQueues: number;
  readonly #now: () => number;
  readonly #queues = new Map<number, RunningQueue>();
  readonly #sessions = new Map<bigint, Session>();
  #nextId = 1n;

  constructor({ dataQueues }: CryptoBackendOptions, { now }: BackendContext) {
    this.#now = now;
    this.#dataQueues = dataQueues;
  }

  start(queues: readonly RunningQueue[]): void {
    for (const queue of queues) this.#queues.set(queue.index, queue);
  }

  stop(queues: readonly number[]): void {
    for (const index of queues) this.#queues.delete(index);
  }

  configure(change: unknown): void {
    if ((change as CryptoChange) === 'reset') this.#sessions.clear();
  }

  serve(index: number): boolean {
    const queue = this.#queues.get(index);
    if (!queue) return false;
    const end = this.#now() + TURN_TIME;
    for (let turn = 0; turn < TURN_REQUESTS && this.#now() < end; turn++) {
      const chain = queue.pop();
      if (!chain) {
        queue.flush();
        if (!queue.enableNotifications()) return false;
        continue;
      }
      queue.push(chain, index === this.#dataQueues ? this.#control(chain) : this.#data(chain));
    }
    queue.flush();
    return true;
  }

  // ---- the control queue --------------------------------------------------------------------------------------------

  /** @returns bytes written */
  #control(chain: DescriptorChain): number {
    const request = header(chain, spec.CTRL_REQUEST_SIZE);
    const opcode = request.getUint32(spec.CTRL_OPCODE, true);
    const destroys =
      opcode === spec.VIRTIO_CRYPTO_AKCIPHER_DESTROY_SESSION ||
      (opcode >> 8 <= spec.VIRTIO_CRYPTO_SERVICE_AEAD && (opcode & 0xff) === spec.VIRTIO_CRYPTO_DESTROY_SESSION);
    if (destroys) {
      const known = this.#sessions.delete(request.getBigUint64(spec.CTRL_UNION, true));
      return respond(chain, Uint8Array.of(known ? spec.VIRTIO_CRYPTO_OK : spec.VIRTIO_CRYPTO_INVSESS));
    }
    const input = new DataView(new ArrayBuffer(spec.SESSION_INPUT_SIZE));
    const status = statusOf(() => {
      if (this.#sessions.size >= SESSIONS_MAX) throw new CryptoFailure(spec.VIRTIO_CRYPTO_NOSPC, 'no session is left');
      const session = createSession(opcode, request, chain);
      const id = this.#nextId++;
      this.#sessions.set(id, session);
      input.setBigUint64(0, id, true);
    });
    input.setUint32(spec.SESSION_INPUT_STATUS, status, true);
    return respond(chain, new Uint8Array(input.buffer));
  }

  // ---- data queues --------------------------------------------------------------------------------------------------

  /** @returns bytes written */
  #data(chain: DescriptorChain): number {
    const { head, writable } = chain;
    const request = header(chain, spec.DATA_REQUEST_SIZE);
    if (writable.length === 0) throw new QueueFault('bad-request', `chain ${head}: no room for a status (5.9.7.4)`);
    const room = writable.length - 1;
    let written = 0;
    const status = statusOf(() => {
      const session = this.#sessions.get(request.getBigUint64(spec.DATA_SESSION_ID, true));
      if (!session) throw new CryptoFailure(spec.VIRTIO_CRYPTO_INVSESS, 'no such session');
      const result = run(session, request, chain, room);
      written = writable.copyIn(0, result);
    });
    writable.putByte(room, status);
    // Section 2.7.8.2: what counts is written from the start on, without a gap.
    return written === room ? room + 1 : written;
  }
}

/** The fixed part of a request. */
function header({ head, readable }: DescriptorChain, size: number): DataView {
  const bytes = new Uint8Array(size);
  if (readable.copyOut(0, bytes) < size) {
    throw new QueueFault('bad-request', `chain ${head}: a request has at least ${size} bytes (5.9.7)`);
  }
  return new DataView(bytes.buffer);
}

function respond({ head, writable }: DescriptorChain, bytes: Uint8Array): number {
  if (writable.length < bytes.length) {
    throw new QueueFault('bad-request', `chain ${head}: no room for ${bytes.length} bytes of answer (5.9.7.2)`);
  }
  return writable.copyIn(0, bytes);
}

function statusOf(work: () => void): number {
  try {
    work();
    return spec.VIRTIO_CRYPTO_OK;
  } catch (error) {
    if (!(error instanceof CryptoFailure)) throw error;
    return error.status;
  }
}

/** The variable parts of a request, one behind the other. */
class Parts {
  readonly #chain: DescriptorChain;
  #offset: number;

  constructor(chain: DescriptorChain, offset: number) {
    this.#chain = chain;
    this.#offset = offset;
  }

  /** A private copy. @throws CryptoFailure when there is not so much, or it is more than is allowed */
  take(length: number, most: number): Uint8Array {
    if (length > most) throw new CryptoFailure(spec.VIRTIO_CRYPTO_ERR, `${length} bytes, and ${most} are allowed`);
    if (this.#offset + length > this.#chain.readable.length) {
      throw new CryptoFailure(spec.VIRTIO_CRYPTO_ERR, 'the buffers are shorter than the request says');
    }
    const bytes = new Uint8Array(length);
    this.#chain.readable.copyOut(this.#offset, bytes);
    this.#offset += length;
    return bytes;
  }
}

function createSession(opcode: number, request: DataView, chain: DescriptorChain): Session {
  const word = (index: number) => request.getUint32(spec.CTRL_UNION + 4 * index, true);
  const parts = new Parts(chain, spec.CTRL_REQUEST_SIZE);
  const create = (service: number) => (service << 8) | spec.VIRTIO_CRYPTO_CREATE_SESSION;
  switch (opcode) {
    case create(spec.VIRTIO_CRYPTO_SERVICE_CIPHER):
      return symmetricSession(request.getUint32(spec.CTRL_SYM_OP_TYPE, true), word, parts);
    case create(spec.VIRTIO_CRYPTO_SERVICE_HASH):
      return hashSession(word(0), null);
    case create(spec.VIRTIO_CRYPTO_SERVICE_MAC):
      return hashSession(word(0), parts.take(word(2), AUTH_KEY_MAX));
    case create(spec.VIRTIO_CRYPTO_SERVICE_AEAD):
      return aeadSession(word(0), parts.take(word(1), CIPHER_KEY_MAX), word(2));
    case spec.VIRTIO_CRYPTO_AKCIPHER_CREATE_SESSION:
      if (word(0) !== spec.VIRTIO_CRYPTO_AKCIPHER_RSA) break;
      return rsaSession(parts.take(word(2), RSA_KEY_MAX), word(1), word(3), word(4));
  }
  throw new CryptoFailure(spec.VIRTIO_CRYPTO_NOTSUPP, `opcode 0x${opcode.toString(16)}`);
}

/** A cipher alone (struct virtio_crypto_cipher_session_para), or with a hash (virtio_crypto_alg_chain_session_para). */
function symmetricSession(operation: number, word: (index: number) => number, parts: Parts): Session {
  const chained = operation === spec.VIRTIO_CRYPTO_SYM_OP_ALGORITHM_CHAINING;
  const at = chained ? 2 : 0;
  const [algorithm, keyLength, direction] = [word(at), word(at + 1), word(at + 2)];
  const known = direction === spec.VIRTIO_CRYPTO_OP_ENCRYPT || direction === spec.VIRTIO_CRYPTO_OP_DECRYPT;
  if ((!chained && operation !== spec.VIRTIO_CRYPTO_SYM_OP_CIPHER) || !known) {
    throw new CryptoFailure(spec.VIRTIO_CRYPTO_NOTSUPP, `symmetric operation ${operation}, direction ${direction}`);
  }
  const cipherKey = parts.take(keyLength, CIPHER_KEY_MAX);
  if (!chained) return cipherSession(algorithm, cipherKey);
  const [order, mode, hash, authKeyLength] = [word(0), word(1), word(6), word(8)];
  if (mode !== spec.VIRTIO_CRYPTO_SYM_HASH_MODE_PLAIN && mode !== spec.VIRTIO_CRYPTO_SYM_HASH_MODE_AUTH) {
    throw new CryptoFailure(spec.VIRTIO_CRYPTO_NOTSUPP, `hash mode ${mode}`);
  }
  const authKey = mode === spec.VIRTIO_CRYPTO_SYM_HASH_MODE_AUTH ? parts.take(authKeyLength, AUTH_KEY_MAX) : null;
  return chainSession({ order, cipher: algorithm, cipherKey, hash, authKey });
}

/** What goes before the status: never more than `room` bytes. */
function run(session: Session, request: DataView, buffers: DescriptorChain, room: number): Uint8Array {
  const opcode = request.getUint32(spec.DATA_OPCODE, true);
  const word = (index: number) => request.getUint32(spec.DATA_UNION + 4 * index, true);
  const parts = new Parts(buffers, spec.DATA_REQUEST_SIZE);
  const data = (length: number) => parts.take(length, REQUEST_BYTES_MAX);
  const fit = (result: Uint8Array, length: number): Uint8Array => {
    if (result.length > length || result.length > room) {
      throw new CryptoFailure(spec.VIRTIO_CRYPTO_ERR, `no room for a result of ${result.length} bytes`);
    }
    return result;
  };
  switch (opcode) {
    case spec.VIRTIO_CRYPTO_CIPHER_ENCRYPT:
    case spec.VIRTIO_CRYPTO_CIPHER_DECRYPT: {
      const encrypt = opcode === spec.VIRTIO_CRYPTO_CIPHER_ENCRYPT;
      const chained = request.getUint32(spec.DATA_SYM_OP_TYPE, true) === spec.VIRTIO_CRYPTO_SYM_OP_ALGORITHM_CHAINING;
      if (chained !== (session.service === 'chain')) break;
      if (session.service === 'chain') return chain(session, encrypt, word, data, room);
      if (session.service !== 'cipher') break;
      const iv = data(word(0));
      return fit(runCipher(session, encrypt, iv, data(word(1))), word(2));
    }
    case spec.VIRTIO_CRYPTO_HASH:
    case spec.VIRTIO_CRYPTO_MAC: {
      if (session.service !== (opcode === spec.VIRTIO_CRYPTO_HASH ? 'hash' : 'mac')) break;
      // A MAC may be wanted in part.
      return fit(runHash(session, data(word(0))).subarray(0, word(1)), word(1));
    }
    case spec.VIRTIO_CRYPTO_AEAD_ENCRYPT:
    case spec.VIRTIO_CRYPTO_AEAD_DECRYPT: {
      if (session.service !== 'aead') break;
      const iv = data(word(0));
      const source = data(word(2));
      const encrypt = opcode === spec.VIRTIO_CRYPTO_AEAD_ENCRYPT;
      return fit(runAead(session, encrypt, iv, source, data(word(1))), word(3));
    }
    case spec.VIRTIO_CRYPTO_AKCIPHER_ENCRYPT:
    case spec.VIRTIO_CRYPTO_AKCIPHER_DECRYPT:
    case spec.VIRTIO_CRYPTO_AKCIPHER_SIGN:
      if (session.service !== 'akcipher') break;
      return fit(runRsa(session, opcode, data(word(0))), word(1));
    case spec.VIRTIO_CRYPTO_AKCIPHER_VERIFY: {
      if (session.service !== 'akcipher') break;
      const signature = data(word(0));
      const digest = data(word(1));
      verifyRsa(session, signature, digest);
      return new Uint8Array(0);
    }
    default:
      throw new CryptoFailure(spec.VIRTIO_CRYPTO_NOTSUPP, `opcode 0x${opcode.toString(16)}`);
  }
  throw new CryptoFailure(spec.VIRTIO_CRYPTO_INVSESS, 'a session of another service');
}

/** struct virtio_crypto_alg_chain_data_para, and what follows it: the data, then the digest, of the lengths it says. */
function chain(
  session: ChainSession,
  encrypt: boolean,
  word: (index: number) => number,
  take: (length: number) => Uint8Array,
  room: number,
): Uint8Array {
  const [dataLength, digestLength] = [word(2), word(8)];
  const iv = take(word(0));
  const source = take(word(1));
  const { data, digest } = runChain(session, {
    encrypt,
    iv,
    source,
    aad: take(word(7)),
    toCipher: { start: word(3), length: word(4) },
    toHash: { start: word(5), length: word(6) },
  });
  // A digest may be wanted in part.
  if (data.length > dataLength || digestLength > digest.length || dataLength + digestLength > room) {
    throw new CryptoFailure(spec.VIRTIO_CRYPTO_ERR, `no room for ${data.length} bytes and a digest`);
  }
  const result = new Uint8Array(dataLength + digestLength);
  result.set(data);
  result.set(digest.subarray(0, digestLength), dataLength);
  return result;
}
