/** virtio-vsock (virtio 1.3, section 5.10) between a driver and unix sockets of the host. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';

import * as spec from '../../core/virtio/spec/vsock.ts';
import { VsockDevice } from '../../core/virtio/vsock/device.ts';
import { parseHeader, writeHeader } from '../../core/virtio/vsock/packet.ts';
import type { VsockPacket } from '../../core/virtio/vsock/packet.ts';
import { GUEST_SLOTS, RING_BYTES } from '../../core/virtio/vsock/shared-slots.ts';
import { SocketService } from '../../core/virtio/vsock/socket-service.ts';
import type { MockDriver } from '../harness/mock-driver.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const CID = 42n;
const HDR = spec.VSOCK_HDR_BYTES;
const BUFFER = 4096;
const {
  VIRTIO_VSOCK_OP_REQUEST: REQUEST,
  VIRTIO_VSOCK_OP_RESPONSE: RESPONSE,
  VIRTIO_VSOCK_OP_RST: RST,
  VIRTIO_VSOCK_OP_SHUTDOWN: SHUTDOWN,
  VIRTIO_VSOCK_OP_RW: RW,
  VIRTIO_VSOCK_OP_CREDIT_UPDATE: CREDIT_UPDATE,
  VIRTIO_VSOCK_OP_CREDIT_REQUEST: CREDIT_REQUEST,
} = spec;
const SHUTDOWN_BOTH = 3;

const folder = mkdtempSync(join(tmpdir(), 'ringside-vsock-'));
const bench = new VirtioBench();
afterAll(async () => {
  await bench.close();
  rmSync(folder, { recursive: true, force: true });
});

const pattern = (length: number) => Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 0xff));

/** The driver's side: packets, and buffers for those of the device. */
class Guest {
  readonly driver: MockDriver;
  /** Packets of the device that nobody has taken yet. */
  readonly received: (VsockPacket & { data: Buffer })[] = [];
  readonly #buffers = new Map<number, number>();
  readonly #tx: number;
  bufAlloc = 1 << 20;
  forwarded = 0;

  constructor(driver: MockDriver) {
    this.driver = driver;
    this.#tx = bench.allocator.alloc(RING_BYTES * 2);
  }

  async offerBuffers(count: number, bytes = BUFFER): Promise<void> {
    for (let i = 0; i < count; i++) {
      const address = bench.allocator.alloc(bytes);
      const head = this.driver.queues[spec.VSOCK_RX].add([{ address, length: bytes, writable: true }]);
      this.#buffers.set(head, address);
    }
    await this.driver.notify(spec.VSOCK_RX);
  }

  async send(packet: Partial<VsockPacket>, data: Buffer = Buffer.alloc(0)): Promise<void> {
    const header = Buffer.alloc(HDR);
    writeHeader(header, {
      srcCid: CID,
      dstCid: spec.VSOCK_HOST_CID,
      srcPort: 1000,
      dstPort: 2000,
      length: data.length,
      type: spec.VIRTIO_VSOCK_TYPE_STREAM,
      op: RW,
      flags: 0,
      bufAlloc: this.bufAlloc,
      fwdCnt: this.forwarded,
      ...packet,
    });
    bench.memory.write(this.#tx, Buffer.concat([header, data]));
    const buffers = [{ address: this.#tx, length: HDR }];
    if (data.length > 0) buffers.push({ address: this.#tx + HDR, length: data.length });
    const used = await this.driver.submit(this.driver.queues[spec.VSOCK_TX], buffers);
    expect(used.length).toBe(0);
  }

  poll(): void {
    const queue = this.driver.queues[spec.VSOCK_RX];
    for (let used = queue.takeUsed(); used; used = queue.takeUsed()) {
      const address = this.#buffers.get(used.id)!;
      const bytes = Buffer.from(bench.memory.read(address, used.length));
      expect(bytes.length).toBeGreaterThanOrEqual(HDR);
      const packet = parseHeader(bytes);
      expect([packet.dstCid, packet.length]).toEqual([CID, bytes.length - HDR]);
      this.received.push({ ...packet, data: bytes.subarray(HDR) });
      const head = queue.add([{ address, length: BUFFER, writable: true }]);
      this.#buffers.set(head, address);
    }
  }

  /** The next packet of the device. */
  async next(op?: number, milliseconds = 10_000): Promise<VsockPacket & { data: Buffer }> {
    const end = performance.now() + milliseconds;
    for (;;) {
      this.poll();
      await this.driver.notify(spec.VSOCK_RX);
      const packet = this.received.shift();
      if (packet && (op === undefined || packet.op === op)) return packet;
      if (packet && packet.op !== CREDIT_UPDATE) throw new Error(`packet ${packet.op} instead of ${op}`);
      if (performance.now() > end) throw new Error(`no packet ${op} in ${milliseconds} ms`);
      if (!packet) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async quiet(milliseconds = 50): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    this.poll();
    expect(this.received.filter(({ op }) => op !== CREDIT_UPDATE)).toEqual([]);
    this.received.length = 0;
  }

  /** Data of the device until there are so many bytes. */
  async data(bytes: number, from: Partial<VsockPacket> = {}): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let done = 0; done < bytes;) {
      const { data } = await this.next(RW);
      parts.push(data);
      done += data.length;
      this.forwarded += data.length;
      await this.send({ op: CREDIT_UPDATE, ...from });
    }
    return Buffer.concat(parts);
  }
}

/** A host program's socket, all that came from it, and its end. */
class Program {
  readonly socket: Socket;
  bytes = Buffer.alloc(0);
  ended = false;
  closed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => (this.bytes = Buffer.concat([this.bytes, chunk])));
    socket.on('end', () => (this.ended = true));
    socket.on('close', () => (this.closed = true));
    socket.on('error', () => {});
  }

  /** The other side is, at least, done. */
  get gone(): boolean {
    return this.ended || this.closed;
  }

  async has(text: string): Promise<void> {
    await until(() => this.bytes.toString('latin1').startsWith(text), JSON.stringify(text));
    this.bytes = this.bytes.subarray(text.length);
  }
}

let count = 0;
let path: string;
let service: SocketService;
let guest: Guest;
let servers: Server[];
let programs: Program[];

async function listen(port: number): Promise<{ next(): Promise<Program> }> {
  const waiting: Program[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const program = new Program(socket);
    waiting.push(program);
    programs.push(program);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(`${path}_${port}`, resolve));
  return {
    next: async () => {
      await until(() => waiting.length > 0, 'a connection');
      return waiting.shift()!;
    },
  };
}

function call(greeting: string): Program {
  const program = new Program(connect({ path, allowHalfOpen: true }));
  programs.push(program);
  program.socket.write(greeting);
  return program;
}

/** A connection that the guest has made. */
async function connected(ports: Partial<VsockPacket> = {}): Promise<Program> {
  const listener = await listen(ports.dstPort ?? 2000);
  await guest.send({ op: REQUEST, ...ports });
  const program = await listener.next();
  await guest.next(RESPONSE);
  return program;
}

/** A connection that a program has made to port 80 of the guest; and the ports for send(). */
async function called(text = ''): Promise<{ program: Program; ports: Partial<VsockPacket> }> {
  const program = call(`CONNECT 80\n${text}`);
  const request = await guest.next(REQUEST);
  expect([request.dstPort, request.srcCid]).toEqual([80, spec.VSOCK_HOST_CID]);
  const ports = { srcPort: 80, dstPort: request.srcPort };
  await guest.send({ op: RESPONSE, ...ports });
  await program.has(`OK ${request.srcPort}\n`);
  return { program, ports };
}

describe('virtio-vsock', () => {
  beforeEach(async () => {
    path = join(folder, `s${count++}`);
    servers = [];
    programs = [];
    service = await SocketService.start('vsock0', path, bench.memory.memory);
    const device = new VsockDevice({ id: 'vsock0', guestCid: CID, shared: service.shared });
    guest = new Guest(await (await bench.attach(device)).init({ queueSize: 64 }));
    await guest.offerBuffers(32);
  });
  afterEach(async () => {
    await bench.clear();
    await service.close();
    for (const { socket } of programs) socket.destroy();
    for (const server of servers) server.close();
    expect(existsSync(path)).toBe(false);
    expect(bench.crashes).toEqual([]);
  });

  it('says the address of the guest', async () => {
    expect(await guest.driver.readConfig(spec.VSOCK_CONFIG_GUEST_CID, 4)).toBe(42);
    expect(await guest.driver.readConfig(spec.VSOCK_CONFIG_GUEST_CID + 4, 4)).toBe(0);
    expect(guest.driver.offered & 7n).toBe(1n);
  });

  it('connects the guest to a socket of the host, bytes both ways', async () => {
    const program = await connected();
    await guest.send({}, Buffer.from('hello'));
    await program.has('hello');
    program.socket.write('there');
    expect((await guest.data(5)).toString()).toBe('there');
  });

  it('connects a program of the host to a port of the guest', async () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const { program, ports } = await called('early');
    expect((await guest.data(5, ports)).toString()).toBe('early');
    await guest.send(ports, Buffer.from('welcome'));
    await program.has('welcome');
  });

  it('resets where nobody listens', async () => {
    await guest.send({ op: REQUEST, dstPort: 9 });
    expect(await guest.next(RST)).toMatchObject({ srcPort: 9, dstPort: 1000 });
    const program = call('CONNECT 81\n');
    const { srcPort } = await guest.next(REQUEST);
    await guest.send({ op: RST, srcPort: 81, dstPort: srcPort });
    await until(() => program.gone);
    expect(program.bytes).toHaveLength(0);
  });

  it('sends no more than the driver has room for, and goes on when it has', async () => {
    guest.bufAlloc = 10_000;
    const program = await connected();
    const bytes = pattern(300_000);
    program.socket.write(bytes);
    let got = Buffer.alloc(0);
    while (got.length < 10_000) got = Buffer.concat([got, (await guest.next(RW)).data]);
    expect(got).toHaveLength(10_000);
    await guest.quiet();
    guest.forwarded = 10_000;
    await guest.send({ op: CREDIT_UPDATE });
    got = Buffer.concat([got, await guest.data(290_000)]);
    expect(got.equals(bytes)).toBe(true);
  });

  it('holds the guest back while the program does not read, and loses nothing', async () => {
    const program = await connected();
    program.socket.pause();
    const bytes = pattern(2_000_000);
    let sent = 0;
    let forwarded = 0;
    let allowance = RING_BYTES;
    const credit = () => {
      guest.poll();
      for (const packet of guest.received.splice(0)) {
        expect(packet.op).toBe(CREDIT_UPDATE);
        forwarded = packet.fwdCnt;
        allowance = packet.bufAlloc;
      }
      return allowance - (sent - forwarded);
    };
    let resumed = false;
    for (let idle = 0; sent < bytes.length;) {
      const room = Math.min(credit(), 30_000, bytes.length - sent);
      if (room > 0) {
        await guest.send({}, bytes.subarray(sent, sent + room));
        sent += room;
        idle = 0;
        continue;
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (!resumed && ++idle > 20) {
        // What the kernel holds for the socket, our ring and Node's buffer are full, and no more.
        expect(sent).toBeLessThan(1_000_000);
        program.socket.resume();
        resumed = true;
      }
    }
    await until(() => program.bytes.length === bytes.length);
    expect(program.bytes.equals(bytes)).toBe(true);
    expect(resumed).toBe(true);
  });

  it('answers a request for credit', async () => {
    const program = await connected();
    await guest.send({}, Buffer.from('abc'));
    await program.has('abc');
    await guest.send({ op: CREDIT_REQUEST });
    for (;;) {
      const update = await guest.next(CREDIT_UPDATE);
      expect(update.bufAlloc).toBe(RING_BYTES);
      if (update.fwdCnt === 3) break;
    }
  });

  it('closes in halves', async () => {
    const program = await connected();
    // The guest has said all it had to say.
    await guest.send({}, Buffer.from('last words'));
    await guest.send({ op: SHUTDOWN, flags: spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND });
    await program.has('last words');
    await until(() => program.ended);
    program.socket.write('answer');
    expect((await guest.data(6)).toString()).toBe('answer');
    // And the program too.
    program.socket.end('bye');
    expect((await guest.data(3)).toString()).toBe('bye');
    const { flags } = await guest.next(SHUTDOWN);
    expect(flags & spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND).not.toBe(0);
    await guest.send({ op: SHUTDOWN, flags: SHUTDOWN_BOTH });
    // The program's socket is closed now, of which the guest may be told too.
    while ((await guest.next()).op !== RST) continue;
    await until(() => program.closed);
  });

  it('brings what was sent before the guest closed', async () => {
    const program = await connected();
    const bytes = pattern(50_000);
    await guest.send({}, bytes);
    await guest.send({ op: SHUTDOWN, flags: SHUTDOWN_BOTH });
    await guest.next(RST);
    await until(() => program.gone);
    expect(program.bytes.equals(bytes)).toBe(true);
  });

  it('brings what was sent before the program closed', async () => {
    const { program, ports } = await called();
    const bytes = pattern(50_000);
    program.socket.end(bytes);
    expect((await guest.data(50_000, ports)).equals(bytes)).toBe(true);
    await guest.next(SHUTDOWN);
    await guest.send({ op: SHUTDOWN, flags: SHUTDOWN_BOTH, ...ports });
    await guest.next(RST);
  });

  it('resets a connection whose driver does not confirm its end', async () => {
    const program = await connected();
    program.socket.destroy();
    await guest.send({}, Buffer.from('to nobody'));
    await guest.next(SHUTDOWN);
    while ((await guest.next(undefined, 5000)).op !== RST) continue;
  });

  it('has room for many connections, and for as many after them', async () => {
    const listener = await listen(7);
    for (let round = 0; round < 3; round++) {
      const opened: Program[] = [];
      for (let i = 0; i < GUEST_SLOTS; i++) {
        await guest.send({ op: REQUEST, srcPort: i, dstPort: 7 });
        opened.push(await listener.next());
        await guest.next(RESPONSE);
      }
      await guest.send({ op: REQUEST, srcPort: 5000, dstPort: 7 });
      expect((await guest.next(RST)).dstPort).toBe(5000);
      for (let i = 0; i < GUEST_SLOTS; i++) await guest.send({ srcPort: i, dstPort: 7 }, Buffer.from(`I am ${i}.`));
      for (const [i, program] of opened.entries()) await program.has(`I am ${i}.`);
      for (let i = 0; i < GUEST_SLOTS; i++) {
        await guest.send({ op: SHUTDOWN, flags: SHUTDOWN_BOTH, srcPort: i, dstPort: 7 });
        await guest.next(RST);
      }
      for (const { socket } of opened) socket.end();
      await until(() => opened.every(({ closed }) => closed));
      // The slots are free when the sockets' worker has seen it.
      await guest.quiet();
    }
  });

  it('turns away programs that do not say where to', async () => {
    for (const greeting of ['GET / HTTP/1.1\r\n\r\n', 'CONNECT x\n', 'CONNECT 4294967295\n', 'C'.repeat(100), '\n']) {
      const program = call(greeting);
      await until(() => program.gone, greeting);
    }
    // And those that are gone before the guest has answered.
    const program = call('CONNECT 80\n');
    const { srcPort } = await guest.next(REQUEST);
    program.socket.destroy();
    await guest.send({ op: RESPONSE, srcPort: 80, dstPort: srcPort });
    await guest.next(SHUTDOWN);
  });

  it('forgets all connections with a reset', async () => {
    const program = await connected();
    const { program: caller } = await called();
    await guest.driver.init({ queueSize: 64 });
    await until(() => program.gone);
    await until(() => caller.gone);
    guest = new Guest(guest.driver);
    await guest.offerBuffers(16);
    await guest.send({}, Buffer.from('who are you?'));
    await guest.next(RST);
    await connected({ dstPort: 2001 });
  });

  it('resets on nonsense, and keeps silent where a driver must not speak', async () => {
    // Not its address; a reset of nothing.
    await guest.send({ op: REQUEST, srcCid: 7n });
    await guest.send({ op: RST });
    await guest.quiet();
    // Another host, another type, an unknown connection.
    await guest.send({ op: REQUEST, dstCid: 9n });
    expect((await guest.next(RST)).srcCid).toBe(9n);
    await guest.send({ op: REQUEST, type: 2 });
    expect((await guest.next(RST)).type).toBe(2);
    for (const op of [RESPONSE, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST, 0, 99]) {
      await guest.send({ op });
      await guest.next(RST);
    }
    // Each of these ends the connection.
    let port = 3000;
    for (const [packet, data] of [
      [{ op: REQUEST }, 0],
      [{ op: RESPONSE }, 0],
      [{ op: 99 }, 0],
      [{ op: RW, length: 5000 }, 10],
      [{ op: RW, length: 0xffff_ffff }, 0],
      [{ op: RW }, RING_BYTES + 1],
    ] as [Partial<VsockPacket>, number][]) {
      port++;
      const program = await connected({ dstPort: port });
      await guest.send({ ...packet, dstPort: port }, pattern(data));
      await guest.next(RST);
      await until(() => program.gone);
    }
    // Data behind the end.
    const program = await connected({ dstPort: 4000 });
    await guest.send({ op: SHUTDOWN, flags: spec.VIRTIO_VSOCK_SHUTDOWN_F_SEND, dstPort: 4000 });
    await guest.send({ dstPort: 4000 }, Buffer.from('more'));
    await guest.next(RST);
    await until(() => program.gone);
    expect(program.bytes).toHaveLength(0);
    expect(bench.bus.snapshot()[0].error).toBeNull();
  });

  it('takes no more packets than it has room for answers', async () => {
    const { driver } = guest;
    await driver.init({ queueSize: 64 });
    const header = Buffer.alloc(HDR);
    writeHeader(header, { ...parseHeader(header), srcCid: CID, dstCid: 2n, type: 1, op: RW, srcPort: 1, dstPort: 2 });
    const address = bench.allocator.put(header);
    let taken = 0;
    const flood = async () => {
      while (driver.queues[1].freeDescriptors > 0) driver.queues[1].add([{ address, length: HDR }]);
      await driver.notify(1);
      await new Promise((resolve) => setTimeout(resolve, 5));
      while (driver.queues[1].takeUsed()) taken++;
    };
    while (taken < 256) await flood();
    for (let i = 0; i < 10; i++) await flood();
    expect(taken).toBe(256);
    guest = new Guest(driver);
    await guest.offerBuffers(32);
    for (let i = 0; i < 256; i++) await guest.next(RST);
    await until(() => driver.queues[1].takeUsed() !== null);
  });

  it('needs a reset for packets and buffers that are too small', async () => {
    const { driver } = guest;
    driver.queues[1].add([{ address: bench.allocator.alloc(64), length: HDR - 1 }]);
    await driver.notify(1);
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/43 bytes are no packet/);
    await driver.init({ queueSize: 64 });
    guest = new Guest(driver);
    driver.queues[0].add([{ address: bench.allocator.alloc(64), length: HDR - 1, writable: true }]);
    await guest.send({ op: RW });
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/43 bytes have no room for a packet/);
  });

  it('says what is wrong with its socket, and takes over one that was left behind', async () => {
    const start = (where: string) => SocketService.start('vsock1', where, bench.memory.memory);
    await expect(start(path)).rejects.toMatchObject({ kind: 'in-use' });
    await expect(start(join(folder, 'no', 'folder'))).rejects.toMatchObject({ kind: 'not-found' });
    await expect(start(join(folder, 'x'.repeat(120)))).rejects.toMatchObject({ kind: 'bad-option' });
    writeFileSync(join(folder, 'file'), 'precious');
    await expect(start(join(folder, 'file'))).rejects.toMatchObject({ kind: 'in-use' });
    for (const guestCid of [2n, 0xffff_ffffn]) {
      expect(() => new VsockDevice({ id: 'v', guestCid, shared: service.shared })).toThrow(/guest-cid of v must be/);
    }
  });
});
