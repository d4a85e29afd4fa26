/** What can be wrong with a machine's files and options: one line that says what to do, and nothing left behind. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { MachineConfigInput } from '../../core/api/machine.ts';
import { openDisk } from '../../core/block/open.ts';
import { RingsideError } from '../../core/errors.ts';
import { createHost } from '../../core/host/node-host.ts';
import { Machine } from '../../core/machine/machine.ts';
import { MIB, Running, debianFiles, host, noAddon, tempFolder } from '../harness/debian.ts';
import { busyProgram, kernelFile } from './programs.ts';

const BOOT_MS = 120_000;

const debian = await debianFiles();
const folder = tempFolder();
const kernel = kernelFile(folder, 'kernel', busyProgram('counting'));

function image(name: string, size = MIB, where = folder): string {
  const file = join(where, name);
  writeFileSync(file, '');
  truncateSync(file, size);
  return file;
}

function config(changes: Partial<MachineConfigInput> = {}): MachineConfigInput {
  return { memory: 32 * MIB, bios: 'none', kernel, ...changes };
}

const drive = (file: string, more = {}) => ({ id: 'disk0', file, ...more });
const create = (changes: Partial<MachineConfigInput>): Promise<Machine> => Machine.create(config(changes), { host });

const haveQemu = spawnSync('qemu-io', ['--version']).error === undefined;
const fds = (): number => readdirSync('/proc/self/fd').length;
const threads = (): number => readdirSync('/proc/self/task').length;

/** Nothing holds a lock on the image: it can be opened for writing by us, and by QEMU. */
function expectUnlocked(file: string): void {
  openDisk({ file, host: createHost(host) }).disk.close();
  if (haveQemu) expect(spawnSync('qemu-io', ['-f', 'raw', '-c', 'write 0 512', file]).status).toBe(0);
}

describe('a machine is not made', () => {
  const good = image('good.raw');
  const other = image('other.raw');
  const many = Array.from({ length: 7 }, (_, i) => ({ id: `d${i}`, file: image(`many${i}.raw`) }));
  mkdirSync(join(folder, 'dir'));
  writeFileSync(join(folder, 'odd.raw'), new Uint8Array(1000));
  writeFileSync(join(folder, 'nothing'), '');

  const at = (name: string): string => join(folder, name);
  /** What is wrong, the configuration, the error's kind, and what its line must say: what, and what to do. */
  const CASES: [string, Partial<MachineConfigInput>, RingsideError['kind'], RegExp][] = [
    ['no kernel', { kernel: undefined }, 'bad-option', /nothing to start\. Give a kernel/],
    [
      'a missing kernel',
      { kernel: at('missing') },
      'not-found',
      /kernel ".*missing" does not exist\. Check the path\./,
    ],
    ['a directory as kernel', { kernel: at('dir') }, 'not-a-file', /kernel ".*" is a directory\. Choose a file\./],
    ['a device as kernel', { kernel: '/dev/zero' }, 'not-a-file', /is not a file\. Choose a file\./],
    ['an empty kernel', { kernel: at('nothing') }, 'bad-kernel', /is empty\. Give a kernel\./],
    ['a NUL in a path', { kernel: 'a\0b' }, 'bad-option', /must be text without NUL/],
    ['a line end in a path', { kernel: at('mis\nsing') }, 'not-found', /kernel ".*mis sing" does not exist\. Check/],
    ['a missing initrd', { initrd: at('missing') }, 'not-found', /initrd ".*" does not exist\. Check the path\./],
    ['a directory as initrd', { initrd: at('dir') }, 'not-a-file', /initrd ".*" is a directory\. Choose a file\./],
    ['a missing firmware', { bios: at('missing') }, 'not-found', /firmware ".*" does not exist\. Check the path\./],
    ['a directory as firmware', { bios: at('dir') }, 'not-a-file', /firmware ".*" is a directory\. Choose a file\./],
    ['a missing disk', { drives: [drive(at('missing'))] }, 'not-found', /does not exist\. Check the path\./],
    ['a directory as disk', { drives: [drive(at('dir'))] }, 'not-a-file', /is a directory, not a disk image\. Choose/],
    ['a device as disk', { drives: [drive('/dev/zero')] }, 'not-a-file', /neither a file nor a block device.*Choose/],
    ['an empty disk', { drives: [drive(at('nothing'))] }, 'bad-image', /is empty\. Give the disk a size first/],
    ['half a sector', { drives: [drive(at('odd.raw'))] }, 'bad-image', /1000 bytes.*multiple of 512\. Pad it with/],
    [
      'one disk twice',
      { drives: [drive(good), { id: 'b', file: good }] },
      'in-use',
      /or twice by this VM\. Stop the other/,
    ],
    ['one id twice', { drives: [drive(good), drive(other)] }, 'bad-option', /two devices have the id "disk0"\. Give/],
    ["the console's id", { drives: [{ id: 'console0', file: good }] }, 'bad-option', /id "console0"\. Give the drive/],
    ['a bad id', { drives: [{ id: '0/x', file: good }] }, 'bad-option', /^drives\.0\.id: must be a letter, then/],
    [
      'one slot twice',
      { drives: [drive(good, { slot: 3 }), { id: 'b', file: other, slot: 3 }] },
      'bad-option',
      /bus virtio-mmio-bus\.3 .*: disk0 is there\. Choose/,
    ],
    [
      'a slot that is none',
      { drives: [drive(good, { slot: 8 })] },
      'bad-option',
      /^drives\.0\.slot: must be 0 to 7\.$/,
    ],
    ['too many drives', { drives: many }, 'too-large', /8 virtio slots, and this VM wants 9\. Remove/],
    [
      'a serial that is too long',
      { drives: [drive(good, { serial: 'x'.repeat(21) })] },
      'bad-option',
      /serial: must have at most 20 bytes/,
    ],
    [
      'one that is so in UTF-8',
      { drives: [drive(good, { serial: 'ü'.repeat(11) })] },
      'bad-option',
      /longer than 20 bytes/,
    ],
    [
      'no werror',
      { drives: [drive(good, { werror: 'panic' })] },
      'bad-option',
      /werror: must be report, stop, enospc or ignore\.$/,
    ],
    [
      'an unknown option',
      { drives: [drive(good, { cache: 'none' })] },
      'bad-option',
      /^drives\.0: there is no option "cache"\. Leave/,
    ],
    ['no hart', { harts: 0 }, 'bad-option', /^harts: must be 1 to 8\.$/],
    ['nine harts', { harts: 9 }, 'bad-option', /^harts: must be 1 to 8\.$/],
    ['half a hart', { harts: 1.5 }, 'bad-option', /^harts: must be 1 to 8\.$/],
    ['too little RAM', { memory: MIB }, 'bad-option', /^memory: must be at least 16 MiB\.$/],
    ['negative RAM', { memory: -MIB }, 'bad-option', /^memory: must be at least 16 MiB\.$/],
    ['RAM that is no number', { memory: NaN }, 'bad-option', /^memory: must be a number of bytes\.$/],
    ['an odd RAM size', { memory: 32 * MIB + 512 }, 'bad-option', /must be a multiple of 1 MiB/],
    ['too much RAM', { memory: 4096 * MIB }, 'too-large', /at most 3776 MiB\. Give it less\./],
    ['far too much RAM', { memory: 2 ** 50 }, 'too-large', /at most 3776 MiB\. Give it less\./],
    ['a NUL in the command line', { append: 'a\0b' }, 'bad-option', /^append: must not have NUL characters\.$/],
  ];

  test.each(CASES)('with %s', async (_what, changes, kind, line) => {
    // The first error of all loads what later ones have already.
    await create({ kernel: at('missing') }).catch(() => {});
    const [fdsBefore, threadsBefore] = [fds(), threads()];
    const error = await create(changes).then(
      async (machine) => machine.dispose(),
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(RingsideError);
    const { kind: is, message } = error as RingsideError;
    expect(message).toMatch(line);
    expect(is).toBe(kind);
    expect(message).not.toMatch(/[\r\n]/);
    expect(fds()).toBe(fdsBefore);
    expect(threads()).toBe(threadsBefore);
    expectUnlocked(good);
    expectUnlocked(many[0].file);
  });

  test('with a truncated kernel', async (context) => {
    if ('reason' in debian) return context.skip(debian.reason);
    const half = join(folder, 'half');
    copyFileSync(debian.files.kernel, half);
    truncateSync(half, 10 * MIB);
    await expect(create({ bios: 'default', memory: 512 * MIB, kernel: half })).rejects.toMatchObject({
      kind: 'bad-kernel',
      message: expect.stringMatching(/^kernel ".*half" is truncated\. Give an intact file\.$/),
    });
  });

  test('with a kernel or an initrd that is larger than RAM', async (context) => {
    if ('reason' in debian) return context.skip(debian.reason);
    const { kernel, initrd } = debian.files;
    await expect(create({ bios: 'default', memory: 16 * MIB, kernel })).rejects.toMatchObject({
      kind: 'too-large',
      message: expect.stringMatching(/^kernel .*Give it more \(-m\)\.$/),
    });
    await expect(create({ bios: 'default', memory: 40 * MIB, kernel, initrd })).rejects.toMatchObject({
      kind: 'too-large',
      message: expect.stringMatching(/Give (it|the machine) more/),
    });
  });
});

describe('a disk in use', () => {
  const IN_USE = {
    kind: 'in-use',
    message: expect.stringMatching(/is in use by another VM or program.*Stop the other one/),
  };

  test('by another VM of this process is refused, unless both only read it', async () => {
    const file = image('shared.raw');
    const writer = await create({ drives: [drive(file)] });
    await expect(create({ drives: [drive(file)] })).rejects.toMatchObject(IN_USE);
    await expect(create({ drives: [drive(file, { readonly: true })] })).rejects.toMatchObject({
      kind: 'in-use',
      message: expect.stringMatching(/is being written to by another VM or program\. Stop that one first\./),
    });
    await writer.dispose();
    const readers = await Promise.all([1, 2].map(() => create({ drives: [drive(file, { readonly: true })] })));
    await expect(create({ drives: [drive(file)] })).rejects.toMatchObject(IN_USE);
    await Promise.all(readers.map((reader) => reader.dispose()));
    expectUnlocked(file);
  });

  describe.runIf(haveQemu)('by QEMU', () => {
    let qemu: ChildProcess | undefined;
    afterEach(() => qemu?.kill());

    test('is refused; and QEMU refuses what a VM of ours uses', async (context) => {
      const file = image('qemu.raw');
      qemu = spawn('qemu-io', ['-f', 'raw', file], { stdio: ['pipe', 'pipe', 'inherit'] });
      // Its prompt: it has opened the image.
      await new Promise((resolve) => qemu!.stdout!.once('data', resolve));
      await expect(create({ drives: [drive(file)] })).rejects.toMatchObject(IN_USE);
      qemu.stdin!.end('quit\n');
      await new Promise((resolve) => qemu!.once('close', resolve));

      if (noAddon !== null) return context.skip(`QEMU refuses nothing: ${noAddon}`);
      const machine = await create({ drives: [drive(file)] });
      const refused = spawnSync('qemu-io', ['-f', 'raw', '-c', 'read 0 512', file], { encoding: 'utf8' });
      expect(refused.stderr).toMatch(/Is another process using the image/);
      await machine.dispose();
      expectUnlocked(file);
    });
  });
});

/** A file system of so many bytes; null where it cannot be mounted. */
function smallFileSystem(size: number): string | null {
  const at = mkdtempSync(join(tmpdir(), 'ringside-small-'));
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'ringside-test', at]).status === 0) return at;
  rmSync(at, { recursive: true });
  return null;
}

describe('a host that is full', () => {
  const SIZE = 48 * MIB;
  let small: string | null = null;
  beforeAll(() => {
    small = smallFileSystem(SIZE);
  });
  afterEach(() => {
    if (small !== null) for (const name of readdirSync(small)) rmSync(join(small, name));
  });
  afterAll(() => {
    if (small === null) return;
    spawnSync('umount', ['-l', small]);
    rmSync(small, { recursive: true });
  });

  /** Leaves so many bytes free. */
  function fillUp(left: number): string {
    const ballast = join(small!, 'ballast');
    const { bavail, bsize } = statfsSync(small!);
    writeFileSync(ballast, new Uint8Array(bavail * bsize - left));
    return ballast;
  }

  const WRITE = 'dd if=/tmp/data bs=64k conv=fsync oflag=direct of=';

  test('fails the write, or pauses the VM until there is room', { timeout: 2 * BOOT_MS }, async (context) => {
    if ('reason' in debian) return context.skip(debian.reason);
    if (small === null) return context.skip('a small file system cannot be mounted (not root?)');
    const policies = ['report', 'enospc', 'stop'] as const;
    const drives = policies.map((werror) => ({ id: werror, file: image(`${werror}.raw`, 64 * MIB, small!), werror }));
    await using guest = await Running.boot(debian.files, { drives });
    const { machine, shell, messages } = guest;
    await shell.ok('dd if=/dev/urandom of=/tmp/data bs=1M count=4');
    const ballast = fillUp(MIB);
    // Linux names them in the order of their slots, which go down.
    const names = (await shell.ok('for d in /sys/block/vd?; do echo $(basename $d)=$(cat $d/serial); done')).split(
      '\n',
    );
    expect(names.length).toBe(3);

    const [report, ...stopping] = policies.map((_, i) => `/dev/vd${'abc'[i]}`);
    const failed = await shell.run(`${WRITE}${report}`);
    expect(failed.status).not.toBe(0);
    expect(failed.text).toMatch(/Input\/output error|No space left/);
    expect(machine.state).toBe('running');
    expect(messages[0]).toMatch(
      /^report: cannot write ".*report\.raw": the host has no space left \(ENOSPC\)\. Free some/,
    );
    // The guest gives back what it has not written after all.
    await shell.ok(`blkdiscard ${report}`);

    for (const [i, device] of stopping.entries()) {
      rmSync(ballast);
      fillUp(MIB);
      messages.length = 0;
      const paused = new Promise((resolve) => machine.on('state', (state) => state === 'paused' && resolve(state)));
      const write = await shell.begin(`${WRITE}${device}`);
      await paused;
      expect(messages.length).toBe(1);
      expect(messages[0]).toMatch(
        /cannot write .*no space left \(ENOSPC\).*The VM is paused; resume it to try again\.$/,
      );
      expect(messages[0]).toContain(`${policies[i + 1]}:`);
      expect(messages[0]).not.toMatch(/[\r\n]/);
      // Resumed with no room made it is paused again, and the request is not lost.
      const again = new Promise((resolve) => machine.on('state', (state) => state === 'paused' && resolve(state)));
      await machine.resume();
      await again;
      await sleep(100);
      expect(machine.state).toBe('paused');

      rmSync(ballast);
      await machine.resume();
      expect((await write.end()).status).toBe(0);
      expect(machine.state).toBe('running');
      const [written, data] = (
        await shell.ok(
          `echo 3 >/proc/sys/vm/drop_caches; head -c ${4 * MIB} ${device} | sha256sum; sha256sum </tmp/data`,
        )
      ).split('\n');
      expect(written).toBe(data);
      expect(messages.every((message) => message.includes('ENOSPC'))).toBe(true);
      await shell.ok(`blkdiscard ${device}`);
      writeFileSync(ballast, '');
    }
    expect(await guest.shutDown()).toEqual({ reason: 'guest-poweroff', code: 0 });
    for (const { file } of drives) expectUnlocked(file);
  });

  test('does not keep a VM from being powered off', { timeout: 2 * BOOT_MS }, async (context) => {
    if ('reason' in debian) return context.skip(debian.reason);
    if (small === null) return context.skip('a small file system cannot be mounted (not root?)');
    const file = image('full.raw', 64 * MIB, small);
    await using guest = await Running.boot(debian.files, { drives: [drive(file)] });
    const ballast = fillUp(MIB);
    const paused = new Promise((resolve) => guest.machine.once('state', resolve));
    await guest.shell.begin('dd if=/dev/urandom of=/dev/vda bs=64k count=64 oflag=direct');
    expect(await paused).toBe('paused');
    expect(await guest.machine.powerOff()).toEqual({ reason: 'host-quit', code: 0 });
    rmSync(ballast);
    expectUnlocked(file);
    expect(readFileSync(file).length).toBe(64 * MIB);
  });
});
