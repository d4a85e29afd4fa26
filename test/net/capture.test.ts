/** Captures, as Wireshark reads them. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Network } from '../../core/net/network.ts';
import { pcapngHeader, pcapngPacket } from '../../core/net/pcapng.ts';
import { MAC_A, MAC_B, bytesOf, packet, plainFrame } from '../harness/frames.ts';
import { NetCard, netdevSpec } from '../harness/net-card.ts';

const memory = new WebAssembly.Memory({ initial: 32, maximum: 32, shared: true });
const folder = mkdtempSync(join(tmpdir(), 'ringside-capture-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let network: Network;
beforeEach(() => (network = new Network({ memory })));
afterEach(() => network.close());

/** Every block's type and body, lengths checked. */
function blocks(bytes: Uint8Array): { type: number; body: DataView }[] {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: { type: number; body: DataView }[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = data.getUint32(at + 4, true);
    expect(length % 4).toBe(0);
    expect(data.getUint32(at + length - 4, true)).toBe(length);
    found.push({
      type: data.getUint32(at, true),
      body: new DataView(bytes.buffer, bytes.byteOffset + at + 8, length - 12),
    });
    at += length;
  }
  return found;
}

async function captured(file: string): Promise<void> {
  const a = new NetCard(await network.add(netdevSpec('hubport', 'a')));
  const b = new NetCard(await network.add(netdevSpec('hubport', 'b')));
  const end = await network.get('a')!.capture(file, { maxBytes: 200 });
  await a.send(packet({ source: MAC_A, destination: MAC_B, payload: bytesOf(100) }).bytes);
  await b.next();
  await b.send(packet({ version: 6, protocol: 'udp', payload: bytesOf(500) }).bytes);
  await a.next();
  await end();
  await a.send(plainFrame(MAC_B));
  await b.next();
}

describe('a capture', () => {
  it('has a section, an interface and packets with their times and lengths', () => {
    const time = 0x0123_4567_89ab_cdefn;
    const frame = bytesOf(61);
    const [section, description, first] = blocks(
      Buffer.concat([pcapngHeader('net0', 60), pcapngPacket(frame, time, 'out', 60)]),
    );
    expect(section).toMatchObject({ type: 0x0a0d0d0a });
    expect(section.body.getUint32(0, true)).toBe(0x1a2b3c4d);
    expect(description.type).toBe(1);
    expect([description.body.getUint16(0, true), description.body.getUint32(4, true)]).toEqual([1, 60]);
    const { type, body } = first;
    expect(type).toBe(6);
    expect((BigInt(body.getUint32(4, true)) << 32n) | BigInt(body.getUint32(8, true))).toBe(time);
    expect([body.getUint32(12, true), body.getUint32(16, true)]).toEqual([60, 61]);
    expect(new Uint8Array(body.buffer, body.byteOffset + 20, 60)).toEqual(frame.subarray(0, 60));
  });

  it('has what went through the card while it was on, both ways, and is for the user alone', async () => {
    const file = join(folder, 'hub.pcapng');
    await captured(file);
    const packets = blocks(readFileSync(file)).filter(({ type }) => type === 6);
    expect(packets.map(({ body }) => [body.getUint32(12, true), body.getUint32(16, true)])).toEqual([
      [154, 154],
      [200, 562],
    ]);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('that cannot be made is an error', async () => {
    const netdev = await network.add(netdevSpec('hubport', 'a'));
    await expect(netdev.capture(join(folder, 'no', 'such', 'folder'))).rejects.toMatchObject({ kind: 'io' });
  });

  it.skipIf(!existsSync('/usr/bin/tshark'))('is read by tshark', async () => {
    const file = join(folder, 'tshark.pcapng');
    await captured(file);
    const fields = ['frame.len', 'frame.cap_len', 'frame.packet_flags_direction', 'eth.src', '_ws.col.Protocol'];
    const text = execFileSync('tshark', ['-r', file, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    expect(text.trim().split('\n')).toEqual([
      expect.stringMatching(/^154\t154\t\S+\t52:54:00:00:00:0a\tTCP$/),
      expect.stringMatching(/^562\t200\t\S+\t52:54:00:00:00:0b\tUDP$/),
    ]);
  });
});
