/** `ringside export`: our devices behind a vhost-user socket, with a frontend that does as QEMU does. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import { PROTOCOL_F, REQUEST } from '../../core/vhost-user/spec.ts';
import {
  BLK_CONFIG_CAPACITY,
  BLK_CONFIG_NUM_QUEUES,
  BLK_CONFIG_WRITEBACK,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from '../../core/virtio/spec/blk.ts';
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  featureMask,
} from '../../core/virtio/spec/features.ts';
import { ExportProcess } from '../harness/export-process.ts';
import { USER_BASE, VhostFrontend, region, state, u64 } from '../harness/vhost-frontend.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';
import { ExportedDisk } from './exported-disk.ts';

const MIB = 2 ** 20;
const folder = mkdtempSync(path.join(tmpdir(), 'ringside-export-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const image = path.join(folder, 'disk.raw');
const socket = path.join(folder, 'disk.sock');

describe.skipIf(whyNoAddon)(`ringside export blk${whyNoAddon ? ` (skipped: ${whyNoAddon})` : ''}`, () => {
  let server: ExportProcess;
  let frontend: VhostFrontend;

  beforeAll(async () => {
    writeFileSync(image, Buffer.alloc(4 * MIB, 0x5a));
    const device = 'virtio-blk-device,drive=d,num-queues=3,packed=on,serial=of-the-export';
    server = await ExportProcess.start(socket, [device, '--drive', `file=${image},format=raw,id=d`]);
  }, 60_000);
  afterAll(async () => {
    expect(await server.end()).toBe(128 + 15);
    expect(existsSync(socket)).toBe(false);
  });

  const connect = (): VhostFrontend => {
    frontend = new VhostFrontend({ spec: hostSpec });
    frontend.connect(socket);
    return frontend;
  };
  afterEach(() => frontend.close());

  it('is open to the user only', () => {
    connect();
    expect(statSync(socket).mode & 0o777).toBe(0o600);
  });

  it.each([
    ['split', [VIRTIO_F_EVENT_IDX]],
    ['split, without event index', []],
    ['packed', [VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX]],
    ['packed, without event index', [VIRTIO_F_RING_PACKED]],
  ])('serves %s rings', (_name, bits) => {
    connect().negotiate({ features: featureMask(VIRTIO_F_VERSION_1, ...bits) });
    frontend.start({ queues: 3 });
    const disk = new ExportedDisk(frontend);
    for (const [index] of frontend.queues.entries()) {
      const data = new Uint8Array(8192).fill(index + 1);
      expect(disk.request(index, VIRTIO_BLK_T_OUT, 16 * index, data)).toMatchObject({ status: VIRTIO_BLK_S_OK });
      expect(disk.request(index, VIRTIO_BLK_T_IN, 16 * index, null, 8192).data).toEqual(data);
    }
    expect(readFileSync(image).subarray(8192, 3 * 8192)).toEqual(
      Buffer.concat([Buffer.alloc(8192, 2), Buffer.alloc(8192, 3)]),
    );
    expect(Buffer.from(disk.request(2, VIRTIO_BLK_T_GET_ID, 0, null, 20).data).toString()).toMatch(/^of-the-export\0/);
  });

  it('has a configuration space that the driver can write', () => {
    connect().negotiate();
    frontend.start();
    const u64Of = (offset: number): bigint =>
      new DataView(frontend.config(offset, 8).slice().buffer).getBigUint64(0, true);
    expect(u64Of(BLK_CONFIG_CAPACITY)).toBe(BigInt((4 * MIB) / 512));
    expect(frontend.config(BLK_CONFIG_NUM_QUEUES, 2)).toEqual(Uint8Array.of(3, 0));
    expect(frontend.config(BLK_CONFIG_WRITEBACK, 1)).toEqual(Uint8Array.of(1));
    const write = new Uint8Array(13);
    new DataView(write.buffer).setUint32(0, BLK_CONFIG_WRITEBACK, true);
    new DataView(write.buffer).setUint32(4, 1, true);
    frontend.tell(REQUEST.SET_CONFIG, write);
    expect(frontend.config(BLK_CONFIG_WRITEBACK, 1)).toEqual(Uint8Array.of(0));
    // Beyond its end there is nothing.
    expect(frontend.config(200, 8)).toEqual(new Uint8Array(8));
  });

  it('goes on where a ring has stopped', () => {
    connect().negotiate({ features: featureMask(VIRTIO_F_VERSION_1) });
    frontend.start();
    const disk = new ExportedDisk(frontend);
    for (let i = 0; i < 5; i++) disk.request(0, VIRTIO_BLK_T_IN, 0, null, 512);
    expect(frontend.stopRing(0)).toBe(5);
    frontend.startRing(frontend.queues[0], 5);
    for (let i = 0; i < 100; i++) {
      expect(disk.request(0, VIRTIO_BLK_T_IN, 0, null, 512).status).toBe(VIRTIO_BLK_S_OK);
    }
    expect(frontend.stopRing(0)).toBe(105);
  });

  it('goes on where a packed ring has stopped', () => {
    connect().negotiate({ features: featureMask(VIRTIO_F_VERSION_1, VIRTIO_F_RING_PACKED) });
    frontend.start({ size: 16 });
    const disk = new ExportedDisk(frontend);
    for (let i = 0; i < 7; i++) disk.request(0, VIRTIO_BLK_T_IN, 0, null, 512);
    const base = frontend.stopRing(0);
    // Three descriptors each: once round the ring, so both wrap counters have turned.
    expect(base).toBe((5 << 16) | 5);
    frontend.startRing(frontend.queues[0], base);
    for (let i = 0; i < 20; i++) {
      expect(disk.request(0, VIRTIO_BLK_T_IN, 0, null, 512).status).toBe(VIRTIO_BLK_S_OK);
    }
  });

  it('serves nothing of a ring that is disabled, and all of it when it is enabled again', () => {
    connect().negotiate({ features: featureMask(VIRTIO_F_VERSION_1) });
    frontend.start();
    const disk = new ExportedDisk(frontend);
    frontend.tell(REQUEST.SET_VRING_ENABLE, state(0, 0));
    const prepared = disk.prepare(VIRTIO_BLK_T_IN, 0, null, 512);
    frontend.queues[0].add(prepared.buffers);
    frontend.host.ringEvent(frontend.kicks[0]);
    // An answer to a later message says that the kick was there to be seen.
    frontend.tell(REQUEST.SET_VRING_ENABLE, state(1, 0));
    expect(frontend.queues[0].takeUsed()).toBeNull();
    frontend.tell(REQUEST.SET_VRING_ENABLE, state(0, 1));
    expect(frontend.used(frontend.queues[0])).not.toBeNull();
  });

  it('takes memory in several regions, and buffers that lie across two', () => {
    connect().negotiate({ features: featureMask(VIRTIO_F_VERSION_1) });
    frontend.tell(REQUEST.SET_FEATURES, u64(frontend.features));
    const half = frontend.memory.ramSize / 2;
    for (const i of [0, 1]) {
      const bytes = new DataView(new ArrayBuffer(40));
      region(bytes, 8, {
        guest: BigInt(RAM_BASE + i * half),
        size: BigInt(half),
        user: USER_BASE + BigInt(i * half),
        offset: BigInt(i * half),
      });
      frontend.tell(REQUEST.ADD_MEM_REG, new Uint8Array(bytes.buffer), [frontend.ram.fd!]);
    }
    frontend.startQueues(1, 64);
    const disk = new ExportedDisk(frontend);
    const data = Uint8Array.from({ length: 8192 }, (_, i) => i * 7);
    disk.dataAt = RAM_BASE + half - 4096;
    expect(disk.request(0, VIRTIO_BLK_T_OUT, 100, data).status).toBe(VIRTIO_BLK_S_OK);
    expect(new Uint8Array(readFileSync(image).subarray(100 * 512, 100 * 512 + 8192))).toEqual(data);
    // The half that no ring is in can go.
    const gone = new DataView(new ArrayBuffer(40));
    region(gone, 8, { guest: BigInt(RAM_BASE + half), size: BigInt(half), user: USER_BASE + BigInt(half), offset: 0n });
    frontend.tell(REQUEST.REM_MEM_REG, new Uint8Array(gone.buffer));
    disk.dataAt = RAM_BASE + MIB;
    expect(disk.request(0, VIRTIO_BLK_T_IN, 100, null, 8192).data).toEqual(data);
  });

  it('works without protocol features too', () => {
    connect();
    frontend.features = featureMask(VIRTIO_F_VERSION_1);
    frontend.send(REQUEST.SET_OWNER);
    frontend.acknowledged = false;
    frontend.start({ enable: false });
    const disk = new ExportedDisk(frontend);
    expect(disk.request(0, VIRTIO_BLK_T_IN, 0, null, 512).status).toBe(VIRTIO_BLK_S_OK);
  });

  it('serves one frontend after another', async () => {
    const first = connect();
    first.negotiate();
    const second = new VhostFrontend({ spec: hostSpec });
    second.connect(socket);
    second.send(REQUEST.GET_FEATURES);
    // The first one is served, the second waits.
    expect(first.askU64(REQUEST.GET_QUEUE_NUM)).toBe(3n);
    expect(second.channel.receive()).toBeNull();
    const said = server.log.length;
    first.disconnect();
    await server.said('has closed the connection', said);
    expect(second.receive().request).toBe(REQUEST.GET_FEATURES);
    second.close();
  });

  it('resets the device when it is told to', () => {
    connect().negotiate({ features: featureMask(VIRTIO_F_VERSION_1) });
    frontend.start();
    const disk = new ExportedDisk(frontend);
    disk.request(0, VIRTIO_BLK_T_IN, 0, null, 512);
    frontend.tell(REQUEST.RESET_DEVICE);
    frontend.start();
    expect(new ExportedDisk(frontend).request(0, VIRTIO_BLK_T_IN, 0, null, 512).status).toBe(VIRTIO_BLK_S_OK);
  });

  it('says which protocol features it has', () => {
    connect();
    const bits = frontend.askU64(REQUEST.GET_PROTOCOL_FEATURES);
    const has = Object.entries(PROTOCOL_F).filter(([, bit]) => (bits >> BigInt(bit)) & 1n);
    expect(has.map(([name]) => name)).toEqual([
      ...['MQ', 'REPLY_ACK', 'BACKEND_REQ', 'CONFIG', 'INFLIGHT_SHMFD', 'RESET_DEVICE', 'CONFIGURE_MEM_SLOTS'],
    ]);
  });
});

describe.skipIf(whyNoAddon)('the socket of an export', () => {
  const other = path.join(folder, 'other.sock');
  const started: ExportProcess[] = [];
  const start = async (...args: string[]): Promise<ExportProcess> => {
    const server = await ExportProcess.start(other, ['rng', ...args]);
    started.push(server);
    return server;
  };
  afterEach(async () => {
    for (const server of started.splice(0)) await server.end();
    rmSync(other, { force: true });
  });

  it('replaces one that nobody listens on', async () => {
    const first = await start();
    await first.kill('SIGKILL');
    expect(existsSync(other)).toBe(true);
    await start();
    const frontend = new VhostFrontend({ spec: hostSpec });
    frontend.connect(other);
    frontend.negotiate();
    frontend.start();
    const address = frontend.allocator.alloc(64);
    expect(frontend.submit(frontend.queues[0], [{ address, length: 64, writable: true }]).length).toBe(64);
    expect(frontend.memory.read(address, 64).some((byte) => byte !== 0)).toBe(true);
    frontend.close();
    // Somebody listens there now.
    await expect(start()).rejects.toThrow(/Somebody listens on .*already/);
  });

  it('is never put in the place of a file', async () => {
    writeFileSync(other, 'precious');
    await expect(start()).rejects.toThrow(/is no socket/);
    expect(readFileSync(other, 'utf8')).toBe('precious');
  });

  it('turns a second frontend away if told so', async () => {
    await start('--second-client=refuse');
    const first = new VhostFrontend({ spec: hostSpec });
    first.connect(other);
    first.negotiate();
    const second = new VhostFrontend({ spec: hostSpec });
    second.connect(other);
    expect(() => second.receive()).toThrow(/closed the connection/);
    expect(first.askU64(REQUEST.GET_QUEUE_NUM)).toBe(1n);
    first.close();
    second.close();
  });

  it('is not taken from a program of another protocol', async () => {
    const busy = createServer().listen(other);
    await expect(start()).rejects.toThrow(/Somebody listens/);
    await new Promise((resolve) => busy.close(resolve));
  });
});
