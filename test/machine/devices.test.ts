/**
 * Every device under Debian's drivers, over virtio-mmio and over PCI, doing real work. What a device does is said in
 * work/<device>.ts. Each board is booted once.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { MachineConfigInput } from '../../core/api/machine.ts';
import { VIRTIO_DEVICE_TYPES } from '../../core/virtio/device-types.ts';
import { Running, debianFiles, tempFolder } from '../harness/debian.ts';
import { PROGRAMS_SERIAL, noPrograms, programsImage, unpackPrograms } from '../harness/guest-programs.ts';
import { balloon } from './work/balloon.ts';
import { blk } from './work/blk.ts';
import { crypto } from './work/crypto.ts';
import { input } from './work/input.ts';
import { net } from './work/net.ts';
import { shares } from './work/9p.ts';
import { pmem } from './work/pmem.ts';
import { ports } from './work/ports.ts';
import { rng } from './work/rng.ts';
import { vsock } from './work/vsock.ts';
import type { Board, Work } from './work/work.ts';

const BOOT_MS = 320_000;
const WORK_MS = 600_000;

const debian = await debianFiles();
const folder = tempFolder();

const programs: Work = {
  name: 'programs of ours, from a disk',
  skip: noPrograms,
  config: ({ folder, device }) => ({
    drives: [{ id: 'programs', file: programsImage(folder), if: 'none', readonly: true }],
    devices: [device('virtio-blk', 'programs0', { drive: 'programs', serial: PROGRAMS_SERIAL })],
  }),
  work: ({ shell }) => unpackPrograms(shell),
};
const ALL = [programs, blk, rng, balloon, input, pmem, crypto, vsock, ports, net, ...shares];

/** Of types that have one, the legacy interface alone. */
function legacyOnly(base: string): Record<string, boolean> {
  const type = VIRTIO_DEVICE_TYPES.find((one) => one.base === base)!;
  return type.transitionalId === null ? {} : { 'disable-modern': true, 'disable-legacy': false };
}

interface BoardKind {
  board: string;
  works: readonly Work[];
  config: Partial<MachineConfigInput>;
  suffix: 'device' | 'pci';
  properties: (base: string) => Record<string, boolean>;
  format: 'split' | 'packed';
  /** Of the line of a disk in /proc/interrupts. */
  interrupts: RegExp;
}

const MMIO = {
  config: {},
  suffix: 'device',
  properties: () => ({}),
  format: 'split',
  interrupts: /SiFive PLIC/,
} as const;
const BOARDS: readonly BoardKind[] = [
  // It has eight slots.
  { ...MMIO, board: 'over mmio', works: [programs, blk, rng, balloon, input, pmem, crypto] },
  { ...MMIO, board: 'over mmio, the others', works: [programs, vsock, ports, net, ...shares] },
  {
    board: 'over PCI, the legacy interface where there is one, INTx',
    works: ALL,
    config: {},
    suffix: 'pci',
    properties: legacyOnly,
    format: 'split',
    interrupts: /SiFive PLIC/,
  },
  {
    board: 'over PCI, packed rings, MSI-X',
    works: ALL,
    config: { aia: 'aplic-imsic' },
    suffix: 'pci',
    properties: () => ({ packed: true, in_order: true, 'disable-legacy': true }),
    format: 'packed',
    interrupts: /PCI-MSIX/,
  },
];

/** Lists of all of them, one behind the other: devices get their names in this order. */
function merged(configs: readonly Partial<MachineConfigInput>[]): Partial<MachineConfigInput> {
  return {
    drives: configs.flatMap(({ drives = [] }) => drives),
    devices: configs.flatMap(({ devices = [] }) => devices),
    objects: configs.flatMap(({ objects = [] }) => objects),
    chardevs: configs.flatMap(({ chardevs = [] }) => chardevs),
    netdevs: configs.flatMap(({ netdevs = [] }) => netdevs),
    fsdevs: configs.flatMap(({ fsdevs = [] }) => fsdevs),
  };
}

describe.skipIf('reason' in debian).each(BOARDS)('$board', (kind) => {
  const { config, suffix, properties, format, interrupts } = kind;
  const works = kind.works.filter(({ skip }) => (skip ?? null) === null);
  /** Ids of devices that have the legacy interface only. */
  const legacy = new Set<string>();
  const board: Board = {
    folder: join(folder, String(BOARDS.indexOf(kind))),
    device(base, id, more = {}) {
      const own = properties(base);
      if (own['disable-modern']) legacy.add(id);
      return { driver: `${base}-${suffix}`, id, ...own, ...more };
    },
  };
  let running: Running;
  beforeAll(async () => {
    if ('reason' in debian) return;
    mkdirSync(board.folder);
    const wanted = merged(works.map((work) => work.config(board)));
    running = await Running.boot(debian.files, { harts: 2, console: false, rng: false, ...config, ...wanted });
  }, BOOT_MS);
  afterAll(() => running?.machine.dispose());

  test.each(kind.works)('$name', { timeout: WORK_MS }, async ({ skip, work }) => {
    if ((skip ?? null) !== null) return console.log(skip);
    await work(running, board);
  });

  test('all devices are on their transport, and nothing was amiss', { timeout: BOOT_MS }, async () => {
    const { shell, machine } = running;
    const devices = machine.snapshot().virtio;
    for (const device of devices) {
      expect(device.error, device.id).toBeNull();
      expect(device.transport.name).toBe(suffix === 'pci' ? 'virtio-pci' : 'virtio-mmio');
      expect(device.transport.version, device.id).toBe(suffix === 'device' ? 2 : legacy.has(device.id) ? 0 : 1);
      for (const queue of device.queues) expect(queue.format).toBe(format);
    }
    const disk = await shell
      .ok("basename $(readlink -f $(dirname $(grep -l '^work$' /sys/block/vd*/serial))/device)")
      .catch(() => null);
    if (disk !== null) expect(await shell.ok(`grep '${disk}\\b' /proc/interrupts`)).toMatch(interrupts);
    expect(await shell.ok('dmesg | grep -ciE "BUG:|Oops|Call Trace|WARNING:" || true')).toBe('0');
    expect(running.messages).toEqual([]);
  });

  test('all devices are there again after a reboot', { timeout: 2 * BOOT_MS }, async () => {
    const { shell } = running;
    const list =
      'for d in /sys/bus/virtio/devices/*; do echo $(cat $d/device $d/features) $(basename $(readlink $d/driver)); done | sort';
    const before = await shell.ok(list);
    await shell.write('reboot -f\n');
    await shell.ready();
    expect(await shell.ok(list)).toBe(before);
    expect((await running.shutDown()).reason).toBe('guest-poweroff');
    expect(running.messages).toEqual([]);
  });
});
