/** The back ends of -netdev, through the network worker. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';

import { GSO_TCPV4, HDR_F_NEEDS_CSUM } from '../../core/net/frame.ts';
import { Network } from '../../core/net/network.ts';
import type { NetdevEvent } from '../../core/net/endpoint.ts';
import { BROADCAST, MAC_A, MAC_B, bytesOf, checksumsAreRight, packet, plainFrame } from '../harness/frames.ts';
import { NetCard, netdevSpec } from '../harness/net-card.ts';
import { until } from '../harness/virtio-bench.ts';

const memory = new WebAssembly.Memory({ initial: 32, maximum: 32, shared: true });
const folder = mkdtempSync(join(tmpdir(), 'ringside-net-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let network: Network;
let events: { id: string; event: NetdevEvent }[];
beforeEach(() => {
  events = [];
  network = new Network({
    memory,
    onEvent: (id, event) => events.push({ id, event }),
    onCrash: (error) => {
      throw error;
    },
  });
});
afterEach(() => network.close());

const happened = (id: string, kind: NetdevEvent['kind']): boolean =>
  events.some((one) => one.id === id && one.event.kind === kind);

/** A port that is free now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function card(kind: string, id: string, values: Parameters<typeof netdevSpec>[2]): Promise<NetCard> {
  const made = new NetCard(await network.add(netdevSpec(kind, id, values)));
  // What reaches the network worker before its card does is lost, as without a cable.
  await until(() => made.isPlugged, 'the network worker');
  return made;
}

/** Frames both ways, of all sizes, whole and in order. */
async function exchange(a: NetCard, b: NetCard): Promise<void> {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ]) {
    for (const length of [15, 60, 1514, 9000]) await from.send(plainFrame(MAC_A, length, length));
    for (const length of [15, 60, 1514, 9000]) {
      expect(Buffer.compare(await to.next(), plainFrame(MAC_A, length, length))).toBe(0);
    }
  }
}

describe('two VMs', () => {
  it('are connected by -netdev socket', async () => {
    const port = await freePort();
    const a = await card('socket', 'a', { listen: `:${port}` });
    const b = await card('socket', 'b', { connect: `127.0.0.1:${port}` });
    await until(() => happened('a', 'connected') && happened('b', 'connected'));
    await exchange(a, b);
    expect(await network.get('a')!.info()).toMatch(/connection with 127\.0\.0\.1:/);
  });

  it.each([
    ['by TCP', async () => ({ 'addr.type': 'inet', 'addr.port': String(await freePort()) })],
    ['by a unix socket', async () => ({ 'addr.type': 'unix', 'addr.path': join(folder, 'net.sock') })],
    [
      'by an abstract unix socket',
      async () => ({ 'addr.type': 'unix', 'addr.path': `ringside-${process.pid}`, 'addr.abstract': true }),
    ],
  ])('are connected by -netdev stream %s', async (_how, address) => {
    const values = await address();
    const a = await card('stream', 'a', { ...values, server: true });
    const b = await card('stream', 'b', values);
    await until(() => happened('a', 'connected'));
    await exchange(a, b);
  });

  it.each([
    [
      'socket,udp',
      (own: number, other: number) => ({ udp: `127.0.0.1:${other}`, localaddr: `127.0.0.1:${own}` }),
      'socket',
    ],
    [
      'dgram',
      (own: number, other: number) => ({
        'local.type': 'inet',
        'local.host': '127.0.0.1',
        'local.port': String(own),
        'remote.type': 'inet',
        'remote.host': '127.0.0.1',
        'remote.port': String(other),
      }),
      'dgram',
    ],
  ])('are connected by -netdev %s', async (_name, values, kind) => {
    const [one, two] = [await freePort(), await freePort()];
    const a = await card(kind, 'a', values(one, two));
    const b = await card(kind, 'b', values(two, one));
    await exchange(a, b);
  });

  it('share a multicast group, and none hears itself', async () => {
    const port = await freePort();
    const values = { mcast: `230.0.0.77:${port}`, localaddr: '127.0.0.1' };
    const [a, b, c] = [
      await card('socket', 'a', values),
      await card('socket', 'b', values),
      await card('socket', 'c', values),
    ];
    await exchange(a, b);
    for (let i = 0; i < 8; i++) await c.next();
    expect([a.take(), b.take(), c.take()]).toEqual([null, null, null]);
  });

  it('are ports of a hub with a third, and with a socket', async () => {
    const port = await freePort();
    const a = await card('hubport', 'a', { hubid: 3 });
    const b = await card('hubport', 'b', { hubid: 3 });
    const elsewhere = await card('hubport', 'c', { hubid: 4 });
    await network.add(netdevSpec('socket', 's', { listen: `:${port}` }));
    await network.add(netdevSpec('hubport', 'd', { hubid: 3, netdev: 's' }));
    const far = await card('socket', 'far', { connect: `:${port}` });
    await until(() => happened('s', 'connected'));
    await a.send(plainFrame(BROADCAST, 100));
    for (const other of [b, far]) expect(await other.next()).toEqual(plainFrame(BROADCAST, 100));
    await far.send(plainFrame(MAC_B, 77));
    for (const other of [a, b]) expect(await other.next()).toEqual(plainFrame(MAC_B, 77));
    expect([a.take(), elsewhere.take()]).toEqual([null, null]);
    expect(() => network.get('s')!.connectNic()).toThrow(/behind netdev "d"/);
  });

  it('move everything, however slow one of them is', async () => {
    const port = await freePort();
    const a = await card('socket', 'a', { listen: `:${port}` });
    const b = await card('socket', 'b', { connect: `:${port}` });
    await until(() => happened('a', 'connected'));
    const count = 600;
    let sent = 0;
    // More than the rings and all socket buffers take: the sender is held up.
    const push = (): void => {
      while (sent < count && a.trySend(plainFrame(MAC_B, 30_000, sent))) sent++;
    };
    await until(() => a.isPlugged);
    const start = performance.now();
    while (performance.now() - start < 300) {
      push();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(sent).toBeLessThan(count);
    for (let got = 0; got < count; got++) {
      push();
      expect(Buffer.compare(await b.next(), plainFrame(MAC_B, 30_000, got))).toBe(0);
    }
  });

  it('are given plain frames of what was left undone', async () => {
    const port = await freePort();
    const a = await card('socket', 'a', { listen: `:${port}` });
    const b = await card('socket', 'b', { connect: `:${port}` });
    await until(() => happened('a', 'connected'));
    const { bytes, transport } = packet({ payload: bytesOf(30_000), partial: true });
    const meta = { flags: HDR_F_NEEDS_CSUM, gsoType: GSO_TCPV4, gsoSize: 1448, csumStart: transport, csumOffset: 16 };
    await a.send(bytes, meta);
    for (let i = 0; i < Math.ceil(30_000 / 1448); i++) {
      const frame = await b.next();
      expect(frame.length).toBeLessThanOrEqual(1514);
      expect(checksumsAreRight(frame)).toBe(true);
    }
  });
});

describe('a connection', () => {
  it('that ends can be made again', async () => {
    const port = await freePort();
    const a = await card('socket', 'a', { listen: `:${port}` });
    await card('socket', 'b', { connect: `:${port}` });
    await until(() => happened('a', 'connected'));
    await network.get('b')!.close();
    await until(() => happened('a', 'disconnected'));
    // Nobody is there: frames are lost, and nothing is held up.
    for (let i = 0; i < 100; i++) await a.send(plainFrame(MAC_B, 30_000));
    events = [];
    const b = await card('socket', 'b', { connect: `:${port}` });
    await until(() => happened('a', 'connected'));
    await exchange(a, b);
  });

  it('is tried again by a client that is told to', async () => {
    const port = String(await freePort());
    const values = { 'addr.type': 'inet', 'addr.port': port };
    const b = await card('stream', 'b', { ...values, reconnect: 1 });
    const a = await card('stream', 'a', { ...values, server: true });
    await until(() => happened('a', 'connected'));
    await exchange(a, b);
  });

  it.each([
    ['refused', { connect: '127.0.0.1:1' }, 'network', /nobody listens there/],
    ['to no host', { connect: 'no-such-host.invalid:1' }, 'network', /no such host|cannot connect/],
    ['from an address that is not ours', { listen: '192.0.2.1:4000' }, 'network', /does not have that address/],
  ])('%s is an error that says so', async (_what, values, kind, message) => {
    await expect(network.add(netdevSpec('socket', 'a', values))).rejects.toMatchObject({
      kind,
      message: expect.stringMatching(message),
    });
    expect(network.get('a')).toBeNull();
  });

  it('to a port that is taken, a socket file in use, or one left behind', async () => {
    const port = await freePort();
    await network.add(netdevSpec('socket', 'a', { listen: `:${port}` }));
    await expect(network.add(netdevSpec('socket', 'b', { listen: `:${port}` }))).rejects.toMatchObject({
      kind: 'in-use',
    });
    const unix = { 'addr.type': 'unix', 'addr.path': join(folder, 'taken.sock'), server: true };
    await network.add(netdevSpec('stream', 'c', unix));
    await expect(network.add(netdevSpec('stream', 'd', unix))).rejects.toMatchObject({ kind: 'in-use' });
    const plain = join(folder, 'a-file');
    writeFileSync(plain, 'precious');
    const file = { ...unix, 'addr.path': plain };
    await expect(network.add(netdevSpec('stream', 'e', file))).rejects.toMatchObject({ kind: 'in-use' });
    expect(existsSync(plain)).toBe(true);
    const left = join(folder, 'left.sock');
    const die = `require('net').createServer().listen(${JSON.stringify(left)}, () => process.kill(process.pid, 9))`;
    spawnSync(process.execPath, ['-e', die]);
    expect(existsSync(left)).toBe(true);
    await network.add(netdevSpec('stream', 'f', { ...unix, 'addr.path': left }));
  });

  it('is one at a time, and closed for a peer that does not speak the protocol', async () => {
    const port = await freePort();
    const a = await card('socket', 'a', { listen: `:${port}` });
    const dial = async (): Promise<Socket> => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      await new Promise((resolve) => socket.once('connect', resolve));
      return socket;
    };
    const ended = (socket: Socket): Promise<unknown> => new Promise((resolve) => socket.once('close', resolve));
    const first = await dial();
    await until(() => happened('a', 'connected'));
    const second = await dial();
    await ended(second.resume());
    // A frame byte by byte, one of no bytes, one too short; then nonsense.
    const frame = plainFrame(MAC_A, 20);
    for (const byte of [0, 0, 0, 20, ...frame]) first.write(Uint8Array.of(byte));
    expect(await a.next()).toEqual(frame);
    first.write(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 20, ...frame));
    expect(await a.next()).toEqual(frame);
    first.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    await ended(first.resume());
    await until(() => events.some(({ event }) => event.kind === 'note' && /QEMU's protocol/.test(event.message)));
    expect(a.take()).toBeNull();
  });
});

describe('a netdev', () => {
  it('takes one card', async () => {
    const netdev = await network.add(netdevSpec('hubport', 'a'));
    const first = new NetCard(netdev);
    expect(() => netdev.connectNic()).toThrow(expect.objectContaining({ kind: 'in-use' }));
    await first.nic.close();
    const other = await card('hubport', 'b', {});
    const second = new NetCard(netdev);
    await until(() => second.isPlugged, 'the network worker');
    await exchange(second, other);
  });

  it('whose link is down loses frames, and the card knows', async () => {
    const [a, b] = [await card('hubport', 'a', {}), await card('hubport', 'b', {})];
    await exchange(a, b);
    await network.get('a')!.setLink(false);
    expect(a.linkUp).toBe(false);
    await a.send(plainFrame(MAC_B));
    await b.send(plainFrame(MAC_A));
    await network.get('a')!.info();
    await network.get('a')!.setLink(true);
    await exchange(a, b);
  });

  it('that is closed pulls the cable', async () => {
    const a = await card('hubport', 'a', {});
    await network.get('a')!.close();
    expect(a.linkUp).toBe(false);
    expect(network.get('a')).toBeNull();
    await network.add(netdevSpec('hubport', 'a'));
    await expect(network.add(netdevSpec('hubport', 'a'))).rejects.toMatchObject({ kind: 'bad-option' });
  });

  it.each<[string, string, Record<string, string | boolean | number>]>([
    ['nothing', 'socket', {}],
    ['two ways at once', 'socket', { listen: ':1', connect: ':2' }],
    ['no port', 'socket', { listen: 'localhost' }],
    ['a port that is none', 'socket', { listen: ':70000' }],
    ['a group that is none', 'socket', { mcast: '127.0.0.1:1234' }],
    ['udp without localaddr', 'socket', { udp: '127.0.0.1:1234' }],
    ['localaddr without use', 'socket', { listen: ':1', localaddr: '127.0.0.1:1' }],
    ['no address', 'stream', {}],
    ['a unix socket without path', 'stream', { 'addr.type': 'unix' }],
    ['no port', 'stream', { 'addr.type': 'inet' }],
    ['a server that reconnects', 'stream', { 'addr.type': 'inet', 'addr.port': '1', server: true, reconnect: 1 }],
    ['nobody', 'dgram', {}],
    ['nowhere to listen', 'dgram', { 'remote.type': 'inet', 'remote.host': '127.0.0.1', 'remote.port': '1' }],
  ])('is refused with %s (%s)', (_what, kind, values) => {
    expect(() => netdevSpec(kind, 'a', values)).toThrow(expect.objectContaining({ kind: 'bad-option' }));
  });

  it('refuses unix datagrams, and hubs behind hubs', async () => {
    expect(() => netdevSpec('dgram', 'a', { 'remote.type': 'unix' })).toThrow(
      expect.objectContaining({ kind: 'unsupported' }),
    );
    await network.add(netdevSpec('hubport', 'a', { hubid: 1 }));
    await expect(network.add(netdevSpec('hubport', 'b', { hubid: 2, netdev: 'a' }))).rejects.toThrow(/a port of a hub/);
    await expect(network.add(netdevSpec('hubport', 'b', { netdev: 'x' }))).rejects.toThrow(/there is none/);
  });
});

const QEMU = '/usr/bin/qemu-system-riscv64';

describe.skipIf(!existsSync(QEMU))('QEMU', () => {
  /** QEMU as a hub between two of its back ends; its CPU sleeps. */
  async function qemu(netdevs: readonly string[]): Promise<AsyncDisposable> {
    const firmware = join(folder, 'sleep.bin');
    // wfi; j .-4
    writeFileSync(firmware, Uint8Array.of(0x73, 0x00, 0x50, 0x10, 0x6f, 0xf0, 0xdf, 0xff));
    const args = ['-M', 'virt', '-bios', firmware, '-display', 'none', '-nodefaults'];
    for (const [i, netdev] of netdevs.entries()) {
      args.push('-netdev', netdev, '-netdev', `hubport,id=h${i},hubid=0,netdev=${/id=(\w+)/.exec(netdev)![1]}`);
    }
    const child = spawn(QEMU, args, { stdio: 'ignore' });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    return {
      [Symbol.asyncDispose]: async () => {
        child.kill();
        await ended;
      },
    };
  }

  it('is connected with -netdev socket, to a listener of ours and to one of its own', async () => {
    const [ours, its] = [await freePort(), await freePort()];
    const a = await card('socket', 'a', { listen: `:${ours}` });
    // In this order: it listens before it connects.
    await using _ = await qemu([`socket,id=s1,listen=127.0.0.1:${its}`, `socket,id=s0,connect=127.0.0.1:${ours}`]);
    await until(() => happened('a', 'connected'));
    const b = await card('socket', 'b', { connect: `:${its}` });
    await exchange(a, b);
  });

  it('is connected with -netdev stream by a unix socket and by TCP', async () => {
    const port = await freePort();
    const path = join(folder, 'qemu.sock');
    const a = await card('stream', 'a', { 'addr.type': 'unix', 'addr.path': path, server: true });
    const b = await card('stream', 'b', { 'addr.type': 'inet', 'addr.port': String(port), server: true });
    await using _ = await qemu([
      `stream,id=s0,server=off,addr.type=unix,addr.path=${path}`,
      `stream,id=s1,server=off,addr.type=inet,addr.host=127.0.0.1,addr.port=${port}`,
    ]);
    await until(() => happened('a', 'connected') && happened('b', 'connected'));
    await exchange(a, b);
  });

  it('is connected with -netdev dgram and socket,udp', async () => {
    const ports = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
    const a = await card('dgram', 'a', {
      'local.type': 'inet',
      'local.host': '127.0.0.1',
      'local.port': String(ports[0]),
      'remote.type': 'inet',
      'remote.host': '127.0.0.1',
      'remote.port': String(ports[1]),
    });
    const b = await card('socket', 'b', { udp: `127.0.0.1:${ports[3]}`, localaddr: `127.0.0.1:${ports[2]}` });
    await using _ = await qemu([
      `dgram,id=s0,local.type=inet,local.host=127.0.0.1,local.port=${ports[1]},` +
        `remote.type=inet,remote.host=127.0.0.1,remote.port=${ports[0]}`,
      `socket,id=s1,udp=127.0.0.1:${ports[2]},localaddr=127.0.0.1:${ports[3]}`,
    ]);
    // Datagrams sent before QEMU listens are lost. Once one has come through, a marker follows all that were sent before it.
    do {
      await a.send(plainFrame(BROADCAST, 30));
      // So few at a time that no socket's buffer is full.
      await new Promise((resolve) => setTimeout(resolve, 20));
    } while (b.take() === null);
    const marker = plainFrame(BROADCAST, 31, 31);
    await a.send(marker);
    let frame = await b.next();
    while (Buffer.compare(frame, marker) !== 0) {
      expect(frame).toEqual(plainFrame(BROADCAST, 30));
      frame = await b.next();
    }
    await exchange(a, b);
  });
});
