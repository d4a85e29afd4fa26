/**
 * A frontend that lies: each offence ends its connection with a reason, closes what it has sent, and leaves the export ready for the
 * next one.
 */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import { FLAG_NEED_REPLY, HEADER_BYTES, REQUEST, VERSION } from '../../core/vhost-user/spec.ts';
import { VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN } from '../../core/virtio/spec/blk.ts';
import { VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1, featureMask } from '../../core/virtio/spec/features.ts';
import { ExportProcess } from '../harness/export-process.ts';
import { USER_BASE, VhostFrontend, region, state, u64 } from '../harness/vhost-frontend.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';
import { ExportedDisk } from './exported-disk.ts';

const MIB = 2 ** 20;
const folder = mkdtempSync(path.join(tmpdir(), 'ringside-hostile-frontend-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const socket = path.join(folder, 's');
const MODERN = featureMask(VIRTIO_F_VERSION_1);

function header(request: number, size: number, flags = VERSION): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES);
  const data = new DataView(bytes.buffer);
  for (const [i, value] of [request, flags, size].entries()) data.setUint32(4 * i, value, true);
  return bytes;
}

function oneRegion(changes: Partial<{ guest: bigint; size: bigint; user: bigint; offset: bigint }>): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(40));
  const usual = { guest: BigInt(RAM_BASE), size: BigInt(16 * MIB), user: USER_BASE, offset: 0n };
  region(bytes, 8, { ...usual, ...changes });
  return new Uint8Array(bytes.buffer);
}

function addresses(
  frontend: VhostFrontend,
  changes: Partial<Record<'index' | 'descriptors' | 'used', bigint>>,
): Uint8Array {
  const bytes = frontend.ringAddresses(frontend.queues[0]);
  const data = new DataView(bytes.buffer);
  if (changes.index !== undefined) data.setUint32(0, Number(changes.index), true);
  if (changes.descriptors !== undefined) data.setBigUint64(8, changes.descriptors, true);
  if (changes.used !== undefined) data.setBigUint64(16, changes.used, true);
  return bytes;
}

/** Sends bytes as they are, with descriptors. */
function raw(frontend: VhostFrontend, bytes: Uint8Array, fds: readonly number[] = []): void {
  frontend.host.sendMessage(frontend.channel.fd, bytes, Int32Array.from(fds));
}

/** What it does, on a connection that is new (or with rings that run, where it begins so), and what is said of it. */
type Offence = [name: string, commit: (frontend: VhostFrontend) => void, reason: RegExp];

const FRESH: readonly Offence[] = [
  ['another protocol version', (f) => raw(f, header(REQUEST.GET_FEATURES, 0, 2)), /of protocol version 2/],
  ['a message that is too long', (f) => raw(f, header(REQUEST.SET_FEATURES, 2 ** 31)), /with 2147483648 bytes/],
  ['half a message', (f) => (raw(f, header(REQUEST.SET_FEATURES, 8)), f.disconnect()), /in the middle of a message/],
  ['a message that there is not', (f) => f.send(99), /message 99: we do not know it/],
  ['a message that was not offered', (f) => f.send(REQUEST.SET_LOG_BASE), /SET_LOG_BASE: we do not know it/],
  ['features that were not offered', (f) => f.send(REQUEST.SET_FEATURES, u64(1n << 50n)), /were not offered/],
  ['protocol features too', (f) => f.send(REQUEST.SET_PROTOCOL_FEATURES, u64(1n << 60n)), /were not offered/],
  ['too short a payload', (f) => f.send(REQUEST.SET_FEATURES, new Uint8Array(4)), /4 bytes of payload, not 8/],
  ['too long a payload', (f) => f.send(REQUEST.SET_VRING_NUM, new Uint8Array(9)), /9 bytes of payload, not 8/],
  ['a ring that is not there', (f) => f.send(REQUEST.SET_VRING_NUM, state(7, 64)), /there is no ring 7/],
  ['a ring of 0 entries', (f) => f.send(REQUEST.SET_VRING_NUM, state(0, 0)), /cannot have 0 entries/],
  ['a ring that is too large', (f) => f.send(REQUEST.SET_VRING_NUM, state(0, 2048)), /cannot have 2048 entries/],
  ['a kick without a descriptor', (f) => f.send(REQUEST.SET_VRING_KICK, u64(0n)), /file descriptor is missing/],
  ['a table of too many regions', (f) => f.send(REQUEST.SET_MEM_TABLE, state(9, 0)), /9 regions/],
  [
    'a region without its file',
    (f) => f.send(REQUEST.SET_MEM_TABLE, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0, ...oneRegion({}).subarray(8)])),
    /1 regions with 0 file descriptors/,
  ],
  ['an empty region', (f) => f.send(REQUEST.ADD_MEM_REG, oneRegion({ size: 0n }), [f.ram.fd!]), /it is empty/],
  [
    'a region beyond its file',
    (f) => f.send(REQUEST.ADD_MEM_REG, oneRegion({ size: BigInt(64 * MIB) }), [f.ram.fd!]),
    /smaller than the range/,
  ],
  [
    'a region in the middle of a page',
    (f) => f.send(REQUEST.ADD_MEM_REG, oneRegion({ guest: 100n }), [f.ram.fd!]),
    /is no multiple of 4096/,
  ],
  [
    'a region beyond all addresses',
    (f) => f.send(REQUEST.ADD_MEM_REG, oneRegion({ guest: 2n ** 63n }), [f.ram.fd!]),
    /must be below \d+ GiB here/,
  ],
  [
    'a region whose user addresses wrap',
    (f) => f.send(REQUEST.ADD_MEM_REG, oneRegion({ user: 2n ** 64n - 4096n }), [f.ram.fd!]),
    /wrap around/,
  ],
  [
    'two regions in one place',
    (f) => {
      f.send(REQUEST.ADD_MEM_REG, oneRegion({ size: 8192n }), [f.ram.fd!]);
      f.send(REQUEST.ADD_MEM_REG, oneRegion({ user: 0n, size: 4096n }), [f.ram.fd!]);
    },
    /it overlaps another/,
  ],
  ['a region that is not there', (f) => f.send(REQUEST.REM_MEM_REG, oneRegion({})), /there is no memory region/],
  [
    'a socket for memory',
    (f) => f.send(REQUEST.ADD_MEM_REG, oneRegion({}), [f.channel.fd]),
    /smaller than the range|cannot be mapped/,
  ],
  [
    'more descriptors than any message has',
    (f) => raw(f, header(REQUEST.GET_FEATURES, 0), new Array<number>(20).fill(f.ram.fd!)),
    /more than 8 file descriptors/,
  ],
  [
    'descriptors in the middle of a message',
    (f) => {
      raw(f, header(REQUEST.SET_FEATURES, 8));
      raw(f, new Uint8Array(8), [f.ram.fd!]);
    },
    /in the middle of a message/,
  ],
  [
    'a configuration space that is too large',
    (f) => f.send(REQUEST.GET_CONFIG, new Uint8Array([0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])),
    /1 bytes of configuration space from 256 on/,
  ],
  [
    'more configuration than it sends',
    (f) => f.send(REQUEST.SET_CONFIG, new Uint8Array([0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0])),
    /64 bytes of configuration space/,
  ],
  [
    'an inflight region of its own making',
    (f) => {
      const bytes = new Uint8Array(24);
      new DataView(bytes.buffer).setBigUint64(0, 4096n, true);
      bytes.set([1, 0, 128, 0], 16);
      f.send(REQUEST.SET_INFLIGHT_FD, bytes, [f.ram.fd!]);
    },
    /4096 bytes for 1 rings of 128 entries/,
  ],
  ['an inflight region for too many rings', (f) => f.getInflight(5000, 128), /5000 rings of 128 entries/],
];

const RUNNING: readonly Offence[] = [
  ['a running ring another size', (f) => f.send(REQUEST.SET_VRING_NUM, state(0, 32)), /ring 0 runs/],
  ['a running ring another base', (f) => f.send(REQUEST.SET_VRING_BASE, state(0, 9)), /ring 0 runs/],
  [
    'a running ring other addresses',
    (f) => f.send(REQUEST.SET_VRING_ADDR, addresses(f, { descriptors: USER_BASE + 65536n })),
    /ring 0 runs/,
  ],
  [
    'other features while rings run',
    (f) => f.send(REQUEST.SET_FEATURES, u64(MODERN | featureMask(VIRTIO_F_INDIRECT_DESC))),
    /other features while rings run/,
  ],
  [
    'no memory under running rings',
    (f) => f.send(REQUEST.SET_MEM_TABLE, new Uint8Array(8)),
    /ring 0 runs, and now its descriptor area/,
  ],
  [
    'rings outside memory',
    (f) => {
      f.stopRing(0);
      f.send(REQUEST.SET_VRING_ADDR, addresses(f, { used: 0n }));
      f.send(REQUEST.SET_VRING_KICK, u64(0n), [f.kicks[0]]);
    },
    /the used ring of ring 0 is at 0x0, in no memory region/,
  ],
  [
    'rings that end outside memory',
    (f) => {
      f.stopRing(0);
      f.send(REQUEST.SET_VRING_ADDR, addresses(f, { used: USER_BASE + BigInt(16 * MIB - 16) }));
      f.send(REQUEST.SET_VRING_KICK, u64(0n), [f.kicks[0]]);
    },
    /ring 0 cannot run: its device area/,
  ],
  [
    'a file for a kick descriptor',
    (f) => {
      f.stopRing(0);
      const fd = openSync('/dev/zero', 'r');
      f.send(REQUEST.SET_VRING_KICK, u64(0n), [fd]);
      closeSync(fd);
    },
    /the kick descriptor of ring 0 cannot be used: it is no eventfd/,
  ],
];

describe.skipIf(whyNoAddon)(`a hostile frontend${whyNoAddon ? ` (skipped: ${whyNoAddon})` : ''}`, () => {
  let server: ExportProcess;
  /** Open files of the export while nobody is connected. */
  let atRest: number;

  beforeAll(async () => {
    const image = path.join(folder, 'disk.raw');
    writeFileSync(image, Buffer.alloc(MIB, 0x5a));
    server = await ExportProcess.start(socket, ['blk', '--file', image]);
    // The first connection loads what it needs.
    await visit((frontend) => {
      frontend.askU64(REQUEST.GET_FEATURES);
      frontend.disconnect();
    });
    atRest = server.descriptors;
  }, 60_000);
  afterAll(() => server.end());

  /** A connection, closed afterwards; resolves with what the export has said of it when that is over. */
  async function visit(use: (frontend: VhostFrontend) => void): Promise<string> {
    const said = server.log.length;
    const frontend = new VhostFrontend({ spec: hostSpec });
    frontend.connect(socket);
    try {
      use(frontend);
      await server.said('closed', said);
    } catch {
      // Who asks is told by the end of the connection.
      await server.said('closed', said);
    } finally {
      frontend.close();
    }
    return server.log.slice(said);
  }

  /** An honest one is served, and nothing is left open. */
  async function expectUnharmed(): Promise<void> {
    const said = server.log.length;
    const frontend = new VhostFrontend({ spec: hostSpec });
    frontend.connect(socket);
    frontend.negotiate({ features: MODERN });
    frontend.start();
    const answer = new ExportedDisk(frontend).request(0, VIRTIO_BLK_T_IN, 0, null, 512);
    expect(answer.status).toBe(VIRTIO_BLK_S_OK);
    frontend.close();
    await server.said('closed', said);
    expect(server.descriptors).toBe(atRest);
  }

  it.each(FRESH)('sends %s', async (_name, commit, reason) => {
    expect(await visit(commit)).toMatch(reason);
    await expectUnharmed();
  });

  it.each(RUNNING)('gives %s', async (_name, commit, reason) => {
    const log = await visit((frontend) => {
      frontend.negotiate({ features: MODERN });
      frontend.start();
      commit(frontend);
      // Whoever asks for more finds the connection closed.
      frontend.askUntilClosed();
    });
    expect(log).toMatch(reason);
    await expectUnharmed();
  });

  it('makes the file of its memory shorter', async () => {
    const file = path.join(folder, 'memory');
    writeFileSync(file, new Uint8Array(MIB));
    const log = await visit((frontend) => {
      frontend.negotiate({ features: MODERN });
      frontend.tell(REQUEST.SET_FEATURES, u64(frontend.features));
      const fd = openSync(file, 'r+');
      frontend.tell(REQUEST.ADD_MEM_REG, oneRegion({ size: BigInt(MIB) }), [fd]);
      closeSync(fd);
      frontend.queues = [];
      frontend.startQueues(1, 64);
      writeFileSync(file, '');
      frontend.host.ringEvent(frontend.kicks[0]);
      frontend.askUntilClosed();
    });
    expect(log).toMatch(/has made the file of a memory region shorter/);
    await expectUnharmed();
  });

  it('sends a chain that loops: the device stops, the connection stays', async () => {
    const said = server.log.length;
    await visit((frontend) => {
      frontend.negotiate({ features: MODERN });
      frontend.start();
      const [queue] = frontend.queues;
      queue.writeDescriptor(queue.areas.descriptorArea, 3, { address: RAM_BASE, length: 16, flags: 1, next: 3 });
      queue.offer(3);
      frontend.host.ringEvent(frontend.kicks[0]);
      // The answer says that the kick was there to be seen.
      frontend.stopRing(0);
      frontend.disconnect();
    });
    await server.said('loops after', said);
    await expectUnharmed();
  });

  it('kicks without an end', async () => {
    await visit((frontend) => {
      frontend.negotiate({ features: MODERN });
      frontend.start();
      const disk = new ExportedDisk(frontend);
      for (let i = 0; i < 10_000; i++) frontend.host.ringEvent(frontend.kicks[0]);
      expect(disk.request(0, VIRTIO_BLK_T_IN, 0, null, 512).status).toBe(VIRTIO_BLK_S_OK);
      frontend.disconnect();
    });
    await expectUnharmed();
  });

  it('never reads its answers', async () => {
    const log = await visit((frontend) => {
      const sleep = new Int32Array(new SharedArrayBuffer(4));
      const end = performance.now() + 30_000;
      try {
        while (performance.now() < end) {
          const message = header(REQUEST.GET_FEATURES, 0);
          if (frontend.host.sendMessage(frontend.channel.fd, message, new Int32Array(0)) === null) {
            Atomics.wait(sleep, 0, 0, 1);
          }
        }
      } catch {
        // The connection is closed.
      }
    });
    expect(log).toMatch(/does not read/);
    await expectUnharmed();
  });

  it('asks for acknowledgements of what is refused', async () => {
    await visit((frontend) => {
      frontend.negotiate({ features: MODERN });
      frontend.send(REQUEST.SET_VRING_NUM, state(0, 5000), [], FLAG_NEED_REPLY);
      expect(frontend.receive().payload[0]).toBe(1);
      frontend.receive();
    });
    await expectUnharmed();
  });
});
