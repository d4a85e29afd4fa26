/** A crash at any instant: the image is sound, and has every flushed byte. */
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import type { Qcow2Disk } from '../../core/block/qcow2/disk.ts';
import { applySnapshot, createSnapshot, deleteSnapshot } from '../../core/block/qcow2/snapshots.ts';
import { CrashJournal } from './crash-journal.ts';
import type { Operation } from './qcow2-model.ts';
import { Random, applyToDisk, expectSound, qemuImg, randomOperation, readAll } from './qcow2-model.ts';
import { MIB, host, missing, tempFolder, withDisk } from './tools.ts';

/** Of each kind of image; for longer runs than CI's: RINGSIDE_CRASHES. */
const CRASHES = Number(process.env.RINGSIDE_CRASHES ?? 8);
const OPERATIONS = 150;
const SIZE = 2 * MIB;
const SECTOR = 512;
/** What the backing file is full of. */
const BASE = 0xbb;

const KINDS: Record<string, string> = {
  'version 2': 'compat=0.10,cluster_size=4k',
  'version 3': 'cluster_size=64k',
  'clusters of 512 bytes': 'cluster_size=512',
  'refcounts of 64 bits': 'cluster_size=1k,refcount_bits=64',
  'lazy refcounts': 'cluster_size=4k,lazy_refcounts=on',
  'extended L2 entries': 'cluster_size=16k,extended_l2=on',
};

describe.skipIf(missing('qemu-img'))('a qcow2 image after a crash', () => {
  const folder = tempFolder();
  const base = join(folder, 'base');
  writeFileSync(base, new Uint8Array(SIZE).fill(BASE));

  for (const [name, options] of Object.entries(KINDS)) {
    it(name, () => crashes(options, []));
    it(`${name}, with a backing file`, () => crashes(options, ['-b', base, '-F', 'raw']));
  }

  it('with a snapshot, whose clusters stay as they are', () => {
    crashes('cluster_size=4k', [], (image) => qemuImg('snapshot', '-c', 'before', image));
  });

  it('while snapshots are made, gone back to and deleted, is sound once it has been opened', () => {
    const image = join(folder, 'snapshots');
    qemuImg('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', image, `${SIZE}`);
    const journal = new CrashJournal(image);
    withDisk({ file: image, format: 'qcow2', host: journal.host }, ({ disk }) => {
      const qcow2 = disk as Qcow2Disk;
      const write = (byte: number) => disk.writev([new Uint8Array(MIB).fill(byte)], byte * 4096);
      write(1);
      createSnapshot(qcow2, 'a', 0);
      write(2);
      createSnapshot(qcow2, 'b', 0);
      write(3);
      applySnapshot(qcow2, 'a');
      write(4);
      deleteSnapshot(qcow2, 'b');
      deleteSnapshot(qcow2, 'a');
    });
    const random = new Random(7);
    for (let crash = 0; crash < 3 * CRASHES; crash++) {
      const at = crash % 4 ? journal.busyInstant(random) : random.below(journal.length + 1);
      writeFileSync(image, crash % 3 ? journal.powerCutAfter(at, random) : journal.killedAfter(at));
      withDisk({ file: image, format: 'qcow2' }, () => undefined);
      expectSound(image);
    }
  });

  function crashes(options: string, more: string[], prepare?: (image: string) => void): void {
    const image = join(folder, 'image');
    qemuImg('create', '-q', '-f', 'qcow2', '-o', options, ...more, image, `${SIZE}`);
    const random = new Random(options.length + more.length);
    const first = Array.from({ length: 30 }, () => randomOperation(random, SIZE));
    const operations = Array.from({ length: OPERATIONS }, () => randomOperation(random, SIZE));
    const state = new SectorStates(more.length > 0 ? BASE : 0);
    withDisk({ file: image, format: 'qcow2', backing: 'trust' }, ({ disk }) => {
      for (const operation of first) applyToDisk(disk, operation);
    });
    for (const operation of first) state.apply(operation);
    prepare?.(image);

    // How long the journal was when each operation was done.
    const journal = new CrashJournal(image);
    const done: number[] = [];
    withDisk({ file: image, format: 'qcow2', backing: 'trust', host: journal.host }, ({ disk }) => {
      for (const operation of operations) {
        applyToDisk(disk, operation);
        done.push(journal.length);
      }
    });

    for (let crash = 0; crash < CRASHES; crash++) {
      const at = crash % 4 ? journal.busyInstant(random) : random.below(journal.length + 1);
      const kill = crash % 4 === 1;
      const bytes = kill ? journal.killedAfter(at) : journal.powerCutAfter(at, random);
      writeFileSync(image, bytes);
      const completed = done.filter((length) => length <= at).length;
      const flushed = operations.slice(0, completed).findLastIndex(({ op }) => op === 'flush') + 1;
      const how = `${kill ? 'killed' : 'power cut'} after call ${at} of ${journal.length}, flush ${flushed}`;
      if (options.includes('lazy')) {
        // What QEMU does, too: counts are made again when it is opened for writing.
        const copy = join(folder, 'copy');
        copyFileSync(image, copy);
        qemuImg('check', '-q', '-r', 'all', copy);
        withDisk({ file: image, format: 'qcow2', backing: 'trust' }, () => undefined);
      }
      expectSound(image);
      if (prepare) qemuImg('snapshot', '-l', image);
      withDisk({ file: image, format: 'qcow2', readonly: true, backing: 'trust', host }, ({ disk }) => {
        const expected = state.copy();
        for (const operation of operations.slice(0, flushed)) expected.apply(operation);
        for (const operation of operations.slice(flushed, completed + 1)) expected.may(operation);
        expected.compare(readAll(disk), how);
      });
    }
  }
});

/** What each sector may be full of. */
class SectorStates {
  #allowed: ReadonlySet<number>[];

  constructor(byte: number) {
    this.#allowed = Array.from({ length: SIZE / SECTOR }, () => new Set([byte]));
  }

  copy(): SectorStates {
    const copy = new SectorStates(0);
    copy.#allowed = [...this.#allowed];
    return copy;
  }

  apply(operation: Operation): void {
    this.#each(operation, (byte, old) => (byte === null ? new Set([...old, 0]) : new Set([byte])));
  }

  /** It may have been done, or not. */
  may(operation: Operation): void {
    this.#each(operation, (byte, old) => new Set([...old, byte ?? 0]));
  }

  compare(actual: Uint8Array, how: string): void {
    for (const [i, allowed] of this.#allowed.entries()) {
      const sector = actual.subarray(i * SECTOR, (i + 1) * SECTOR);
      const [byte] = sector;
      if (!sector.every((other) => other === byte)) expect.fail(`${how}: sector ${i} is torn`);
      if (!allowed.has(byte)) expect.fail(`${how}: sector ${i} is ${byte}, not one of ${[...allowed].join(', ')}`);
    }
  }

  #each(operation: Operation, next: (byte: number | null, old: ReadonlySet<number>) => ReadonlySet<number>): void {
    if (operation.op === 'flush') return;
    const { offset, length } = operation;
    const byte = operation.op === 'write' ? operation.byte : operation.op === 'zero' ? 0 : null;
    for (let i = offset / SECTOR; i < (offset + length) / SECTOR; i++) this.#allowed[i] = next(byte, this.#allowed[i]);
  }
}
