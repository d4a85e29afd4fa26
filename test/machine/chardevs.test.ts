/** Character devices of a whole machine: a guest that echoes what its serial port hears, and both monitors. */
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
  constants,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { MachineConfigInput } from '../../core/api/machine.ts';
import { Machine } from '../../core/machine/machine.ts';
import { Monitor } from '../../core/monitor/monitor.ts';
import { Client, until } from '../chardev/link-user.ts';
import { echoGuest } from '../cli/doubles/echo-guest.ts';
import { host, noAddon } from '../harness/debian.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringside-chardevs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const kernel = join(folder, 'echo.elf');
writeFileSync(kernel, echoGuest());

let place = 0;
let socket: string;
beforeEach(() => {
  socket = join(folder, `${place++}.sock`);
});
let machine: Machine;
let messages: string[];
let monitor: Monitor;
afterEach(() => machine.dispose());

async function create(config: Partial<MachineConfigInput>): Promise<void> {
  const own = { memory: 32 << 20, bios: 'none', kernel, console: false, rng: false };
  machine = await Machine.create({ ...own, ...config }, { host });
  messages = [];
  machine.on('message', (text) => messages.push(text));
  monitor = new Monitor({ target: machine.monitor(), version: { ringside: '0.0.0' } });
}

async function qmp(execute: string, args: Record<string, unknown> = {}): Promise<unknown> {
  const reply = (await monitor.execute({ execute, arguments: args } as never)) as Record<string, unknown>;
  return 'return' in reply ? reply['return'] : reply['error'];
}
const chardevs = async () => qmp('query-chardev');
const failure = (desc: unknown) => ({ class: 'GenericError', desc });

const unixServer = (id: string, more = {}) => ({ type: 'socket', id, path: socket, server: true, ...more });

describe('the serial port', () => {
  test('on a unix socket: bytes go both ways, clients come and go, the socket goes with the machine', async () => {
    const logfile = join(folder, 'serial.log');
    await create({ chardevs: [unixServer('c0', { wait: true, logfile })], serial: 'c0' });
    expect([...machine.chardevs.keys()]).toEqual([]);
    expect(lstatSync(socket).mode & 0o777).toBe(0o600);
    const filename = `disconnected:unix:${socket},server=on`;
    expect(await chardevs()).toEqual([{ label: 'c0', filename, 'frontend-open': true }]);
    const started = machine.start();
    await until(() => messages.length > 0);
    expect(messages).toEqual([`waiting for connection on: ${filename}`]);
    expect(machine.state).toBe('created');
    const client = await Client.connect(socket);
    await started;
    await until(() => client.text === 'ready\n');
    client.socket.write('abc');
    await until(() => client.text === 'ready\nabc');
    client.socket.destroy();
    const next = await Client.connect(socket);
    next.socket.write('next');
    await until(() => next.text === 'next');
    next.socket.write('Q');
    await until(() => machine.state === 'shutdown');
    await until(() => next.closed);
    await machine.dispose();
    expect(existsSync(socket)).toBe(false);
    expect(readFileSync(logfile, 'latin1')).toBe('ready\nabcnext');
  });

  test('somebody who does not read holds nothing up', async () => {
    await create({ chardevs: [unixServer('c0')], serial: 'c0' });
    const client = await Client.connect(socket);
    client.socket.pause();
    await until(() => machine.characterDevices().some(({ open }) => open));
    await machine.start();
    // The guest writes without end.
    client.socket.write('W');
    await until(() => messages.length > 0);
    expect(messages[0]).toBe('chardev c0: output is dropped, because whoever is connected does not read it.');
    const executed = () => machine.snapshot().harts[0].instret;
    const before = executed();
    await until(() => executed() > before + 1_000_000);
    client.socket.resume();
    const size = client.text.length;
    await until(() => client.text.length > size + 1_000_000);
    await machine.powerOff();
    expect(existsSync(socket)).toBe(false);
  });

  test.skipIf(noAddon !== null)('on a pseudo-terminal', async () => {
    await create({ chardevs: [{ type: 'pty', id: 'c0' }], serial: 'c0' });
    await until(() => messages.length > 0);
    const path = /^char device redirected to (\/dev\/pts\/\d+) \(label c0\)$/.exec(messages[0])?.[1];
    const fd = openSync(path!, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
    let text = '';
    const see = (wanted: string) =>
      until(() => {
        const buffer = Buffer.alloc(1024);
        try {
          text += buffer.toString('latin1', 0, readSync(fd, buffer));
        } catch {
          // Nothing yet.
        }
        return text === wanted;
      });
    await until(() => machine.characterDevices()[0].open);
    await machine.start();
    await see('ready\n');
    writeSync(fd, 'a\nb\x03');
    await see('ready\na\nb\x03');
    closeSync(fd);
  });

  test('has its input from a pipe or file, and its output in a file', async () => {
    const [path, input] = [join(folder, 'out'), join(folder, 'in')];
    writeFileSync(input, `${'x'.repeat(100_000)}Q`);
    await create({ chardevs: [{ type: 'file', id: 'c0', path, 'input-path': input }], serial: 'c0' });
    await machine.start();
    await until(() => machine.state === 'shutdown');
    await machine.dispose();
    expect(readFileSync(path, 'latin1')).toBe(`ready\n${'x'.repeat(100_000)}`);
  });
});

describe('chardev-add, -change, -remove', () => {
  test('kinds come and go, and errors are told in QEMU’s words', async () => {
    await create({ chardevs: [{ type: 'null', id: 'c0' }], serial: 'c0' });
    const add = (id: string, type: string, data: unknown = {}) => qmp('chardev-add', { id, backend: { type, data } });
    const inet = (port: string) => ({ type: 'inet', data: { host: '127.0.0.1', port } });
    expect(await add('s', 'socket', { addr: inet('0'), wait: false })).toEqual({});
    expect(await add('r', 'ringbuf', { size: 16 })).toEqual({});
    if (noAddon === null) expect(await add('t', 'pty')).toEqual({ pty: expect.stringMatching(/^\/dev\/pts\/\d+$/) });
    expect(await chardevs()).toContainEqual({
      label: 's',
      filename: expect.stringMatching(/^disconnected:tcp:127\.0\.0\.1:\d+,server=on$/),
      'frontend-open': false,
    });
    expect(await add('s', 'null')).toEqual(failure("Chardev with id 's' already exists"));
    expect(await add('x', 'nosuch')).toEqual(failure("Parameter 'type' does not accept value 'nosuch'"));
    expect(await add('x', 'file')).toEqual(failure("Parameter 'backend.data.out' is missing"));
    expect(await add('x', 'ringbuf', { size: 100 })).toEqual(
      failure("Failed to add chardev 'x': size of ringbuf chardev must be power of two"),
    );
    const unix = { type: 'unix', data: { path: socket } };
    expect(await add('x', 'socket', { addr: unix, server: false })).toEqual(
      failure(expect.stringMatching(/^Failed to add chardev 'x': cannot connect to .*: there is no such socket/)),
    );
    expect(await qmp('chardev-remove', { id: 'c0' })).toEqual(failure("Chardev 'c0' is busy"));
    expect(await qmp('chardev-remove', { id: 'x' })).toEqual(failure("Chardev 'x' not found"));
    expect(await qmp('ringbuf-write', { device: 'r', data: 'hello' })).toEqual({});
    expect(await qmp('ringbuf-read', { device: 'r', size: 3 })).toBe('hel');
    expect(await qmp('ringbuf-read', { device: 'r', size: 3, format: 'base64' })).toBe('bG8=');
    expect(await qmp('ringbuf-read', { device: 's', size: 3 })).toEqual(failure('s is not a ringbuf device'));
    for (const id of ['s', 'r']) expect(await qmp('chardev-remove', { id })).toEqual({});
    expect(await qmp('query-chardev-backends')).toContainEqual({ name: 'socket' });
  });

  test('another back end for the serial port of a guest that runs', async () => {
    const backend = (path: string) => ({ type: 'file', data: { out: path } });
    const [first, second] = [join(folder, 'first'), join(folder, 'second')];
    await create({ chardevs: [{ type: 'file', id: 'c0', path: first }], serial: 'c0' });
    await machine.start();
    await until(() => readFileSync(first, 'latin1') === 'ready\n');
    expect(await qmp('chardev-change', { id: 'c0', backend: backend(join(folder, 'no/folder')) })).toMatchObject({
      desc: expect.stringContaining('cannot be opened'),
    });
    const addr = { type: 'unix', data: { path: socket } };
    expect(await qmp('chardev-change', { id: 'c0', backend: { type: 'socket', data: { addr, wait: false } } })).toEqual(
      {},
    );
    const client = await Client.connect(socket);
    client.socket.write('abc');
    await until(() => client.text === 'abc');
    expect(await qmp('chardev-change', { id: 'c0', backend: backend(second) })).toEqual({});
    expect(await chardevs()).toEqual([{ label: 'c0', filename: 'file', 'frontend-open': true }]);
    await until(() => client.closed);
    expect(existsSync(socket)).toBe(false);
    expect(await qmp('qom-get', { path: '/chardevs/c0', property: 'type' })).toBe('chardev-file');
    expect(await qmp('chardev-remove', { id: 'c0' })).toEqual(failure("Chardev 'c0' is busy"));
    expect(await qmp('chardev-change', { id: 'x', backend: backend(second) })).toEqual(
      failure("Chardev 'x' does not exist"),
    );
    expect(readFileSync(first, 'latin1')).toBe('ready\n');
  });
});

describe('a monitor', () => {
  test('on a character device, which nothing else may have', async () => {
    await create({ chardevs: [unixServer('m')] });
    machine.serveChardev('m', (stream) => monitor.qmp(stream));
    expect(() => machine.serveChardev('m', () => {})).toThrow(/chardev m is in use/);
    const device = { driver: 'virtio-serial-pci', properties: {} };
    await expect(
      machine.deviceAdd(device).then(() => machine.deviceAdd({ driver: 'virtconsole', properties: { chardev: 'm' } })),
    ).rejects.toThrow();
    const client = await Client.connect(socket);
    await until(() => client.text.includes('"QMP"'));
    client.socket.write('{"execute": "qmp_capabilities"} {"execute": "quit"}');
    // The answer, and the event of the end, arrive.
    await until(() => client.closed);
    expect(client.text).toContain('"SHUTDOWN"');
    await machine.dispose();
    expect(existsSync(socket)).toBe(false);
  });
});

describe('what cannot be', () => {
  test('is said', async () => {
    await expect(create({ serial: 'x' })).rejects.toThrow(/there is no -chardev with id=x/);
    await create({});
    const cases: [string, Record<string, unknown>, RegExp][] = [
      ['socket', {}, /^chardev c: where\? Give path=PATH, or port=PORT/],
      ['socket', { path: '/s', port: '1' }, /^chardev c: path= or port=, not both$/],
      ['socket', { port: '99999' }, /^chardev c: port=99999 is not a port/],
      ['socket', { port: '0', server: true, reconnect: 1 }, /'reconnect' option is incompatible/],
      ['socket', { port: '1', reconnect: 1, 'reconnect-ms': 1 }, /reconnect= or reconnect-ms=, not both/],
      ['udp', {}, /^chardev c: port= is needed$/],
      ['pty', { logfile: folder }, /^chardev c: .* is no file that could be opened/],
    ];
    for (const [type, properties, message] of cases) {
      await expect(machine.objectAdd('chardev', type, 'c', properties), JSON.stringify(properties)).rejects.toThrow(
        message,
      );
    }
    expect(machine.characterDevices().map(({ id }) => id)).toEqual(['serial0']);
  });
});
