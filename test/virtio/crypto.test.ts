/** virtio-crypto (virtio 1.3, section 5.9). */
import {
  constants,
  createCipheriv,
  createHash,
  createHmac,
  generateKeyPairSync,
  publicDecrypt,
  sign,
} from 'node:crypto';

import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { SESSIONS_MAX } from '../../core/virtio/crypto/backend.ts';
import { CryptoDevice } from '../../core/virtio/crypto/device.ts';
import * as spec from '../../core/virtio/spec/crypto.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';
import { CryptoDriver } from './crypto-driver.ts';

const bench = new VirtioBench({ mib: 64 });
afterEach(() => bench.clear());
afterAll(() => bench.close());

async function plug(dataQueues = 1): Promise<CryptoDriver> {
  const driver = await bench.attach(new CryptoDevice({ id: 'crypto0', dataQueues }));
  return new CryptoDriver(await driver.init(), bench.allocator);
}

const bytes = (length: number, seed = 1) => Buffer.from(Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff));
const IV = bytes(16, 99);
const OK = spec.VIRTIO_CRYPTO_OK;

describe('virtio-crypto', () => {
  it('says what it can do', async () => {
    const { driver } = await plug(3);
    expect(driver.queues).toHaveLength(4);
    const read = (offset: number) => driver.readConfig(offset, 4);
    expect(await read(spec.CRYPTO_CONFIG_STATUS)).toBe(1);
    expect(await read(spec.CRYPTO_CONFIG_MAX_DATAQUEUES)).toBe(3);
    expect(await read(spec.CRYPTO_CONFIG_CRYPTO_SERVICES)).toBe(0b11111);
    expect((await read(spec.CRYPTO_CONFIG_CIPHER_ALGO_L)) & (1 << spec.VIRTIO_CRYPTO_CIPHER_AES_CBC)).not.toBe(0);
    expect(await read(spec.CRYPTO_CONFIG_AKCIPHER_ALGO)).toBe(1 << spec.VIRTIO_CRYPTO_AKCIPHER_RSA);
    expect(await read(spec.CRYPTO_CONFIG_MAX_CIPHER_KEY_LEN)).toBe(64);
  });

  it('gives the standard its due (NIST SP 800-38A, F.2.1)', async () => {
    const crypto = await plug();
    const key = Buffer.from('2b7e151628aed2a6abf7158809cf4f3c', 'hex');
    const { id, status } = await crypto.cipherSession(spec.VIRTIO_CRYPTO_CIPHER_AES_CBC, key);
    expect(status).toBe(OK);
    const iv = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
    const answer = await crypto.cipher(true, id, iv, Buffer.from('6bc1bee22e409f96e93d7e117393172a', 'hex'));
    expect(answer).toMatchObject({ status: OK, used: 17 });
    expect(answer.data.toString('hex')).toBe('7649abac8119b246cee98e9b12e9197d');
  });

  it.each([
    ['ecb', spec.VIRTIO_CRYPTO_CIPHER_AES_ECB, [16, 24, 32], 16],
    ['cbc', spec.VIRTIO_CRYPTO_CIPHER_AES_CBC, [16, 24, 32], 16],
    ['ctr', spec.VIRTIO_CRYPTO_CIPHER_AES_CTR, [16, 24, 32], 1],
    ['xts', spec.VIRTIO_CRYPTO_CIPHER_AES_XTS, [32, 64], 16],
  ] as const)('encrypts and decrypts with AES in %s', async (mode, algorithm, keys, block) => {
    const crypto = await plug();
    for (const length of keys) {
      const key = bytes(length, 3);
      const { id } = await crypto.cipherSession(algorithm, key);
      for (const size of [block * 16, 4096, 100_000 - (100_000 % block)]) {
        const text = bytes(size, 5);
        const name = `aes-${(mode === 'xts' ? length / 2 : length) * 8}-${mode}`;
        const cipher = createCipheriv(name, key, mode === 'ecb' ? null : IV).setAutoPadding(false);
        const expected = Buffer.concat([cipher.update(text), cipher.final()]);
        const encrypted = await crypto.cipher(true, id, mode === 'ecb' ? Buffer.alloc(0) : IV, text);
        expect(encrypted).toMatchObject({ status: OK, used: size + 1 });
        expect(encrypted.data.equals(expected)).toBe(true);
        const back = await crypto.cipher(false, id, mode === 'ecb' ? Buffer.alloc(0) : IV, expected);
        expect(back.data.equals(text)).toBe(true);
      }
      expect(await crypto.destroySession(spec.VIRTIO_CRYPTO_DESTROY_SESSION, id)).toBe(OK);
    }
  });

  it.each([
    ['sha1', spec.VIRTIO_CRYPTO_HASH_SHA1],
    ['sha224', spec.VIRTIO_CRYPTO_HASH_SHA_224],
    ['sha256', spec.VIRTIO_CRYPTO_HASH_SHA_256],
    ['sha384', spec.VIRTIO_CRYPTO_HASH_SHA_384],
    ['sha512', spec.VIRTIO_CRYPTO_HASH_SHA_512],
  ])('hashes with %s, with and without a key', async (name, algorithm) => {
    const crypto = await plug();
    const text = bytes(10_000);
    const expected = createHash(name).update(text).digest();
    const none = Buffer.alloc(0);
    const hash = await crypto.createSession(0x102, [algorithm, expected.length], none);
    const key = bytes(100);
    const mac = await crypto.createSession(0x202, [algorithm, expected.length, key.length], key);
    const words = [text.length, expected.length];
    const hashed = await crypto.request(spec.VIRTIO_CRYPTO_HASH, hash.id, words, [text], expected.length);
    expect(hashed.status).toBe(OK);
    expect(hashed.data.equals(expected)).toBe(true);
    const keyed = await crypto.request(spec.VIRTIO_CRYPTO_MAC, mac.id, [text.length, 12], [text], 12);
    expect(keyed.data.equals(createHmac(name, key).update(text).digest().subarray(0, 12))).toBe(true);
    // A session is of its service.
    const wrong = await crypto.request(spec.VIRTIO_CRYPTO_HASH, mac.id, words, [text], expected.length);
    expect(wrong.status).toBe(spec.VIRTIO_CRYPTO_INVSESS);
  });

  it('seals and opens with AES-GCM, and tells a forged message', async () => {
    const crypto = await plug();
    const key = bytes(32);
    const [iv, text, aad] = [bytes(12), bytes(1000), bytes(20)];
    const { id } = await crypto.createSession(0x302, [spec.VIRTIO_CRYPTO_AEAD_GCM, 32, 16, 20, 1], key);
    const sealed = await crypto.request(
      spec.VIRTIO_CRYPTO_AEAD_ENCRYPT,
      id,
      [12, 20, 1000, 1016],
      [iv, text, aad],
      1016,
    );
    const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(aad);
    const expected = Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
    expect(sealed.data.equals(expected)).toBe(true);
    const open = (message: Buffer) =>
      crypto.request(spec.VIRTIO_CRYPTO_AEAD_DECRYPT, id, [12, 20, message.length, 1000], [iv, message, aad], 1000);
    const opened = await open(expected);
    expect(opened.status).toBe(OK);
    expect(opened.data.equals(text)).toBe(true);
    expected[500] ^= 1;
    const forged = await open(expected);
    expect(forged.status).toBe(spec.VIRTIO_CRYPTO_BADMSG);
    expect(forged.data.equals(Buffer.alloc(1000))).toBe(true);
    expect((await open(Buffer.alloc(3))).status).toBe(spec.VIRTIO_CRYPTO_ERR);
  });

  it('does RSA, raw and PKCS #1', async () => {
    const crypto = await plug();
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const secret = privateKey.export({ type: 'pkcs1', format: 'der' });
    const open = publicKey.export({ type: 'pkcs1', format: 'der' });
    const session = async (key: Buffer, type: number, padding: number, hash: number) =>
      (await crypto.createSession(0x404, [spec.VIRTIO_CRYPTO_AKCIPHER_RSA, type, key.length, padding, hash], key)).id;
    const run = (opcode: number, id: bigint, source: Buffer, room = 128) =>
      crypto.request(opcode, id, [source.length, room], [source], room);

    const rawPublic = await session(open, 1, spec.VIRTIO_CRYPTO_RSA_RAW_PADDING, 0);
    const rawPrivate = await session(secret, 2, spec.VIRTIO_CRYPTO_RSA_RAW_PADDING, 0);
    const message = bytes(100);
    const encrypted = await run(spec.VIRTIO_CRYPTO_AKCIPHER_ENCRYPT, rawPublic, message);
    expect(encrypted).toMatchObject({ status: OK, used: 129 });
    const decrypted = await run(spec.VIRTIO_CRYPTO_AKCIPHER_DECRYPT, rawPrivate, encrypted.data);
    expect(decrypted.data.subarray(28).equals(message)).toBe(true);
    expect((await run(spec.VIRTIO_CRYPTO_AKCIPHER_DECRYPT, rawPublic, encrypted.data)).status).toBe(
      spec.VIRTIO_CRYPTO_ERR,
    );

    const { VIRTIO_CRYPTO_RSA_PKCS1_PADDING: pkcs1, VIRTIO_CRYPTO_RSA_SHA1: sha1 } = spec;
    const signer = await session(secret, 2, pkcs1, sha1);
    const verifier = await session(open, 1, pkcs1, sha1);
    const digest = createHash('sha1').update(message).digest();
    const signed = await run(spec.VIRTIO_CRYPTO_AKCIPHER_SIGN, signer, digest);
    expect(signed.data.equals(sign('sha1', message, privateKey))).toBe(true);
    const padding = constants.RSA_PKCS1_PADDING;
    expect(publicDecrypt({ key: publicKey, padding }, signed.data).subarray(-20).equals(digest)).toBe(true);
    const verify = (of: Buffer) =>
      crypto.request(spec.VIRTIO_CRYPTO_AKCIPHER_VERIFY, verifier, [128, of.length], [signed.data, of], 0);
    expect((await verify(digest)).status).toBe(OK);
    expect((await verify(bytes(20))).status).toBe(spec.VIRTIO_CRYPTO_KEY_REJECTED);
    expect((await verify(digest.subarray(1))).status).toBe(spec.VIRTIO_CRYPTO_KEY_REJECTED);
    const long = Buffer.concat([
      Buffer.from('3082040d0282040100', 'hex'),
      bytes(1024),
      Buffer.from('0203010001', 'hex'),
    ]);
    long.writeUInt16BE(long.length - 4, 2);
    long.writeUInt16BE(1025, 6);
    expect((await crypto.createSession(0x404, [1, 1, long.length, 0, 0], long)).status).toBe(
      spec.VIRTIO_CRYPTO_NOTSUPP,
    );
    const bad = await crypto.createSession(0x404, [1, 1, 50, 0, 0], bytes(50));
    expect(bad.status).toBe(spec.VIRTIO_CRYPTO_ERR);
  });

  it('runs on several data queues, and forgets all sessions with a reset', async () => {
    const crypto = await plug(2);
    const { id } = await crypto.cipherSession(spec.VIRTIO_CRYPTO_CIPHER_AES_CBC, bytes(16));
    expect((await crypto.cipher(true, id, IV, bytes(16))).status).toBe(OK);
    await crypto.driver.init();
    expect((await crypto.cipher(true, id, IV, bytes(16))).status).toBe(spec.VIRTIO_CRYPTO_INVSESS);
    expect(await crypto.destroySession(spec.VIRTIO_CRYPTO_DESTROY_SESSION, id)).toBe(spec.VIRTIO_CRYPTO_INVSESS);
  });
});

describe('virtio-crypto and a hostile driver', () => {
  it('has only so many sessions', async () => {
    const crypto = await plug();
    const mark = bench.allocator.mark;
    for (let i = 0; i < SESSIONS_MAX; i++) {
      bench.allocator.reset(mark);
      expect((await crypto.createSession(0x102, [spec.VIRTIO_CRYPTO_HASH_SHA1, 20], Buffer.alloc(0))).status).toBe(OK);
    }
    const one = await crypto.cipherSession(spec.VIRTIO_CRYPTO_CIPHER_AES_CBC, bytes(16));
    expect(one).toEqual({ id: 0n, status: spec.VIRTIO_CRYPTO_NOSPC });
    expect(await crypto.destroySession(0x103, 1n)).toBe(OK);
    expect((await crypto.cipherSession(spec.VIRTIO_CRYPTO_CIPHER_AES_CBC, bytes(16))).status).toBe(OK);
  });

  it.each<[string, number, number[], number]>([
    ['an unknown cipher', 2, [5, 16, 1], spec.VIRTIO_CRYPTO_NOTSUPP],
    ['a key of an odd length', 2, [3, 15, 1], spec.VIRTIO_CRYPTO_NOTSUPP],
    ['a key longer than its buffer', 2, [3, 32, 1], spec.VIRTIO_CRYPTO_ERR],
    ['a key of 4 GiB', 2, [3, 0xffff_ffff, 1], spec.VIRTIO_CRYPTO_ERR],
    ['neither direction', 2, [3, 16, 3], spec.VIRTIO_CRYPTO_NOTSUPP],
    ['equal halves of an XTS key', 2, [13, 0, 1], spec.VIRTIO_CRYPTO_NOTSUPP],
    ['an unknown hash', 0x102, [99], spec.VIRTIO_CRYPTO_NOTSUPP],
    ['a MAC key of 4 GiB', 0x202, [2, 20, 0xffff_ffff], spec.VIRTIO_CRYPTO_ERR],
    ['an odd tag', 0x302, [1, 16, 7], spec.VIRTIO_CRYPTO_NOTSUPP],
    ['ECDSA', 0x404, [3, 1, 16], spec.VIRTIO_CRYPTO_NOTSUPP],
    ['an RSA key of 4 GiB', 0x404, [1, 1, 0xffff_ffff], spec.VIRTIO_CRYPTO_ERR],
    ['an unknown opcode', 0xffff_ffff, [], spec.VIRTIO_CRYPTO_NOTSUPP],
  ])('refuses a session with %s', async (_what, opcode, words, status) => {
    const crypto = await plug();
    expect(await crypto.createSession(opcode, words, bytes(16))).toEqual({ id: 0n, status });
  });

  it('refuses symmetric operations that there are not', async () => {
    const crypto = await plug();
    for (const operation of [0, 3]) {
      const session = await crypto.createSession(2, [3, 16, 1], bytes(16), operation);
      expect(session.status).toBe(spec.VIRTIO_CRYPTO_NOTSUPP);
    }
  });

  it.each<[string, number[], number, number]>([
    ['no whole block', [16, 15, 16], 16, spec.VIRTIO_CRYPTO_ERR],
    ['a short IV', [8, 16, 16], 16, spec.VIRTIO_CRYPTO_ERR],
    ['more data than buffers', [16, 4096, 4096], 16, spec.VIRTIO_CRYPTO_ERR],
    ['4 GiB', [16, 0xffff_ffff, 0xffff_ffff], 16, spec.VIRTIO_CRYPTO_ERR],
    ['an IV of 4 GiB', [0xffff_ffff, 16, 16], 16, spec.VIRTIO_CRYPTO_ERR],
    ['a result longer than the driver said', [16, 32, 16], 64, spec.VIRTIO_CRYPTO_ERR],
    ['a result longer than its buffer', [16, 32, 64], 16, spec.VIRTIO_CRYPTO_ERR],
  ])('fails a request with %s', async (_what, words, room, status) => {
    const crypto = await plug();
    const { id } = await crypto.cipherSession(spec.VIRTIO_CRYPTO_CIPHER_AES_CBC, bytes(16));
    const answer = await crypto.request(spec.VIRTIO_CRYPTO_CIPHER_ENCRYPT, id, words, [IV, bytes(32)], room);
    expect(answer).toMatchObject({ status, used: 0 });
    expect((await crypto.cipher(true, id, IV, bytes(16))).status).toBe(OK);
    expect((await crypto.request(0x777, id, [], [], 16)).status).toBe(spec.VIRTIO_CRYPTO_NOTSUPP);
  });

  it.each([
    ['a short data request', 0, 71, 1],
    ['a data request without room for a status', 0, 72, 0],
    ['a short control request', 1, 71, 16],
    ['a control request without room for its answer', 1, 72, 15],
  ])('breaks for %s', async (_what, queue, readable, writable) => {
    const { driver } = await plug();
    const request = Buffer.alloc(readable);
    request.writeUInt32LE(0x102);
    driver.queues[queue].add([
      { address: bench.allocator.put(request), length: readable },
      ...(writable ? [{ address: bench.allocator.alloc(16), length: writable, writable: true }] : []),
    ]);
    await driver.notify(queue);
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/5\.9\.7/);
    await driver.init();
  });
});
