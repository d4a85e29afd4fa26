/** Segmentation and checksums in software, against what hardware puts on the wire. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { checksumOf, sum } from '../../core/net/checksum.ts';
import {
  Frame,
  GSO_ECN,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP,
  GSO_UDP_L4,
  HDR_F_NEEDS_CSUM,
  OFFLOAD_ALL,
  OFFLOAD_CSUM,
  OFFLOAD_NONE,
  OFFLOAD_TSO4,
} from '../../core/net/frame.ts';
import type { FrameMeta } from '../../core/net/frame.ts';
import { adapt, canTake } from '../../core/net/offload.ts';
import { bytesOf, checksumsAreRight, onesSum, packet } from '../harness/frames.ts';
import type { Packet, PacketOptions } from '../harness/frames.ts';

const FIN = 0x01;
const PSH = 0x08;
const ACK = 0x10;
const CWR = 0x80;

function frameOf({ bytes, transport }: Packet, meta: Partial<FrameMeta>, csumOffset = 16): Frame {
  const frame = new Frame(Uint8Array.from(bytes));
  return Object.assign(frame, { flags: HDR_F_NEEDS_CSUM, csumStart: transport, csumOffset, ...meta });
}

describe('the Internet checksum', () => {
  it('is that of RFC 1071, section 3', () => {
    const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
    expect(checksumOf(sum(bytes, 0, 8))).toBe(~0xddf2 & 0xffff);
  });

  it('is that of the plainest sum, wherever the bytes begin and end', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(20), (bytes, start) => {
        const from = Math.min(start, bytes.length);
        expect(checksumOf(sum(bytes, from, bytes.length))).toBe(~onesSum(bytes.subarray(from)) & 0xffff);
      }),
    );
  });
});

describe('a checksum that was left to be filled in', () => {
  it.each<PacketOptions>([
    { protocol: 'tcp', version: 4 },
    { protocol: 'udp', version: 4 },
    { protocol: 'tcp', version: 6 },
    { protocol: 'udp', version: 6, vlan: 5 },
  ])('becomes what it would have been: %j', (options) => {
    const payload = bytesOf(333);
    const whole = packet({ ...options, payload });
    const frame = frameOf(packet({ ...options, payload, partial: true }), {}, options.protocol === 'udp' ? 6 : 16);
    expect(adapt(frame, OFFLOAD_NONE)).toHaveLength(1);
    expect(frame.data).toEqual(whole.bytes);
    expect(frame.isPlain).toBe(true);
  });

  it('is left alone for a taker that fills it in itself', () => {
    const { bytes, transport } = packet({ payload: bytesOf(10), partial: true });
    const frame = frameOf({ bytes, transport, ip: 14, payload: 0 }, {});
    expect(adapt(frame, OFFLOAD_CSUM)).toEqual([frame]);
    expect(frame.data).toEqual(bytes);
  });

  it('is never 0 in UDP, where that would mean none', () => {
    // Payload words that bring the sum to 0xffff.
    const { bytes, transport } = packet({ protocol: 'udp', payload: Uint8Array.of(0, 0), partial: true });
    const total = onesSum(bytes.subarray(transport));
    bytes.set([(~total >> 8) & 255, ~total & 255], transport + 8);
    const frame = frameOf({ bytes, transport, ip: 14, payload: 0 }, {}, 6);
    adapt(frame, OFFLOAD_NONE);
    expect([...frame.data.subarray(transport + 6, transport + 8)]).toEqual([0xff, 0xff]);
  });

  it('whose place is outside the frame drops it', () => {
    for (const [csumStart, csumOffset] of [
      [60_000, 0],
      [0, 60_000],
      [53, 0],
    ]) {
      const { bytes } = packet();
      const frame = frameOf({ bytes, transport: 0, ip: 0, payload: 0 }, { csumStart, csumOffset });
      expect(adapt(frame, OFFLOAD_NONE)).toEqual([]);
    }
  });
});

describe('TCP segmentation', () => {
  it.each([
    { version: 4, gsoType: GSO_TCPV4 },
    { version: 6, gsoType: GSO_TCPV6 },
  ] as const)('cuts IPv$version into what a stack would have sent', ({ version, gsoType }) => {
    const payload = bytesOf(4000);
    const options: PacketOptions = { version, vlan: 7, sequence: 0xffff_fff0, tcpFlags: ACK | PSH | FIN | CWR };
    const frame = frameOf(packet({ ...options, payload, partial: true }), {
      gsoType: gsoType | GSO_ECN,
      gsoSize: 1448,
    });
    const cut = adapt(frame, OFFLOAD_NONE);
    const expected = [
      { at: 0, length: 1448, tcpFlags: ACK | CWR },
      { at: 1448, length: 1448, tcpFlags: ACK },
      { at: 2896, length: 1104, tcpFlags: ACK | PSH | FIN },
    ].map(({ at, length, tcpFlags }, i) => {
      const sequence = (0xffff_fff0 + at) % 2 ** 32;
      return packet({ ...options, sequence, tcpFlags, id: 0x1234 + i, payload: payload.subarray(at, at + length) });
    });
    expect(cut.map(({ data }) => [...data])).toEqual(expected.map(({ bytes }) => [...bytes]));
    expect(cut.every(({ isPlain }) => isPlain)).toBe(true);
  });

  it('leaves the checksums to a taker that fills them in', () => {
    const payload = bytesOf(2000);
    const frame = frameOf(packet({ payload, partial: true }), { gsoType: GSO_TCPV4, gsoSize: 1000 });
    const cut = adapt(frame, OFFLOAD_CSUM);
    expect(cut).toHaveLength(2);
    for (const [i, piece] of cut.entries()) {
      const half = payload.subarray(1000 * i, 1000 * i + 1000);
      const whole = packet({ payload: half, sequence: 1 + 1000 * i, id: 0x1234 + i });
      expect(piece.isPlain).toBe(false);
      adapt(piece, OFFLOAD_NONE);
      expect(piece.data).toEqual(whole.bytes);
    }
  });

  it('keeps every byte, in order, whatever the sizes', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<4 | 6>(4, 6),
        fc.integer({ min: 0, max: 5000 }),
        fc.integer({ min: 8, max: 3000 }),
        (version, length, gsoSize) => {
          const payload = bytesOf(length);
          const made = packet({ version, payload, partial: true });
          const frame = frameOf(made, { gsoType: version === 4 ? GSO_TCPV4 : GSO_TCPV6, gsoSize });
          const cut = adapt(frame, OFFLOAD_NONE);
          expect(cut.every(({ data }) => checksumsAreRight(data))).toBe(true);
          expect(cut.every(({ data }) => data.length <= made.payload + gsoSize)).toBe(true);
          const back = Buffer.concat(cut.map(({ data }) => data.subarray(made.payload)));
          expect(back.equals(payload)).toBe(true);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('UDP', () => {
  it('is cut into datagrams (USO)', () => {
    const payload = bytesOf(2500);
    const frame = frameOf(
      packet({ protocol: 'udp', payload, partial: true }),
      { gsoType: GSO_UDP_L4, gsoSize: 1000 },
      6,
    );
    const expected = [0, 1000, 2000].map((at, i) =>
      packet({ protocol: 'udp', id: 0x1234 + i, payload: payload.subarray(at, at + 1000) }),
    );
    expect(adapt(frame, OFFLOAD_NONE).map(({ data }) => [...data])).toEqual(expected.map(({ bytes }) => [...bytes]));
  });

  it('is fragmented (UFO) over IPv4', () => {
    const payload = bytesOf(3000);
    const whole = packet({ protocol: 'udp', payload });
    const frame = frameOf(packet({ protocol: 'udp', payload, partial: true }), { gsoType: GSO_UDP, gsoSize: 1480 }, 6);
    const cut = adapt(frame, OFFLOAD_NONE).map(({ data }) => data);
    const fields = cut.map((data) => (data[20] << 8) | data[21]);
    // DF was set and stays; MF on all but the last; offsets in units of 8.
    expect(fields).toEqual([0x4000 | 0x2000, 0x4000 | 0x2000 | 185, 0x4000 | 370]);
    expect(cut.every((data) => onesSum(data.subarray(14, 34)) === 0xffff)).toBe(true);
    expect(cut.every((data) => data[16] * 256 + data[17] === data.length - 14)).toBe(true);
    expect(Buffer.concat(cut.map((data) => data.subarray(34))).equals(whole.bytes.subarray(34))).toBe(true);
  });

  it('is fragmented (UFO) over IPv6, with a fragment header', () => {
    const payload = bytesOf(2000);
    const whole = packet({ protocol: 'udp', version: 6, payload });
    const made = packet({ protocol: 'udp', version: 6, payload, partial: true });
    const cut = adapt(frameOf(made, { gsoType: GSO_UDP, gsoSize: 1444 }, 6), OFFLOAD_NONE).map(({ data }) => data);
    expect(cut).toHaveLength(2);
    expect(cut.map((data) => [data[20], data[54], (data[56] << 8) | data[57]])).toEqual([
      [44, 17, 1],
      [44, 17, 1440],
    ]);
    expect(cut[0].subarray(58, 62)).toEqual(cut[1].subarray(58, 62));
    expect(cut.every((data) => data[18] * 256 + data[19] === data.length - 54)).toBe(true);
    expect(Buffer.concat(cut.map((data) => data.subarray(62))).equals(whole.bytes.subarray(54))).toBe(true);
  });
});

describe('a frame that lies about itself', () => {
  const tcp = packet({ payload: bytesOf(3000), partial: true });
  it.each<[string, Partial<FrameMeta>, ((bytes: Uint8Array) => void)?]>([
    ['segments of nothing', { gsoType: GSO_TCPV4, gsoSize: 0 }],
    ['segments of hardly anything', { gsoType: GSO_TCPV4, gsoSize: 7 }],
    ['TCP over IPv6 that is IPv4', { gsoType: GSO_TCPV6, gsoSize: 1000 }],
    ['UDP that is TCP', { gsoType: GSO_UDP, gsoSize: 1000 }],
    ['no type there is', { gsoType: 2, gsoSize: 1000 }],
    ['no IP packet', { gsoType: GSO_TCPV4, gsoSize: 1000 }, (bytes) => bytes.fill(0, 12, 14)],
    ['a length beyond its end', { gsoType: GSO_TCPV4, gsoSize: 1000 }, (bytes) => bytes.fill(0xff, 16, 18)],
    ['a TCP header shorter than any', { gsoType: GSO_TCPV4, gsoSize: 1000 }, (bytes) => (bytes[46] = 0x10)],
    ['a fragment', { gsoType: GSO_TCPV4, gsoSize: 1000 }, (bytes) => (bytes[21] = 1)],
  ])('is dropped: %s', (_what, meta, spoil) => {
    const frame = frameOf(tcp, meta);
    spoil?.(frame.data);
    expect(adapt(frame, OFFLOAD_NONE)).toEqual([]);
  });

  it('does no harm, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.record({
          flags: fc.nat(255),
          gsoType: fc.nat(255),
          hdrLen: fc.nat(65535),
          gsoSize: fc.nat(65535),
          csumStart: fc.nat(65535),
          csumOffset: fc.nat(65535),
        }),
        fc.nat(OFFLOAD_ALL),
        fc.constantFrom([0x08, 0x00], [0x86, 0xdd], [0x81, 0x00]),
        fc.constantFrom(0x45, 0x60, 0x4f),
        (bytes, meta, offloads, type, first) => {
          if (bytes.length > 15) bytes.set([...type, first], 12);
          const frame = Object.assign(new Frame(bytes), meta);
          for (const piece of adapt(frame, offloads)) expect(canTake(piece, offloads)).toBe(true);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('is what a taker that can do it takes as it is', () => {
    const frame = frameOf(tcp, { gsoType: GSO_TCPV4, gsoSize: 1448 });
    expect(canTake(frame, OFFLOAD_CSUM | OFFLOAD_TSO4)).toBe(true);
    expect(canTake(frame, OFFLOAD_TSO4)).toBe(false);
    expect(canTake(frame, OFFLOAD_CSUM)).toBe(false);
    frame.gsoType |= GSO_ECN;
    expect(canTake(frame, OFFLOAD_CSUM | OFFLOAD_TSO4)).toBe(false);
  });
});
