/** Drivers and networks of virtio-net that do anything at all. Seeded: a failure prints the smallest counterexample. */
import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { NetDevice } from '../../core/virtio/net/device.ts';
import * as spec from '../../core/virtio/spec/net.ts';
import { MAC_A, MAC_B, packet, plainFrame } from '../harness/frames.ts';
import { NetDriver } from '../harness/net-driver.ts';
import { NetWire } from '../harness/net-wire.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';

const SEED = 20_261_121;
const FEATURES = spec.NET_FEATURES.map(({ bit }) => bit);

const bench = new VirtioBench({ mib: 16 });
afterEach(async () => {
  expect(bench.crashes).toEqual([]);
  await bench.clear();
});
afterAll(() => bench.close());

const u16 = fc.oneof(fc.constantFrom(0, 1, 8, 14, 34, 54, 1448, 65535), fc.nat(65535));
const meta = fc.record({
  flags: fc.nat(255),
  gsoType: fc.oneof(fc.constantFrom(0, 1, 3, 4, 5, 0x81), fc.nat(255)),
  hdrLen: u16,
  gsoSize: u16,
  csumStart: u16,
  csumOffset: u16,
});

/** Packets with some bytes changed, frames of noise, and frames of any length. */
const frame = fc.oneof(
  fc
    .tuple(
      fc.constantFrom<4 | 6>(4, 6),
      fc.constantFrom<'tcp' | 'udp'>('tcp', 'udp'),
      fc.nat(4000),
      fc.array(fc.tuple(fc.nat(70), fc.nat(255)), { maxLength: 4 }),
    )
    .map(([version, protocol, length, changes]) => {
      const { bytes } = packet({ version, protocol, payload: new Uint8Array(length) });
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      return bytes;
    }),
  fc.uint8Array({ maxLength: 200 }),
  fc.nat(70_000).map((length) => plainFrame(MAC_B, Math.max(15, length))),
);

const run = { seed: SEED, interruptAfterTimeLimit: 8000, markInterruptAsFailure: false };

async function plug(): Promise<{ wire: NetWire; driver: NetDriver }> {
  const wire = new NetWire(() => bench.iothread.wake());
  const device = new NetDevice({ id: 'net0', mac: MAC_A, rings: wire.rings, features: FEATURES, queuePairs: 2 });
  return { wire, driver: new NetDriver(bench, await bench.attach(device)) };
}

async function init(wire: NetWire, driver: NetDriver, features: readonly number[]): Promise<void> {
  bench.allocator.reset();
  await driver.mock.init({ queueSize: 32, features });
  await until(() => wire.toNic.isOpen);
  while (wire.take());
}

/** It still does its work. */
async function works(wire: NetWire, driver: NetDriver): Promise<void> {
  await init(wire, driver, [spec.VIRTIO_NET_F_MRG_RXBUF]);
  await driver.post(2, 1600);
  wire.send(plainFrame(MAC_A, 77));
  expect((await driver.receive()).bytes).toEqual(plainFrame(MAC_A, 77));
  await driver.transmit(plainFrame(MAC_B, 78));
  expect((await wire.next()).data).toEqual(plainFrame(MAC_B, 78));
}

const features = fc.constantFrom([], [spec.VIRTIO_NET_F_MRG_RXBUF], FEATURES);

describe('virtio-net survives', () => {
  it('any header and any frame from the driver, and sends on only what makes sense', async () => {
    const { wire, driver } = await plug();
    await fc.assert(
      fc.asyncProperty(
        features,
        fc.array(fc.tuple(frame, meta), { minLength: 1, maxLength: 8 }),
        async (bits, frames) => {
          await init(wire, driver, bits);
          for (const [bytes, header] of frames) await driver.transmit(bytes, header);
          for (const _ of frames) await driver.sent();
          for (let sent = wire.take(); sent; sent = wire.take()) {
            expect(sent.data.length).toBeGreaterThanOrEqual(14);
            if (sent.flags === 0) expect(sent.gsoType).toBe(0);
            else expect(sent.csumStart + sent.csumOffset + 2).toBeLessThanOrEqual(sent.data.length);
          }
        },
      ),
      { ...run, numRuns: 150 },
    );
    await works(wire, driver);
  });

  it('any frame from the network, and writes nothing beside the buffers', async () => {
    const { wire, driver } = await plug();
    await fc.assert(
      fc.asyncProperty(
        features,
        fc.array(fc.tuple(frame, meta), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 20, max: 2000 }),
        async (bits, frames, length) => {
          await init(wire, driver, bits);
          const { allocator, memory } = bench;
          const fence = allocator.put(new Uint8Array(64).fill(0xa5));
          const buffers = Array.from({ length: 16 }, () => {
            const address = allocator.alloc(length, 1);
            allocator.put(new Uint8Array(16).fill(0xa5), 1);
            return { address, length, writable: true };
          });
          for (const buffer of buffers) driver.rx().add([buffer]);
          await driver.mock.notify(0);
          for (const [bytes, header] of frames) if (bytes.length <= 69_632) wire.send(bytes, header);
          await bench.bus.pause();
          await bench.bus.resume();
          await bench.bus.pause();
          for (let used = driver.rx().takeUsed(); used; used = driver.rx().takeUsed()) {
            expect(used.length).toBeLessThanOrEqual(length);
          }
          expect(memory.read(fence, 64).every((byte) => byte === 0xa5)).toBe(true);
          for (const { address } of buffers) {
            expect(memory.read(address + length, 16).every((byte) => byte === 0xa5)).toBe(true);
          }
          await bench.bus.resume();
        },
      ),
      { ...run, numRuns: 150 },
    );
    await works(wire, driver);
  });

  it('any command', async () => {
    const { wire, driver } = await plug();
    const command = fc.tuple(fc.nat(7), fc.nat(6), fc.uint8Array({ maxLength: 400 }));
    await fc.assert(
      fc.asyncProperty(features, fc.array(command, { minLength: 1, maxLength: 8 }), async (bits, commands) => {
        await init(wire, driver, [...bits, spec.VIRTIO_NET_F_CTRL_VQ]);
        for (const [commandClass, number, data] of commands) {
          expect([spec.NET_OK, spec.NET_ERR]).toContain(await driver.command(commandClass, number, data));
        }
        await driver.post(4, 1600);
        wire.send(plainFrame(MAC_A));
        wire.send(packet().bytes);
      }),
      { ...run, numRuns: 200 },
    );
    await works(wire, driver);
  });
});
