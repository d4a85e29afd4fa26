/** What each device makes of its requests. */
import { describe, expect, it } from 'vitest';

import { NO_STATUS, NO_TYPE, codeName } from '../../core/virtio/decoder.ts';
import type { ByteSink } from '../../core/virtio/decoder.ts';
import { queueDecoder } from '../../core/virtio/decoders.ts';
import { BACKENDS } from '../../core/virtio/backend/registry.ts';

class Bytes implements ByteSink {
  readonly bytes: Uint8Array;
  constructor(...bytes: (number | string)[]) {
    this.bytes = Uint8Array.from(bytes.flatMap((each) => (typeof each === 'string' ? [...Buffer.from(each)] : [each])));
  }
  get length(): number {
    return this.bytes.length;
  }
  copyOut(offset: number, target: Uint8Array, length = target.length): number {
    const part = this.bytes.subarray(offset, offset + length);
    target.set(part);
    return part.length;
  }
  copyIn(offset: number, source: Uint8Array, length = source.length): number {
    const part = source.subarray(0, Math.min(length, this.length - offset));
    this.bytes.set(part, offset);
    return part.length;
  }
}

const u16 = (value: number) => [value & 0xff, value >> 8];
const u32 = (value: number) => [...u16(value & 0xffff), ...u16(value >>> 16)];
const u64 = (value: number) => [...u32(value >>> 0), ...u32(Math.floor(value / 2 ** 32))];

function look(
  device: string,
  queue: string,
  readable: Bytes,
  writable: Bytes,
  written: number | null = writable.length,
) {
  const decoder = queueDecoder(device, queue);
  const summary = { type: 0, detail: 0, span: 0 };
  decoder.summarize(readable, writable, summary);
  const fields = Object.fromEntries(
    decoder.fields(readable, writable, written).map(({ name, value }) => [name, value]),
  );
  const type = decoder.types.length > 0 ? codeName(decoder.types, summary.type) : null;
  return { decoder, summary, fields, type, status: decoder.status(readable, writable, written ?? 0) };
}

describe('decoders', () => {
  it.each([
    ['virtio-9p', 'requests'],
    ['virtio-balloon', 'inflateq'],
    ['virtio-balloon', 'statsq'],
    ['virtio-blk', 'requestq'],
    ['virtio-console', 'receiveq(port0)'],
    ['virtio-console', 'control transmitq'],
    ['virtio-crypto', 'dataq1'],
    ['virtio-crypto', 'controlq'],
    ['virtio-input', 'eventq'],
    ['virtio-input', 'statusq'],
    ['virtio-net', 'receiveq1'],
    ['virtio-net', 'transmitq1'],
    ['virtio-net', 'controlq'],
    ['virtio-pmem', 'req_vq'],
    ['virtio-rng', 'requestq'],
    ['virtio-vsock', 'rx'],
    ['virtio-vsock', 'tx'],
    ['virtio-vsock', 'event'],
    ['virtio-unknown', 'q'],
  ])('of %s %s take whatever a driver gives', (device, queue) => {
    const sizes = [0, 1, 3, 7, 15, 16, 17, 40, 80, 4096];
    for (const [i, readable] of sizes.entries()) {
      for (const [k, writable] of sizes.entries()) {
        const noise = (size: number, seed: number) => {
          const bytes = new Bytes();
          return Object.assign(bytes, {
            bytes: Uint8Array.from({ length: size }, (_, n) => (n * 37 + seed * 91) & 0xff),
          });
        };
        const [r, w] = [noise(readable, i), noise(writable, k)];
        const { summary, decoder } = look(device, queue, r, w);
        look(device, queue, r, w, null);
        expect(summary.type).toBeGreaterThanOrEqual(0);
        expect(summary.type).toBeLessThanOrEqual(NO_TYPE);
        expect(Number.isSafeInteger(summary.detail) || summary.detail > 2 ** 53).toBe(true);
        const status = decoder.statuses[0]?.code ?? 0;
        const used = decoder.refuse(r, w, status);
        expect(used).toBeLessThanOrEqual(writable);
        if (decoder.statuses.length > 0 && writable >= 16) expect(decoder.status(r, w, used)).toBe(status);
      }
    }
  });

  it('there are of every device', () => {
    for (const device of Object.keys(BACKENDS)) expect(queueDecoder(device, 'x')).not.toBe(queueDecoder('none', 'x'));
  });

  it('name blk requests', () => {
    const write = look(
      'virtio-blk',
      'requestq',
      new Bytes(...u32(1), ...u32(0), ...u64(2 ** 40), 'data'),
      new Bytes(1),
    );
    expect(write).toMatchObject({
      type: 'VIRTIO_BLK_T_OUT (1)',
      status: 1,
      summary: { detail: 2 ** 40, span: 1 },
      fields: { sector: '1099511627776', data: '64 61 74 61', status: 'VIRTIO_BLK_S_IOERR (1)' },
    });
    const discard = look(
      'virtio-blk',
      'requestq',
      new Bytes(...u32(11), ...u32(0), ...u64(0), ...u64(5), ...u32(9), ...u32(1)),
      new Bytes(0),
    );
    expect(discard).toMatchObject({ summary: { detail: 5, span: 9 }, fields: { 'range.flags': 'unmap (1)' } });
    expect(look('virtio-blk', 'requestq', new Bytes(1), new Bytes()).status).toBe(NO_STATUS);
  });

  it('name packets and control commands of net', () => {
    const header = [1, 1, ...u16(66), ...u16(1448), ...u16(34), ...u16(16), ...u16(0)];
    const mac = (last: number) => [0x52, 0x54, 0, 0x12, 0x34, last];
    const packet = new Bytes(...header, ...mac(1), ...mac(2), 0x86, 0xdd, 'xyz');
    expect(look('virtio-net', 'transmitq1', packet, new Bytes())).toMatchObject({
      type: 'VIRTIO_NET_HDR_GSO_TCPV4 (1)',
      fields: { flags: 'NEEDS_CSUM', 'eth.dst': '52:54:00:12:34:01', 'eth.type': 'IPv6 (34525)', payload: '78 79 7a' },
    });
    const mq = look('virtio-net', 'controlq', new Bytes(4, 0, ...u16(2)), new Bytes(0));
    expect(mq).toMatchObject({
      type: 'VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET (1024)',
      status: 0,
      fields: { ack: 'VIRTIO_NET_OK (0)' },
    });
  });

  it('name 9p messages, and answer one with an error of its tag', () => {
    const walk = new Bytes(
      ...u32(30),
      110,
      ...u16(77),
      ...u32(1),
      ...u32(2),
      ...u16(2),
      ...u16(3),
      'usr',
      ...u16(3),
      'lib',
    );
    const reply = new Bytes(...new Uint8Array(64));
    const seen = look('virtio-9p', 'requests', walk, reply, null);
    expect(seen).toMatchObject({
      type: 'P9_TWALK (110)',
      summary: { detail: 77 },
      fields: { tag: '77', newfid: '2', 'wname[0]': 'usr', 'wname[1]': 'lib' },
    });
    expect(seen.decoder.refuse(walk, reply, 5)).toBe(11);
    expect([...reply.bytes.subarray(0, 11)]).toEqual([...u32(11), 7, ...u16(77), ...u32(5)]);
    expect(seen.decoder.status(walk, reply, 11)).toBe(5);
  });

  it('name text, events, packets, pages and sessions', () => {
    expect(look('virtio-console', 'transmitq(port1)', new Bytes('hi\n\u0007'), new Bytes()).fields).toEqual({
      text: 'hi\\n\\x07',
    });
    const name = new Bytes(...u32(1), ...u16(7), ...u16(1), 'org.x');
    expect(look('virtio-console', 'control receiveq', new Bytes(), name).fields).toMatchObject({
      event: 'VIRTIO_CONSOLE_PORT_NAME (7)',
      name: 'org.x',
    });
    const event = new Bytes(...u16(2), ...u16(0), ...u32(-3 >>> 0));
    expect(look('virtio-input', 'eventq', new Bytes(), event).fields).toEqual({
      type: 'EV_REL (2)',
      code: '0',
      value: '-3',
    });
    const packet = new Bytes(
      ...u64(3),
      ...u64(2),
      ...u32(1024),
      ...u32(80),
      ...u32(2),
      ...u16(1),
      ...u16(5),
      ...u32(0),
      ...u32(9),
      ...u32(0),
      'ok',
    );
    expect(look('virtio-vsock', 'tx', packet, new Bytes())).toMatchObject({
      type: 'VIRTIO_VSOCK_OP_RW (5)',
      summary: { detail: 80 },
      fields: { src_cid: '3', data: '6f 6b' },
    });
    expect(look('virtio-balloon', 'inflateq', new Bytes(...u32(0x80000)), new Bytes()).fields).toEqual({
      'pfn[0]': '524288 (0x80000000)',
    });
    const create = new Bytes(...u32(0x404), ...new Uint8Array(68));
    expect(look('virtio-crypto', 'controlq', create, new Bytes(...new Uint8Array(16)))).toMatchObject({
      type: 'VIRTIO_CRYPTO_AKCIPHER_CREATE_SESSION (1028)',
      fields: { status: 'VIRTIO_CRYPTO_OK (0)' },
    });
    expect(look('virtio-pmem', 'req_vq', new Bytes(...u32(0)), new Bytes(...u32(1))).fields).toEqual({
      type: 'VIRTIO_PMEM_REQ_TYPE_FLUSH (0)',
      ret: 'VIRTIO_PMEM_RESP_TYPE_EIO (1)',
    });
    expect(look('virtio-rng', 'requestq', new Bytes(), new Bytes(1, 2)).fields).toEqual({ entropy: '01 02' });
  });
});
