/** virtio-net's control queue: filters, queue pairs, RSS (virtio 1.3, section 5.1.6.5). */
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { NetDevice } from '../../core/virtio/net/device.ts';
import type { NetDeviceOptions } from '../../core/virtio/net/device.ts';
import { FlowHasher, toeplitz } from '../../core/virtio/net/hash.ts';
import * as spec from '../../core/virtio/spec/net.ts';
import { BROADCAST, MAC_A, MAC_B, packet, plainFrame } from '../harness/frames.ts';
import { NetDriver } from '../harness/net-driver.ts';
import { NetWire } from '../harness/net-wire.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const BASE = spec.NET_FEATURES.map(({ bit }) => bit).filter(
  (bit) => ![spec.VIRTIO_NET_F_MQ, spec.VIRTIO_NET_F_HASH_REPORT, spec.VIRTIO_NET_F_RSS].includes(bit),
);
const WITH_RSS = [...BASE, spec.VIRTIO_NET_F_RSS, spec.VIRTIO_NET_F_HASH_REPORT];

const bench = new VirtioBench({ mib: 32 });
afterEach(async () => {
  expect(bench.crashes).toEqual([]);
  await bench.clear();
});
afterAll(() => bench.close());

interface Plugged {
  device: NetDevice;
  wire: NetWire;
  driver: NetDriver;
  /** Whether a frame gets through. */
  passes(frame: Uint8Array): Promise<boolean>;
}

/** A frame that gets through every filter but NOBCAST, to come after the one in question. */
const MARK = plainFrame(BROADCAST, 99);

async function plug(options: Partial<NetDeviceOptions> = {}, features?: number[]): Promise<Plugged> {
  const wire = new NetWire(() => bench.iothread.wake());
  const device = new NetDevice({ id: 'net0', mac: MAC_A, rings: wire.rings, features: BASE, ...options });
  const mock = await (await bench.attach(device)).init({ queueSize: 64, ...(features ? { features } : {}) });
  await until(() => wire.toNic.isOpen);
  const driver = new NetDriver(bench, mock);
  return {
    device,
    wire,
    driver,
    async passes(frame) {
      await driver.post(2, 1600);
      wire.send(frame);
      wire.send(MARK);
      const { bytes } = await driver.receive();
      const passed = bytes.length !== MARK.length;
      if (passed) await driver.receive();
      else await driver.post(1, 1600);
      return passed;
    },
  };
}

const u16 = (value: number): number[] => [value & 255, value >> 8];
const u32 = (value: number): number[] => [...u16(value & 0xffff), ...u16(value >>> 16)];
const mac = (last: number, first = 0x02): Uint8Array => Uint8Array.of(first, 0, 0, 0, 1, last);
const macTable = (unicast: Uint8Array[], multicast: Uint8Array[]): number[] =>
  [unicast, multicast].flatMap((list) => [...u32(list.length), ...list.flatMap((one) => [...one])]);

describe('receive filters', () => {
  it('begin with everything let in', async () => {
    const { device, passes } = await plug();
    expect(await passes(plainFrame(MAC_B))).toBe(true);
    expect(device.rxFilter).toEqual({
      promiscuous: true,
      multicast: 'normal',
      unicast: 'normal',
      vlan: 'none',
      'broadcast-allowed': true,
      'multicast-overflow': false,
      'unicast-overflow': false,
      'main-mac': '52:54:00:00:00:0a',
      'vlan-table': [],
      'unicast-table': [],
      'multicast-table': [],
    });
  });

  it("let in the card's address, broadcasts, and what the table has", async () => {
    const { device, driver, passes } = await plug();
    expect(await driver.command(spec.NET_CTRL_RX, spec.NET_CTRL_RX_PROMISC, [0])).toBe(spec.NET_OK);
    const unicast = [mac(1), mac(2)];
    const multicast = [mac(3, 0x33), mac(4, 0x01)];
    expect(await driver.command(spec.NET_CTRL_MAC, spec.NET_CTRL_MAC_TABLE_SET, macTable(unicast, multicast))).toBe(
      spec.NET_OK,
    );
    for (const address of [MAC_A, BROADCAST, ...unicast, ...multicast]) {
      expect(await passes(plainFrame(address))).toBe(true);
    }
    for (const address of [MAC_B, mac(3), mac(1, 0x33)]) expect(await passes(plainFrame(address))).toBe(false);
    expect(device.rxFilter).toMatchObject({
      promiscuous: false,
      'unicast-table': ['02:00:00:00:01:01', '02:00:00:00:01:02'],
      'multicast-table': ['33:00:00:00:01:03', '01:00:00:00:01:04'],
    });
  });

  it('let everything of a kind in when its list is too long', async () => {
    const { device, driver, passes } = await plug();
    await driver.command(spec.NET_CTRL_RX, spec.NET_CTRL_RX_PROMISC, [0]);
    const many = Array.from({ length: 65 }, (_, i) => mac(i));
    await driver.command(spec.NET_CTRL_MAC, spec.NET_CTRL_MAC_TABLE_SET, macTable(many, [mac(1, 0x33)]));
    expect(device.rxFilter).toMatchObject({
      'unicast-overflow': true,
      'multicast-overflow': false,
      'unicast-table': [],
    });
    expect(await passes(plainFrame(MAC_B))).toBe(true);
    expect(await passes(plainFrame(mac(2, 0x33)))).toBe(false);
    expect(await passes(plainFrame(mac(1, 0x33)))).toBe(true);
    await driver.command(spec.NET_CTRL_MAC, spec.NET_CTRL_MAC_TABLE_SET, macTable(many.slice(0, 64), [mac(1, 0x33)]));
    expect(device.rxFilter).toMatchObject({ 'unicast-overflow': false, 'multicast-overflow': true });
    expect(device.rxFilter['unicast-table']).toHaveLength(64);
  });

  it.each([
    ['all multicast', spec.NET_CTRL_RX_ALLMULTI, mac(9, 0x33), false, true],
    ['all unicast', spec.NET_CTRL_RX_ALLUNI, MAC_B, false, true],
    ['no unicast', spec.NET_CTRL_RX_NOUNI, MAC_A, true, false],
  ] as const)('know %s', async (_what, command, address, before, after) => {
    const { driver, passes } = await plug();
    await driver.command(spec.NET_CTRL_RX, spec.NET_CTRL_RX_PROMISC, [0]);
    expect(await passes(plainFrame(address))).toBe(before);
    expect(await driver.command(spec.NET_CTRL_RX, command, [1])).toBe(spec.NET_OK);
    expect(await passes(plainFrame(address))).toBe(after);
    await driver.command(spec.NET_CTRL_RX, command, [0]);
    expect(await passes(plainFrame(address))).toBe(before);
  });

  it('know no multicast and no broadcast', async () => {
    const { device, driver, wire, passes } = await plug();
    await driver.command(spec.NET_CTRL_RX, spec.NET_CTRL_RX_PROMISC, [0]);
    await driver.command(spec.NET_CTRL_RX, spec.NET_CTRL_RX_ALLMULTI, [1]);
    await driver.command(spec.NET_CTRL_RX, spec.NET_CTRL_RX_NOMULTI, [1]);
    expect(await passes(plainFrame(mac(1, 0x33)))).toBe(false);
    await driver.command(spec.NET_CTRL_RX, spec.NET_CTRL_RX_NOBCAST, [1]);
    expect(device.rxFilter).toMatchObject({ multicast: 'none', 'broadcast-allowed': false });
    await driver.post(2, 1600);
    wire.send(plainFrame(BROADCAST));
    wire.send(plainFrame(MAC_A, 61));
    expect((await driver.receive()).bytes).toHaveLength(61);
  });

  it('let in the VLANs that the driver names', async () => {
    const { device, driver, passes } = await plug();
    await driver.command(spec.NET_CTRL_RX, spec.NET_CTRL_RX_PROMISC, [0]);
    const tagged = (vlan: number): Uint8Array => packet({ vlan }).bytes;
    expect(await passes(tagged(5))).toBe(false);
    expect(await driver.command(spec.NET_CTRL_VLAN, spec.NET_CTRL_VLAN_ADD, u16(5))).toBe(spec.NET_OK);
    expect(await driver.command(spec.NET_CTRL_VLAN, spec.NET_CTRL_VLAN_ADD, u16(4095))).toBe(spec.NET_OK);
    // Priority bits are no part of the number.
    expect(await passes(tagged(0xe005))).toBe(true);
    expect(await passes(tagged(6))).toBe(false);
    expect(device.rxFilter).toMatchObject({ vlan: 'normal', 'vlan-table': [5, 4095] });
    await driver.command(spec.NET_CTRL_VLAN, spec.NET_CTRL_VLAN_DEL, u16(5));
    expect(await passes(tagged(5))).toBe(false);
  });

  it('do not look at VLANs without the feature', async () => {
    const { device, driver, passes } = await plug({}, [spec.VIRTIO_NET_F_CTRL_VQ, spec.VIRTIO_NET_F_CTRL_RX]);
    await driver.command(spec.NET_CTRL_RX, spec.NET_CTRL_RX_PROMISC, [0]);
    expect(await passes(packet({ vlan: 5 }).bytes)).toBe(true);
    expect(device.rxFilter.vlan).toBe('all');
  });

  it('follow the address that the driver sets, until a reset', async () => {
    const { device, driver, passes } = await plug();
    let told = 0;
    device.onRxFilterChanged = () => told++;
    await driver.command(spec.NET_CTRL_RX, spec.NET_CTRL_RX_PROMISC, [0]);
    expect(await driver.command(spec.NET_CTRL_MAC, spec.NET_CTRL_MAC_ADDR_SET, MAC_B)).toBe(spec.NET_OK);
    expect(await passes(plainFrame(MAC_A))).toBe(false);
    expect(await passes(plainFrame(MAC_B))).toBe(true);
    expect(await driver.mock.readConfig(5, 1)).toBe(0x0b);
    // Told once, until someone has looked.
    await until(() => told > 0);
    expect(told).toBe(1);
    expect(device.rxFilter['main-mac']).toBe('52:54:00:00:00:0b');
    await driver.command(spec.NET_CTRL_RX, spec.NET_CTRL_RX_ALLMULTI, [1]);
    await until(() => told === 2);
    await driver.mock.reset();
    expect(device.rxFilter).toMatchObject({ promiscuous: true, multicast: 'normal', 'main-mac': '52:54:00:00:00:0a' });
  });
});

describe('commands that break a rule', () => {
  const key = Array.from({ length: 40 }, (_, i) => i);
  const rss = (length: number, queues: number[], types = spec.HASH_TYPES_ALL, tx = 2, bytes = key): number[] => [
    ...u32(types),
    ...u16(length - 1),
    ...u16(0),
    ...queues.flatMap(u16),
    ...u16(tx),
    bytes.length,
    ...bytes,
  ];

  it.each<[string, number, number, number[]]>([
    ['of no class', 9, 0, [1]],
    ['of no command', spec.NET_CTRL_RX, 6, [1]],
    ['with nothing', spec.NET_CTRL_RX, 0, []],
    ['MAC of five bytes', spec.NET_CTRL_MAC, spec.NET_CTRL_MAC_ADDR_SET, [1, 2, 3, 4, 5]],
    ['MAC table cut short', spec.NET_CTRL_MAC, spec.NET_CTRL_MAC_TABLE_SET, macTable([mac(1)], []).slice(0, -1)],
    [
      'MAC table that counts too much',
      spec.NET_CTRL_MAC,
      spec.NET_CTRL_MAC_TABLE_SET,
      [...u32(0xffff_ffff), ...u32(0)],
    ],
    ['MAC table and more', spec.NET_CTRL_MAC, spec.NET_CTRL_MAC_TABLE_SET, [...macTable([], []), 0]],
    ['MAC command there is not', spec.NET_CTRL_MAC, 2, [0]],
    ['VLAN there is not', spec.NET_CTRL_VLAN, spec.NET_CTRL_VLAN_ADD, u16(4096)],
    ['VLAN command there is not', spec.NET_CTRL_VLAN, 2, u16(1)],
    ['announcement there is not', spec.NET_CTRL_ANNOUNCE, 1, []],
    ['no queue pair', spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_VQ_PAIRS_SET, u16(0)],
    ['more pairs than there are', spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_VQ_PAIRS_SET, u16(5)],
    ['a table of no power of 2', spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_RSS_CONFIG, rss(3, [0, 1, 2])],
    ['a table too long', spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_RSS_CONFIG, rss(256, new Array<number>(256).fill(0))],
    ['a table cut short', spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_RSS_CONFIG, rss(4, [0, 1])],
    ['a queue there is not', spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_RSS_CONFIG, rss(2, [0, 4])],
    ['hash types there are not', spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_RSS_CONFIG, rss(1, [0], 0x200)],
    ['no transmit queue', spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_RSS_CONFIG, rss(1, [0], 1, 0)],
    ['a key too long', spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_RSS_CONFIG, rss(1, [0], 1, 1, [...key, 1])],
    ['a key cut short', spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_HASH_CONFIG, [...u32(1), ...u32(0), ...u32(0), 9, 1, 2]],
    ['offloads cut short', spec.NET_CTRL_GUEST_OFFLOADS, spec.NET_CTRL_GUEST_OFFLOADS_SET, [0, 0, 0, 0]],
  ])('are refused and change nothing: %s', async (_what, commandClass, command, data) => {
    const { device, driver } = await plug({ features: WITH_RSS, queuePairs: 4 });
    const before = device.rxFilter;
    expect(await driver.command(commandClass, command, data)).toBe(spec.NET_ERR);
    expect(device.rxFilter).toEqual(before);
    expect(await driver.mock.status()).toBe(0xf);
  });

  it('are refused without their feature', async () => {
    const { driver } = await plug({ features: WITH_RSS, queuePairs: 2 }, [spec.VIRTIO_NET_F_CTRL_VQ]);
    for (const [commandClass, command, data] of [
      [spec.NET_CTRL_RX, spec.NET_CTRL_RX_PROMISC, [1]],
      [spec.NET_CTRL_RX, spec.NET_CTRL_RX_NOUNI, [1]],
      [spec.NET_CTRL_MAC, spec.NET_CTRL_MAC_TABLE_SET, macTable([], [])],
      [spec.NET_CTRL_MAC, spec.NET_CTRL_MAC_ADDR_SET, [...MAC_B]],
      [spec.NET_CTRL_VLAN, spec.NET_CTRL_VLAN_ADD, u16(1)],
      [spec.NET_CTRL_ANNOUNCE, spec.NET_CTRL_ANNOUNCE_ACK, []],
      [spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_VQ_PAIRS_SET, u16(1)],
      [spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_RSS_CONFIG, rss(1, [0], 1, 1)],
      [spec.NET_CTRL_GUEST_OFFLOADS, spec.NET_CTRL_GUEST_OFFLOADS_SET, new Array<number>(8).fill(0)],
    ] as const) {
      expect(await driver.command(commandClass, command, data)).toBe(spec.NET_ERR);
    }
  });

  it('without room for an ack break the queue', async () => {
    const { driver } = await plug();
    driver.control.add([{ address: bench.allocator.put(Uint8Array.of(0, 0, 1)), length: 3 }]);
    await driver.mock.notify(driver.control.index);
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/without class, command or ack \(5\.1\.6\.5\)/);
  });
});

describe('queue pairs', () => {
  const flow = (port: number): Uint8Array => packet({ sourcePort: port, destinationPort: 80 }).bytes;
  const back = (port: number): Uint8Array =>
    packet({
      source: MAC_A,
      destination: MAC_B,
      sourceIp: [10, 0, 0, 2],
      destinationIp: [10, 0, 0, 1],
      sourcePort: 80,
      destinationPort: port,
    }).bytes;

  it('are as many as the device says, with the control queue behind them', async () => {
    const { driver } = await plug({ queuePairs: 3 });
    expect(await driver.mock.readConfig(spec.NET_CONFIG_MAX_VIRTQUEUE_PAIRS, 2)).toBe(3);
    expect(driver.mock.queues).toHaveLength(7);
    expect(await driver.command(spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_VQ_PAIRS_SET, u16(3))).toBe(spec.NET_OK);
  });

  it('have the control queue behind the first without the feature (5.1.2)', async () => {
    const { driver } = await plug({ queuePairs: 3 }, [spec.VIRTIO_NET_F_CTRL_VQ, spec.VIRTIO_NET_F_CTRL_RX]);
    expect(driver.control.index).toBe(2);
    expect(await driver.command(spec.NET_CTRL_RX, spec.NET_CTRL_RX_ALLMULTI, [1])).toBe(spec.NET_OK);
  });

  it('get the packets of the flows that were last sent on them', async () => {
    const { driver, wire } = await plug({ queuePairs: 2 });
    for (const pair of [0, 1]) await driver.post(8, 1600, pair);
    // One pair is in use until the driver says so.
    await driver.transmit(back(1111), {}, 1);
    await wire.next();
    wire.send(flow(1111));
    expect((await driver.receive(0)).bytes).toEqual(flow(1111));
    await driver.command(spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_VQ_PAIRS_SET, u16(2));
    await driver.transmit(back(1111), {}, 1);
    await driver.transmit(back(2222), {}, 0);
    await wire.next();
    await wire.next();
    wire.send(flow(1111));
    wire.send(flow(2222));
    expect((await driver.receive(1)).bytes).toEqual(flow(1111));
    expect((await driver.receive(0)).bytes).toEqual(flow(2222));
  });

  it('get packets by hash with RSS, which is reported', async () => {
    const { driver, wire } = await plug({ features: WITH_RSS, queuePairs: 4 });
    const hasher = new FlowHasher();
    const table = [3, 1, 2, 0];
    const config = [...u32(spec.HASH_TYPE_TCPV4), ...u16(3), ...u16(2), ...table.flatMap(u16), ...u16(4), 40, ...KEY];
    expect(await driver.command(spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_RSS_CONFIG, config)).toBe(spec.NET_OK);
    for (const pair of table) await driver.post(32, 1600, pair);
    const seen = new Set<number>();
    for (let port = 1; port <= 24; port++) {
      const { value } = hasher.hash(flow(port), spec.HASH_TYPE_TCPV4, KEY);
      const pair = table[value & 3];
      seen.add(pair);
      wire.send(flow(port));
      expect((await driver.receive(pair)).header).toMatchObject({ hash: value, hashReport: spec.HASH_REPORT_TCPV4 });
    }
    expect(seen.size).toBe(4);
    // What has no hash of that type goes where unclassified packets go.
    wire.send(plainFrame(MAC_A));
    expect((await driver.receive(2)).header).toMatchObject({ hash: 0, hashReport: spec.HASH_REPORT_NONE });
  });

  it('report hashes without RSS too', async () => {
    const { driver, wire } = await plug({ features: WITH_RSS });
    await driver.post(4, 1600);
    const config = [...u32(spec.HASH_TYPE_IPV4), ...u32(0), ...u32(0), 40, ...KEY];
    expect(await driver.command(spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_HASH_CONFIG, config)).toBe(spec.NET_OK);
    wire.send(flow(1));
    expect((await driver.receive()).header.hashReport).toBe(spec.HASH_REPORT_IPV4);
  });
});

/** The key of Microsoft's "Verifying the RSS Hash Calculation", and its results. */
const KEY = Uint8Array.from(
  Buffer.from(
    '6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa'.match(/../g)!.join(''),
    'hex',
  ),
);

describe('the Toeplitz hash', () => {
  const v4 = [
    { source: [66, 9, 149, 187, 2794], destination: [161, 142, 100, 80, 1766], ip: 0x323e8fc2, tcp: 0x51ccc178 },
    { source: [199, 92, 111, 2, 14230], destination: [65, 69, 140, 83, 4739], ip: 0xd718262a, tcp: 0xc626b0ea },
    { source: [24, 19, 198, 95, 12898], destination: [12, 22, 207, 184, 38024], ip: 0xd2d0a5de, tcp: 0x5c2b394a },
    { source: [38, 27, 205, 30, 48228], destination: [209, 142, 163, 6, 2217], ip: 0x82989176, tcp: 0xafc7327f },
    { source: [153, 39, 163, 191, 44251], destination: [202, 188, 127, 2, 1303], ip: 0x5d1809c5, tcp: 0x10e828a2 },
  ];
  it.each(v4)("of IPv4 is Microsoft's: $tcp", ({ source, destination, ip, tcp }) => {
    const { bytes } = packet({
      sourceIp: source.slice(0, 4),
      destinationIp: destination.slice(0, 4),
      sourcePort: source[4],
      destinationPort: destination[4],
    });
    const hasher = new FlowHasher();
    expect({ ...hasher.hash(bytes, spec.HASH_TYPE_IPV4, KEY) }).toEqual({ value: ip, report: spec.HASH_REPORT_IPV4 });
    expect({ ...hasher.hash(bytes, spec.HASH_TYPES_ALL, KEY) }).toEqual({ value: tcp, report: spec.HASH_REPORT_TCPV4 });
  });

  const address = (words: string): number[] => {
    const [head, tail = ''] = words.split('::');
    const parts = (text: string): number[] => (text === '' ? [] : text.split(':').map((word) => parseInt(word, 16)));
    const middle = new Array<number>(8 - parts(head).length - parts(tail).length).fill(0);
    return [...parts(head), ...middle, ...parts(tail)].flatMap((word) => [word >> 8, word & 255]);
  };
  const v6 = [
    {
      from: '3ffe:2501:200:1fff::7',
      fromPort: 2794,
      to: '3ffe:2501:200:3::1',
      toPort: 1766,
      ip: 0x2cc18cd5,
      tcp: 0x40207d3d,
    },
    {
      from: '3ffe:501:8::260:97ff:fe40:efab',
      fromPort: 14230,
      to: 'ff02::1',
      toPort: 4739,
      ip: 0x0f0c461c,
      tcp: 0xdde51bbf,
    },
    {
      from: '3ffe:1900:4545:3:200:f8ff:fe21:67cf',
      fromPort: 44251,
      to: 'fe80::200:f8ff:fe21:67cf',
      toPort: 38024,
      ip: 0x4b61e985,
      tcp: 0x02d1feef,
    },
  ];
  it.each(v6)("of IPv6 is Microsoft's: $from", ({ from, fromPort, to, toPort, ip, tcp }) => {
    const { bytes } = packet({
      version: 6,
      sourceIp: address(from),
      destinationIp: address(to),
      sourcePort: fromPort,
      destinationPort: toPort,
    });
    const hasher = new FlowHasher();
    expect({ ...hasher.hash(bytes, spec.HASH_TYPE_IPV6, KEY) }).toEqual({ value: ip, report: spec.HASH_REPORT_IPV6 });
    expect(hasher.hash(bytes, spec.HASH_TYPE_TCPV6, KEY).value).toBe(tcp);
    expect(toeplitz(KEY, new Uint8Array(36))).toBe(0);
  });

  it('leaves out the ports of fragments', () => {
    const { bytes } = packet();
    bytes[21] = 1;
    expect(new FlowHasher().hash(bytes, spec.HASH_TYPES_ALL, KEY).report).toBe(spec.HASH_REPORT_IPV4);
    expect(new FlowHasher().hash(bytes, spec.HASH_TYPE_TCPV4, KEY).report).toBe(spec.HASH_REPORT_NONE);
  });
});
