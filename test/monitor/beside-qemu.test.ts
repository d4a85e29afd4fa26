/**
 * The monitor beside that of QEMU 7.2: the same machine, Debian booted on both, the same commands. What differs is either
 * not the machine's (addresses, threads) or stands in docs/monitor.md, "What differs from QEMU".
 */
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Monitor } from '../../core/monitor/monitor.ts';
import type { Json } from '../../core/monitor/qmp/json.ts';
import { MIB, Running, debianConfig, debianFiles, tempFolder } from '../harness/debian.ts';
import { QemuMonitor, qemuRelease } from '../harness/qemu-monitor.ts';
import { schemaDifferences } from './schema-differences.ts';
import type { SchemaEntry } from './schema-differences.ts';

const BOOT_MS = 600_000;
const release = qemuRelease();
const debian = await debianFiles();
const missing =
  release !== '7.2' ? `needs QEMU 7.2, and here is ${release ?? 'none'}` : 'reason' in debian ? debian.reason : null;
const folder = tempFolder();

let qemu: QemuMonitor;
let ours: Running;
let monitor: Monitor;

function image(name: string): string {
  const file = join(folder, name);
  writeFileSync(file, '');
  truncateSync(file, 16 * MIB);
  return file;
}

/** -device TYPE,KEY=VALUE,... and what else makes the machine of both. */
const DEVICES: readonly Readonly<Record<string, string> & { driver: string }>[] = [
  { driver: 'virtio-blk-device', id: 'disk0', drive: 'hd0' },
  { driver: 'virtio-blk-pci', id: 'disk1', drive: 'hd1', packed: 'on', 'num-queues': '2', iothread: 'io0' },
  { driver: 'virtio-net-device', id: 'nic0', netdev: 'h0' },
  { driver: 'virtio-net-pci', id: 'nic1', netdev: 'h1', mac: '52:54:00:aa:bb:cc' },
  { driver: 'virtio-rng-device', id: 'rng0', rng: 'rb0' },
  { driver: 'virtio-rng-pci' },
  { driver: 'virtio-serial-device', id: 'ser0' },
  { driver: 'virtconsole', id: 'con0', chardev: 'c0' },
  { driver: 'virtserialport', id: 'port0', chardev: 'c1', name: 'org.port.0' },
  { driver: 'virtio-keyboard-device', id: 'kbd0' },
  { driver: 'virtio-tablet-pci', id: 'tab0' },
  { driver: 'virtio-balloon-device', id: 'bal0' },
  { driver: 'virtio-9p-pci', id: 'p9', fsdev: 'fs0', mount_tag: 'share' },
  { driver: 'virtio-crypto-pci', id: 'crypto0', cryptodev: 'cd0' },
  { driver: 'pcie-root-port', id: 'rp0', slot: '1', chassis: '1' },
  { driver: 'pcie-root-port', id: 'rp1', slot: '2', chassis: '2' },
  { driver: 'virtio-blk-pci', id: 'disk2', bus: 'rp1', drive: 'hd2' },
];
const DRIVES = [{ id: 'hd0' }, { id: 'hd1', readonly: true }, { id: 'hd2' }];

async function bootQemu(): Promise<QemuMonitor> {
  if ('reason' in debian) throw new Error(debian.reason);
  const { kernel, initrd, append } = debian.files;
  const args = ['-smp', '2', '-m', '512M', '-name', 'many', '-global', 'virtio-mmio.force-legacy=false'];
  args.push('-kernel', kernel, '-initrd', initrd!, '-append', `${append} quiet`);
  args.push('-object', 'iothread,id=io0', '-object', 'rng-builtin,id=rb0');
  args.push('-object', 'cryptodev-backend-builtin,id=cd0', '-fsdev', `local,id=fs0,path=${folder},security_model=none`);
  args.push('-netdev', 'hubport,id=h0,hubid=3', '-netdev', 'hubport,id=h1,hubid=3');
  args.push('-chardev', 'null,id=c0', '-chardev', 'null,id=c1');
  for (const { id, readonly } of DRIVES) {
    args.push('-drive', `file=${image(`q-${id}`)},if=none,id=${id},format=raw${readonly ? ',readonly=on' : ''}`);
  }
  for (const { driver, ...properties } of DEVICES) {
    args.push('-device', [driver, ...Object.entries(properties).map(([key, value]) => `${key}=${value}`)].join(','));
  }
  return QemuMonitor.start(folder, args);
}

function ourMachine(): Promise<Running> {
  if ('reason' in debian) throw new Error(debian.reason);
  return Running.create(
    debianConfig(debian.files, {
      memory: 512 * MIB,
      harts: 2,
      rng: false,
      console: false,
      drives: DRIVES.map((drive) => ({ ...drive, file: image(`o-${drive.id}`), if: 'none' as const })),
      objects: [
        { type: 'iothread', id: 'io0' },
        { type: 'rng-builtin', id: 'rb0' },
        { type: 'cryptodev-backend-builtin', id: 'cd0' },
      ],
      fsdevs: [{ type: 'local', id: 'fs0', path: folder, security_model: 'none' }],
      netdevs: [
        { type: 'hubport', id: 'h0', hubid: 3 },
        { type: 'hubport', id: 'h1', hubid: 3 },
      ],
      chardevs: [
        { type: 'program', id: 'c0' },
        { type: 'program', id: 'c1' },
      ],
      devices: DEVICES.map((device) => ({ ...device })),
    }),
  );
}

beforeAll(async () => {
  if (missing !== null) return;
  [qemu, ours] = await Promise.all([bootQemu(), ourMachine()]);
  monitor = new Monitor({ target: ours.machine.monitor('many'), version: { ringside: '1.2.3' } });
  await ours.machine.start();
  await Promise.all([qemu.shell.ready(BOOT_MS), ours.shell.ready(BOOT_MS)]);
}, BOOT_MS);

afterAll(async () => {
  (monitor as Monitor | undefined)?.close();
  await Promise.all([
    (qemu as QemuMonitor | undefined)?.[Symbol.asyncDispose](),
    (ours as Running | undefined)?.[Symbol.asyncDispose](),
  ]);
});

beforeEach((context) => {
  if (missing !== null) context.skip(missing);
});

async function qmp(command: string, args: { [key: string]: Json } = {}): Promise<Json> {
  const reply = (await monitor.execute({ execute: command, arguments: args })) as { [key: string]: Json };
  return 'error' in reply ? { error: reply['error'] } : reply['return'];
}

async function hmp(line: string): Promise<string> {
  return ((await qmp('human-monitor-command', { 'command-line': line })) as string).replaceAll('\r\n', '\n');
}

type Change = readonly [RegExp, string];
/** Drops what is not the machine's, line by line. */
const COMMON: readonly Change[] = [
  [/thread_id=\d+/g, 'thread_id=N'],
  [/#block\d+/g, '#block'],
  [/\b[qo]-hd/g, 'hd'],
];

function plain(text: string, changes: readonly Change[]): string {
  return [...COMMON, ...changes].reduce((changed, [from, to]) => changed.replaceAll(from, to), text);
}

const VIRTIO = [
  'disk0',
  'disk1/virtio-backend',
  'nic0',
  'nic1/virtio-backend',
  'rng0',
  'ser0',
  'kbd0',
  'tab0/virtio-backend',
  'bal0',
  'p9/virtio-backend',
  'crypto0/virtio-backend',
  'disk2/virtio-backend',
].map((name) => `/machine/peripheral/${name}`);

/** Of the board: QEMU has more of it. */
const NO_DRIVES: Change = [/\n(floppy0|sd0): \[not inserted\]\n.*\n(?=\n|$)/g, ''];
const COUNTS: Change = [/(used_idx|signalled_used|last_avail_idx|shadow_avail_idx): +\d+/g, '$1: N'];
const SIGNALLED: Change = [/signalled_used_valid: \w+/g, 'signalled_used_valid: X'];
const SIZES: Change = [/(num|num_default): +\d+/g, '$1: N'];
const PLACES: Change = [/(desc|avail|used): +0x[0-9a-f]{16}/g, '$1: ADDRESS'];

describe('HMP prints the same', () => {
  it.each<[string, ...Change[]]>([
    ['info status'],
    ['info name'],
    ['info uuid'],
    ['info kvm'],
    ['info balloon'],
    ['info network'],
    ['info memory_size_summary'],
    ['info memory-devices'],
    ['info virtio'],
    ['info cpus'],
    ['info block', NO_DRIVES],
    ['info block -v', NO_DRIVES],
    ['info block -n'],
    ['info memdev', [/share: \w+/g, 'share: X']],
    ['info mice', [/#\d/g, '#N']],
    ['info iothreads', [/poll-max-ns=\d+/g, 'poll-max-ns=N']],
    ['info blockstats', [/^(floppy0|sd0): .*\n/gm, ''], [/time_ns=\d+/g, 'time_ns=N'], [/ idle_time_ns=N/g, '']],
    // Debian has placed what QEMU has besides: an option ROM.
    [
      'info pci',
      [/BAR6: .*\n/g, ''],
      [/ +(?=BAR)/g, ''],
      [/at 0x[0-9a-f]+ \[0x[0-9a-f]+\]/g, 'at ADDRESS'],
      [/range \[0x[0-9a-f]+, 0x[0-9a-f]+\]/g, 'range'],
      [/^ +\n/gm, ''],
      [/\n +(?=id)/g, '\n'],
    ],
    ['info trace-events virtio_notify'],
    ['xp /3xg 0x1000', [/0x[0-9a-f]{16}/g, 'X']],
    ['xp /2xw 0x20000'],
    ['p 5/0'],
    ['p/x 0x10<<4'],
    ['p/d 1+2*3'],
    ['p (1'],
    ['gva2gpa 0'],
    ['x'],
    ['info foo'],
    ['foo'],
    ['help device_add'],
    ['help qom-set'],
    ['info virtio-status /nope'],
    ['info virtio-queue-status /machine/peripheral/disk0 7'],
    ['device_add nope'],
    ['device_del nope'],
    ['netdev_del nope'],
    ['object_del nope'],
    ['set_link nope on'],
    ['chardev-remove nope'],
    ['qom-get /nope type'],
    ['qom-get /machine nope'],
    ['qom-get /machine/peripheral/disk0 num-queues'],
    ['qom-get /machine/peripheral/nic0 mac'],
    ['trace-event nope on'],
    ['balloon 0'],
    ...VIRTIO.map((path): [string] => [`info virtio-vhost-queue-status ${path} 0`]),
  ])('%s', async (line, ...changes) => {
    expect(plain(await hmp(line), changes)).toBe(plain(await qemu.hmp(line), changes));
  });

  it.each(VIRTIO)('info virtio-queue-status %s 0', async (path) => {
    const changes = [COUNTS, SIGNALLED, SIZES, PLACES];
    const line = `info virtio-queue-status ${path} 0`;
    expect(plain(await hmp(line), changes)).toBe(plain(await qemu.hmp(line), changes));
  });

  it.each(VIRTIO)('info virtio-status %s, but for its features', async (path) => {
    const changes: Change[] = [
      [/bus_name: +\S+/g, 'bus_name: X'],
      [/^ {2}(Guest|Host|Backend) features:\n(\t.*\n)*( {2}unknown-features.*\n)?/gm, ''],
    ];
    const line = `info virtio-status ${path}`;
    expect(plain(await hmp(line), changes)).toBe(plain(await qemu.hmp(line), changes));
  });
});

/** What there is of the board only in QEMU. */
const ELSEWHERE = /fw_cfg|fwcfg|pflash|virt\.flash|platform.bus/;

/** Devices of "info qtree" by depth, type and id: their properties, and what else is said of them. */
function qtree(text: string): Map<string, { properties: Map<string, string>; lines: string[] }> {
  const devices = new Map<string, { properties: Map<string, string>; lines: string[] }>();
  let device = { properties: new Map<string, string>(), lines: [] as string[] };
  let count = 0;
  let skipping = false;
  for (const line of text.split('\n')) {
    const [, indent, rest] = /^( *)(.*)$/.exec(line)!;
    if (rest.startsWith('dev: ')) {
      skipping = ELSEWHERE.test(rest);
      device = { properties: new Map(), lines: [] };
      if (!skipping) devices.set(`${indent.length} ${rest} #${count++}`, device);
    } else if (!skipping && rest !== '') {
      const property = /^([\w-]+) = (.*)$/.exec(rest);
      if (property) device.properties.set(property[1], property[2]);
      else if (!rest.startsWith('mmio ')) device.lines.push(rest);
    }
  }
  return devices;
}

/** Of the same name, but other: docs/monitor.md, and the devices' pages. */
const OTHER_VALUES = new Set([
  'queue-size',
  'logical_block_size',
  'physical_block_size',
  'min_io_size',
  'opt_io_size',
  'max-discard-sectors',
  'max-write-zeroes-sectors',
  // Ours says how it is, QEMU's what it was given.
  'rng',
  'bus-reserve',
]);
const LINES: readonly Change[] = [
  [/at 0x[0-9a-f]+ \[0x[0-9a-f]+\]/g, 'at ADDRESS'],
  // A character device of QEMU's type null is not open.
  [/^(port 1, .*) host \w+/g, '$1 host X'],
  // QEMU reads a bridge's as if it were a device's.
  [/^(class PCI bridge.*) \(sub .*\)$/g, '$1'],
];

describe('trees', () => {
  it('info qtree has the same buses, devices, interrupt lines and properties', async () => {
    const [here, there] = [qtree(await hmp('info qtree')), qtree(await qemu.hmp('info qtree'))];
    expect([...here.keys()]).toEqual([...there.keys()]);
    for (const [name, { properties, lines }] of here) {
      const other = there.get(name)!;
      const shown = (all: string[]): string[] =>
        all.map((line) => plain(line, LINES)).filter((line) => !line.startsWith('bar 6'));
      expect([name, shown(lines)]).toEqual([name, shown(other.lines)]);
      for (const [property, value] of properties) {
        if (!other.properties.has(property) || OTHER_VALUES.has(property)) continue;
        expect([name, property, value]).toEqual([name, property, other.properties.get(property)]);
      }
    }
  });

  it('info qom-tree has the same objects, but for memory regions and wires', async () => {
    const objects = (text: string): string[] => {
      const kept: string[] = [];
      let skipped = Infinity;
      for (const line of text.split('\n')) {
        const depth = line.search(/\S/);
        if (depth > skipped) continue;
        skipped = ELSEWHERE.test(line) ? depth : Infinity;
        if (skipped !== Infinity || /\((memory-region|irq)\)|default-backend|\(serial\)$/.test(line)) continue;
        kept.push(line.replace(/device\[\d+\]/, 'device[N]'));
      }
      return kept;
    };
    const [here, there] = [objects(await hmp('info qom-tree')), objects(await qemu.hmp('info qom-tree'))];
    expect([...here].sort()).toEqual([...there].sort());
  });

  it('info mtree has the same address spaces and regions of the board', async () => {
    const parts = (text: string): Map<string, string> =>
      new Map(
        text
          .split('\n\n')
          .filter((part) => part.trim() !== '')
          .map((part) => {
            const lines = part.split('\n');
            const heads = lines.filter((line) => /^(address-space|memory-region): /.test(line)).sort();
            // Where Debian puts BARs depends on what there is.
            const regions = lines.filter(
              (line) => line.startsWith(' ') && !ELSEWHERE.test(line) && !/prio 1/.test(line),
            );
            return [heads.join('\n'), /gpex_mmio_window/.test(heads[0]) ? '' : regions.join('\n')];
          }),
      );
    const [here, there] = [parts(await hmp('info mtree')), parts(await qemu.hmp('info mtree'))];
    for (const [heads, regions] of here) expect([heads, regions]).toEqual([heads, there.get(heads)]);
    expect([...here.keys()].sort()).toEqual([...there.keys()].sort());
  });

  it('info registers has registers that QEMU has, in its order and shape', async () => {
    const shape = (text: string): string[] =>
      text
        .split('\n')
        .map((line) => line.replace(/[0-9a-f]{16}/g, 'VALUE').trimEnd())
        .filter((line) => line !== '');
    const [here, there] = [shape(await hmp('info registers')), shape(await qemu.hmp('info registers'))];
    expect(here).toEqual(there.filter((line) => here.includes(line)));
    expect(here.length).toBeGreaterThan(20);
  });
});

describe('features of the drivers', () => {
  /** Names by section; QEMU 7.2 knows none of bits that are younger than it. */
  const features = (text: string, section: string): Set<string> => {
    const at = text.indexOf(`  ${section} features:`);
    const end = text.slice(at + 3).search(/\n {2}\S/);
    const part = end < 0 ? text.slice(at) : text.slice(at, at + 3 + end);
    return new Set([...part.matchAll(/\t(\w+): /g)].map(([, name]) => name));
  };
  /** What only one of them offers, or has a name for. */
  const LEGACY = ['VIRTIO_F_ANY_LAYOUT', 'VIRTIO_F_NOTIFY_ON_EMPTY', 'VHOST_USER_F_PROTOCOL_FEATURES'];
  const NOT_TO_READ_ONLY = ['VIRTIO_BLK_F_DISCARD', 'VIRTIO_BLK_F_WRITE_ZEROES'];
  const OURS = /RING_RESET|SECURE_ERASE|_9P_MOUNT_TAG|CONSOLE_F_SIZE|NET_F_(HOST|GUEST)_|NET_F_(GUEST_)?CSUM/;

  it.each(VIRTIO)('of %s are named as QEMU names them', async (path) => {
    const line = `info virtio-status ${path}`;
    const [here, there] = [await hmp(line), await qemu.hmp(line)];
    for (const section of ['Guest', 'Host']) {
      const [mine, theirs] = [features(here, section), features(there, section)];
      expect([...mine].filter((name) => !theirs.has(name) && !OURS.test(name))).toEqual([]);
      const only = [...LEGACY, ...(path.includes('disk1') ? NOT_TO_READ_ONLY : [])];
      expect([...theirs].filter((name) => !mine.has(name) && !only.includes(name))).toEqual([]);
    }
  });
});

/** Where our schema says less, or more, than QEMU's. */
const DELIBERATE = [
  // Of other releases.
  /^(query-events|query-cpu-definitions): not in QEMU$/,
  /: (f13, .*, f24|touch) not in QEMU$/,
  // Types are those of the registry, which schemas do not list.
  /^(object-add arg\.qom-type|netdev_add arg\.type|chardev-(add|change) arg\.backend\.type): QEMU enum, here string$/,
  // Properties of what is added, beside those that are named.
  /^chardev-(add|change) arg\.backend\.data\./,
  /^blockdev-add arg\.(cache|auto-read-only|force-share|detect-zeroes): only in QEMU$/,
  // Disks have their node names from users.
  /^blockdev-add arg\.node-name: optional in QEMU$/,
  // docs/monitor.md: rings, explained.
  /^x-query-virtio-(status|queue-status|queue-element) ret\..*: not in QEMU$/,
];

describe('QMP', () => {
  it.each<[string, { [key: string]: Json }]>([
    ['query-status', {}],
    ['query-name', {}],
    ['query-uuid', {}],
    ['query-target', {}],
    ['query-kvm', {}],
    ['query-memory-size-summary', {}],
    ['query-memory-devices', {}],
    ['query-balloon', {}],
    ['query-fdsets', {}],
    ['query-jobs', {}],
    ['query-block-jobs', {}],
    ['query-block-exports', {}],
    ['query-tpm', {}],
    ['query-current-machine', {}],
    ['query-hotpluggable-cpus', {}],
    ['query-vnc', {}],
    ['query-display-options', {}],
    ['query-replay', {}],
    ['query-pr-managers', {}],
    ['query-acpi-ospm-status', {}],
    ['query-vm-generation-id', {}],
    ['query-stats', { target: 'vm' }],
    ['query-stats-schemas', {}],
    ['x-query-virtio', {}],
    ['qom-get', { path: '/machine', property: 'type' }],
    ['qom-get', { path: '/nope', property: 'type' }],
    ['qom-set', { path: '/machine/peripheral/disk0', property: 'serial', value: 'x' }],
    ['trace-event-get-state', { name: 'virtio_notify' }],
    ['query-status', { x: 1 }],
    ['nope', {}],
    ['device_add', { driver: 'nope' }],
    ['device_add', { driver: 'virtio-rng-pci', id: 'zz', bus: 'pcie.0' }],
    ['device_del', { id: 'nope' }],
    ['netdev_del', { id: 'nope' }],
    ['object-del', { id: 'nope' }],
    ['set_link', { name: 'nope', up: true }],
    ['balloon', { value: 0 }],
    ['x-query-virtio-status', { path: '/nope' }],
    ['input-send-event', { device: 'nope', events: [] }],
    ['query-command-line-options', { option: 'nope' }],
  ])('%s %j answers the same', async (command, args) => {
    expect(await qmp(command, args)).toEqual(await qemu.qmp(command, args));
  });

  it('has commands and events whose types are those of QEMU', async () => {
    const [here, there] = (await Promise.all([qmp('query-qmp-schema'), qemu.qmp('query-qmp-schema')])) as unknown as [
      SchemaEntry[],
      SchemaEntry[],
    ];
    const differences = schemaDifferences(there, here);
    expect(differences.filter((difference) => !DELIBERATE.some((pattern) => pattern.test(difference)))).toEqual([]);
  });
});
