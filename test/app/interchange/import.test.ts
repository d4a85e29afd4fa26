/** VMs from other programs' descriptions, as people copy them. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { configProblems } from '../../../core/machine/check-config.ts';
import { RingsideError } from '../../../core/errors.ts';
import { exportVm, importVm } from '../../../main/app/interchange/index.ts';
import { shellWords } from '../../../main/app/interchange/shell-words.ts';
import { DEBIAN_COMMAND, everything, FEDORA_DOMAIN, UBUNTU_COMMAND, XV6_COMMAND } from './samples.ts';

const MIB = 2 ** 20;

/** What is imported can be: its types have nothing against it. */
function imported(text: string) {
  const found = importVm(text);
  expect(configProblems(found.settings)).toEqual([]);
  for (const note of found.notes) expect(note).not.toContain('\n');
  return { ...found, said: found.notes.join('\n') };
}

describe('a command line of QEMU', () => {
  test('Debian’s, from its wiki', () => {
    const { settings, said } = imported(DEBIAN_COMMAND);
    expect(settings).toMatchObject({
      memory: 4096 * MIB,
      harts: 4,
      bios: '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.elf',
      boot: {
        kernel: '/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf',
        append: 'root=LABEL=rootfs console=ttyS0',
      },
      drives: [{ id: 'hd', file: '/images/overlay.raw', if: 'none' }],
      devices: [
        { driver: 'virtio-blk-device', drive: 'hd' },
        { driver: 'virtio-net-device' },
        { driver: 'virtio-rng-device', rng: 'rng' },
      ],
      console: false,
      rng: false,
    });
    expect(said).toContain('The network net (user) is left out');
    expect(settings.devices[1]).not.toHaveProperty('netdev');
  });

  test('xv6’s, from its Makefile', () => {
    const { settings, said } = imported(XV6_COMMAND);
    expect(settings).toMatchObject({ memory: 128 * MIB, harts: 3, bios: 'none', forceLegacy: false });
    expect(settings.devices).toEqual([{ driver: 'virtio-blk-device', drive: 'x0', bus: 'virtio-mmio-bus.0' }]);
    expect(said).toContain('fs.img has no whole path');
  });

  test('one with much that is not here: the rest is taken over, and each loss is said', () => {
    const { settings, said } = imported(UBUNTU_COMMAND);
    expect(settings).toMatchObject({ memory: 2048 * MIB, harts: 2 });
    expect(settings.drives).toMatchObject([{ file: '/images/my disk, old.img', discard: 'unmap' }]);
    expect(settings.devices.map(({ driver }) => driver)).toEqual([
      'virtio-net-pci',
      'virtio-serial-pci',
      'virtserialport',
    ]);
    expect(settings.devices[0]).toMatchObject({ mac: '52:54:00:11:22:33' });
    for (const about of [
      'rva23s64',
      'acpi=off',
      'net0 (tap)',
      'seed.vmdk',
      'virtio-gpu-pci',
      'qemu-xhci',
      'enable-kvm',
    ]) {
      expect(said, about).toContain(about);
    }
  });

  test.each([
    ['for another computer', 'qemu-system-x86_64 -m 1G', 'this VM is for x86_64'],
    ['prose', 'how do I boot this?', 'this is no command line'],
    ['nothing', '', 'this is no command line'],
    ['an open quote', `qemu-system-riscv64 -append 'root=`, 'is opened and not closed'],
    ['endless', `qemu-system-riscv64 ${'-device x '.repeat(5000)}`, 'far too many words'],
  ])('%s is refused in one line', (_, text, message) => {
    expect(() => importVm(text)).toThrow(message);
    expect(() => importVm(text)).toThrow(RingsideError);
  });
});

describe('a libvirt domain', () => {
  test('as virsh dumpxml prints it', () => {
    const { settings, said } = imported(FEDORA_DOMAIN);
    expect(settings).toMatchObject({
      name: 'fedora-riscv',
      memory: 2048 * MIB,
      harts: 4,
      boot: { kernel: '/var/lib/libvirt/images/fw_payload & more.elf', append: 'console=ttyS0 ro root=/dev/vda4' },
      drives: [{ file: '/var/lib/libvirt/images/fedora.raw', if: 'none', discard: 'unmap', werror: 'enospc' }],
      netdevs: [{ type: 'socket', mcast: '230.0.0.1:5558' }],
      fsdevs: [{ type: 'local', path: '/srv/share', security_model: 'mapped-xattr' }],
    });
    expect(settings.noReboot ?? false).toBe(false);
    expect(settings.devices).toMatchObject([
      { driver: 'virtio-blk-pci', serial: 'FEDORA1', 'num-queues': '2', iothread: 'iothread1' },
      { driver: 'virtio-net-pci', mac: '52:54:00:aa:bb:cc' },
      { driver: 'virtio-net-device' },
      { driver: 'virtio-serial-pci' },
      { driver: 'virtconsole' },
      { driver: 'virtserialport', name: 'org.qemu.guest_agent.0' },
      { driver: 'virtio-tablet-pci' },
      { driver: 'virtio-9p-pci', mount_tag: 'share' },
      { driver: 'virtio-balloon-pci' },
      { driver: 'virtio-rng-pci' },
    ]);
    for (const about of ['data.vmdk', 'networking of type network', 'keyboard on usb', '<tpm>']) {
      expect(said, about).toContain(about);
    }
  });

  test('what we export comes back', () => {
    const vm = everything();
    const boot = vm.boot.source === 'files' ? vm.boot : { append: '' };
    const { settings } = imported(exportVm(vm, boot, 'libvirt').text);
    expect(settings).toMatchObject({ name: vm.name, memory: vm.memory, harts: 4, boot: vm.boot, noReboot: true });
    expect(settings.drives.map(({ file }) => file)).toEqual(vm.drives.map(({ file }) => file));
    const again = imported(exportVm(vm, boot, 'qemu').text);
    expect(again.settings).toMatchObject({ name: vm.name, memory: vm.memory, harts: 4, aia: vm.aia, boot: vm.boot });
    expect(again.settings.devices.slice(0, vm.devices.length).map(({ driver }) => driver)).toEqual(
      vm.devices.map(({ driver }) => driver),
    );
  });

  const bomb = `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><domain><name>&b;</name></domain>`;
  test.each([
    ['entities', bomb, 'has a document type'],
    ['a file of the host', '<!DOCTYPE d SYSTEM "file:///etc/passwd"><domain/>', 'has a document type'],
    ['depth', `<domain>${'<a>'.repeat(10_000)}`, 'nested too deeply'],
    ['length', `<domain><name>${'x'.repeat(2 ** 20)}</name></domain>`, 'far too long'],
    ['half of it', '<domain><name>x', 'this is no XML'],
    ['another document', '<network><name>x</name></network>', 'is no libvirt domain'],
    ['another computer', `<domain><os><type arch='x86_64'>hvm</type></os></domain>`, 'this VM is for x86_64'],
    ['no computer', '<domain/>', 'this VM is for x86_64'],
  ])('%s is refused in one line', (_, text, message) => {
    expect(() => importVm(text)).toThrow(message);
    expect(() => importVm(text)).toThrow(RingsideError);
  });

  test('names of Object.prototype are mere names', () => {
    const text = `<domain><os><type arch='riscv64'>hvm</type></os><name>__proto__</name>
      <devices><disk type='file'><source file='/x'/><target dev='__proto__' bus='toString'/></disk></devices></domain>`;
    expect(imported(text).settings.name).toBe('__proto__');
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});

test('whatever the text is: settings that can be, or one line', () => {
  const bits = fc.constantFrom(
    '-device',
    '-drive',
    '-netdev',
    'if=none',
    ',,',
    '=',
    '<domain>',
    '&amp;',
    `'`,
    '"',
    '\\',
    ' ',
  );
  const text = fc.array(fc.oneof(bits, fc.string({ maxLength: 8 })), { maxLength: 40 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(
      fc.oneof(
        text,
        text.map((rest) => `qemu-system-riscv64 -m 1G ${rest}`),
      ),
      (sample) => {
        try {
          imported(sample);
        } catch (error) {
          expect(error).toBeInstanceOf(RingsideError);
        }
      },
    ),
    { numRuns: 400 },
  );
});

test('words of a shell', () => {
  expect(shellWords(`a 'b c' "d \\"e\\" \\x" f\\ g \\\n h '' # i\nj`)).toEqual([
    'a',
    'b c',
    'd "e" \\x',
    'f g',
    'h',
    '',
    'j',
  ]);
});

describe('a .ringside file', () => {
  test('is all of a VM', () => {
    const settings = everything();
    const { text, notes } = exportVm(settings, { append: '' }, 'file');
    expect(JSON.parse(text)).toMatchObject({ ringside: 1 });
    expect(notes.join()).toContain(settings.drives[0].file);
    const found = imported(`\ufeff\n${text}`);
    expect(found.settings).toEqual(settings);
    expect(found.said).toContain(settings.drives[0].file);
  });

  test('says what is wrong with it', () => {
    const refused = (text: string) => {
      try {
        return String(importVm(text));
      } catch (error) {
        return `${(error as RingsideError).kind}: ${(error as RingsideError).message}`;
      }
    };
    expect(refused('{')).toBe('bad-option: this is no VM file: it is not JSON');
    expect(refused('{"settings": {}}')).toContain('no VM file of Ringside');
    expect(refused('{"ringside": 2}')).toBe('unsupported: made by a newer Ringside: update this one to open it');
    expect(refused('{"ringside": 1}')).toContain('this VM file is damaged');
    expect(refused('{"ringside": 1, "settings": {"name": "x", "memory": 1, "boot": 5}}')).toContain('damaged');
  });
});
