/** What the tests of core/block share: folders that go away, the host with and without the addon, QEMU's tools. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, expect } from 'vitest';

import { openDisk } from '../../core/block/open.ts';
import type { DiskOptions, OpenDisk } from '../../core/block/open.ts';
import type { Host } from '../../core/host/host.ts';
import { createHost } from '../../core/host/node-host.ts';
import { hostSpec } from '../native/addon.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;

/** The host as it is here. */
export const host = createHost(hostSpec);
/** The host as it is where no addon can be built. */
export const bareHost = createHost({ addon: { reason: 'no addon in this test' } });

/** A host that is like `base` but for what is given. */
export function hostWith(changes: Partial<Host>, base = host): Host {
  return new Proxy(base, {
    get(target, name: keyof Host) {
      if (name in changes) return changes[name];
      const value = target[name];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** What the host throws when a system call fails. */
export function hostError(code: string): Error {
  return Object.assign(new Error(`${code}: made by the test`), { code });
}

/** A folder that is removed when the file's tests are over. */
export function tempFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringside-block-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Bytes that tell where they are from: no two sectors are alike. */
export function pattern(length: number, seed = 1): Uint8Array {
  const words = new Uint32Array(length / 4);
  for (let i = 0, x = seed; i < words.length; i++) words[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
  return new Uint8Array(words.buffer);
}

export function makeImage(path: string, bytes: Uint8Array | number): string {
  writeFileSync(path, typeof bytes === 'number' ? new Uint8Array(bytes) : bytes);
  return path;
}

/** expect().toEqual() for many bytes, which is slow at that: says where the first difference is. */
export function expectBytes(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.length).toBe(expected.length);
  if (Buffer.compare(actual, expected) === 0) return;
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  expect.fail(`byte ${at} is ${actual[at]}, not ${expected[at]}`);
}

/** Opens a disk for the length of `use`. */
export function withDisk<T>(options: Omit<DiskOptions, 'host'> & { host?: Host }, use: (open: OpenDisk) => T): T {
  const open = openDisk({ host, ...options });
  try {
    return use(open);
  } finally {
    open.disk.close();
  }
}

/** Why a program cannot be run, null when it can. */
export function missing(program: string): string | null {
  const tried = spawnSync(program, ['--version']);
  return tried.error ? `${program} is not installed` : null;
}

/** Runs a program and gives what it said, on either channel. */
export function run(program: string, args: string[]): { status: number | null; text: string } {
  const done = spawnSync(program, args, { encoding: 'utf8' });
  return { status: done.status, text: done.stdout + done.stderr };
}

/** A QEMU program that opens an image and then waits at a prompt. */
export interface Holder {
  program: string;
  args: (image: string, readonly: boolean) => string[];
  /** A command, and what answers it: by then the image is open. */
  probe: [command: string, answer: RegExp];
}

export const QEMU_IO: Holder = {
  program: 'qemu-io',
  args: (image, readonly) => ['-f', 'raw', ...(readonly ? ['-r'] : []), image],
  probe: ['length', /MiB/],
};

/** A stopped machine with the image as its virtio disk. */
export const QEMU_SYSTEM: Holder = {
  program: 'qemu-system-riscv64',
  args: (image, readonly) => [
    ...['-M', 'virt', '-m', '16M', '-bios', 'none', '-S', '-display', 'none', '-serial', 'none', '-monitor', 'stdio'],
    ...['-drive', `file=${image},format=raw,if=none,id=disk,readonly=${readonly ? 'on' : 'off'}`],
    ...['-device', 'virtio-blk-device,drive=disk'],
  ],
  probe: ['info status', /VM status/],
};

/** Keeps an image open in a QEMU program while `use` runs. */
export async function heldBy(holder: Holder, image: string, readonly: boolean, use: () => void): Promise<void> {
  const child = spawn(holder.program, holder.args(image, readonly), { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const [command, answer] = holder.probe;
  child.stdin.write(`${command}\n`);
  try {
    let said = '';
    for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
      said += chunk;
      if (answer.test(said)) break;
    }
    if (!answer.test(said)) throw new Error(`${holder.program} has ended: ${said}`);
    use();
  } finally {
    child.stdin.end('quit\n');
    child.stdout.resume();
    await ended;
  }
}

/** Starts a QEMU program on an image and ends it at its prompt: what it says of the image. */
export function openedBy(holder: Holder, image: string, readonly: boolean): { status: number | null; text: string } {
  const done = spawnSync(holder.program, holder.args(image, readonly), { encoding: 'utf8', input: 'quit\n' });
  return { status: done.status, text: done.stdout + done.stderr };
}
