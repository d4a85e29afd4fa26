/** The library and its machines, through the contract: what a window can do, and what it is told. */
import { link, readFile, symlink, truncate, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
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
const states = (id: string) =>
  client.events
    .filter(({ name }) => name === 'vm.changed')
    .map(({ payload }) => payload as VmInfo)
    .filter((vm) => vm.id === id)
    .map((vm) => vm.state);
const stored = (id: string) => path.join(app.home, 'vms', id, 'vm.json');

test('~ in paths of its devices is the home directory; other paths are whole ones', async () => {
  const memory = (file: string) => ({
    objects: [{ type: 'memory-backend-file', id: 'm', 'mem-path': file, size: '16M', share: 'on' }],
  });
  const gone = await create({ drives: [{ id: 'd', file: '~/no-such-folder/a.raw' }] });
  await expect(client.call('vm.start', { id: gone.id })).rejects.toThrow(path.join(homedir(), 'no-such-folder/a.raw'));
  const good = await create(memory('~/m.img'));
  await client.call('vm.start', { id: good.id });
  expect(app.machines.last.config.objects).toMatchObject([{ id: 'm', 'mem-path': path.join(homedir(), 'm.img') }]);
  const bad = await create(memory('m.img'));
  await expect(client.call('vm.start', { id: bad.id })).rejects.toThrow('m.img: give the whole path');
});

test('a disk in another format than raw is not given to a guest', async () => {
  const file = await disk('image.qcow2');
  await writeFile(file, Buffer.concat([Buffer.from('QFI\xfb', 'latin1'), Buffer.alloc(1020)]));
  expect(await client.call('files.stat', { path: file })).toMatchObject({ looksLike: { name: 'QCOW', kind: 'image' } });
  const vm = await create({ drives: [{ id: 'drive0', file }] });
  await expect(client.call('vm.start', { id: vm.id })).rejects.toThrow(/is a QCOW image.*qemu-img convert -O raw/);
  expect(app.machines.made).toHaveLength(0);
  // What is only compressed may be what a guest has written.
  await writeFile(file, Buffer.concat([Buffer.from([0x1f, 0x8b, 8]), Buffer.alloc(1021)]));
  expect(await client.call('vm.start', { id: vm.id })).toMatchObject({ state: 'running' });
});

test('a life: created, started, paused, resumed, reset, powered off, deleted', async () => {
  const vm = await create();
  expect(vm).toMatchObject({ state: 'stopped', ports: ['serial0', 'console0'], exit: null });
  expect(await client.call('vm.start', { id: vm.id })).toMatchObject({ state: 'running' });
  expect(await client.call('vm.pause', { id: vm.id })).toMatchObject({ state: 'paused' });
  expect(await client.call('vm.resume', { id: vm.id })).toMatchObject({ state: 'running' });
  expect(await client.call('vm.reset', { id: vm.id })).toMatchObject({ state: 'running' });
  expect(await client.call('vm.powerOff', { id: vm.id })).toMatchObject({
    state: 'stopped',
    started: null,
    exit: { reason: 'host-quit' },
  });
  expect(app.machines.last.disposed).toBe(true);
  expect(states(vm.id)).toEqual([
    'stopped',
    'starting',
    'running',
    'paused',
    'running',
    'stopping',
    'stopping',
    'stopped',
  ]);
  await client.call('vm.delete', { id: vm.id });
  expect(client.events.at(-1)).toEqual({ name: 'vm.removed', payload: { id: vm.id } });
  expect(await client.call('vm.list', {})).toEqual({ vms: [], problems: [] });
  expect(client.bugs).toEqual([]);
});

test('the machine gets what the VM says', async () => {
  const file = await disk('a.raw');
  const vm = await create({
    memory: 512 * MIB,
    harts: 4,
    boot: { source: 'files', kernel: '/k', initrd: '/i', append: 'console=ttyS0' },
    drives: [{ id: 'd', file, readonly: true, serial: 'S1' }],
    console: false,
  });
  await client.call('vm.start', { id: vm.id });
  expect(app.machines.last.config).toMatchObject({
    memory: 512 * MIB,
    harts: 4,
    bios: 'default',
    kernel: '/k',
    initrd: '/i',
    append: 'console=ttyS0',
    drives: [{ id: 'd', file, readonly: true, serial: 'S1', werror: 'enospc' }],
    console: false,
  });
  expect(vm.ports).toEqual(['serial0']);
});

test('a catalogue guest brings kernel, initrd and command line; the person’s command line goes before', async () => {
  const vm = await create({ boot: { source: 'guest', guest: 'debian' } });
  await expect(client.call('vm.start', { id: vm.id })).rejects.toMatchObject({
    kind: 'not-found',
    message: expect.stringContaining('is not downloaded'),
  });
  app.catalogue.install('debian');
  await client.call('vm.start', { id: vm.id });
  expect(app.machines.last.config).toMatchObject({ kernel: '/cache/debian/Image', append: 'console=ttyS0' });
  const own = await create({ boot: { source: 'guest', guest: 'debian', append: 'single' } });
  await client.call('vm.start', { id: own.id });
  expect(app.machines.last.config.append).toBe('single');
});

test('what does not fit the state is refused with what to do instead', async () => {
  const { id } = await create({ name: 'box' });
  const refused = async (name: 'vm.pause' | 'vm.resume' | 'vm.reset' | 'vm.powerOff' | 'vm.start' | 'vm.delete') =>
    client.call(name, { id }).then(
      () => 'done',
      (error: Error & { kind: string }) => `${error.kind}: ${error.message}`,
    );
  expect(await refused('vm.pause')).toBe('bad-state: “box” is not running: only a running VM can be paused');
  expect(await refused('vm.resume')).toBe('bad-state: “box” is not paused');
  expect(await refused('vm.reset')).toBe('bad-state: “box” is off: start it instead');
  expect(await refused('vm.powerOff')).toBe('bad-state: “box” is off already');
  await client.call('vm.start', { id });
  expect(await refused('vm.start')).toBe('bad-state: “box” is on already');
  expect(await refused('vm.delete')).toBe('bad-state: “box” is on: power it off before you delete it');
});

test('many hands at once: operations on one VM happen one after another', async () => {
  const { id } = await create();
  const results = await Promise.allSettled([
    client.call('vm.start', { id }),
    client.call('vm.start', { id }),
    client.call('vm.pause', { id }),
    client.call('vm.resume', { id }),
    client.call('vm.powerOff', { id }),
    client.call('vm.start', { id }),
  ]);
  expect(results.map(({ status }) => status)).toEqual([
    'fulfilled',
    'rejected',
    'fulfilled',
    'fulfilled',
    'fulfilled',
    'fulfilled',
  ]);
  expect(app.machines.made).toHaveLength(2);
  expect(app.machines.made[0].disposed).toBe(true);
});

describe('a VM whose guest ends it', () => {
  test('is off, and says how; it can be started again', async () => {
    const { id } = await create();
    await client.call('vm.start', { id });
    app.machines.last.end({ reason: 'guest-poweroff', code: 0 });
    await until(() => states(id).at(-1) === 'stopped');
    expect(app.machines.last.disposed).toBe(true);
    const { vms } = await client.call('vm.list', {});
    expect(vms[0].exit).toEqual({ reason: 'guest-poweroff', code: 0 });
    expect(await client.call('vm.start', { id })).toMatchObject({ state: 'running', exit: null });
  });

  test('a crash is one VM’s only, is told, and leaves its disks to others', async () => {
    const file = await disk('a.raw');
    const first = await create({ drives: [{ id: 'd', file }] });
    const other = await create();
    await client.call('vm.start', { id: first.id });
    const crashing = app.machines.last;
    await client.call('vm.start', { id: other.id });
    crashing.end({ reason: 'crash', code: 1, detail: 'hart 0: unreachable' });
    await until(() => states(first.id).at(-1) === 'crashed');
    const { vms } = await client.call('vm.list', {});
    expect(vms.map((vm) => vm.state)).toEqual(['crashed', 'running']);
    expect(vms[0].message).toBe('hart 0: unreachable');
    const log = client.events
      .filter(({ name }) => name === 'log')
      .map(({ payload }) => payload as { level: string; text: string });
    expect(log.at(-1)).toMatchObject({ level: 'error', text: '“test” crashed: hart 0: unreachable' });
    expect(await client.call('vm.start', { id: first.id })).toMatchObject({ state: 'running' });
  });

  test('a pause of the machine’s own (no space) is shown with its reason until resumed', async () => {
    const { id } = await create();
    await client.call('vm.start', { id });
    app.machines.last.stopFor('drive0: no space left');
    await until(() => states(id).at(-1) === 'paused');
    const [vm] = (await client.call('vm.list', {})).vms;
    expect(vm).toMatchObject({ state: 'paused', message: 'drive0: no space left' });
    expect(await client.call('vm.resume', { id })).toMatchObject({ state: 'running', message: null });
  });
});

describe('a start that fails', () => {
  test('before there is a machine: the error crosses, nothing is left', async () => {
    const { id } = await create({ boot: { source: 'files', kernel: '/does/not/exist' } });
    await expect(client.call('vm.start', { id })).rejects.toMatchObject({ kind: 'not-found' });
    const [vm] = (await client.call('vm.list', {})).vms;
    expect(vm).toMatchObject({ state: 'stopped', started: null, message: expect.stringContaining('/does/not/exist') });
    expect(states(id)).toEqual(['stopped', 'starting', 'stopped']);
  });

  test('with a machine: it is disposed of, its disks are free', async () => {
    const file = await disk('a.raw');
    const { id } = await create({ drives: [{ id: 'd', file }] });
    app.machines.prepare = (machine) => (machine.failure = { operation: 'start', error: new Error('no threads') });
    await expect(client.call('vm.start', { id })).rejects.toThrow('no threads');
    expect(app.machines.last.disposed).toBe(true);
    app.machines.prepare = () => {};
    expect(await client.call('vm.start', { id })).toMatchObject({ state: 'running', message: null });
  });

  test('a power-off that fails ends the VM all the same, as crashed', async () => {
    const { id } = await create();
    app.machines.prepare = (machine) =>
      (machine.failure = { operation: 'powerOff', error: new Error('a worker hangs') });
    await client.call('vm.start', { id });
    expect(await client.call('vm.powerOff', { id })).toMatchObject({ state: 'crashed', message: 'a worker hangs' });
    expect(app.machines.last.disposed).toBe(true);
  });
});

describe('a disk in two VMs', () => {
  const start = (vm: VmInfo) => client.call('vm.start', { id: vm.id });

  test('is refused by whatever name it is called, and free after power-off', async () => {
    const file = await disk('a.raw');
    await symlink(file, path.join(app.home, 'link.raw'));
    await link(file, path.join(app.home, 'hard.raw'));
    const first = await create({ name: 'first', drives: [{ id: 'd', file }] });
    await start(first);
    for (const name of ['a.raw', 'link.raw', 'hard.raw', './../' + path.basename(app.home) + '/a.raw']) {
      const same = `${app.home}/${name}`;
      const second = await create({ drives: [{ id: 'd', file: same, readonly: name === 'a.raw' }] });
      await expect(start(second), name).rejects.toMatchObject({
        kind: 'in-use',
        message: expect.stringContaining('is in use by the VM “first”: power that off first'),
      });
    }
    await client.call('vm.powerOff', { id: first.id });
    const [, second] = (await client.call('vm.list', {})).vms;
    expect(await start(second)).toMatchObject({ state: 'running' });
  });

  test('may be read by both', async () => {
    const file = await disk('a.raw');
    const drives = [{ id: 'd', file, readonly: true }];
    await start(await create({ drives }));
    expect(await start(await create({ drives }))).toMatchObject({ state: 'running' });
    await expect(start(await create({ drives: [{ id: 'd', file }] }))).rejects.toMatchObject({ kind: 'in-use' });
  });

  test('two starts at the same time: one wins', async () => {
    const file = await disk('a.raw');
    const drives = [{ id: 'd', file }];
    const vms = await Promise.all([create({ drives }), create({ drives })]);
    const results = await Promise.allSettled(vms.map(start));
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  test('twice in one VM under two names is refused', async () => {
    const file = await disk('a.raw');
    await symlink(file, path.join(app.home, 'b.raw'));
    const vm = await create({
      drives: [
        { id: 'one', file },
        { id: 'two', file: path.join(app.home, 'b.raw') },
      ],
    });
    await expect(start(vm)).rejects.toMatchObject({ kind: 'in-use', message: expect.stringContaining('one and two') });
  });

  test('one that is missing, or a directory, is said to be so', async () => {
    const missing = await create({ drives: [{ id: 'd', file: '/no/such.raw' }] });
    await expect(start(missing)).rejects.toMatchObject({ kind: 'not-found' });
    const folder = await create({ drives: [{ id: 'd', file: app.home }] });
    await expect(start(folder)).rejects.toMatchObject({ kind: 'not-a-file' });
  });
});

test('the last screen of a VM, which stays when it is off', async () => {
  const { id } = await create();
  expect(await client.call('vm.screen', { id })).toEqual({ lines: [] });
  await client.call('vm.start', { id });
  app.machines.last.serial.print('\x1b[2J\x1b[Hone\r\ntwo \x1b[1;31mred\x1b[0m\r\n');
  const screen = await client.call('vm.screen', { id });
  expect(screen.lines).toContain('two red');
  await client.call('vm.powerOff', { id });
  expect((await client.call('vm.screen', { id })).lines).toContain('two red');
});

describe('changing a VM', () => {
  test('while it is on, its name changes at once and its hardware at the next start', async () => {
    const { id } = await create();
    const bigger = settings({ memory: 512 * MIB });
    expect((await client.call('vm.update', { id, settings: bigger })).settings.memory).toBe(512 * MIB);
    await client.call('vm.start', { id });
    const smaller = await client.call('vm.update', { id, settings: settings({ console: false }) });
    expect(smaller).toMatchObject({ pending: true, state: 'running', ports: ['serial0', 'console0'] });
    expect(app.machines.last.config.memory).toBe(512 * MIB);
    const renamed = await client.call('vm.update', { id, settings: { ...bigger, name: 'new name' } });
    expect(renamed).toMatchObject({ state: 'running', pending: false, settings: { name: 'new name' } });
    expect(await readFile(stored(id), 'utf8')).toContain('new name');
    await client.call('vm.update', { id, settings: settings({ console: false }) });
    await client.call('vm.powerOff', { id });
    expect(await client.call('vm.start', { id })).toMatchObject({ pending: false, ports: ['serial0'] });
    expect(app.machines.last.config.memory).toBe(256 * MIB);
  });

  test('its devices are what their types allow', async () => {
    const wrong = settings({ devices: [{ driver: 'virtio-rng-pci', id: 'r', perod: 1 }] });
    const line = 'device r (virtio-rng-pci): unknown "perod" (did you mean period?)';
    const refused = { kind: 'bad-option', message: expect.stringContaining(line) };
    await expect(client.call('vm.create', { settings: wrong })).rejects.toMatchObject(refused);
    const { id } = await create();
    await expect(client.call('vm.update', { id, settings: wrong })).rejects.toMatchObject(refused);
    const { problems } = await client.call('vm.check', { settings: wrong });
    expect(problems).toMatchObject([{ path: ['devices', 0, 'perod'], what: 'device r (virtio-rng-pci)' }]);
  });

  test('the machine gets the devices and what is behind them, and its consoles are ports', async () => {
    const hardware: Partial<VmSettingsInput> = {
      aia: 'aplic-imsic',
      accel: 'interp',
      chardevs: [{ type: 'program', id: 'agent' }],
      netdevs: [{ type: 'socket', id: 'net0', listen: ':1234' }],
      devices: [
        { driver: 'virtio-net-pci', id: 'nic0', netdev: 'net0' },
        { driver: 'virtio-serial-pci', id: 'ports' },
        { driver: 'virtserialport', bus: 'ports.0', chardev: 'agent' },
      ],
    };
    const vm = await create(hardware);
    expect(vm.ports).toEqual(['serial0', 'console0', 'agent']);
    await client.call('vm.start', { id: vm.id });
    expect(app.machines.last.config).toMatchObject(hardware);
    expect(JSON.parse(await readFile(stored(vm.id), 'utf8'))).toMatchObject({ ringside: 1, settings: hardware });
  });

  test('a VM that somebody else changed meanwhile is not overwritten', async () => {
    const { id } = await create();
    const text = await readFile(stored(id), 'utf8');
    await writeFile(stored(id), text.replace('"test"', '"changed elsewhere"'));
    await expect(client.call('vm.update', { id, settings: settings() })).rejects.toMatchObject({ kind: 'bad-state' });
    const [vm] = (await client.call('vm.list', {})).vms;
    expect(vm.settings.name).toBe('changed elsewhere');
    expect(await client.call('vm.update', { id, settings: settings({ name: 'mine' }) })).toMatchObject({
      settings: { name: 'mine' },
    });
  });
});

test('what others do to the library is taken over, and told to every window', async () => {
  const kept = await create({ name: 'kept' });
  const broken = await create({ name: 'to be broken' });
  const running = await create({ name: 'running' });
  await client.call('vm.start', { id: running.id });
  const second = await TestApp.create({ home: app.home });
  const other = second.connect();
  await other.call('vm.list', {});
  const added = await other.call('vm.create', { settings: settings({ name: 'added' }) });
  await other.call('vm.delete', { id: kept.id });
  await writeFile(stored(broken.id), '{');
  await writeFile(stored(running.id), '{');
  client.events.length = 0;
  const { vms, problems } = await client.call('vm.list', {});
  expect(vms.map((vm) => vm.settings.name)).toEqual(['running', 'added']);
  expect(problems).toHaveLength(2);
  const told = client.events.map(({ name, payload }) => [name, (payload as { id: string }).id]);
  expect(told).toEqual(
    expect.arrayContaining([
      ['vm.changed', added.id],
      ['vm.removed', kept.id],
      ['vm.removed', broken.id],
    ]),
  );
  expect(told).toHaveLength(3);
  await second.app.close();
});

test('making, changing and deleting while others list loses nothing and brings nothing back', async () => {
  const listing = Array.from({ length: 30 }, () => client.call('vm.list', {}));
  const made = await Promise.all(Array.from({ length: 10 }, () => create()));
  const more = Array.from({ length: 30 }, () => client.call('vm.list', {}));
  await Promise.all(made.slice(0, 5).map(({ id }) => client.call('vm.delete', { id })));
  await Promise.all(
    made.slice(5).map(({ id }) => client.call('vm.update', { id, settings: settings({ name: 'new' }) })),
  );
  await Promise.all([...listing, ...more]);
  const { vms } = await client.call('vm.list', {});
  expect(vms.map(({ id, settings: { name } }) => [id, name]).sort()).toEqual(
    made
      .slice(5)
      .map(({ id }) => [id, 'new'])
      .sort(),
  );
});

test('the library outlives the app, broken files and all', async () => {
  const { id } = await create({ name: 'kept' });
  const { id: broken } = await create();
  await writeFile(stored(broken), 'no longer JSON');
  const second = await TestApp.create({ home: app.home });
  const { vms, problems } = await second.connect().call('vm.list', {});
  expect(vms.map((vm) => [vm.id, vm.settings.name, vm.state])).toEqual([[id, 'kept', 'stopped']]);
  expect(problems).toHaveLength(1);
  await second.app.close();
});

test('the console goes through: output, input, and what was written before', async () => {
  const { id } = await create();
  await expect(client.openConsole(id, 'console9')).rejects.toMatchObject({ kind: 'not-found' });
  await client.call('vm.start', { id });
  const port = await client.openConsole(id, 'serial0');
  let seen = '';
  port.onMessage((frame) => (seen += Buffer.from(frame.subarray(1)).toString()));
  await until(() => seen.includes('guest# '));
  port.send(Buffer.from('\x11echo typed\r'));
  await until(() => /\r\ntyped\r\n/.test(seen));
  await client.call('vm.powerOff', { id });
  const late = await client.openConsole(id, 'serial0');
  let replay = '';
  late.onMessage((frame) => (replay += Buffer.from(frame.subarray(1)).toString()));
  await until(() => replay.includes('typed'));
});

test('a ticket for a stream works once, for its own session', async () => {
  const { id } = await create();
  const { stream } = await client.call('console.attach', { id, port: 'serial0' });
  expect(app.app.streams.valid('another session', stream)).toBe(false);
  const attached = [];
  for (let at = 0; at < 70; at++) attached.push(client.call('console.attach', { id, port: 'serial0' }));
  const results = await Promise.allSettled(attached);
  expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(7);
  client.close();
  expect(app.app.streams.valid('any', stream)).toBe(false);
});

describe('watching a machine', () => {
  const deltas = () => client.events.filter(({ name }) => name === 'machine.delta').length;

  test('costs snapshots only while somebody watches, ten a second at most, one for all', async () => {
    const { id } = await create();
    await client.call('vm.start', { id });
    const machine = app.machines.last;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(machine.snapshots).toBe(0);
    const other = app.connect();
    await client.call('vm.watch', { id });
    await other.call('vm.watch', { id });
    const before = machine.snapshots;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const taken = machine.snapshots - before;
    expect(taken).toBeGreaterThan(2);
    expect(taken).toBeLessThanOrEqual(11);
    expect(deltas()).toBeLessThanOrEqual(11);
    await client.call('vm.unwatch', { id });
    other.close();
    const after = machine.snapshots;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(machine.snapshots).toBe(after);
  });

  test('the snapshot and the deltas add up; a watcher whose link is full gets the sum later', async () => {
    const { patch } = await import('../../main/ipc/contract/delta.ts');
    const file = await disk('a.raw');
    const { id } = await create({ drives: [{ id: 'drive0', file }] });
    await client.call('vm.start', { id });
    let { snapshot, seq }: { snapshot: unknown; seq: number } = await client.call('vm.watch', { id });
    client.on('machine.delta', (delta) => {
      expect(delta.seq).toBe(++seq);
      snapshot = patch(snapshot, delta.ops);
    });
    const used = () =>
      (snapshot as { virtio: { queues: { counters: { used: number } }[] }[] }).virtio[0].queues[0].counters.used;
    app.machines.last.request('drive0', 5);
    await until(() => used() === 5);
    client.congested = true;
    app.machines.last.request('drive0', 7);
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(used()).toBe(5);
    client.congested = false;
    await until(() => used() === 12);
    await client.call('vm.powerOff', { id });
    await until(() => snapshot === null);
    expect(client.bugs).toEqual([]);
  });

  test('a VM that is not there cannot be watched', async () => {
    const id = '00000000-0000-4000-8000-000000000000';
    await expect(client.call('vm.watch', { id })).rejects.toMatchObject({ kind: 'not-found' });
    await expect(client.call('vm.start', { id })).rejects.toMatchObject({ kind: 'not-found' });
  });
});

describe('quitting', () => {
  test('with a VM on is refused, unless it is meant', async () => {
    const { id } = await create();
    await client.call('vm.start', { id });
    await expect(client.call('app.quit', { force: false })).rejects.toMatchObject({ kind: 'bad-state' });
    expect(app.machines.last.state).toBe('running');
    await client.call('app.quit', { force: true });
    expect(app.machines.last.disposed).toBe(true);
    await until(() => app.quitCalled);
    await expect(client.call('vm.start', { id })).rejects.toMatchObject({ message: 'Ringside is quitting' });
  });

  test('with nothing on just happens', async () => {
    await create();
    await client.call('app.quit', { force: false });
    await until(() => app.quitCalled);
  });
});
