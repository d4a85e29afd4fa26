/** What node:crypto does for the device: by the device's numbers of the algorithms. */
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  getCiphers,
  getHashes,
  privateDecrypt,
  privateEncrypt,
  publicDecrypt,
  publicEncrypt,
} from 'node:crypto';
import type { CipherGCMTypes, KeyObject } from 'node:crypto';

import * as spec from '../spec/crypto.ts';

/** A request that cannot be done; `status` is what the driver is told. */
export class CryptoFailure extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'CryptoFailure';
    this.status = status;
  }
}

/** Names in OpenSSL: aes-KEYBITS-MODE. An XTS key is two. */
const MODES = new Map([
  [spec.VIRTIO_CRYPTO_CIPHER_AES_ECB, 'ecb'],
  [spec.VIRTIO_CRYPTO_CIPHER_AES_CBC, 'cbc'],
  [spec.VIRTIO_CRYPTO_CIPHER_AES_CTR, 'ctr'],
  [spec.VIRTIO_CRYPTO_CIPHER_AES_XTS, 'xts'],
]);
const HASHES = new Map([
  [spec.VIRTIO_CRYPTO_HASH_SHA1, 'sha1'],
  [spec.VIRTIO_CRYPTO_HASH_SHA_224, 'sha224'],
  [spec.VIRTIO_CRYPTO_HASH_SHA_256, 'sha256'],
  [spec.VIRTIO_CRYPTO_HASH_SHA_384, 'sha384'],
  [spec.VIRTIO_CRYPTO_HASH_SHA_512, 'sha512'],
]);
/** VIRTIO_CRYPTO_MAC_HMAC_X has the number of VIRTIO_CRYPTO_HASH_X. */
const MACS = HASHES;
/** What stands before a digest in a PKCS #1 signature (RFC 8017, section 9.2, note 1), by VIRTIO_CRYPTO_RSA_X. */
const DIGEST_INFO = new Map([
  [spec.VIRTIO_CRYPTO_RSA_NO_HASH, ''],
  [spec.VIRTIO_CRYPTO_RSA_SHA1, '3021300906052b0e03021a05000414'],
  [spec.VIRTIO_CRYPTO_RSA_SHA224, '302d300d06096086480165030402040500041c'],
  [spec.VIRTIO_CRYPTO_RSA_SHA256, '3031300d060960864801650304020105000420'],
  [spec.VIRTIO_CRYPTO_RSA_SHA384, '3041300d060960864801650304020205000430'],
  [spec.VIRTIO_CRYPTO_RSA_SHA512, '3051300d060960864801650304020305000440'],
]);
/** Longer keys would keep the worker from its other devices. */
const RSA_BITS_MAX = 4096;
const TAG_BYTES = [4, 8, 12, 13, 14, 15, 16];

const ciphers = new Set(getCiphers());
const hashes = new Set(getHashes());

/** Bit masks of what this runtime can do, as the configuration space has them. */
export const ALGORITHMS = {
  cipher: mask([...MODES].filter(([, mode]) => ciphers.has(`aes-256-${mode}`))),
  hash: mask([...HASHES].filter(([, name]) => hashes.has(name))),
  mac: mask([...MACS].filter(([, name]) => hashes.has(name))),
  aead: ciphers.has('aes-256-gcm') ? 1 << spec.VIRTIO_CRYPTO_AEAD_GCM : 0,
  akcipher: 1 << spec.VIRTIO_CRYPTO_AKCIPHER_RSA,
};

function mask(entries: readonly (readonly [number, string])[]): number {
  return entries.reduce((bits, [algorithm]) => bits | (1 << algorithm), 0);
}

/** Runs what throws when its arguments, which are the guest's, do not fit. */
function attempt<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof CryptoFailure) throw error;
    throw new CryptoFailure(spec.VIRTIO_CRYPTO_ERR, String(error));
  }
}

export interface CipherSession {
  readonly service: 'cipher';
  readonly name: string;
  readonly ivLength: number;
  readonly key: Uint8Array;
}

/** @throws CryptoFailure */
export function cipherSession(algorithm: number, key: Uint8Array): CipherSession {
  const mode = MODES.get(algorithm);
  const bits = (mode === 'xts' ? key.length / 2 : key.length) * 8;
  const name = `aes-${bits}-${mode}`;
  if (mode === undefined || !ciphers.has(name)) {
    throw new CryptoFailure(spec.VIRTIO_CRYPTO_NOTSUPP, `no cipher ${algorithm} with a key of ${key.length} bytes`);
  }
  const session = { service: 'cipher', name, ivLength: mode === 'ecb' ? 0 : 16, key } as const;
  // Some keys are refused: the halves of an XTS key must differ.
  attempt(() => createCipheriv(name, key, mode === 'ecb' ? null : new Uint8Array(16)));
  return session;
}

/** @throws CryptoFailure */
export function runCipher(
  { name, ivLength, key }: CipherSession,
  encrypt: boolean,
  iv: Uint8Array,
  source: Uint8Array,
) {
  if (iv.length < ivLength) throw new CryptoFailure(spec.VIRTIO_CRYPTO_ERR, `an IV of ${iv.length} bytes`);
  return attempt(() => {
    const vector = ivLength === 0 ? null : iv.subarray(0, ivLength);
    const cipher = encrypt ? createCipheriv(name, key, vector) : createDecipheriv(name, key, vector);
    cipher.setAutoPadding(false);
    return Buffer.concat([cipher.update(source), cipher.final()]);
  });
}

export interface HashSession {
  readonly service: 'hash' | 'mac';
  readonly name: string;
  /** Of a MAC. */
  readonly key: Uint8Array | null;
}

/** @param key of a MAC; null for a plain hash. @throws CryptoFailure */
export function hashSession(algorithm: number, key: Uint8Array | null): HashSession {
  const name = (key ? MACS : HASHES).get(algorithm);
  if (name === undefined || !hashes.has(name)) {
    throw new CryptoFailure(spec.VIRTIO_CRYPTO_NOTSUPP, `no hash or MAC ${algorithm}`);
  }
  return { service: key ? 'mac' : 'hash', name, key };
}

export function runHash({ name, key }: HashSession, source: Uint8Array): Buffer {
  return (key ? createHmac(name, key) : createHash(name)).update(source).digest();
}

export interface AeadSession {
  readonly service: 'aead';
  readonly name: CipherGCMTypes;
  readonly key: Uint8Array;
  readonly tagLength: number;
}

/** @throws CryptoFailure */
export function aeadSession(algorithm: number, key: Uint8Array, tagLength: number): AeadSession {
  const name = `aes-${key.length * 8}-gcm`;
  if (algorithm !== spec.VIRTIO_CRYPTO_AEAD_GCM || !ciphers.has(name) || !TAG_BYTES.includes(tagLength)) {
    throw new CryptoFailure(spec.VIRTIO_CRYPTO_NOTSUPP, `no AEAD ${algorithm} with such a key and tag`);
  }
  return { service: 'aead', name: name as CipherGCMTypes, key, tagLength };
}

/** The tag stands behind the ciphertext. @throws CryptoFailure, with BADMSG when it is not the right one */
export function runAead(session: AeadSession, encrypt: boolean, iv: Uint8Array, source: Uint8Array, aad: Uint8Array) {
  const { name, key, tagLength: authTagLength } = session;
  if (encrypt) {
    return attempt(() => {
      const cipher = createCipheriv(name, key, iv, { authTagLength });
      cipher.setAAD(aad);
      return Buffer.concat([cipher.update(source), cipher.final(), cipher.getAuthTag()]);
    });
  }
  const length = source.length - authTagLength;
  if (length < 0) throw new CryptoFailure(spec.VIRTIO_CRYPTO_ERR, 'a message shorter than its tag');
  const decipher = attempt(() => createDecipheriv(name, key, iv, { authTagLength }));
  const text = attempt(() => {
    decipher.setAAD(aad);
    decipher.setAuthTag(source.subarray(length));
    return decipher.update(source.subarray(0, length));
  });
  try {
    return Buffer.concat([text, decipher.final()]);
  } catch {
    throw new CryptoFailure(spec.VIRTIO_CRYPTO_BADMSG, 'the tag is not that of the message');
  }
}

export interface RsaSession {
  readonly service: 'akcipher';
  readonly key: KeyObject;
  readonly isPrivate: boolean;
  readonly pkcs1: boolean;
  /** Before a digest that is signed. */
  readonly prefix: Buffer;
  /** Bytes. */
  readonly modulus: number;
}

/** @param key PKCS #1, DER. @throws CryptoFailure */
export function rsaSession(key: Uint8Array, keyType: number, padding: number, hash: number): RsaSession {
  const isPrivate = keyType === spec.VIRTIO_CRYPTO_AKCIPHER_KEY_TYPE_PRIVATE;
  const known = isPrivate || keyType === spec.VIRTIO_CRYPTO_AKCIPHER_KEY_TYPE_PUBLIC;
  const pkcs1 = padding === spec.VIRTIO_CRYPTO_RSA_PKCS1_PADDING;
  const prefix = pkcs1 ? DIGEST_INFO.get(hash) : '';
  if (!known || prefix === undefined || (!pkcs1 && padding !== spec.VIRTIO_CRYPTO_RSA_RAW_PADDING)) {
    throw new CryptoFailure(
      spec.VIRTIO_CRYPTO_NOTSUPP,
      `no RSA with key type ${keyType}, padding ${padding}, hash ${hash}`,
    );
  }
  const object = attempt(() => {
    const input = { key: Buffer.from(key), format: 'der', type: 'pkcs1' } as const;
    return isPrivate ? createPrivateKey(input) : createPublicKey(input);
  });
  const bits = object.asymmetricKeyDetails?.modulusLength ?? 0;
  if (bits > RSA_BITS_MAX) throw new CryptoFailure(spec.VIRTIO_CRYPTO_NOTSUPP, `an RSA key of ${bits} bits`);
  return {
    service: 'akcipher',
    key: object,
    isPrivate,
    pkcs1,
    prefix: Buffer.from(prefix, 'hex'),
    modulus: Math.ceil(bits / 8),
  };
}

/** Encryption, decryption or signing. @throws CryptoFailure */
export function runRsa(session: RsaSession, opcode: number, source: Uint8Array): Buffer {
  const { key, isPrivate, prefix } = session;
  if (opcode === spec.VIRTIO_CRYPTO_AKCIPHER_ENCRYPT) {
    return attempt(() => publicEncrypt(options(session), message(session, source)));
  }
  if (!isPrivate) throw new CryptoFailure(spec.VIRTIO_CRYPTO_ERR, `it needs a private key, not a ${key.type} one`);
  if (opcode === spec.VIRTIO_CRYPTO_AKCIPHER_DECRYPT) {
    return attempt(() => privateDecrypt(options(session), message(session, source)));
  }
  return attempt(() => privateEncrypt(options(session), message(session, Buffer.concat([prefix, source]))));
}

/** @throws CryptoFailure, KEY_REJECTED when it is not the signature of the digest */
export function verifyRsa(session: RsaSession, signature: Uint8Array, digest: Uint8Array): void {
  const signed = message(session, Buffer.concat([session.prefix, digest]));
  try {
    if (publicDecrypt(options(session), message(session, signature)).equals(signed)) return;
  } catch {
    // Of a wrong signature nothing comes out.
  }
  throw new CryptoFailure(spec.VIRTIO_CRYPTO_KEY_REJECTED, 'not the signature of this digest');
}

function options({ key, pkcs1 }: RsaSession) {
  return { key, padding: pkcs1 ? constants.RSA_PKCS1_PADDING : constants.RSA_NO_PADDING };
}

/** A raw message is a number: leading zeroes are as good as none. */
function message({ pkcs1, modulus }: RsaSession, source: Uint8Array): Buffer {
  if (source.length > modulus) throw new CryptoFailure(spec.VIRTIO_CRYPTO_ERR, 'longer than the modulus');
  return Buffer.concat([Buffer.alloc(pkcs1 ? 0 : modulus - source.length), source]);
}

export type Session = CipherSession | HashSession | AeadSession | RsaSession;
