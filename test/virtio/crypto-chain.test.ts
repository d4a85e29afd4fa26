/** virtio-crypto's algorithm chaining: a cipher and a hash or MAC in one request (virtio 1.3, section 5.9.7.5). */
import { createCipheriv, createHash, createHmac } from 'node:crypto';

import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { CryptoDevice } from '../../core/virtio/crypto/device.ts';
import * as spec from '../../core/virtio/spec/crypto.ts';
import { VirtioBench } from '../harness/virtio-bench.ts';
import { CryptoDriver } from './crypto-driver.ts';

const bench = new VirtioBench({ mib: 4 });
afterEach(() => bench.clear());
afterAll(() => bench.close());

async function plug(): Promise<CryptoDriver> {
  const driver = await bench.attach(new CryptoDevice({ id: 'crypto0' }));
  return new CryptoDriver(await driver.init(), bench.allocator);
}

const bytes = (length: number, seed: number) => Buffer.from(Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff));
const [KEY, AUTH_KEY, IV, AAD, SOURCE] = [bytes(32, 1), bytes(20, 2), bytes(16, 3), bytes(12, 4), bytes(200, 5)];
const { VIRTIO_CRYPTO_OK: OK, VIRTIO_CRYPTO_ERR: ERR, VIRTIO_CRYPTO_NOTSUPP: NOTSUPP } = spec;
const HASH_FIRST = spec.VIRTIO_CRYPTO_SYM_ALG_CHAIN_ORDER_HASH_THEN_CIPHER;
const CIPHER_FIRST = spec.VIRTIO_CRYPTO_SYM_ALG_CHAIN_ORDER_CIPHER_THEN_HASH;
const PLAIN = spec.VIRTIO_CRYPTO_SYM_HASH_MODE_PLAIN;
const AUTH = spec.VIRTIO_CRYPTO_SYM_HASH_MODE_AUTH;
/** What the cipher is for, and what the hash. */
const TO_CIPHER = [16, 128];
const TO_HASH = [8, 150];
const DIGEST = 32;

/** Words of a session with AES-256-CBC and SHA-256. */
const session = (order: number, mode: number, changes: Record<number, number> = {}): number[] =>
  [order, mode, spec.VIRTIO_CRYPTO_CIPHER_AES_CBC, KEY.length, 1, 0, spec.VIRTIO_CRYPTO_HASH_SHA_256, DIGEST]
    .concat(mode === AUTH ? [AUTH_KEY.length] : [0])
    .map((word, i) => changes[i] ?? word);
const keys = (mode: number) => (mode === AUTH ? [KEY, AUTH_KEY] : [KEY]);
const request = (changes: Record<number, number> = {}): number[] =>
  [IV.length, SOURCE.length, SOURCE.length, ...TO_CIPHER, ...TO_HASH, AAD.length, DIGEST].map(
    (word, i) => changes[i] ?? word,
  );
const PARTS = [IV, SOURCE, AAD];
const ROOM = SOURCE.length + DIGEST;

/** The same with node:crypto: the source with its part encrypted. */
function encrypted(): Buffer {
  const [start, length] = TO_CIPHER;
  const cipher = createCipheriv('aes-256-cbc', KEY, IV).setAutoPadding(false);
  const middle = Buffer.concat([cipher.update(SOURCE.subarray(start, start + length)), cipher.final()]);
  return Buffer.concat([SOURCE.subarray(0, start), middle, SOURCE.subarray(start + length)]);
}

function digest(mode: number, data: Buffer): Buffer {
  const hash = mode === AUTH ? createHmac('sha256', AUTH_KEY) : createHash('sha256');
  return hash
    .update(AAD)
    .update(data.subarray(TO_HASH[0], TO_HASH[0] + TO_HASH[1]))
    .digest();
}

describe.each([
  ['a hash', PLAIN],
  ['a MAC', AUTH],
])('a chain of a cipher and %s', (_what, mode) => {
  it.each([
    ['hash then cipher', HASH_FIRST],
    ['cipher then hash', CIPHER_FIRST],
  ])('does them in the order "%s", both ways', async (_order, order) => {
    const crypto = await plug();
    const { id, status } = await crypto.chainSession(session(order, mode), keys(mode));
    expect(status).toBe(OK);
    const there = await crypto.chain(true, id, request(), PARTS, ROOM);
    expect(there).toMatchObject({ status: OK, used: ROOM + 1 });
    expect(there.data.subarray(0, SOURCE.length).equals(encrypted())).toBe(true);
    const wanted = digest(mode, order === HASH_FIRST ? SOURCE : encrypted());
    expect(there.data.subarray(SOURCE.length).equals(wanted)).toBe(true);

    const back = await crypto.chain(false, id, request(), [IV, encrypted(), AAD], ROOM);
    expect(back.status).toBe(OK);
    expect(back.data.subarray(0, SOURCE.length).equals(SOURCE)).toBe(true);
    const ofBack = digest(mode, order === HASH_FIRST ? encrypted() : SOURCE);
    expect(back.data.subarray(SOURCE.length).equals(ofBack)).toBe(true);
    expect(await crypto.destroySession(spec.VIRTIO_CRYPTO_DESTROY_SESSION, id)).toBe(OK);
  });
});

describe('a chain', () => {
  it('gives a digest in part, and without additional data', async () => {
    const crypto = await plug();
    const { id } = await crypto.chainSession(session(CIPHER_FIRST, AUTH), keys(AUTH));
    const answer = await crypto.chain(true, id, request({ 7: 0, 8: 12 }), [IV, SOURCE], SOURCE.length + 12);
    const mac = createHmac('sha256', AUTH_KEY).update(encrypted().subarray(TO_HASH[0], TO_HASH[0] + TO_HASH[1]));
    expect(answer.data.subarray(SOURCE.length).equals(mac.digest().subarray(0, 12))).toBe(true);
  });

  it.each([
    ['an order that there is not', { 0: 3 }],
    ['nested hashes', { 1: 3 }],
    ['a cipher that there is not', { 2: 1 }],
    ['neither encryption nor decryption', { 4: 0 }],
    ['a hash that there is not', { 6: 12 }],
  ])('is refused with %s', async (_what, changes) => {
    const crypto = await plug();
    expect((await crypto.chainSession(session(CIPHER_FIRST, AUTH, changes), keys(AUTH))).status).toBe(NOTSUPP);
  });

  it('is refused with keys that are not there, or too long', async () => {
    const crypto = await plug();
    for (const [field, length] of [
      [8, 100],
      [8, 0xffff_ffff],
      [3, 65],
      [3, 0xffff_ffff],
    ]) {
      const words = session(CIPHER_FIRST, AUTH, { [field]: length });
      expect((await crypto.chainSession(words, keys(AUTH))).status).toBe(ERR);
    }
  });

  it.each([
    ['a part for the cipher behind the end', { 3: 100 }],
    ['a part for the cipher that is no multiple of a block', { 4: 100 }],
    ['a part for the hash behind the end', { 5: 100 }],
    ['a part that ends behind 4 GiB', { 5: 0xffff_ffff, 6: 0xffff_ffff }],
    ['more data than there are', { 1: 0x0fff_ffff }],
    ['more additional data than there are', { 7: 1000 }],
    ['no room for the data', { 2: 100 }],
    ['a digest longer than the hash has', { 8: 33 }],
    ['no room for the digest', { 2: 232 }],
    ['an IV that is too short', { 0: 8, 1: 208 }],
  ])('fails with %s', async (_what, changes) => {
    const crypto = await plug();
    const { id } = await crypto.chainSession(session(CIPHER_FIRST, AUTH), keys(AUTH));
    expect((await crypto.chain(true, id, request(changes), PARTS, ROOM)).status).toBe(ERR);
    // The session is good for the next request.
    expect((await crypto.chain(true, id, request(), PARTS, ROOM)).status).toBe(OK);
  });

  it("has sessions that are not a cipher's", async () => {
    const crypto = await plug();
    const chained = await crypto.chainSession(session(CIPHER_FIRST, PLAIN), keys(PLAIN));
    const alone = await crypto.cipherSession(spec.VIRTIO_CRYPTO_CIPHER_AES_CBC, KEY);
    expect((await crypto.cipher(true, chained.id, IV, SOURCE.subarray(0, 64))).status).toBe(spec.VIRTIO_CRYPTO_INVSESS);
    expect((await crypto.chain(true, alone.id, request(), PARTS, ROOM)).status).toBe(spec.VIRTIO_CRYPTO_INVSESS);
  });
});
