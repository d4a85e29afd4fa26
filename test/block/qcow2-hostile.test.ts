/** qcow2 images made to do harm: a clear error, bounded memory, no crash, and never another file's bytes. */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { DiskError } from '../../core/block/errors.ts';
import { createQcow2 } from '../../core/block/qcow2/create.ts';
import type { Qcow2CreateOptions } from '../../core/block/qcow2/create.ts';
import { ImageFile } from '../../core/block/image-file.ts';
import { createFlushState } from '../../core/block/shared-flush.ts';
import { RingsideError } from '../../core/errors.ts';
import { Random, applyToDisk, randomOperation } from './qcow2-model.ts';
import { KIB, MIB, host, hostWith, makeImage, tempFolder, withDisk } from './tools.ts';

const folder = tempFolder();
const SIZE = MIB;

// Header fields, byte offsets (docs/interop/qcow2.txt).
const VERSION = 4;
const BACKING_OFFSET = 8;
const BACKING_SIZE = 16;
const CLUSTER_BITS = 20;
const DISK_SIZE = 24;
const CRYPT_METHOD = 32;
const L1_SIZE = 36;
const L1_OFFSET = 40;
const REFTABLE_OFFSET = 48;
const REFTABLE_CLUSTERS = 56;
const SNAPSHOTS = 60;
const SNAPSHOTS_OFFSET = 64;
const INCOMPATIBLE = 72;
const REFCOUNT_ORDER = 96;
const HEADER_LENGTH = 100;

/** An image with some data, whose bytes `change` has changed. */
function image(name: string, change: (fields: DataView, file: string) => void, options = {}): string {
  const file = makeImage(join(folder, name), 0);
  create(file, { size: SIZE, clusterSize: 4 * KIB, ...options });
  withDisk({ file, format: 'qcow2' }, ({ disk }) => disk.writev([new Uint8Array(64 * KIB).fill(7)], 0));
  const bytes = readFileSync(file);
  change(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), file);
  writeFileSync(file, bytes);
  return file;
}

function create(file: string, options: Qcow2CreateOptions): void {
  const fd = host.open(file, { write: true });
  const handle = { file, fd, writable: true, holes: false, flushState: createFlushState() };
  createQcow2(new ImageFile(handle, host), options);
  host.close(fd);
}

describe('a header', () => {
  const big = 2n ** 62n;
  const cases: [string, (fields: DataView) => void, RegExp][] = [
    ['of version 1', (h) => h.setUint32(VERSION, 1), /version 1/],
    ['of version 4', (h) => h.setUint32(VERSION, 4), /version 4/],
    ['with clusters of a byte', (h) => h.setUint32(CLUSTER_BITS, 0), /clusters of 2\^0/],
    ['with clusters of 2 GiB', (h) => h.setUint32(CLUSTER_BITS, 31), /clusters of 2\^31/],
    ['with a disk of 2^62 bytes', (h) => h.setBigUint64(DISK_SIZE, big), /its size/],
    ['with a disk larger than its L1 table', (h) => h.setBigUint64(DISK_SIZE, 2n ** 40n), /L1 table/],
    ['with an L1 table of 4 G entries', (h) => h.setUint32(L1_SIZE, 0xffff_ffff), /L1 table has 4294967295/],
    ['with an L1 table at an odd place', (h) => h.setBigUint64(L1_OFFSET, 5n), /L1 table is at 5/],
    ['with a refcount table of 16 TiB', (h) => h.setUint32(REFTABLE_CLUSTERS, 0xffff_ffff), /refcount table has/],
    ['without a refcount table', (h) => h.setUint32(REFTABLE_CLUSTERS, 0), /no refcount table/],
    ['with a refcount table at 2^62', (h) => h.setBigUint64(REFTABLE_OFFSET, big), /refcount table is 4611/],
    ['with 4 G snapshots', (h) => h.setUint32(SNAPSHOTS, 0xffff_ffff), /4294967295 snapshots/],
    [
      'with snapshots behind its end',
      (h) => (h.setUint32(SNAPSHOTS, 3), h.setBigUint64(SNAPSHOTS_OFFSET, 2n ** 40n)),
      /snapshot table is behind its end/,
    ],
    ['with refcounts of 2^200 bits', (h) => h.setUint32(REFCOUNT_ORDER, 200), /2\^200 bits/],
    ['that is longer than a cluster', (h) => h.setUint32(HEADER_LENGTH, 1 << 30), /its header has/],
    ['that is encrypted', (h) => h.setUint32(CRYPT_METHOD, 2), /encrypted \(LUKS\)/],
    ['with a feature of tomorrow', (h) => h.setBigUint64(INCOMPATIBLE, 1n << 40n), /not known here: bit 40/],
    ['with a backing file behind its end', (h) => h.setBigUint64(BACKING_OFFSET, big), /no sound qcow2|backing/],
  ];
  it.each(cases)('%s is refused in one line', (name, change, words) => {
    const file = image('header', (fields) => {
      change(fields);
      if (name.includes('backing')) fields.setUint32(BACKING_SIZE, 100);
    });
    let said: unknown;
    try {
      withDisk({ file, format: 'qcow2' }, () => undefined);
    } catch (error) {
      said = error;
    }
    expect(said).toBeInstanceOf(RingsideError);
    expect((said as Error).message).toMatch(words);
    expect((said as Error).message).not.toContain('\n');
  });
});

describe('files that an image names', () => {
  it('are not opened unless the user says so', () => {
    const secret = makeImage(join(folder, 'secret'), new Uint8Array(4096).fill(0x53));
    const file = makeImage(join(folder, 'greedy'), 0);
    create(file, { size: SIZE, backing: { file: secret, format: 'raw' } });
    expect(() => withDisk({ file, format: 'qcow2' }, () => undefined)).toThrow(
      /backing file ".*secret".*backing=trust/,
    );
    withDisk({ file, format: 'qcow2', backing: 'trust' }, ({ disk }) => {
      const bytes = new Uint8Array(512);
      disk.readv([bytes], 0);
      expect(bytes[0]).toBe(0x53);
    });
  });

  it('must have a format that is named, and be files', () => {
    const file = makeImage(join(folder, 'unnamed'), 0);
    const open = () => withDisk({ file, format: 'qcow2', backing: 'trust' }, () => undefined);
    create(file, { size: SIZE, backing: { file: 'base', format: 'vmdk' } });
    expect(open).toThrow(/format "vmdk", not raw or qcow2/);
    create(file, { size: SIZE, backing: { file: 'nbd://localhost/x', format: 'raw' } });
    expect(open).toThrow(/no path of a file/);
    create(file, { size: SIZE, backing: { file: 'json:{"driver":"raw"}', format: 'raw' } });
    expect(open).toThrow(/no path of a file/);
  });

  it('are no loop', () => {
    const [a, b] = ['a', 'b'].map((name) => makeImage(join(folder, name), 0));
    create(a, { size: SIZE, backing: { file: 'b', format: 'qcow2' } });
    create(b, { size: SIZE, backing: { file: 'a', format: 'qcow2' } });
    expect(() => withDisk({ file: a, format: 'qcow2', readonly: true, backing: 'trust' }, () => undefined)).toThrow(
      /are a loop/,
    );
    create(a, { size: SIZE, backing: { file: 'a', format: 'qcow2' } });
    expect(() => withDisk({ file: a, format: 'qcow2', readonly: true, backing: 'trust' }, () => undefined)).toThrow(
      /are a loop/,
    );
  });
});

describe('tables', () => {
  const write = (file: string, first = true) =>
    withDisk({ file, format: 'qcow2' }, ({ disk }) => {
      if (first) disk.writev([new Uint8Array(4 * KIB).fill(9)], 0);
      disk.writev([new Uint8Array(4 * KIB).fill(9)], SIZE / 2);
      disk.flush();
    });
  const entryOf = (h: DataView) => Number(h.getBigUint64(Number(h.getBigUint64(L1_OFFSET))) & 0xff_ffff_ffff_fe00n);
  const own = 1n << 63n;
  const overlaps: [string, (h: DataView) => void][] = [
    ['data in the header', (h) => h.setBigUint64(entryOf(h), own)],
    ['data in the L1 table', (h) => h.setBigUint64(entryOf(h), own | h.getBigUint64(L1_OFFSET))],
    ['data in the refcount table', (h) => h.setBigUint64(entryOf(h), own | h.getBigUint64(REFTABLE_OFFSET))],
    ['data in its own L2 table', (h) => h.setBigUint64(entryOf(h), own | BigInt(entryOf(h)))],
    ['data between clusters', (h) => h.setBigUint64(entryOf(h), own | 0x1200n)],
    ['an L2 table in the header', (h) => h.setBigUint64(Number(h.getBigUint64(L1_OFFSET)), own | 1n)],
    [
      'an L2 table that is the refcount table',
      (h) => h.setBigUint64(Number(h.getBigUint64(L1_OFFSET)), own | h.getBigUint64(REFTABLE_OFFSET)),
    ],
    ['refcounts that call everything free', (h) => h.setBigUint64(Number(h.getBigUint64(REFTABLE_OFFSET)), 0n)],
  ];
  it.each(overlaps)('%s: nothing of the image is overwritten, and it says that it is damaged', (name, change) => {
    const file = image('overlap', change);
    const before = readFileSync(file);
    let said: unknown;
    try {
      // What is allocated already needs no counts.
      write(file, !name.startsWith('refcounts'));
    } catch (error) {
      said = error;
    }
    const after = readFileSync(file);
    // Sound but strange is allowed: an L1 entry of nothing is nothing.
    if (said === undefined) {
      expect(name).toMatch(/L2 table in the header/);
      return;
    }
    expect(said).toBeInstanceOf(DiskError);
    expect((said as DiskError).code).toBe('EIO');
    // Only the corrupt bit.
    expect(after[INCOMPATIBLE + 7] & 2).toBe(2);
    after[INCOMPATIBLE + 7] = before[INCOMPATIBLE + 7];
    expect(Buffer.compare(after.subarray(0, before.length), before)).toBe(0);
    expect(() => write(file)).toThrow(/marked as damaged/);
  });
});

it('any bytes of any table changed: errors of the image, memory within bounds, and the process goes on', () => {
  const random = new Random(42);
  const unsynced = hostWith({ fdatasync: () => undefined });
  const sound = readFileSync(image('sound', () => undefined));
  const file = join(folder, 'fuzzed');
  let opened = 0;
  for (let round = 0; round < 200; round++) {
    const bytes = new Uint8Array(sound);
    for (let i = 1 + random.below(6); i > 0; i--) {
      // The header more often than the rest.
      const at = random.below(2) ? random.below(112) : random.below(bytes.length);
      bytes[at] = random.pick([0, 1, 0x80, 0xff, random.below(256)]);
    }
    writeFileSync(file, bytes);
    if (random.below(4) === 0) truncateSync(file, random.below(bytes.length));
    try {
      withDisk({ file, format: 'qcow2', backing: 'trust', host: unsynced }, ({ disk }) => {
        opened++;
        for (let i = 0; i < 20; i++) {
          try {
            applyToDisk(disk, randomOperation(random, Math.min(disk.size, SIZE)));
            disk.readv([new Uint8Array(512)], random.below(disk.size / 512) * 512);
          } catch (error) {
            if (!(error instanceof DiskError)) throw error;
          }
        }
      });
    } catch (error) {
      if (!(error instanceof RingsideError) && !(error instanceof DiskError)) throw error;
    }
  }
  expect(opened).toBeGreaterThan(25);
});
