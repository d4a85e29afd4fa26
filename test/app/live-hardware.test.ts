/** Devices that come and go while a VM is on, through the contract, on scripted machines. */
import { truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ParamsInput } from '../../main/ipc/contract.ts';
import { withoutDevice, withParts } from '../../main/app/vm-parts.ts';
import { settings, TestApp, until } from './doubles/app.ts';
import type { TestClient } from './doubles/app.ts';

const MIB = 2 ** 20;
const PORTS = [1, 2].map((chassis) => ({ driver: 'pcie-root-port', id: `rp${chassis}`, chassis }));

let app: TestApp;
let client: TestClient;
beforeEach(async () => {
  app = await TestApp.create();
  client = app.connect();
});
afterEach(() => app.close());

const image = async (name: string) => {
  const file = path.join(app.home, name);
  await writeFile(file, '');
  await truncate(file, MIB);
  return file;
};
type Parts = ParamsInput<'vm.plug'>['parts'];
const disk = (file: string, id = 'disk1'): Parts => ({
  device: { driver: 'virtio-blk-pci', id, drive: `${id}-image` },
  drive: { id: `${id}-image`, if: 'none', file },
});
const start = async (devices: Record<string, unknown>[] = PORTS) => {
  const { id } = await client.call('vm.create', { settings: settings({ devices: devices as typeof PORTS }) });
  await client.call('vm.start', { id });
  return id;
};
const info = async (id: string) => (await client.call('vm.list', {})).vms.find((vm) => vm.id === id)!;
const hardware = (id: string) => client.call('machine.hardware', { id });
const device = async (id: string, name: string) => (await hardware(id)).devices.find((one) => one.id === name);
const gone = async (id: string, name: string) => {
  while ((await device(id, name)) !== undefined) await new Promise((resolve) => setTimeout(resolve, 5));
};

test('a disk for as long as the VM is on: in the first free port, and not in the settings', async () => {
  const id = await start();
  const file = await image('a.raw');
  expect(await client.call('vm.plug', { id, parts: disk(file), keep: false })).toEqual({ bus: 'rp1' });
  expect(await device(id, 'disk1')).toMatchObject({ bus: 'rp1', hotplugged: true, removable: true, leaving: null });
  expect(app.machines.last.hotplug.backends).toEqual(new Map([['drive disk1-image', true]]));
  expect(await info(id)).toMatchObject({ pending: false, settings: { drives: [], devices: PORTS } });

  await client.call('vm.unplug', { id, device: 'disk1', forget: false });
  await gone(id, 'disk1');
  expect(app.machines.last.hotplug.backends.size).toBe(0);
  // The image is free: another VM can have it.
  const other = await start();
  await client.call('vm.plug', { id: other, parts: disk(file), keep: false });
});

test('kept: it is in the settings, where it sits, and nothing waits for a start', async () => {
  const id = await start();
  await client.call('vm.plug', { id, parts: disk(await image('a.raw')), keep: true });
  expect(await info(id)).toMatchObject({
    pending: false,
    settings: {
      drives: [{ id: 'disk1-image', if: 'none' }],
      devices: [...PORTS, { id: 'disk1', bus: 'rp1', drive: 'disk1-image' }],
    },
  });
  // Without `forget` it is back at the next start.
  await client.call('vm.unplug', { id, device: 'disk1', forget: false });
  await gone(id, 'disk1');
  expect((await info(id)).settings.devices).toHaveLength(3);
  const { devices, drives } = (await info(id)).settings;
  const again = { device: devices[2] as Parts['device'], drive: drives[0] as NonNullable<Parts['drive']> };
  await client.call('vm.plug', { id, parts: again, keep: true });
  expect((await info(id)).settings.devices).toHaveLength(3);
  await client.call('vm.unplug', { id, device: 'disk1', forget: true });
  await gone(id, 'disk1');
  await until(() => app.app.vms()[0].settings.drives.length === 0, 'its settings without the disk');
  expect(await info(id)).toMatchObject({ pending: false, settings: { devices: PORTS } });
});

test('a guest that refuses, one that is silent, and one that changes its mind', async () => {
  const id = await start();
  await client.call('vm.plug', { id, parts: disk(await image('a.raw')), keep: true });
  const { hotplug } = app.machines.last;
  hotplug.guest = 'refuses';
  await client.call('vm.unplug', { id, device: 'disk1', forget: true });
  while ((await device(id, 'disk1'))?.leaving?.state !== 'refused') await new Promise(setImmediate);
  expect((await info(id)).settings.drives).toHaveLength(1);
  hotplug.guest = 'is silent';
  await client.call('vm.unplug', { id, device: 'disk1', forget: false });
  expect((await device(id, 'disk1'))?.leaving).toMatchObject({ state: 'waiting', forget: false });
  hotplug.letGo('disk1');
  expect(await device(id, 'disk1')).toBeUndefined();
});

test('what cannot be is refused with a reason, and leaves nothing behind', async () => {
  const id = await start();
  const file = await image('a.raw');
  const plug = (parts: Parts, keep = false) => client.call('vm.plug', { id, parts, keep });
  const mmio = { ...disk(file), device: { driver: 'virtio-blk-device', id: 'disk1', drive: 'disk1-image' } };
  await expect(plug(mmio)).rejects.toThrow(/virtio-mmio slot.*take virtio-blk-pci/);
  await expect(plug({ device: { driver: 'virtio-blk-pci', id: 'disk1' } })).rejects.toThrow('which drive?');
  await expect(plug({ device: { driver: 'virtio-blk-pc', id: 'disk1' } })).rejects.toThrow('virtio-blk-pci');
  await expect(plug(disk(path.join(app.home, 'none.raw')))).rejects.toThrow('no such file');
  app.machines.last.hotplug.failure = new Error('the guest has locked the slot');
  await expect(plug(disk(file), true)).rejects.toThrow('locked the slot');
  app.machines.last.hotplug.failure = null;
  expect(app.machines.last.hotplug.backends.size).toBe(0);
  expect((await info(id)).settings.drives).toEqual([]);

  await plug(disk(file));
  await expect(plug(disk(file, 'disk2'))).rejects.toThrow('in use');
  await plug(disk(await image('b.raw'), 'disk2'));
  await expect(plug({ device: { driver: 'virtio-rng-pci', id: 'r' } })).rejects.toThrow(
    /all hotplug ports .* are taken/,
  );
  await expect(client.call('vm.unplug', { id, device: 'nobody', forget: false })).rejects.toThrow('not found');
  const without = await start([]);
  await expect(
    client.call('vm.plug', { id: without, parts: { device: { driver: 'virtio-rng-pci', id: 'r' } }, keep: false }),
  ).rejects.toThrow('has no hotplug ports');
  await client.call('vm.powerOff', { id });
  await expect(hardware(id)).rejects.toThrow('is off');
});

test('a disk becomes larger while it is in use', async () => {
  const id = await start();
  await client.call('vm.plug', { id, parts: disk(await image('a.raw')), keep: false });
  await client.call('vm.resizeDisk', { id, drive: 'disk1-image', size: 4 * MIB });
  expect((await device(id, 'disk1'))?.disk).toMatchObject({ size: 4 * MIB });
});

test('settings with and without a device: only what nobody else uses goes with it', () => {
  const before = settings({
    devices: [
      { driver: 'virtio-9p-pci', id: 'a', fsdev: 'f', mount_tag: 'x' },
      { driver: 'virtio-rng-pci', id: 'r', rng: 'o' },
    ],
    fsdevs: [{ type: 'local', id: 'f', path: '/srv', security_model: 'none' }],
    objects: [{ type: 'rng-random', id: 'o' }],
  });
  expect(withoutDevice(before, 'a')).toEqual({ ...before, devices: [before.devices[1]], fsdevs: [] });
  // An object may be meant for others too.
  expect(withoutDevice(before, 'r').objects).toEqual(before.objects);
  const parts = {
    device: { driver: 'virtio-net-pci', id: 'n', netdev: 'd' },
    objects: [],
    chardevs: [],
    netdevs: [{ type: 'hubport', id: 'd', hubid: 0 }],
    fsdevs: [],
  };
  const after = withParts(before, parts);
  expect(withParts(after, parts)).toEqual(after);
  expect(withoutDevice(after, 'n')).toEqual(before);
});
