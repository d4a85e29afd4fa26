/** The types of devices and back ends, as forms get them. */
import { expect, test } from 'vitest';
import { hardwareTypes } from '../../main/app/hardware-types.ts';
import { hardwareTypes as schema } from '../../main/ipc/contract.ts';

const types = schema.parse(hardwareTypes());
const device = (name: string) => types.devices.find((type) => type.name === name)!;
const property = (type: string, name: string) => device(type).properties.find((each) => each.name === name);

test('a device on different buses is one family', () => {
  const family = types.devices.filter(({ family }) => family === 'virtio-blk');
  expect(family.map(({ name, bus }) => [name, bus])).toEqual([
    ['virtio-blk-device', 'virtio-bus'],
    ['virtio-blk-pci', 'PCI'],
    ['virtio-blk-pci-non-transitional', 'PCI'],
    ['virtio-blk-pci-transitional', 'PCI'],
  ]);
  expect(device('virtconsole').family).toBe('virtconsole');
});

test('every type has a line that says what it is', () => {
  for (const { name, description } of [...types.devices, ...types.backends]) {
    expect(description, name).toMatch(/^\S.*[^.]$/);
  }
});

test('properties say what a form needs: group, unit, bounds, default, what they link to', () => {
  expect(property('virtio-blk-pci', 'drive')).toMatchObject({ kind: 'link', target: 'drive', required: true });
  expect(property('virtio-blk-pci', 'packed')).toMatchObject({ group: 'features', default: 'off' });
  expect(property('virtio-blk-pci', 'vectors')).toMatchObject({ group: 'bus', default: null });
  expect(property('virtio-rng-pci', 'period')).toMatchObject({
    group: 'device',
    unit: 'ms',
    default: '65536',
    range: { min: '1', max: '4294967295' },
  });
  expect(property('virtio-vsock-pci', 'socket')).toMatchObject({ holds: 'socket', required: true });
  const local = types.backends.find(({ kind, name }) => kind === 'fsdev' && name === 'local')!;
  expect(local.properties.find(({ name }) => name === 'security_model')).toMatchObject({
    kind: 'enum',
    values: expect.arrayContaining(['mapped-xattr', 'none']),
    required: true,
  });
  const random = types.backends.find(({ name }) => name === 'rng-random')!;
  expect(random).toMatchObject({ kind: 'object', shared: true });
  expect(random.isA).toContain('rng-backend');
});
