/** VMs that are cloned and deleted, with what is theirs. */
import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { VmInfo, VmSettingsInput } from '../../main/ipc/contract.ts';
import { settings, TestApp, until } from './doubles/app.ts';
import type { TestClient } from './doubles/app.ts';

const MIB = 2 ** 20;

let app: TestApp;
let client: TestClient;
beforeEach(async () => {
  app = await TestApp.create();
  client = app.connect();
});
afterEach(() => app.close());

const create = (change: Partial<VmSettingsInput> = {}) => client.call('vm.create', { settings: settings(change) });
const disk = async (name: string) => {
  const file = path.join(app.home, name);
  await writeFile(file, '');
  await truncate(file, MIB);
  return file;
};

describe('a clone', () => {
  test('has the same hardware, and copies of the disks that the original writes to', async () => {
    const file = await disk('a.raw');
    await writeFile(file, Buffer.concat([Buffer.alloc(MIB), Buffer.from('data'.padEnd(512, '.'))]));
    const base = await disk('base.raw');
    const drives = [
      { id: 'd', file },
      { id: 'base', file: base, readonly: true },
    ];
    const { id } = await create({ drives, devices: [{ driver: 'virtio-rng-pci', id: 'r' }] });
    const copy = await client.call('vm.clone', { id, name: 'A copy', disks: 'copy' });
    expect(copy.settings).toMatchObject({ name: 'A copy', devices: [{ driver: 'virtio-rng-pci', id: 'r' }] });
    const [own, shared] = copy.settings.drives;
    expect(path.dirname(own.file)).toBe(path.join(app.home, 'disks'));
    expect(await readFile(own.file)).toEqual(await readFile(file));
    expect((await stat(own.file)).blocks * 512).toBeLessThan(MIB);
    expect(shared.file).toBe(base);
    const bare = await client.call('vm.clone', { id, name: 'bare', disks: 'leave-out' });
    expect(bare.settings.drives.map((drive) => drive.file)).toEqual([base]);
  });

  test('says how far it is, and can be cancelled: nothing is left of it', async () => {
    const file = await disk('large.raw');
    // All holes; to look at them takes long enough.
    await truncate(file, 256 * 2 ** 30);
    const { id } = await create({ drives: [{ id: 'd', file }] });
    const cloning = client.call('vm.clone', { id, name: 'A copy', disks: 'copy' });
    const refused = expect(cloning).rejects.toThrow('the clone of “test” was cancelled');
    const last = () => client.events.findLast(({ name }) => name === 'vm.changed')?.payload as VmInfo | undefined;
    await until(() => (last()?.cloning?.copied ?? 0) > 0);
    expect(last()!.cloning).toMatchObject({ name: 'A copy', total: 256 * 2 ** 30 });
    await expect(client.call('vm.start', { id })).rejects.toThrow('is being cloned');
    await client.call('vm.cancelClone', { id });
    await refused;
    expect(last()).toMatchObject({ id, cloning: null });
    expect(await readdir(path.join(app.home, 'disks'))).toEqual([]);
    expect((await client.call('vm.list', {})).vms).toHaveLength(1);
    // When none is being made there is nothing to cancel.
    await client.call('vm.cancelClone', { id });
  });

  test('of a VM that is on, or whose disk is not there, is refused, and nothing is left of it', async () => {
    const { id } = await create({
      drives: [
        { id: 'd', file: await disk('a.raw') },
        { id: 'gone', file: '/no/such' },
      ],
    });
    await expect(client.call('vm.clone', { id, name: 'x', disks: 'copy' })).rejects.toMatchObject({
      kind: 'not-found',
    });
    expect(await readdir(path.join(app.home, 'disks'))).toEqual([]);
    const on = await create();
    await client.call('vm.start', { id: on.id });
    await expect(client.call('vm.clone', { id: on.id, name: 'x', disks: 'copy' })).rejects.toMatchObject({
      kind: 'bad-state',
    });
  });
});

describe('deleting', () => {
  test('takes the images that are named, and no others', async () => {
    const [a, b] = [await disk('a.raw'), await disk('b.raw')];
    const vm = await create({
      drives: [
        { id: 'a', file: a },
        { id: 'b', file: b },
      ],
    });
    await client.call('vm.delete', { id: vm.id, disks: [a] });
    await expect(stat(a)).rejects.toThrow('ENOENT');
    expect((await stat(b)).size).toBe(MIB);
  });

  test('an image that another VM has, or that is none of its own, is refused with all the rest', async () => {
    const shared = await disk('shared.raw');
    const vm = await create({ drives: [{ id: 'd', file: shared }] });
    await create({ name: 'other', drives: [{ id: 'd', file: shared }] });
    await expect(client.call('vm.delete', { id: vm.id, disks: [shared] })).rejects.toMatchObject({ kind: 'in-use' });
    await expect(client.call('vm.delete', { id: vm.id, disks: ['/etc/passwd'] })).rejects.toMatchObject({
      kind: 'bad-option',
    });
    expect((await client.call('vm.list', {})).vms).toHaveLength(2);
  });
});
