/** qcow2 images that we and QEMU write in turn: random operations, each reading what the other wrote, checked after every batch. */
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import {
  DiskModel,
  Random,
  applyToDisk,
  expectClean,
  makeRaw,
  qemuImg,
  qemuIo,
  qemuRead,
  randomOperation,
  readAll,
} from './qcow2-model.ts';
import { MIB, missing, pattern, tempFolder, withDisk } from './tools.ts';

/** For longer runs than CI's: RINGSIDE_QCOW2_BATCHES. */
const BATCHES = Number(process.env.RINGSIDE_QCOW2_BATCHES ?? 4);
const OPERATIONS = 60;
const SIZE = 3 * MIB + 512 * 7;

const KINDS: Record<string, string> = {
  'version 2': 'compat=0.10,cluster_size=4k',
  'version 3': 'cluster_size=64k',
  'clusters of 512 bytes': 'cluster_size=512',
  'refcounts of 1 bit': 'cluster_size=4k,refcount_bits=1',
  'refcounts of 64 bits': 'cluster_size=1k,refcount_bits=64',
  'lazy refcounts': 'cluster_size=4k,lazy_refcounts=on',
  'extended L2 entries': 'cluster_size=16k,extended_l2=on',
  'clusters of 2 MiB': 'cluster_size=2M',
  'clusters that are allocated before': 'cluster_size=8k,preallocation=metadata',
};

describe.skipIf(missing('qemu-img') ?? missing('qemu-io'))('qcow2, we and QEMU in turn', () => {
  const folder = tempFolder();
  const raw = join(folder, 'raw');

  for (const [name, options] of Object.entries(KINDS)) {
    it(name, () => turns(join(folder, 'image'), options, []));
  }

  for (const [name, options] of Object.entries(KINDS)) {
    if (options.includes('preallocation')) continue;
    it(`${name}, with a backing file`, () => {
      const base = makeRaw(join(folder, 'base'), pattern(MIB));
      turns(join(folder, 'overlay'), options, ['-b', base, '-F', 'raw'], base);
    });
  }

  function turns(image: string, options: string, more: string[], base?: string): void {
    qemuImg('create', '-q', '-f', 'qcow2', '-o', options, ...more, image, `${SIZE}`);
    const model = new DiskModel(SIZE);
    if (base) model.bytes.set(pattern(MIB));
    const random = new Random(options.length * 7919 + more.length);
    for (let batch = 0; batch < BATCHES; batch++) {
      const operations = Array.from({ length: OPERATIONS }, () => randomOperation(random, SIZE));
      if (batch % 2 === 0) {
        withDisk({ file: image, format: 'qcow2', backing: 'trust' }, ({ disk, warnings }) => {
          expect(warnings).toEqual([]);
          for (const operation of operations) {
            applyToDisk(disk, operation);
            model.apply(operation);
          }
          model.compare(readAll(disk));
        });
        expectClean(image);
        model.compare(qemuRead(image, raw));
      } else {
        qemuIo(image, operations);
        for (const operation of operations) model.apply(operation);
        withDisk({ file: image, format: 'qcow2', readonly: true, backing: 'trust' }, ({ disk }) => {
          model.compare(readAll(disk));
        });
      }
    }
  }
});
