/** What is said of devices and back ends before anything is made of them. */
import { describe, expect, test } from 'vitest';
import { machineConfig } from '../../core/api/machine.ts';
import type { MachineConfigInput } from '../../core/api/machine.ts';
import { configProblems, problemLine } from '../../core/machine/check-config.ts';

const MIB = 2 ** 20;

function problems(hardware: Partial<MachineConfigInput>): string[] {
  return configProblems(machineConfig.parse({ memory: 64 * MIB, ...hardware })).map(problemLine);
}

const disk = (id: string) => ({ id, file: `/images/${id}.raw`, if: 'none' as const });

test('one of everything has no problems', () => {
  const found = problems({
    drives: [disk('d0'), { id: 'd1', file: '/images/d1.raw' }],
    objects: [
      { type: 'iothread', id: 'io0' },
      { type: 'rng-random', id: 'entropy', filename: '/dev/urandom' },
      { type: 'memory-backend-file', id: 'mem', 'mem-path': '/images/pmem', size: '64M', share: true },
      { type: 'cryptodev-backend-builtin', id: 'crypto' },
    ],
    chardevs: [{ type: 'program', id: 'agent' }],
    netdevs: [{ type: 'socket', id: 'net0', listen: ':1234' }],
    fsdevs: [{ type: 'local', id: 'share', path: '/home', security_model: 'none' }],
    devices: [
      { driver: 'virtio-blk-pci', id: 'disk0', drive: 'd0', iothread: 'io0', 'num-queues': 4, packed: true },
      { driver: 'virtio-rng-pci', rng: 'entropy' },
      { driver: 'virtio-rng-device', rng: 'entropy' },
      { driver: 'virtio-net-device', id: 'nic0', netdev: 'net0', iothread: 'io0', bus: 'virtio-mmio-bus.2' },
      { driver: 'virtio-pmem-pci', memdev: 'mem' },
      { driver: 'virtio-crypto-pci', cryptodev: 'crypto' },
      { driver: 'virtio-9p-pci', fsdev: 'share', mount_tag: 'home' },
      { driver: 'virtio-serial-pci', id: 'ports' },
      { driver: 'virtserialport', bus: 'ports.0', chardev: 'agent', name: 'org.qemu.guest_agent.0' },
    ],
    globals: [{ driver: 'virtio-blk-pci', property: 'packed', value: 'on' }],
  });
  expect(found).toEqual([]);
});

describe('each problem is one line that says where and what', () => {
  test.each<[string, Partial<MachineConfigInput>, string]>([
    [
      'a misspelt type',
      { devices: [{ driver: 'virtio-blk-pcy' }] },
      'device virtio-blk-pcy: unknown device "virtio-blk-pcy" (did you mean virtio-blk-pci?)',
    ],
    [
      'a misspelt property',
      { devices: [{ driver: 'virtio-rng-pci', id: 'r', perid: 5 }] },
      'device r (virtio-rng-pci): unknown "perid" (did you mean period?)',
    ],
    [
      'a value out of bounds',
      { devices: [{ driver: 'virtio-rng-pci', id: 'r', period: -1 }] },
      'device r (virtio-rng-pci): period: "-1" is not from 1 to 4294967295',
    ],
    [
      'a link to nothing',
      { drives: [disk('root')], devices: [{ driver: 'virtio-blk-pci', drive: 'rot' }] },
      'device virtio-blk-pci: drive: there is no drive with id rot (did you mean root?)',
    ],
    ['a link that is needed', { devices: [{ driver: 'virtio-blk-pci', id: 'd' }] }, 'drive: which drive?'],
    [
      'a link to the wrong type',
      { objects: [{ type: 'iothread', id: 'io0' }], devices: [{ driver: 'virtio-rng-pci', rng: 'io0' }] },
      'rng: object io0 is of type iothread, not rng-backend',
    ],
    [
      'one disk in two devices',
      {
        drives: [disk('d')],
        devices: [
          { driver: 'virtio-blk-pci', id: 'a', drive: 'd' },
          { driver: 'virtio-blk-pci', id: 'b', drive: 'd' },
        ],
      },
      'device b (virtio-blk-pci): drive: drive d is in use by device a (virtio-blk-pci)',
    ],
    [
      'two devices of one id',
      { drives: [{ id: 'x', file: '/x' }], devices: [{ driver: 'virtio-rng-pci', id: 'x' }] },
      'device x (virtio-rng-pci): there is another device of this id',
    ],
    [
      'two back ends of one id',
      {
        objects: [
          { type: 'iothread', id: 'io' },
          { type: 'iothread', id: 'io' },
        ],
      },
      'object io (iothread): there is another object of this id',
    ],
    [
      'a back end without what it needs',
      { fsdevs: [{ type: 'local', id: 'f', security_model: 'none' }] },
      'fsdev f (local): path: host path of the folder: it is needed',
    ],
    [
      'a slot that is not there',
      { devices: [{ driver: 'virtio-rng-device', bus: 'virtio-mmio-bus.8' }] },
      'bus: "virtio-mmio-bus.8" is not a virtio-mmio slot',
    ],
    [
      'two devices in one slot',
      {
        drives: [{ id: 'd', file: '/d', slot: 3 }],
        devices: [{ driver: 'virtio-rng-device', bus: 'virtio-mmio-bus.3' }],
      },
      'bus: virtio-mmio-bus.3 is taken by d',
    ],
    [
      'more than there is room for',
      { devices: Array.from({ length: 7 }, () => ({ driver: 'virtio-rng-device' })) },
      'devices: the board has 8 virtio-mmio slots, and these are 9',
    ],
    [
      'a global that nothing takes',
      { globals: [{ driver: 'virtio-rng-pci', property: 'speed', value: '9' }] },
      'globals: virtio-rng-pci: unknown "speed"',
    ],
  ])('%s', (_, hardware, line) => {
    const found = problems(hardware);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(line);
    expect(found[0]).not.toContain('\n');
  });
});

test('names of Object.prototype are no types and no properties', () => {
  for (const name of ['constructor', '__proto__', 'toString']) {
    expect(problems({ devices: [{ driver: name }] })).toHaveLength(1);
    const devices = [JSON.parse(`{ "driver": "virtio-rng-pci", ${JSON.stringify(name)}: 1 }`)];
    expect(problems({ devices }).length, name).toBeLessThanOrEqual(1);
  }
});

test('all problems are found, each with its place in the configuration', () => {
  const config = machineConfig.parse({
    memory: 64 * MIB,
    netdevs: [{ type: 'nosuch', id: 'n' }],
    devices: [{ driver: 'virtio-net-pci', netdev: 'n', mq: 'perhaps', speed: 'fast' }],
  });
  expect(configProblems(config).map(({ path }) => path.join('.'))).toEqual([
    'netdevs.0.type',
    'devices.0.mq',
    'devices.0.speed',
  ]);
});
