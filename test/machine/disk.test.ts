/** A disk through the guest's own tools and through the host's: both see the same bytes. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  openSync,
  readSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { GuestFiles } from '../../main/guests/index.ts';
import { MIB, Running, debianFiles, noAddon, tempFolder } from '../harness/debian.ts';

const BOOT_MS = 120_000;
/** Of Debian's package e2fsprogs; not on everybody's PATH. */
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;

const debian = await debianFiles();
const folder = tempFolder();
let files: GuestFiles;

beforeEach((context) => {
  if ('reason' in debian) return context.skip(debian.reason);
  files = debian.files;
});

function image(name: string, size: number): string {
  const file = join(folder, name);
  writeFileSync(file, '');
  truncateSync(file, size);
  return file;
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Bytes that a file takes on the host. */
const allocated = (file: string): number => statSync(file).blocks * 512;

function has(program: string): boolean {
  return spawnSync(program, ['-V'], { env: { ...process.env, PATH } }).error === undefined;
}

function tool(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { env: { ...process.env, PATH }, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}

describe('an ext4 file system that the guest has made', () => {
  const disk = image('ext4.raw', 256 * MIB);
  let sum: string;

  test('is filled, synced and unmounted; freed space goes back to the host', { timeout: 3 * BOOT_MS }, async () => {
    await using guest = await Running.boot(files, {
      harts: 2,
      drives: [{ id: 'disk0', file: disk, serial: 'ringside-1' }],
    });
    const { shell } = guest;
    expect(await shell.ok('cd /sys/block/vda && echo $(cat serial) $(cat size) $(cat ro); cd')).toBe(
      'ringside-1 524288 0',
    );
    await shell.ok('mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt');
    await shell.ok('dd if=/dev/urandom of=/mnt/random bs=1M count=64 conv=fsync');
    sum = (await shell.ok('sha256sum </mnt/random')).split(' ')[0];
    expect(sum).toMatch(/^[0-9a-f]{64}$/);
    expect(allocated(disk)).toBeGreaterThan(64 * MIB);

    await shell.ok('dd if=/dev/zero of=/mnt/waste bs=1M count=96 conv=fsync');
    const full = allocated(disk);
    await shell.ok(`rm /mnt/waste && sync${noAddon === null ? ' && fstrim -v /mnt' : ''}`);
    const trimmed = allocated(disk);
    console.log(`on the host: ${full / MIB} MiB before fstrim, ${trimmed / MIB} MiB after`);
    // Without the addon there are no holes to be had; discards are advice then.
    if (noAddon === null) expect(full - trimmed).toBeGreaterThan(90 * MIB);

    await shell.ok('umount /mnt');
    expect(await guest.shutDown()).toEqual({ reason: 'guest-poweroff', code: 0 });
    expect(guest.messages).toEqual([]);
  });

  test('is sound on the host, which reads the same bytes', async (context) => {
    if (!has('e2fsck') || !has('debugfs')) return context.skip('e2fsprogs is not installed');
    expect(sum).toBeDefined();
    tool('e2fsck', '-fn', disk);
    const copy = join(folder, 'random');
    tool('debugfs', '-R', `dump /random ${copy}`, disk);
    expect(statSync(copy).size).toBe(64 * MIB);
    expect(await sha256(copy)).toBe(sum);
  });

  test('is read again, read-only, and stays as it is', { timeout: 2 * BOOT_MS }, async () => {
    expect(sum).toBeDefined();
    const before = await sha256(disk);
    await using guest = await Running.boot(files, { drives: [{ id: 'disk0', file: disk, readonly: true }] });
    const { shell } = guest;
    expect(await shell.ok('cat /sys/block/vda/ro')).toBe('1');
    // The guest's init has mounted it.
    expect(await shell.ok('grep /dev/vda /proc/mounts')).toMatch(/ext4 ro,/);
    expect((await shell.ok('sha256sum </mnt/vda/random')).split(' ')[0]).toBe(sum);
    expect((await shell.run('touch /mnt/vda/new')).text).toContain('Read-only file system');
    expect((await shell.run('mount -o remount,rw /mnt/vda')).status).not.toBe(0);
    expect((await shell.run('dd if=/dev/zero of=/dev/vda bs=512 count=1')).status).not.toBe(0);
    expect((await shell.run('blkdiscard /dev/vda; mkfs.ext4 -qF /dev/vda')).status).not.toBe(0);
    expect(await guest.shutDown()).toEqual({ reason: 'guest-poweroff', code: 0 });
    expect(await sha256(disk)).toBe(before);
  });
});

describe.each([
  { name: 'modern', config: {} },
  { name: 'legacy', config: { forceLegacy: true } },
])('a $name device', ({ name, config }) => {
  test('reads what the host has put at an offset, and writes at another', { timeout: 2 * BOOT_MS }, async () => {
    const disk = image(`${name}.raw`, 64 * MIB);
    const [input, output] = [17 * MIB + 512, 40 * MIB + 4096];
    const length = 5 * MIB + 1536;
    const bytes = Buffer.alloc(length);
    for (let i = 0, x = 12345; i < length; i++) bytes[i] = (x = (Math.imul(x, 1103515245) + 12345) >>> 0) >>> 24;
    const fd = openSync(disk, 'r+');
    writeSync(fd, bytes, 0, length, input);

    await using guest = await Running.boot(files, { ...config, drives: [{ id: 'disk0', file: disk }] });
    const { shell } = guest;
    const transport = guest.machine.snapshot().virtio.map((device) => device.transport.version);
    expect(transport).toEqual(transport.map(() => (name === 'legacy' ? 1 : 2)));
    const dd = `dd if=/dev/vda of=/dev/vda bs=512 skip=${input / 512} seek=${output / 512} count=${length / 512}`;
    await shell.ok(`${dd} conv=notrunc,fsync`);
    // The guest has been told that they are on stable storage: its machine may end as it likes.
    await guest.machine.powerOff();
    const written = Buffer.alloc(length);
    readSync(fd, written, 0, length, output);
    closeSync(fd);
    expect(written.equals(bytes)).toBe(true);
  });
});
