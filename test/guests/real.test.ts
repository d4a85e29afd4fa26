/**
 * The real thing: the `debian` guest from a real Debian mirror, booted by QEMU, whose machine Ringside's is like. The guest
 * is kept in the usual cache, so that only the first run downloads it.
 */
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { isRiscvImage } from '../../main/guests/initramfs/kernel-image.ts';
import { fetchGuest, guestPaths } from '../../main/guests/index.ts';
import type { GuestFiles } from '../../main/guests/index.ts';

const QEMU = 'qemu-system-riscv64';
const MIB = 2 ** 20;
const PROMPT = /root@ringside:[^\n]*# /;
/** A boot takes some 5 s on an idle computer. */
const BOOT_MS = 120_000;
const FETCH_MS = 600_000;

const haveQemu = spawnSync(QEMU, ['--version']).error === undefined;
let guest: GuestFiles | null = null;
let why = '';
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringside-real-'));
  try {
    guest = await fetchGuest('debian');
  } catch (error) {
    why = (error as Error).message;
  }
}, FETCH_MS);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function diskOf(name: string, size: number): string {
  const path = join(folder, name);
  const file = openSync(path, 'w');
  ftruncateSync(file, size);
  closeSync(file);
  return path;
}

interface MachineOptions {
  append?: string;
  /** QEMU's -drive options, the first one to be vda. */
  disks?: string[];
  /** Which of its consoles the terminal is at. */
  console?: 'serial' | 'virtio';
}

/** A guest under QEMU, talked to over its serial port. */
class Machine {
  readonly #process;
  readonly ended: Promise<number | null>;
  output = '';
  #read = 0;
  #changed: () => void = () => undefined;

  constructor(files: GuestFiles, options: MachineOptions = {}) {
    // QEMU lists its slots from the last one on, and Linux names disks in that order.
    const disks = (options.disks ?? []).flatMap((drive, index) => [
      ...['-drive', `${drive},format=raw,if=none,id=d${index}`],
      ...['-device', `virtio-blk-device,drive=d${index},bus=virtio-mmio-bus.${7 - index}`],
    ]);
    const terminal = {
      serial: ['-nographic'],
      virtio: [
        ...['-display', 'none', '-serial', 'null', '-chardev', 'stdio,id=c'],
        ...['-device', 'virtio-serial-device', '-device', 'virtconsole,chardev=c'],
      ],
    }[options.console ?? 'serial'];
    this.#process = spawn(QEMU, [
      ...['-M', 'virt', '-m', '512M', '-bios', 'default', '-no-reboot', ...terminal],
      ...['-kernel', files.kernel, '-initrd', files.initrd, '-append', `${files.append} ${options.append ?? ''}`],
      ...disks,
      ...['-device', 'virtio-rng-device'],
      ...['-netdev', 'user,id=n', '-device', 'virtio-net-device,netdev=n'],
    ]);
    this.#process.stdout.on('data', (chunk: Buffer) => {
      this.output += chunk.toString().replaceAll('\r', '');
      this.#changed();
    });
    this.ended = new Promise((resolve) =>
      this.#process.once('close', (status) => {
        resolve(status);
        this.#changed();
      }),
    );
  }

  /** What the guest prints up to the pattern. */
  async until(pattern: RegExp): Promise<string> {
    for (;;) {
      const rest = this.output.slice(this.#read);
      const match = pattern.exec(rest);
      if (match !== null) {
        this.#read += match.index + match[0].length;
        return rest.slice(0, match.index);
      }
      if (this.#process.exitCode !== null) throw new Error(`the machine ended:\n${this.output.slice(-2000)}`);
      await new Promise<void>((resolve) => (this.#changed = resolve));
    }
  }

  /** Runs a command in the guest's shell. */
  async run(command: string): Promise<{ status: number; text: string }> {
    // The marks are put together by the shell, so that the echo of the command does not have them.
    this.type(`echo be''gin; ${command}; echo en''d $?\n`);
    await this.until(/^begin\n/m);
    const text = await this.until(/^end (?=\d+\n)/m);
    const status = Number(/^(\d+)/.exec(this.output.slice(this.#read))![1]);
    await this.until(PROMPT);
    return { status, text: text.trim() };
  }

  type(text: string): void {
    this.#process.stdin.write(text);
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }
}

test('the debian guest is fetched', (context) => {
  if (guest === null) context.skip(`no Debian mirror can be reached: ${why}`);
  expect(isRiscvImage(readFileSync(guest!.kernel))).toBe(true);
});

test('and is there without a network', async (context) => {
  if (guest === null) context.skip(why);
  expect(await guestPaths('debian')).toEqual(guest);
});

const title = haveQemu ? 'the debian guest in QEMU' : `not run: ${QEMU} is not installed`;
describe.skipIf(!haveQemu)(title, () => {
  let machine: Machine | undefined;

  const start = (options?: MachineOptions): Machine => (machine = new Machine(guest!, options));
  afterEach(async () => {
    machine?.kill();
    await machine?.ended;
    machine = undefined;
  });

  test('boots to a shell, makes and mounts file systems, and powers off', { timeout: 2 * BOOT_MS }, async (context) => {
    if (guest === null) context.skip(why);
    const disk = diskOf('disk.raw', 64 * MIB);
    const vm = start({ disks: [`file=${disk}`] });
    await vm.until(PROMPT);

    const modules = await vm.run('lsmod');
    for (const name of ['virtio_mmio', 'virtio_blk', 'virtio_net', 'virtio_rng']) expect(modules.text).toContain(name);
    expect((await vm.run('mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt')).status).toBe(0);
    expect((await vm.run('echo written by the guest >/mnt/file && sync')).status).toBe(0);
    expect((await vm.run('umount /mnt && fsck.ext4 -fn /dev/vda')).text).toMatch(/\d+\/16384 files/);
    // Packed modules and what a file system needs are loaded when they are asked for.
    expect((await vm.run('modprobe xfs && grep -w xfs /proc/filesystems')).text).toContain('xfs');
    expect((await vm.run('mkdosfs /dev/vda && mount /dev/vda /mnt && umount /mnt')).status).toBe(0);
    expect((await vm.run('ip -4 addr show eth0')).text).toContain('inet 10.0.2.15/24');
    expect((await vm.run('dmesg | grep -cE "BUG:|Oops|Call Trace"')).text).toBe('0');

    // The shell is started again when it ends.
    vm.type('exit\n');
    await vm.until(PROMPT);
    vm.type('poweroff\n');
    await vm.until(/reboot: Power down/);
    expect(await vm.ended).toBe(0);
  });

  test('mounts what is attached; a read-only disk read-only', { timeout: 3 * BOOT_MS }, async (context) => {
    if (guest === null) context.skip(why);
    const [one, two] = [diskOf('one.raw', 32 * MIB), diskOf('two.raw', 32 * MIB)];
    const command = 'mkfs.ext4 -q -L data /dev/vda && mkfs.ext4 -q /dev/vdb';
    const first = start({ disks: [`file=${one}`, `file=${two}`], append: `ringside.exec="${command}"` });
    await first.until(/ringside\.exec: status 0/);
    await first.ended;
    const before = readFileSync(two);

    const second = start({ disks: [`file=${one}`, `file=${two},readonly=on`] });
    const banner = await second.until(PROMPT);
    expect(banner).toContain('/dev/vda: ext4, mounted on /mnt/vda (rw)');
    expect(banner).toContain('/dev/vdb: ext4, mounted on /mnt/vdb (ro)');
    expect((await second.run('echo x >/mnt/vda/x')).status).toBe(0);
    expect((await second.run('echo x >/mnt/vdb/x')).status).not.toBe(0);
    // Somebody writes while the machine is switched off: the file system ends clean all the same.
    second.type('cd /mnt/vda; (while :; do echo x >>y; done) &\npoweroff\n');
    await second.until(/reboot: Power down/);
    await second.ended;
    expect(readFileSync(two).equals(before)).toBe(true);
    const check = spawnSync('e2fsck', ['-fn', one], {
      env: { ...process.env, PATH: `${process.env.PATH}:/sbin:/usr/sbin` },
    });
    if (check.error === undefined) expect(check.status).toBe(0);
  });

  test('gives a shell on the virtio console as well', { timeout: BOOT_MS }, async (context) => {
    if (guest === null) context.skip(why);
    const vm = start({ console: 'virtio', append: 'console=hvc0' });
    expect(await vm.until(PROMPT)).toContain('Debian kernel');
    expect((await vm.run('tty')).text).toBe('/dev/hvc0');
    expect((await vm.run('grep -c respawn:-/bin/sh /etc/inittab')).text).toBe('2');
    vm.type('poweroff\n');
    expect(await vm.ended).toBe(0);
  });

  const base64 = Buffer.from('printf "%s\\n" "quoted ~ words?>"').toString('base64url');
  test.for([
    { form: 'plain', exec: '/bin/false', status: 1, text: '' },
    { form: 'quoted', exec: '"echo some words; exit 7"', status: 7, text: 'some words' },
    { form: 'base64url', exec: `base64:${base64}`, status: 0, text: 'quoted ~ words?>' },
  ])(
    'runs a command of the kernel command line, $form',
    { timeout: BOOT_MS },
    async ({ exec, status, text }, context) => {
      if (guest === null) context.skip(why);
      const vm = start({ append: `ringside.exec=${exec}` });
      expect(await vm.until(/ringside\.exec: status (?=\d)/)).toContain(text);
      expect(vm.output).toContain(`ringside.exec: status ${status}`);
      expect(await vm.ended).toBe(0);
    },
  );
});
