import { lstatSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SocketListener } from '../../core/chardev/listener.ts';
import type { Endpoint } from '../../core/chardev/listener.ts';
import { DoubleTarget, monitorFor, TextClient } from '../monitor/client.ts';

let folder: string;
let listeners: SocketListener[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ringside-monitor-'));
  listeners = [];
});
afterEach(async () => {
  await Promise.all(listeners.map((listener) => listener.close()));
  rmSync(folder, { recursive: true, force: true });
});

async function listen(endpoint: Endpoint, target = new DoubleTarget()): Promise<SocketListener> {
  const monitor = monitorFor(target);
  const listener = await SocketListener.listen(endpoint, (socket) => {
    monitor.qmp(socket);
    socket.resume();
  });
  listeners.push(listener);
  return listener;
}

const unix = (name = 'socket'): Endpoint => ({ kind: 'unix', path: join(folder, name) });
const pathOf = (endpoint: Endpoint): string => (endpoint as { path: string }).path;

describe('a socket of the monitor', () => {
  it('is for its owner only, and goes when the monitor goes', async () => {
    const endpoint = unix();
    const mask = process.umask();
    const listener = await listen(endpoint);
    expect(lstatSync(pathOf(endpoint)).mode & 0o777).toBe(0o600);
    expect(process.umask()).toBe(mask);
    await listener.close();
    expect(() => lstatSync(pathOf(endpoint))).toThrow('ENOENT');
  });

  it('serves several clients, each with its own negotiation', async () => {
    const endpoint = unix();
    await listen(endpoint);
    const clients = [0, 1].map(() => new TextClient(connect(pathOf(endpoint))));
    for (const client of clients) expect(await client.json()).toHaveProperty('QMP');
    clients[0].send('{"execute": "qmp_capabilities"}');
    expect(await clients[0].json()).toEqual({ return: {} });
    clients[1].send('{"execute": "query-name"}');
    expect(await clients[1].json()).toHaveProperty('error.class', 'CommandNotFound');
  });

  it('turns clients away that are too many', async () => {
    const endpoint = unix();
    await listen(endpoint);
    const sockets: Socket[] = [];
    for (let i = 0; i < 16; i++) {
      const client = new TextClient(connect(pathOf(endpoint)));
      await client.line();
      sockets.push(client.stream as Socket);
    }
    const extra = connect(pathOf(endpoint));
    await new Promise((resolve) => extra.once('close', resolve));
    for (const socket of sockets) socket.destroy();
  });

  it('replaces one that nobody listens on any more', async () => {
    const endpoint = unix();
    const path = pathOf(endpoint);
    // Node takes its socket away; a program that was killed does not.
    const { spawnSync } = await import('node:child_process');
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', script]);
    expect(lstatSync(path).isSocket()).toBe(true);
    await listen(endpoint);
    expect(await new TextClient(connect(path)).json()).toHaveProperty('QMP');
  });

  it('leaves alone what another program listens on', async () => {
    const endpoint = unix();
    const other = createServer().listen(pathOf(endpoint));
    await new Promise((resolve) => other.once('listening', resolve));
    await expect(listen(endpoint)).rejects.toMatchObject({ kind: 'in-use', message: /another program listens/ });
    expect(lstatSync(pathOf(endpoint)).isSocket()).toBe(true);
    other.close();
  });

  it('leaves files alone', async () => {
    const endpoint = unix('file');
    writeFileSync(pathOf(endpoint), 'precious');
    await expect(listen(endpoint)).rejects.toMatchObject({ kind: 'in-use', message: /is no socket/ });
    expect(lstatSync(pathOf(endpoint)).size).toBe(8);
  });

  it('says what is wrong with a path', async () => {
    await expect(listen(unix('no/folder'))).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('can be on TCP, where a port that is taken is told', async () => {
    const listener = await listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
    const client = new TextClient(connect(listener.port!, '127.0.0.1'));
    expect(await client.json()).toHaveProperty('QMP');
    const again: Endpoint = { kind: 'tcp', host: '127.0.0.1', port: listener.port! };
    await expect(listen(again)).rejects.toMatchObject({ kind: 'in-use' });
  });

  it('lets a client have what it was sent when the machine ends', async () => {
    const endpoint = unix();
    const target = new DoubleTarget();
    const listener = await listen(endpoint, target);
    const client = new TextClient(connect(pathOf(endpoint)));
    await client.line();
    client.send('{"execute": "qmp_capabilities"}');
    await client.line();
    target.emit('SHUTDOWN', { guest: true, reason: 'guest-shutdown' });
    await listener.close();
    expect(await client.json()).toMatchObject({ event: 'SHUTDOWN', data: { guest: true, reason: 'guest-shutdown' } });
  });
});
