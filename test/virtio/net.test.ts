/** virtio-net (virtio 1.3, section 5.1), the test being the network. */
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { GSO_TCPV4, GSO_TCPV6, GSO_UDP, GSO_UDP_L4, HDR_F_DATA_VALID, HDR_F_NEEDS_CSUM } from '../../core/net/frame.ts';
import type { FrameMeta } from '../../core/net/frame.ts';
import { BlkDevice } from '../../core/virtio/blk/device.ts';
import { NetDevice } from '../../core/virtio/net/device.ts';
import type { NetDeviceOptions } from '../../core/virtio/net/device.ts';
import { VIRTIO_BLK_T_FLUSH } from '../../core/virtio/spec/blk.ts';
import { VIRTIO_F_EVENT_IDX, hasFeature } from '../../core/virtio/spec/features.ts';
import * as spec from '../../core/virtio/spec/net.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { MAC_A, MAC_B, bytesOf, checksumsAreRight, packet, plainFrame } from '../harness/frames.ts';
import { NetDriver } from '../harness/net-driver.ts';
import { NetWire } from '../harness/net-wire.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const ALL = spec.NET_FEATURES.map(({ bit }) => bit).filter(
  (bit) =>
    bit !== spec.VIRTIO_NET_F_MQ &&
    bit !== spec.VIRTIO_NET_F_RSS &&
    bit !== spec.VIRTIO_NET_F_HASH_REPORT &&
    bit !== spec.VIRTIO_NET_F_MTU &&
    bit !== spec.VIRTIO_NET_F_SPEED_DUPLEX,
);

const benches = { modern: new VirtioBench({ mib: 32 }), legacy: new VirtioBench({ mib: 32, legacy: true }) };
afterEach(async () => {
  for (const bench of Object.values(benches)) {
    expect(bench.crashes).toEqual([]);
    await bench.clear();
  }
});
afterAll(async () => {
  for (const bench of Object.values(benches)) await bench.close();
});

interface Plugged {
  device: NetDevice;
  wire: NetWire;
  driver: NetDriver;
}

async function plug(
  bench: VirtioBench,
  options: Partial<NetDeviceOptions> = {},
  init: { features?: number[]; queueSize?: number } = {},
): Promise<Plugged> {
  const wire = new NetWire(() => bench.iothread.wake());
  const device = new NetDevice({ id: 'net0', mac: MAC_A, rings: wire.rings, features: ALL, ...options });
  const mock = await (await bench.attach(device)).init({ queueSize: 64, ...init });
  await until(() => wire.toNic.isOpen);
  return { device, wire, driver: new NetDriver(bench, mock) };
}

/** As toEqual, which is slow for many bytes. */
function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Resolves when the I/O worker has looked at everything that was there before. */
async function quiet(bench: VirtioBench): Promise<void> {
  // It answers the first pause before it looks, and the second behind that.
  for (let i = 0; i < 2; i++) {
    await bench.bus.pause();
    await bench.bus.resume();
  }
}

describe.each(['modern', 'legacy'] as const)('virtio-net, %s transport', (version) => {
  const bench = benches[version];

  it.each([
    ['with mergeable buffers', [spec.VIRTIO_NET_F_MRG_RXBUF]],
    ['without', []],
  ])('moves frames both ways %s', async (_how, features) => {
    const { wire, driver } = await plug(bench, {}, { features });
    await driver.post(8, 1600);
    for (const length of [14, 60, 1514]) {
      wire.send(plainFrame(MAC_A, Math.max(length, 15)));
      const { header, bytes, buffers } = await driver.receive();
      expect(bytes).toEqual(plainFrame(MAC_A, Math.max(length, 15)));
      expect(header).toMatchObject({ flags: 0, gsoType: 0, numBuffers: 1 });
      expect(buffers).toBe(1);
      await driver.transmit(plainFrame(MAC_B, 100, length));
      expect((await wire.next()).data).toEqual(plainFrame(MAC_B, 100, length));
      await driver.sent();
    }
  });

  it('keeps frames in order and loses none, however many buffers there are', async () => {
    const { wire, driver } = await plug(bench, {}, { features: [VIRTIO_F_EVENT_IDX], queueSize: 16 });
    const count = 300;
    let sent = 0;
    let received = 0;
    await driver.post(16, 1600);
    while (received < count) {
      while (sent < count && wire.send(plainFrame(MAC_A, 60 + (sent % 1400), sent))) sent++;
      const { bytes } = await driver.receive();
      expect(same(bytes, plainFrame(MAC_A, 60 + (received % 1400), received))).toBe(true);
      received++;
      await driver.post(1, 1600);
    }
  });

  it('holds the driver up when the network takes no more, and loses nothing', async () => {
    const { wire, driver } = await plug(bench);
    let used = 0;
    let added = 0;
    const big = (seed: number): Uint8Array => plainFrame(MAC_B, 60_000, seed);
    const address = bench.allocator.alloc(60_000 + 12);
    // The ring to the network worker has room for 17 of them.
    while (added < 32) {
      bench.memory.write(address + driver.headerBytes, big(0));
      driver.tx().add([{ address, length: driver.headerBytes + 60_000 }]);
      added++;
    }
    await driver.mock.notify(1);
    await quiet(bench);
    while (driver.tx().takeUsed()) used++;
    expect(used).toBeGreaterThan(10);
    expect(used).toBeLessThan(20);
    for (let taken = 0; taken < 32; taken++) expect(same((await wire.next()).data, big(0))).toBe(true);
    await until(() => {
      while (driver.tx().takeUsed()) used++;
      return used === 32;
    });
  });

  it('says its MAC address and that its link is up', async () => {
    const { device, driver } = await plug(bench);
    const mac = await Promise.all(Array.from(MAC_A, (_, i) => driver.mock.readConfig(i, 1)));
    expect(mac).toEqual([...MAC_A]);
    expect(await driver.mock.readConfig(spec.NET_CONFIG_STATUS, 2)).toBe(spec.VIRTIO_NET_S_LINK_UP);
    device.setLink(false);
    expect(await driver.mock.readConfig(spec.NET_CONFIG_STATUS, 2)).toBe(0);
    expect(await driver.mock.handleInterrupt()).toBe(2);
  });

  it('loses frames both ways while the link is down', async () => {
    const { device, wire, driver } = await plug(bench);
    await driver.post(4, 1600);
    device.setNetdevLink(false);
    device.setLink(true);
    wire.send(plainFrame(MAC_A));
    await driver.transmit(plainFrame(MAC_B));
    await driver.sent();
    await quiet(bench);
    expect(driver.take()).toBeNull();
    expect(wire.take()).toBeNull();
    device.setNetdevLink(true);
    wire.send(plainFrame(MAC_A, 61));
    expect((await driver.receive()).bytes).toHaveLength(61);
  });

  it('forgets what came before the driver was ready', async () => {
    const wire = new NetWire(() => bench.iothread.wake());
    const device = new NetDevice({ id: 'net0', mac: MAC_A, rings: wire.rings, features: ALL });
    const mock = await bench.attach(device);
    expect(wire.toNic.isOpen).toBe(false);
    wire.send(plainFrame(MAC_A, 60));
    const driver = new NetDriver(bench, await mock.init({ queueSize: 16 }));
    await driver.post(4, 1600);
    wire.send(plainFrame(MAC_A, 61));
    expect((await driver.receive()).bytes).toHaveLength(61);
    await mock.reset();
    expect(wire.toNic.isOpen).toBe(false);
  });

  it('keeps what comes when the driver is ready but the I/O worker has not begun', async () => {
    // The worker is up to its neck in a request of another device's disk.
    const disk = FakeDisk.create();
    disk.shutGate();
    const blk = await (await bench.attach(new BlkDevice({ id: 'drive0', disk }))).init();
    const wire = new NetWire(() => bench.iothread.wake());
    const mock = await bench.attach(new NetDevice({ id: 'net0', mac: MAC_A, rings: wire.rings, features: ALL }));
    blk.queues[0].add(new BlkDriver(blk, bench.allocator).prepare(VIRTIO_BLK_T_FLUSH, 0, new Uint8Array(), 0).buffers);
    await blk.notify(0);
    await until(() => disk.waiting);
    const driver = new NetDriver(bench, await mock.init({ queueSize: 16 }));
    await driver.post(4, 1600);
    for (const length of [60, 61]) wire.send(plainFrame(MAC_A, length));
    disk.openGate();
    for (const length of [60, 61]) expect((await driver.receive()).bytes).toHaveLength(length);
  });
});

describe('virtio-net offloads', () => {
  const bench = benches.modern;

  it('takes partial checksums and large packets, and passes on what is to be done', async () => {
    const { wire, driver } = await plug(bench);
    for (const [options, gsoType] of [
      [{ version: 4, protocol: 'tcp' }, GSO_TCPV4],
      [{ version: 6, protocol: 'tcp' }, GSO_TCPV6],
      [{ version: 4, protocol: 'udp' }, GSO_UDP],
      [{ version: 6, protocol: 'udp' }, GSO_UDP_L4],
    ] as const) {
      const { bytes, transport } = packet({ ...options, payload: bytesOf(30_000), partial: true });
      const csumOffset = options.protocol === 'tcp' ? 16 : 6;
      const meta = { flags: HDR_F_NEEDS_CSUM, gsoType, hdrLen: 54, gsoSize: 1440, csumStart: transport, csumOffset };
      await driver.transmit(bytes, meta);
      const frame = await wire.next();
      expect(frame).toMatchObject(meta);
      expect(same(frame.data, bytes)).toBe(true);
    }
  });

  it('drops what the driver may not ask for, or what cannot be', async () => {
    const { wire, driver } = await plug(bench, {}, { features: [spec.VIRTIO_NET_F_CSUM, spec.VIRTIO_NET_F_HOST_TSO4] });
    const { bytes, transport } = packet({ payload: bytesOf(3000), partial: true });
    const good = { flags: HDR_F_NEEDS_CSUM, gsoType: GSO_TCPV4, gsoSize: 1000, csumStart: transport, csumOffset: 16 };
    for (const bad of [
      { ...good, gsoType: GSO_TCPV6 },
      { ...good, gsoType: GSO_UDP_L4 },
      { ...good, gsoType: GSO_TCPV4 | 0x80 },
      { ...good, gsoType: 2 },
      { ...good, gsoSize: 0 },
      { ...good, flags: 0 },
      { ...good, csumStart: 65535 },
      { ...good, csumStart: bytes.length - 17 },
    ]) {
      await driver.transmit(bytes, bad);
      await driver.sent();
    }
    for (const length of [0, 1, 13, 70_000]) {
      await driver.transmit(bytesOf(length));
      await driver.sent();
    }
    await driver.transmit(bytes, good);
    expect((await wire.next()).data).toEqual(bytes);
    expect(await driver.mock.status()).toBe(0xf);
  });

  const large = packet({ payload: bytesOf(20_000), partial: true });
  const largeMeta: FrameMeta = {
    flags: HDR_F_NEEDS_CSUM,
    gsoType: GSO_TCPV4,
    hdrLen: 54,
    gsoSize: 1448,
    csumStart: large.transport,
    csumOffset: 16,
  };

  it('gives a large packet as it is to a driver that takes it, in as many buffers as it needs', async () => {
    const { wire, driver } = await plug(bench);
    await driver.post(20, 1536);
    wire.send(Uint8Array.from(large.bytes), largeMeta);
    const { header, bytes, buffers } = await driver.receive();
    expect(same(bytes, large.bytes)).toBe(true);
    expect(header).toMatchObject({ ...largeMeta, numBuffers: buffers });
    expect(buffers).toBe(Math.ceil((large.bytes.length + 12) / 1536));
  });

  it('cuts it up for one that does not', async () => {
    const { wire, driver } = await plug(bench, {}, { features: [spec.VIRTIO_NET_F_GUEST_CSUM] });
    await driver.post(20, 1536);
    wire.send(Uint8Array.from(large.bytes), largeMeta);
    const got: Uint8Array[] = [];
    for (let i = 0; i < 14; i++) {
      const { header, bytes } = await driver.receive();
      // The driver fills in checksums itself.
      expect(header).toMatchObject({ flags: HDR_F_NEEDS_CSUM, gsoType: 0, csumStart: large.transport });
      got.push(bytes.subarray(large.payload));
    }
    expect(Buffer.concat(got).equals(large.bytes.subarray(large.payload))).toBe(true);
  });

  it('fills in checksums for one that takes nothing', async () => {
    const { wire, driver } = await plug(bench, {}, { features: [] });
    await driver.post(20, 1536);
    wire.send(Uint8Array.from(large.bytes), largeMeta);
    for (let i = 0; i < 14; i++) {
      const { header, bytes } = await driver.receive();
      expect(header).toMatchObject({ flags: 0, gsoType: 0, gsoSize: 0, csumStart: 0, numBuffers: 1 });
      expect(checksumsAreRight(bytes)).toBe(true);
    }
  });

  it('tells of checksums found right only who wants to know', async () => {
    const { wire, driver } = await plug(bench, {}, { features: [spec.VIRTIO_NET_F_GUEST_CSUM] });
    await driver.post(4, 1536);
    wire.send(packet().bytes, { flags: HDR_F_DATA_VALID });
    expect((await driver.receive()).header.flags).toBe(HDR_F_DATA_VALID);
  });

  it('obeys the driver that switches its offloads', async () => {
    const { wire, driver } = await plug(bench);
    await driver.post(40, 1536);
    const set = (bits: number[]): Promise<number> => {
      const data = new Uint8Array(8);
      const mask = bits.reduce((all, bit) => all | (1n << BigInt(bit)), 0n);
      new DataView(data.buffer).setBigUint64(0, mask, true);
      return driver.command(spec.NET_CTRL_GUEST_OFFLOADS, spec.NET_CTRL_GUEST_OFFLOADS_SET, data);
    };
    expect(await set([])).toBe(spec.NET_OK);
    wire.send(Uint8Array.from(large.bytes), largeMeta);
    for (let i = 0; i < 14; i++) expect((await driver.receive()).header).toMatchObject({ flags: 0, gsoType: 0 });
    expect(await set([spec.VIRTIO_NET_F_GUEST_CSUM, spec.VIRTIO_NET_F_GUEST_TSO4])).toBe(spec.NET_OK);
    wire.send(Uint8Array.from(large.bytes), largeMeta);
    expect((await driver.receive()).header).toMatchObject({ gsoType: GSO_TCPV4 });
    // No offload of received packets, and none of them.
    expect(await set([spec.VIRTIO_NET_F_HOST_TSO4])).toBe(spec.NET_ERR);
    expect(await set([40])).toBe(spec.NET_ERR);
  });
});

describe('virtio-net receive buffers', () => {
  const bench = benches.modern;

  it('waits for more buffers in the middle of a packet', async () => {
    const { wire, driver } = await plug(bench);
    await driver.post(2, 1000);
    wire.send(plainFrame(MAC_A, 3500));
    await quiet(bench);
    expect(driver.take()).toBeNull();
    await driver.post(2, 1000);
    const { bytes, buffers } = await driver.receive();
    expect(bytes).toEqual(plainFrame(MAC_A, 3500));
    expect(buffers).toBe(4);
  });

  it('has a queue without buffers hold up no other one of the card, and keeps some frames for it', async () => {
    const features = [...ALL, spec.VIRTIO_NET_F_MQ];
    const { wire, driver } = await plug(bench, { queuePairs: 2, features });
    expect(await driver.command(spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_VQ_PAIRS_SET, [2, 0])).toBe(spec.NET_OK);
    // The card learns which pair a flow uses from what the driver sends (section 5.1.6.5.6).
    const flow = (port: number, payload = 0) => ({
      out: packet({
        source: MAC_A,
        destination: MAC_B,
        sourcePort: port,
        destinationPort: 9,
        payload: bytesOf(payload),
      }),
      in: packet({
        sourceIp: [10, 0, 0, 2],
        destinationIp: [10, 0, 0, 1],
        sourcePort: 9,
        destinationPort: port,
        payload: bytesOf(payload),
      }),
    });
    for (const pair of [0, 1]) {
      await driver.transmit(flow(1000 + pair).out.bytes, {}, pair);
      await driver.sent(pair);
    }
    // Many more for the pair without buffers than are kept.
    let sent = 0;
    while (sent < 400 && wire.send(flow(1000, 1000).in.bytes)) sent++;
    await driver.post(8, 1600, 1);
    wire.send(flow(1001, 5).in.bytes);
    expect((await driver.receive(1)).bytes).toEqual(flow(1001, 5).in.bytes);
    await driver.post(1, 1600);
    expect((await driver.receive()).bytes).toEqual(flow(1000, 1000).in.bytes);
    wire.send(flow(1001, 6).in.bytes);
    expect((await driver.receive(1)).bytes).toEqual(flow(1001, 6).in.bytes);
    let kept = 1;
    for (let posted = 0; posted < 48; posted++) await driver.post(1, 1600);
    await quiet(bench);
    while (driver.take()) kept++;
    expect(kept).toBe(49);
    expect(await driver.mock.status()).toBe(0xf);
  });

  it('drops what no buffer of a driver without mergeable ones can hold, and goes on', async () => {
    const { wire, driver } = await plug(bench, {}, { features: [] });
    await driver.post(4, 200);
    wire.send(plainFrame(MAC_A, 1000));
    wire.send(plainFrame(MAC_A, 100));
    expect((await driver.receive()).bytes).toHaveLength(100);
  });

  it('drops what all buffers together cannot hold, and goes on', async () => {
    const { wire, driver } = await plug(bench, {}, { queueSize: 8 });
    await driver.post(8, 100);
    wire.send(plainFrame(MAC_A, 1000));
    wire.send(plainFrame(MAC_A, 300));
    expect(await driver.receive()).toMatchObject({ buffers: 4 });
  });

  it.each([
    ['too small for a header', { length: 11, writable: true }],
    ['that cannot be written', { length: 1600, writable: false }],
  ])('breaks for a buffer %s', async (_what, buffer) => {
    const { wire, driver } = await plug(bench);
    driver.rx().add([{ address: bench.allocator.alloc(1600), ...buffer }]);
    await driver.mock.notify(0);
    wire.send(plainFrame(MAC_A));
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/receive buffer of \d+ bytes \(5\.1\.6\.3\.1\)/);
  });

  it('breaks for a transmit buffer without a header, and works again after a reset', async () => {
    const { wire, driver } = await plug(bench);
    driver.tx().add([{ address: bench.allocator.alloc(16), length: 11 }]);
    await driver.mock.notify(1);
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/no packet header \(5\.1\.6\.2\.1\)/);
    await driver.mock.init({ queueSize: 16 });
    await driver.transmit(plainFrame(MAC_B));
    expect((await wire.next()).data).toEqual(plainFrame(MAC_B));
  });
});

describe('virtio-net configuration', () => {
  const bench = benches.modern;

  it('has MTU, speed and duplex when told', async () => {
    const { driver } = await plug(bench, { mtu: 9000, speed: 10_000, duplex: 'full' });
    expect(await driver.mock.readConfig(spec.NET_CONFIG_MTU, 2)).toBe(9000);
    expect(await driver.mock.readConfig(spec.NET_CONFIG_SPEED, 4)).toBe(10_000);
    expect(await driver.mock.readConfig(spec.NET_CONFIG_DUPLEX, 1)).toBe(spec.NET_DUPLEX_FULL);
    for (const bit of [spec.VIRTIO_NET_F_MTU, spec.VIRTIO_NET_F_SPEED_DUPLEX]) {
      expect(hasFeature(driver.mock.offered, bit)).toBe(true);
    }
  });

  it('does not offer what needs something that is turned off', async () => {
    const features = ALL.filter((bit) => bit !== spec.VIRTIO_NET_F_CTRL_VQ && bit !== spec.VIRTIO_NET_F_CSUM);
    const { driver } = await plug(bench, { features });
    for (const bit of [spec.VIRTIO_NET_F_CTRL_RX, spec.VIRTIO_NET_F_HOST_TSO4, spec.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS]) {
      expect(hasFeature(driver.mock.offered, bit)).toBe(false);
    }
    expect(driver.mock.queues).toHaveLength(2);
  });

  it('calls its control queue so wherever the driver has it', async () => {
    const features = [...ALL, spec.VIRTIO_NET_F_MQ];
    const names = () => bench.bus.snapshot()[0].queues.map(({ name }) => name);
    const { driver } = await plug(bench, { queuePairs: 2, features });
    expect(names()).toEqual(['receiveq1', 'transmitq1', 'receiveq2', 'transmitq2', 'controlq']);
    await driver.mock.init({ queueSize: 16, features: [spec.VIRTIO_NET_F_CTRL_VQ] });
    expect(names().slice(0, 3)).toEqual(['receiveq1', 'transmitq1', 'controlq']);
    await driver.mock.init({ queueSize: 16, features: [] });
    expect(names()[2]).toBe('receiveq2');
  });

  it('refuses a multicast address and an MTU that is none', () => {
    const { rings } = new NetWire(() => {});
    for (const bad of [{ mac: Uint8Array.of(1, 0, 0, 0, 0, 0) }, { mtu: 67 }, { mtu: 65536 }]) {
      expect(() => new NetDevice({ id: 'net0', mac: MAC_A, rings, features: ALL, ...bad })).toThrow(
        expect.objectContaining({ kind: 'bad-option' }),
      );
    }
  });

  it('asks the driver to announce itself until it says it has', async () => {
    const { device, driver } = await plug(bench);
    expect(device.announce()).toBe(true);
    expect(await driver.mock.handleInterrupt()).toBe(2);
    const status = (): Promise<number> => driver.mock.readConfig(spec.NET_CONFIG_STATUS, 2);
    expect(await status()).toBe(spec.VIRTIO_NET_S_LINK_UP | spec.VIRTIO_NET_S_ANNOUNCE);
    expect(await driver.command(spec.NET_CTRL_ANNOUNCE, spec.NET_CTRL_ANNOUNCE_ACK)).toBe(spec.NET_OK);
    expect(await status()).toBe(spec.VIRTIO_NET_S_LINK_UP);
    device.setLink(false);
    expect(device.announce()).toBe(false);
  });

  it('lets a legacy driver without a control queue write its address', async () => {
    const { device, driver } = await plug(benches.legacy, {}, { features: [] });
    for (const [i, byte] of [...MAC_B].entries()) await driver.mock.writeConfig(i, 1, byte);
    expect(device.rxFilter['main-mac']).toBe('52:54:00:00:00:0b');
    await driver.mock.reset();
    expect(device.rxFilter['main-mac']).toBe('52:54:00:00:00:0a');
    const modern = await plug(bench);
    await modern.driver.mock.writeConfig(5, 1, 0x77);
    expect(await modern.driver.mock.readConfig(5, 1)).toBe(0x0a);
  });
});
