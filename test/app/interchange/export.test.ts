/** VMs written down for other programs, which take them. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseRunArguments } from '../../../main/cli/qemu-options.ts';
import { exportVm } from '../../../main/app/interchange/index.ts';
import { qemuArguments } from '../../../main/app/interchange/qemu-export.ts';
import { shellWords } from '../../../main/app/interchange/shell-words.ts';
import type { VmSettings } from '../../../main/ipc/contract.ts';
import { machineConfig } from '../../../core/api/machine.ts';
import { settings } from '../doubles/app.ts';
import { everything } from './samples.ts';

const run = promisify(execFile);
const MIB = 2 ** 20;
const QEMU = '/usr/bin/qemu-system-riscv64';
const SCHEMA = '/usr/share/libvirt/schemas/domain.rng';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'ringside-export-'));
  for (const name of ['a, b.raw', 'root.raw']) {
    await writeFile(path.join(folder, name), '');
    await truncate(path.join(folder, name), MIB);
  }
  // An endless loop in M-mode: "j ."
  await writeFile(path.join(folder, 'Image'), Buffer.from([0x6f, 0, 0, 0]));
  await writeFile(path.join(folder, 'initrd'), 'initrd');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** With files that are there, and no host network. */
function real(vm: VmSettings): VmSettings {
  const text = JSON.stringify(vm)
    .replaceAll('"/images/', `"${folder}/`)
    .replaceAll('"path":"/tmp"', `"path":"${folder}"`);
  return JSON.parse(text) as VmSettings;
}

const boot = (vm: VmSettings) => (vm.boot.source === 'files' ? vm.boot : { append: '' });

describe('a command line', () => {
  test('is read back by a shell as it was, whatever is in it', () => {
    const vm = everything();
    const { text } = exportVm(vm, boot(vm), 'qemu');
    const [program, ...words] = shellWords(text);
    expect(program).toBe('qemu-system-riscv64');
    expect(words).toEqual(qemuArguments(vm, boot(vm), 'qemu').args.flat());
    expect(words).toContain('guest=Lab,, “it’s” all <here> & more');
    expect(words).toContain(`console=ttyS0 quiet='yes'`);
  });

  test('makes the same machine in `ringside run`', () => {
    const vm = everything({ accel: 'interp' });
    const { args, notes } = qemuArguments(vm, boot(vm), 'ringside');
    const request = parseRunArguments(args.flat())!;
    const made = machineConfig.parse({ ...request.machine, memory: request.machine.memory });
    expect(made).toMatchObject({ memory: vm.memory, harts: 4, aia: 'aplic-imsic', accel: 'interp', noReboot: true });
    expect(made.append).toBe(`console=ttyS0 quiet='yes'`);
    expect(made.devices.map(({ driver }) => driver)).toEqual([
      ...vm.devices.map(({ driver }) => driver),
      'virtio-blk-device',
      'virtio-serial-device',
      'virtconsole',
      'virtio-rng-device',
    ]);
    expect(made.drives.map(({ id, file, werror, readonly }) => ({ id, file, werror, readonly }))).toEqual([
      { id: 'root', file: '/images/root.raw', werror: 'enospc', readonly: true },
      { id: 'drive0', file: '/images/a, b.raw', werror: 'stop', readonly: false },
    ]);
    expect(notes).toEqual([expect.stringContaining('-chardev null')]);
  });

  test('is taken by QEMU', async ({ skip }) => {
    skip(!existsSync(QEMU), `there is no ${QEMU}`);
    const vm = real(everything());
    const { args } = qemuArguments(vm, boot(vm), 'qemu');
    // Made, not started; its monitor, in place of the terminal, quits at once.
    const words = args.filter(([option]) => option !== '-serial').flat();
    const child = run(QEMU, [...words, '-S', '-monitor', 'stdio', '-serial', 'null']);
    child.child.stdin!.end('info status\ninfo block\nquit\n');
    const { stdout, stderr } = await child;
    expect(stdout).toContain('VM status: paused (prelaunch)');
    expect(stdout).toContain('a, b.raw');
    expect(stderr.replace(/.*warning: hub 1 is not connected to host network\n/, '')).toBe('');
  });

  test('says what QEMU does not have', () => {
    const vm = settings({
      accel: 'interp',
      objects: [{ type: 'memory-backend-file', id: 'mem', 'mem-path': '/p', size: '2M' }],
      devices: [
        { driver: 'virtio-vsock-pci', id: 'v', 'guest-cid': 3, socket: '/s' },
        { driver: 'virtio-pmem-pci', id: 'p', memdev: 'mem' },
        { driver: 'virtio-rng-pci', id: 'r', notification_data: true },
      ],
    });
    const { args, notes } = qemuArguments(vm, boot(vm), 'qemu');
    expect(args.flat().join(' ')).not.toMatch(/vsock|pmem|memory-backend|interp/);
    for (const about of ['interpreted', 'v is left out', 'p is left out', 'notification_data= is known to QEMU 9.1']) {
      expect(notes.join('\n')).toContain(about);
    }
    expect(qemuArguments(vm, boot(vm), 'ringside').args.flat()).toContain(
      'virtio-vsock-pci,id=v,guest-cid=3,socket=/s',
    );
  });
});

describe('a libvirt domain', () => {
  test.for([
    ['one of everything', everything()],
    ['next to nothing', settings({ console: false, rng: false })],
    ['firmware of its own', settings({ bios: '/usr/share/fw <1>.bin', boot: { source: 'files' } })],
  ] as const)('%s is what libvirt’s schema allows', async ([, vm], { skip }) => {
    skip(!existsSync(SCHEMA), `there is no ${SCHEMA} (libvirt0)`);
    const { text } = exportVm(vm, boot(vm), 'libvirt');
    const file = path.join(folder, 'domain.xml');
    await writeFile(file, text);
    await run('xmllint', ['--noout', '--relaxng', SCHEMA, file]).catch((error: { stderr: string }) => {
      throw new Error(`${error.stderr}\n${text}`);
    });
    expect(text).toContain(`<type arch='riscv64' machine='virt'>hvm</type>`);
  });

  test('says in libvirt’s words what it can, and the rest to QEMU', () => {
    const vm = everything();
    const { text, notes } = exportVm(vm, boot(vm), 'libvirt');
    expect(text).toContain(`<source file='/images/a, b.raw'/>`);
    expect(notes.join('\n')).toContain('The serial number “SERIAL & 1” of /images/a, b.raw is left out');
    expect(text).toContain(`<interface type='mcast'>`);
    expect(text).toContain(`<mac address='52:54:00:01:02:03'/>`);
    expect(text).toContain('<name>Lab, “it’s” all &lt;here&gt; &amp; more</name>');
    expect(text).toContain(`<qemu:arg value='virtio-net-device,id=nic1,netdev=net1'/>`);
    expect(notes.join('\n')).toContain('nic1 has no element in libvirt');
  });
});

test('a KubeVirt manifest', () => {
  const vm = everything();
  const { text, notes } = exportVm(vm, boot(vm), 'kubevirt');
  expect(text).toContain('apiVersion: kubevirt.io/v1\nkind: VirtualMachine\n');
  expect(text).toContain('  name: lab-it-s-all-here-more\n');
  expect(text).toContain(' guest: "512Mi"\n');
  expect(text).toContain(`kernelArgs: "console=ttyS0 quiet='yes'"\n`);
  expect(text).toContain('claimName: lab-it-s-all-here-more-root\n');
  expect(text).not.toContain('undefined');
  expect(notes.join('\n')).toContain(`--image-path='/images/a, b.raw'`);
  expect(notes.join('\n')).toContain('ports is left out');
});
