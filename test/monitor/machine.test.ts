/** The monitor of a machine with a device of each sort, on both buses. Its guest does nothing: what driverless devices show. */
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Machine } from '../../core/machine/machine.ts';
import { QMP_COMMANDS } from '../../core/monitor/commands/table.ts';
import type { Json } from '../../core/monitor/qmp/json.ts';
import { Monitor } from '../../core/monitor/monitor.ts';
import { check } from '../../core/monitor/schema.ts';
import { MIB, host, tempFolder } from '../harness/debian.ts';
import { busyProgram, kernelFile } from '../machine/programs.ts';

const folder = tempFolder();
let machine: Machine;
let monitor: Monitor;

function image(name: string, size: number): string {
  const file = join(folder, name);
  writeFileSync(file, '');
  truncateSync(file, size);
  return file;
}

beforeAll(async () => {
  const share = join(folder, 'share');
  mkdirSync(share);
  machine = await Machine.create(
    {
      memory: 32 * MIB,
      harts: 2,
      bios: 'none',
      kernel: kernelFile(folder, 'counting', busyProgram('counting')),
      drives: [
        { id: 'hd0', file: image('hd0.raw', MIB) },
        { id: 'hd1', file: image('hd1.raw', MIB), if: 'none' },
      ],
      objects: [
        { type: 'iothread', id: 'io1' },
        { type: 'memory-backend-file', id: 'mem1', 'mem-path': image('pm.raw', 2 * MIB), size: '2M', share: true },
      ],
      netdevs: [
        { type: 'hubport', id: 'h0', hubid: 3 },
        { type: 'hubport', id: 'h1', hubid: 3 },
        { type: 'hubport', id: 'h2', hubid: 3 },
        { type: 'stream', id: 'net0', server: true, 'addr.type': 'unix', 'addr.path': join(folder, 'net0') },
        { type: 'stream', id: 'net1', server: true, 'addr.type': 'unix', 'addr.path': join(folder, 'net1') },
      ],
      fsdevs: [{ type: 'local', id: 'fs0', path: share, security_model: 'none' }],
      chardevs: [
        { type: 'program', id: 'c1' },
        { type: 'program', id: 'c2' },
      ],
      devices: [
        { driver: 'virtio-blk-pci', id: 'disk1', drive: 'hd1', packed: 'on', 'num-queues': 2, iothread: 'io1' },
        { driver: 'virtio-net-pci', id: 'nic0', netdev: 'net0', mac: '52:54:00:aa:bb:cc' },
        { driver: 'virtio-net-device', netdev: 'h0' },
        { driver: 'virtio-net-device', netdev: 'h1' },
        { driver: 'virtio-pmem-pci', id: 'pm0', memdev: 'mem1' },
        { driver: 'virtio-serial-pci', id: 'vs0' },
        { driver: 'virtserialport', id: 'port1', bus: 'vs0.0', chardev: 'c1', name: 'one' },
        { driver: 'virtconsole', id: 'port2', bus: 'vs0.0', chardev: 'c2' },
        { driver: 'virtio-9p-pci', id: 'p9', fsdev: 'fs0', mount_tag: 'share' },
        { driver: 'virtio-balloon-pci', id: 'bal0' },
      ],
    },
    { host },
  );
  monitor = new Monitor({ target: machine.monitor('many'), version: { ringside: '1.2.3' } });
}, 60_000);

afterAll(async () => {
  (monitor as Monitor | undefined)?.close();
  await (machine as Machine | undefined)?.dispose();
});

async function qmp(command: string, args: { [key: string]: Json } = {}): Promise<Json> {
  const reply = (await monitor.execute({ execute: command, arguments: args })) as { [key: string]: Json };
  if ('error' in reply) throw new Error((reply['error'] as { desc: string }).desc);
  return reply['return'];
}

async function hmp(line: string): Promise<string> {
  return ((await qmp('human-monitor-command', { 'command-line': line })) as string).replaceAll('\r\n', '\n');
}

const DISK = '/machine/peripheral/disk1/virtio-backend';
/** Arguments of commands that must have some; null: what they do is tried elsewhere. */
const ARGUMENTS: Record<string, { [key: string]: Json } | null> = {
  'human-monitor-command': { 'command-line': 'info status' },
  'qom-list': { path: '/machine' },
  'qom-get': { path: DISK, property: 'num-queues' },
  'qom-list-properties': { typename: 'virtio-blk-pci' },
  'device-list-properties': { typename: 'virtio-blk-pci' },
  'trace-event-get-state': { name: '*' },
  'x-query-virtio-status': { path: DISK },
  'x-query-virtio-queue-status': { path: DISK, queue: 1 },
  'query-stats': { target: 'vm' },
  'query-hotpluggable-cpus': null,
  'query-acpi-ospm-status': null,
  'query-vm-generation-id': null,
  'x-query-virtio-queue-element': null,
  'x-query-virtio-vhost-queue-status': null,
};

/** An entry of query-qmp-schema. */
interface Entry {
  name: string;
  'meta-type': string;
  'json-type'?: string;
  'element-type'?: string;
  'ret-type'?: string;
  values?: string[];
  members?: { name: string; type: string; default?: null }[];
}

/** Judges a value by what a client is told of its type. */
function conforms(types: ReadonlyMap<string, Entry>, type: string, value: Json, path: string): void {
  const entry = types.get(type)!;
  switch (entry['meta-type']) {
    case 'builtin': {
      const json = entry['json-type'];
      const is = typeof value === 'bigint' || Number.isInteger(value) ? 'int' : typeof value;
      if (json !== 'value') expect(json === 'number' && is === 'int' ? 'number' : is, path).toBe(json);
      return;
    }
    case 'enum':
      return expect(entry.values, path).toContain(value);
    case 'array':
      return (value as Json[]).forEach((item, i) => conforms(types, entry['element-type']!, item, `${path}[${i}]`));
    case 'object': {
      const given = value as { [key: string]: Json };
      const members = new Map(entry.members!.map((member) => [member.name, member]));
      for (const key of Object.keys(given)) expect([...members.keys()], path).toContain(key);
      for (const { name, type: memberType, default: fallback } of members.values()) {
        if (name in given) conforms(types, memberType, given[name], `${path}.${name}`);
        else expect(fallback, `${path}.${name}`).toBeNull();
      }
      return;
    }
    default:
      throw new Error(`${path} is of no type: ${type}`);
  }
}

describe('answers to queries', () => {
  const queries = QMP_COMMANDS.filter(({ name }) => /^query-|^x-query|-get|-list|^human/.test(name)).filter(
    ({ name }) => ARGUMENTS[name] !== null,
  );
  it.each(queries.map((command) => [command.name, command] as const))(
    '%s is as its schema says',
    async (name, query) => {
      const answer = await qmp(name, ARGUMENTS[name] ?? {});
      check(query.returns!, answer, '');
      const schema = (await qmp('query-qmp-schema')) as unknown as Entry[];
      const types = new Map(schema.filter((entry) => entry['meta-type'] !== 'command').map((one) => [one.name, one]));
      const command = schema.find((entry) => entry.name === name && entry['meta-type'] === 'command')!;
      conforms(types, command['ret-type']!, answer, name);
    },
  );
});

describe('the network', () => {
  it('is shown with hubs, ports and peers', async () => {
    expect(await hmp('info network')).toBe(
      'hub 3\n \\ h2\n' +
        ' \\ h1: virtio-net-device.1: index=0,type=nic,model=virtio-net-device,macaddr=52:54:00:12:34:57\n' +
        ' \\ h0: virtio-net-device.0: index=0,type=nic,model=virtio-net-device,macaddr=52:54:00:12:34:56\n' +
        `net1: index=0,type=stream,listening on unix:${join(folder, 'net1')}\n` +
        'nic0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:aa:bb:cc\n' +
        ` \\ net0: index=0,type=stream,listening on unix:${join(folder, 'net0')}\n`,
    );
  });

  it("shows cards' filters", async () => {
    expect(await qmp('query-rx-filter', { name: 'nic0' })).toMatchObject([
      { name: 'nic0', 'main-mac': '52:54:00:aa:bb:cc', promiscuous: true },
    ]);
    expect(await qmp('query-rx-filter')).toHaveLength(3);
    await expect(qmp('query-rx-filter', { name: 'net0' })).rejects.toThrow("net client(net0) isn't a NIC");
    await expect(qmp('query-rx-filter', { name: 'x' })).rejects.toThrow('invalid net client name: x');
  });

  it('has links of cards, with and without an id, and of back ends', async () => {
    for (const name of ['nic0', 'virtio-net-device.1', 'net0', 'h2']) {
      expect(await qmp('set_link', { name, up: false })).toEqual({});
      expect(await hmp(`set_link ${name} on`)).toBe('');
    }
    await expect(qmp('set_link', { name: 'nope', up: true })).rejects.toThrow("Device 'nope' not found");
  });

  it('is asked to announce itself, where a driver can', async () => {
    expect(await hmp('announce_self nic0 timer1')).toBe('');
    const args = { initial: 50, max: 500, rounds: 0, step: 1 };
    await expect(qmp('announce-self', args)).rejects.toThrow("Parameter 'rounds' expects a value between 1 and 1000");
  });
});

describe('memory', () => {
  it('is shown as a tree: the board, windows of PCI, masters of its buses that are not enabled', async () => {
    const tree = await hmp('info mtree');
    expect(tree).toMatch(
      /^address-space: memory\naddress-space: cpu-memory-0\naddress-space: cpu-memory-1\n {2}0{16}-f{16} \(prio 0, i\/o\): system\n/,
    );
    for (const line of [
      '    0000000002004000-000000000200bfff (prio 0, i/o): riscv.aclint.mtimer\n',
      '    0000000003000000-000000000300ffff (prio 0, i/o): gpex_ioport_window\n      0000000003000000-000000000300ffff (prio 0, i/o): gpex_ioport\n',
      '    000000000c000000-000000000c5fffff (prio 0, i/o): riscv.sifive.plic\n',
      '    0000000030000000-000000003fffffff (prio 0, i/o): alias pcie-ecam @pcie-mmcfg-mmio 0000000000000000-000000000fffffff\n',
      '    0000000082000000-00000000821fffff (prio 0, ram): mem1\n',
      'address-space: virtio-blk-pci\n  0000000000000000-ffffffffffffffff (prio 0, i/o): bus master container\n\n',
      'memory-region: gpex_mmio_window\n  0000000000000000-ffffffffffffffff (prio 0, i/o): gpex_mmio_window\n',
    ]) {
      expect(tree).toContain(line);
    }
    expect(tree).not.toContain('disabled');
    expect(await hmp('info mtree -D')).toContain(
      'alias bus master @system 0000000000000000-ffffffffffffffff [disabled]\n',
    );
  });

  it('is shown flat', async () => {
    const flat = await hmp('info mtree -f');
    expect(flat).toContain(
      '  0000000030000000-000000003fffffff (prio 0, i/o): pcie-mmcfg-mmio\n' +
        '  0000000040000000-000000007fffffff (prio 0, i/o): gpex_mmio_window @0000000040000000\n' +
        '  0000000080000000-0000000081ffffff (prio 0, ram): riscv_virt_board.ram\n',
    );
    expect(flat).toMatch(
      / AS "gpex-root", root: bus master container\n( AS .*\n)* Root memory region: \(none\)\n {2}No rendered/,
    );
  });
});

describe('what is behind devices', () => {
  it('is shown: disks and their nodes', async () => {
    const nodes = (await qmp('query-named-block-nodes')) as { 'node-name': string; drv: string; file: string }[];
    expect(nodes.map((node) => [node['node-name'], node.drv, node.file.split('/').at(-1)])).toEqual([
      ['#block3', 'raw', 'hd1.raw'],
      ['#block2', 'file', 'hd1.raw'],
      ['#block1', 'raw', 'hd0.raw'],
      ['#block0', 'file', 'hd0.raw'],
    ]);
    expect(await hmp('info block hd1')).toContain(`Attached to:      ${DISK}\n`);
  });

  it('is shown: memory', async () => {
    expect(await qmp('query-memory-devices')).toEqual([
      {
        type: 'virtio-pmem',
        data: { id: 'pm0', memaddr: 0x8200_0000n, size: BigInt(2 * MIB), memdev: '/objects/mem1' },
      },
    ]);
    expect(await hmp('info memory-devices')).toBe(
      'Memory device [virtio-pmem]: "pm0"\n  memaddr: 0x82000000\n  size: 2097152\n  memdev: /objects/mem1\n',
    );
    expect(await hmp('info memdev')).toContain('memory backend: mem1\n  size:  2097152\n');
  });

  it('is shown: character devices, open when the guest has them open', async () => {
    expect(await qmp('query-chardev')).toEqual([
      { label: 'serial0', filename: 'serial0', 'frontend-open': true },
      { label: 'c1', filename: 'c1', 'frontend-open': false },
      { label: 'c2', filename: 'c2', 'frontend-open': true },
      { label: 'console0', filename: 'console0', 'frontend-open': true },
    ]);
  });
});
