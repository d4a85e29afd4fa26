/**
 * Algorithm chaining: a cipher and a hash or MAC over one request's data (virtio 1.3, sections 5.9.7.2.5 and 5.9.7.5).
 *
 * The order is that of the steps: "hash then cipher" takes the digest of what the driver sent, "cipher then hash" that of
 * what comes out. What stands outside the part for the cipher goes out as it came in.
 */
import * as spec from '../spec/crypto.ts';
import { CryptoFailure, cipherSession, hashSession, runCipher, runHash } from './algorithms.ts';
import type { CipherSession, HashSession } from './algorithms.ts';

export interface ChainSession {
  readonly service: 'chain';
  readonly cipher: CipherSession;
  readonly hash: HashSession;
  readonly cipherFirst: boolean;
}

/** Fields of struct virtio_crypto_alg_chain_session_para. */
export interface ChainParameters {
  /** VIRTIO_CRYPTO_SYM_ALG_CHAIN_ORDER_X. */
  readonly order: number;
  readonly cipher: number;
  readonly cipherKey: Uint8Array;
  readonly hash: number;
  /** Of a MAC; null for a plain hash. */
  readonly authKey: Uint8Array | null;
}

/** @throws CryptoFailure */
export function chainSession({ order, cipher, cipherKey, hash, authKey }: ChainParameters): ChainSession {
  const cipherFirst = order === spec.VIRTIO_CRYPTO_SYM_ALG_CHAIN_ORDER_CIPHER_THEN_HASH;
  if (!cipherFirst && order !== spec.VIRTIO_CRYPTO_SYM_ALG_CHAIN_ORDER_HASH_THEN_CIPHER) {
    throw new CryptoFailure(spec.VIRTIO_CRYPTO_NOTSUPP, `no order ${order} of algorithms`);
  }
  return {
    service: 'chain',
    cipher: cipherSession(cipher, cipherKey),
    hash: hashSession(hash, authKey),
    cipherFirst,
  };
}

/** A part of the source data, in bytes. */
export interface Range {
  readonly start: number;
  readonly length: number;
}

export interface ChainRequest {
  readonly encrypt: boolean;
  readonly iv: Uint8Array;
  readonly source: Uint8Array;
  /** Hashed before the data's part. */
  readonly aad: Uint8Array;
  readonly toCipher: Range;
  readonly toHash: Range;
}

/** @throws CryptoFailure */
export function runChain(session: ChainSession, request: ChainRequest): { data: Uint8Array; digest: Uint8Array } {
  const { encrypt, iv, source, aad, toCipher, toHash } = request;
  const data = Uint8Array.from(source);
  const digest = (): Uint8Array => runHash(session.hash, Buffer.concat([aad, part(data, toHash)]));
  const before = session.cipherFirst ? null : digest();
  part(data, toCipher).set(runCipher(session.cipher, encrypt, iv, part(source, toCipher)));
  return { data, digest: before ?? digest() };
}

function part(bytes: Uint8Array, { start, length }: Range): Uint8Array {
  if (start + length > bytes.length) {
    throw new CryptoFailure(spec.VIRTIO_CRYPTO_ERR, `bytes ${start} to ${start + length} of ${bytes.length}`);
  }
  return bytes.subarray(start, start + length);
}
