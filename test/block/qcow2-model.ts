/** A disk as an array of bytes, and random operations that are done to it and to an image, by us or by QEMU. */
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';

import { expect } from 'vitest';

import type { Disk } from '../../core/block/disk.ts';
import { KIB, expectBytes } from './tools.ts';

export type Operation =
  | { readonly op: 'write'; readonly offset: number; readonly length: number; readonly byte: number }
  | { readonly op: 'zero'; readonly offset: number; readonly length: number; readonly unmap: boolean }
  | { readonly op: 'discard'; readonly offset: number; readonly length: number }
  | { readonly op: 'flush' };

/** Random numbers that are the same each time (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** 0 <= n < below */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }
}

const SECTOR = 512;

/** Something to do to a disk of `size` bytes, small more often than large. */
export function randomOperation(random: Random, size: number): Operation {
  const longest = Math.min(size, random.pick([SECTOR, 4 * KIB, 16 * KIB, 70 * KIB, 300 * KIB]));
  const length = (1 + random.below(longest / SECTOR)) * SECTOR;
  let offset = random.below((size - length) / SECTOR + 1) * SECTOR;
  if (random.below(2)) offset -= offset % (4 * KIB);
  const kind = random.below(20);
  if (kind < 11) return { op: 'write', offset, length, byte: 1 + random.below(255) };
  if (kind < 15) return { op: 'zero', offset, length, unmap: random.below(2) === 1 };
  if (kind < 18) return { op: 'discard', offset, length };
  return { op: 'flush' };
}

/** What a disk holds. What was discarded may be as it was, or zero: `undefinedAt` says where. */
export class DiskModel {
  readonly bytes: Uint8Array;
  readonly #discarded: Uint8Array;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.#discarded = new Uint8Array(size / SECTOR);
  }

  apply(operation: Operation): void {
    if (operation.op === 'flush') return;
    const { offset, length } = operation;
    if (operation.op === 'discard') {
      this.#discarded.fill(1, offset / SECTOR, (offset + length) / SECTOR);
      return;
    }
    this.bytes.fill(operation.op === 'write' ? operation.byte : 0, offset, offset + length);
    this.#discarded.fill(0, offset / SECTOR, (offset + length) / SECTOR);
  }

  /** Takes what a disk says of discarded ranges, and compares all else. */
  compare(actual: Uint8Array): void {
    for (let at = 0; at < this.#discarded.length; at++) {
      if (this.#discarded[at] === 0) continue;
      const found = actual.subarray(at * SECTOR, (at + 1) * SECTOR);
      const old = this.bytes.subarray(at * SECTOR, (at + 1) * SECTOR);
      const same = Buffer.compare(found, old) === 0;
      if (!same && found.some((byte) => byte !== 0)) expect.fail(`discarded sector ${at} is neither old nor zero`);
      old.set(found);
    }
    this.#discarded.fill(0);
    expectBytes(actual, this.bytes);
  }
}

export function applyToDisk(disk: Disk, operation: Operation): void {
  switch (operation.op) {
    case 'write':
      disk.writev([new Uint8Array(operation.length).fill(operation.byte)], operation.offset);
      break;
    case 'zero':
      disk.writeZeroes(operation.offset, operation.length, operation.unmap);
      break;
    case 'discard':
      disk.discard(operation.offset, operation.length);
      break;
    case 'flush':
      disk.flush();
  }
}

export function readAll(disk: Disk): Uint8Array {
  const bytes = new Uint8Array(disk.size);
  disk.readv([bytes], 0);
  return bytes;
}

/** All operations in one qemu-io process. */
export function qemuIo(image: string, operations: readonly Operation[], options: readonly string[] = []): void {
  const lines = operations.map((operation) => {
    switch (operation.op) {
      case 'write':
        return `write -q -P ${operation.byte} ${operation.offset} ${operation.length}`;
      case 'zero':
        return `write -q -z ${operation.unmap ? '-u ' : ''}${operation.offset} ${operation.length}`;
      case 'discard':
        return `discard -q ${operation.offset} ${operation.length}`;
      case 'flush':
        return 'flush';
    }
  });
  const done = spawnSync('qemu-io', ['-f', 'qcow2', '-d', 'unmap', ...options, image], {
    encoding: 'utf8',
    input: `${lines.join('\n')}\nquit\n`,
  });
  const said = (done.stdout + done.stderr).replaceAll('qemu-io> ', '').trim();
  expect(said).toBe('');
  expect(done.status).toBe(0);
}

/** What QEMU reads of an image. */
export function qemuRead(image: string, raw: string): Uint8Array {
  qemuImg('convert', '-f', 'qcow2', '-O', 'raw', image, raw);
  return execFileSync('cat', [raw], { maxBuffer: 2 ** 30 });
}

export function qemuImg(...args: string[]): string {
  const done = spawnSync('qemu-img', args, { encoding: 'utf8' });
  if (done.status !== 0) expect.fail(`qemu-img ${args.join(' ')}: ${done.stdout}${done.stderr}`);
  return done.stdout;
}

/** qemu-img check finds nothing at all, no leak either. */
export function expectClean(image: string): void {
  const done = spawnSync('qemu-img', ['check', '-f', 'qcow2', image], { encoding: 'utf8' });
  if (done.status !== 0) expect.fail(`qemu-img check: ${done.stdout.slice(0, 2000)}${done.stderr.slice(0, 2000)}`);
}

/** Nothing is wrong but clusters that are counted and not used: all that a crash may leave behind. */
export function expectSound(image: string): void {
  const done = spawnSync('qemu-img', ['check', '-f', 'qcow2', '--output=json', image], { encoding: 'utf8' });
  const said = JSON.parse(done.stdout) as { corruptions?: number; 'check-errors': number };
  expect(said.corruptions ?? 0, done.stdout).toBe(0);
  expect(said['check-errors']).toBe(0);
}

export function makeRaw(path: string, bytes: Uint8Array): string {
  writeFileSync(path, bytes);
  return path;
}
