/** Our export under stock QEMU, with a Debian guest: real drivers, a file system, kill -9 while it is written to. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { MachineConsole } from '../../core/machine/console.ts';
import { debianFiles } from '../harness/debian.ts';
import { ExportProcess } from '../harness/export-process.ts';
import { GuestShell } from '../harness/guest-shell.ts';
import { whyNoAddon } from '../native/addon.ts';

const MIB = 2 ** 20;
const QEMU = 'qemu-system-riscv64';
const guest = await debianFiles();
const whyNot =
  whyNoAddon ?? ('reason' in guest ? guest.reason : spawnSync(QEMU, ['--version']).status === 0 ? null : `no ${QEMU}`);

const folder = mkdtempSync(path.join(tmpdir(), 'ringside-export-qemu-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(whyNot)(`ringside export blk under QEMU${whyNot ? ` (skipped: ${whyNot})` : ''}`, () => {
  const image = path.join(folder, 'disk.raw');
  const socket = path.join(folder, 's');
  const ends: (() => Promise<unknown> | void)[] = [];
  let server: ExportProcess;
  let shell: GuestShell;
  const serve = () =>
    ExportProcess.start(socket, ['blk', '--file', image, '--num-queues', '2', '--serial', 'exported']);

  beforeAll(async () => {
    writeFileSync(image, new Uint8Array(64 * MIB));
    server = await serve();
    const { kernel, initrd, append } = (guest as Extract<typeof guest, { files: unknown }>).files;
    const child = spawn(
      QEMU,
      [
        ...[
          '-M',
          'virt',
          '-m',
          '512M',
          '-smp',
          '2',
          '-nographic',
          '-no-reboot',
          '-monitor',
          'none',
          '-serial',
          'stdio',
        ],
        ...['-object', 'memory-backend-memfd,id=mem,size=512M,share=on', '-numa', 'node,memdev=mem'],
        ...['-chardev', `socket,id=c,path=${socket},reconnect=1`],
        ...['-device', 'vhost-user-blk-pci,chardev=c,num-queues=2'],
        ...['-kernel', kernel, '-initrd', initrd, '-append', `${append} quiet`],
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    ends.push(async () => {
      const exited = child.exitCode === null ? once(child, 'exit') : null;
      child.kill('SIGKILL');
      await exited;
    });
    // What a GuestShell uses of a console.
    const console = {
      onData: (take: (bytes: Uint8Array) => void) => child.stdout.on('data', take),
      onRoom: () => {},
      write: (bytes: Uint8Array) => (child.stdin.write(bytes), bytes.length),
    };
    shell = new GuestShell(console as unknown as MachineConsole);
    await shell.ready();
    await shell.ok('dmesg -n 1');
  }, 300_000);
  afterAll(async () => {
    for (const end of ends) await end();
    await server.end();
  });

  const hostSum = (): string => createHash('sha256').update(readFileSync(image)).digest('hex');

  it('is a disk with two queues, a serial number and a write cache', async () => {
    expect(await shell.ok('ls /sys/block/vda/mq')).toMatch(/^0\s+1$/);
    expect(await shell.ok('cat /sys/block/vda/serial')).toBe('exported');
    expect(await shell.ok('cat /sys/block/vda/queue/write_cache')).toBe('write back');
    expect(await shell.ok('cat /sys/block/vda/size')).toBe(String((64 * MIB) / 512));
  });

  it('holds a file system', async () => {
    await shell.ok('mkfs.ext4 -q /dev/vda && mkdir -p /mnt && mount /dev/vda /mnt');
    await shell.ok('dd if=/dev/urandom of=/mnt/a bs=64k count=64 2>/dev/null && cp /mnt/a /mnt/b && sync');
    await shell.ok('umount /mnt && fsck.ext4 -fn /dev/vda');
    const [sum] = (await shell.ok('sha256sum /dev/vda')).split(' ');
    expect(sum).toBe(hostSum());
  });

  it('comes back after a kill -9 in the middle of writes, none of which is lost', async () => {
    const writing = await shell.begin(
      'dd if=/dev/urandom of=/tmp/x bs=1M count=16 2>/dev/null; for i in 0 1 2; do dd if=/tmp/x of=/dev/vda bs=16k seek=$((i*1024)) 2>/dev/null; sync; done',
    );
    await server.kill('SIGKILL');
    server = await serve();
    expect((await writing.end()).status).toBe(0);
    await shell.ok('echo 3 > /proc/sys/vm/drop_caches');
    const [sum] = (await shell.ok('sha256sum /dev/vda')).split(' ');
    expect(sum).toBe(hostSum());
    const [wanted] = (await shell.ok('sha256sum /tmp/x')).split(' ');
    const disk = readFileSync(image);
    for (const i of [0, 1, 2]) {
      const part = disk.subarray(i * 16 * MIB, (i + 1) * 16 * MIB);
      expect(createHash('sha256').update(part).digest('hex')).toBe(wanted);
    }
  }, 300_000);
});
