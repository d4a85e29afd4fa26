/** Consoles beside watching them: their size told to the guest, kept in a file, as a terminal of the host. */
import { closeSync, constants, openSync, read, write } from 'node:fs';
import { mkdir, open, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { PtyOpener } from '../../main/app/host-pty.ts';
import { ConsoleClient } from '../../main/ipc/contract/console-client.ts';
import { FRAME_RESIZE, resizeFrame } from '../../main/ipc/contract/console-frames.ts';
import type { VmInfo } from '../../main/ipc/contract.ts';
import { addon } from '../native/addon.ts';
import { settings, TestApp, until } from './doubles/app.ts';
import type { TestClient } from './doubles/app.ts';

let app: TestApp;
let client: TestClient;
let vm: VmInfo;

beforeEach(async () => {
  app = await TestApp.create({ ptys: addon as PtyOpener | null });
  client = app.connect();
  vm = await client.call('vm.create', { settings: settings({ name: 'box' }) });
  await client.call('vm.start', { id: vm.id });
});
afterEach(() => app.close());

const serial0 = () => ({ id: vm.id, port: 'serial0' });
const console0 = () => ({ id: vm.id, port: 'console0' });
const silent = { data: (_: Uint8Array, __: boolean, shown: () => void) => shown(), gap() {}, reset() {}, closed() {} };
/** Reads until the text is there. */
const settles = (look: () => Promise<string>) => expect.poll(look, { timeout: 30_000 });

describe('the size of a terminal', () => {
  test('reaches the guest where its device can be told, the last watcher’s counts', async () => {
    const device = app.machines.last.virtio;
    const one = new ConsoleClient(await client.openConsole(vm.id, 'console0'), silent);
    const other = new ConsoleClient(await client.openConsole(vm.id, 'console0'), silent);
    one.resize(80, 25);
    await until(() => device.size?.cols === 80);
    other.resize(132, 43);
    await until(() => device.size?.cols === 132);
    expect(device.size).toEqual({ cols: 132, rows: 43 });
    expect((await client.call('console.list', { id: vm.id })).ports).toEqual([
      { port: 'serial0', resizable: false, pty: null, log: null },
      { port: 'console0', resizable: true, pty: null, log: null },
    ]);
    // The next machine is told before its guest can ask.
    await client.call('vm.powerOff', { id: vm.id });
    await client.call('vm.start', { id: vm.id });
    expect(app.machines.last.virtio.size).toEqual({ cols: 132, rows: 43 });
  });

  test.each([
    ['no columns', resizeFrame(0, 25)],
    ['no rows', resizeFrame(80, 0)],
    ['too short', new Uint8Array([FRAME_RESIZE, 1, 2])],
    ['too long', new Uint8Array([FRAME_RESIZE, 80, 0, 25, 0, 1])],
  ])('of %s ends the stream of who says it', async (_, frame) => {
    const port = await client.openConsole(vm.id, 'console0');
    let closed = false;
    port.onMessage(() => {});
    port.onClose(() => (closed = true));
    port.send(frame);
    await until(() => closed);
    expect(app.machines.last.virtio.size).toBeNull();
  });
});

describe('a log', () => {
  test('has what was there before, what follows, and what the next machine writes', async () => {
    const device = app.machines.last.virtio;
    device.print('before\r\n');
    const file = path.join(app.home, 'console.log');
    const { ports } = await client.call('console.startLog', { ...console0(), file, append: false });
    expect(ports.map(({ log }) => log)).toEqual([null, file]);
    device.print('after\r\n');
    await settles(() => readFile(file, 'utf8')).toBe('before\r\nafter\r\n');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    await client.call('vm.powerOff', { id: vm.id });
    await client.call('vm.start', { id: vm.id });
    app.machines.last.virtio.print('again\r\n');
    await settles(() => readFile(file, 'utf8')).toBe('before\r\nafter\r\nagain\r\n');
    await client.call('console.stopLog', console0());
    app.machines.last.virtio.print('not logged');
    await client.call('console.stopLog', console0());
    expect(await readFile(file, 'utf8')).toBe('before\r\nafter\r\nagain\r\n');
    const events = client.events.filter(({ name }) => name === 'console.changed').map(({ payload }) => payload);
    expect(events.at(0)).toMatchObject({ id: vm.id, ports: [{ log: null }, { log: file }] });
    expect(events.at(-1)).toMatchObject({ id: vm.id, ports: [{ log: null }, { log: null }] });
  });

  test('goes on with a file only when told to, and goes to files only', async () => {
    const file = path.join(app.home, 'kept');
    await writeFile(file, 'kept\n');
    const start = (to: string, append: boolean) => client.call('console.startLog', { ...console0(), file: to, append });
    await expect(start(file, false)).rejects.toMatchObject({ kind: 'in-use', message: `${file} is there already` });
    await mkdir(path.join(app.home, 'folder'));
    await expect(start(path.join(app.home, 'folder'), true)).rejects.toMatchObject({ kind: 'not-a-file' });
    await expect(start('/dev/null', true)).rejects.toMatchObject({ kind: 'not-a-file' });
    await expect(start('relative', false)).rejects.toMatchObject({ kind: 'bad-option' });
    await expect(start(path.join(app.home, 'none', 'x'), false)).rejects.toMatchObject({ kind: 'not-found' });
    await start(file, true);
    await expect(start(path.join(app.home, 'second'), false)).rejects.toMatchObject({ kind: 'in-use' });
    app.machines.last.virtio.print('more');
    await settles(() => readFile(file, 'utf8')).toBe('kept\nmore');
  });

  test('is whole when the app closes or the VM is deleted, whatever was under way', async () => {
    const file = path.join(app.home, 'flood.log');
    await client.call('console.startLog', { ...console0(), file, append: false });
    app.machines.last.virtio.print('x'.repeat(100_000));
    await settles(async () => String((await stat(file)).size)).toBe('100000');
    await client.call('vm.powerOff', { id: vm.id });
    await client.call('vm.delete', { id: vm.id });
    await expect(client.call('console.list', { id: vm.id })).rejects.toMatchObject({ kind: 'not-found' });
  });

  test('that cannot be written any more is ended and said', async () => {
    const file = path.join(app.home, 'full.log');
    await client.call('console.startLog', { ...console0(), file, append: false });
    const handle = await open(file);
    await handle.close();
    const full = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
    const append = vi.spyOn(Object.getPrototypeOf(handle) as typeof handle, 'appendFile').mockRejectedValue(full);
    try {
      app.machines.last.virtio.print('lost');
      const text = `“box”: the console console0 is logged no more: ${file}: no space left`;
      const said = () =>
        client.events.some(({ name, payload }) => name === 'log' && JSON.stringify(payload).includes(text));
      await until(said);
    } finally {
      append.mockRestore();
    }
    expect((await client.call('console.list', { id: vm.id })).ports[1].log).toBeNull();
    expect(client.bugs).toEqual([]);
  });
});

describe.skipIf(addon === null)('a terminal of the host', () => {
  const openPty = async () => {
    const { ports } = await client.call('console.openPty', serial0());
    return ports[0].pty!;
  };
  const attach = (file: string) => openSync(file, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);

  /** Reads from a terminal until the text is there. */
  async function reads(fd: number, text: string): Promise<void> {
    let seen = '';
    const buffer = new Uint8Array(4096);
    await settles(async () => {
      const count = await promisify(read)(fd, buffer, 0, buffer.length, null).then(
        ({ bytesRead }) => bytesRead,
        () => 0,
      );
      seen += Buffer.from(buffer.subarray(0, count)).toString();
      return seen;
    }).toContain(text);
  }

  test('shows what the guest writes and sends what is typed, with nothing changed or echoed', async () => {
    const typed: string[] = [];
    app.machines.last.serial.receive = (text) => typed.push(text);
    const file = await openPty();
    expect(file).toMatch(/^\/dev\/pts\/\d+$/);
    expect(await openPty()).toBe(file);
    const fd = attach(file);
    try {
      app.machines.last.serial.print('hello\n\x03 from the guest\r\n');
      await reads(fd, 'hello\n\x03 from the guest\r\n');
      await promisify(write)(fd, Buffer.from('typed\r\x03\x04\n'), 0, 9, null);
      await until(() => typed.join('').length >= 9);
      expect(typed.join('')).toBe('typed\r\x03\x04\n');
    } finally {
      closeSync(fd);
    }
  });

  test('stays when its reader goes, and delays nobody when it has none', async () => {
    const file = await openPty();
    closeSync(attach(file));
    for (let line = 0; line < 2000; line++) app.machines.last.serial.print(`${'x'.repeat(999)}\n`);
    // The app still answers, and a new reader gets what comes.
    expect((await client.call('console.list', { id: vm.id })).ports[0].pty).toBe(file);
    const fd = attach(file);
    try {
      const draining = reads(fd, 'the end');
      app.machines.last.serial.print('the end');
      await draining;
    } finally {
      closeSync(fd);
    }
  });

  test('goes with the VM, or when it is closed', async () => {
    const gone = (file: string) =>
      settles(() =>
        stat(file).then(
          () => 'there',
          () => 'gone',
        ),
      ).toBe('gone');
    const first = await openPty();
    await client.call('vm.powerOff', { id: vm.id });
    await gone(first);
    expect((await client.call('console.list', { id: vm.id })).ports[0].pty).toBeNull();
    await client.call('vm.start', { id: vm.id });
    const second = await openPty();
    expect((await client.call('console.closePty', serial0())).ports[0].pty).toBeNull();
    await gone(second);
    const third = await openPty();
    await app.app.close();
    await gone(third);
  });
});

test('where there are no such terminals that is said', async () => {
  await app.close();
  app = await TestApp.create();
  client = app.connect();
  expect((await client.call('app.info', {})).hostTerminals).toBe(false);
  vm = await client.call('vm.create', { settings: settings() });
  await expect(client.call('console.openPty', serial0())).rejects.toMatchObject({ kind: 'unsupported' });
});
