/** The preload as it is built: what it gives the page, and what it does not. */
import vm from 'node:vm';
import { beforeAll, describe, expect, test } from 'vitest';
import { commandNames } from '../../main/ipc/contract.ts';

interface Exposed {
  call(name: unknown, params: unknown): Promise<unknown>;
  onEvent(listener: (...args: unknown[]) => void): void;
  openStream(ticket: unknown): void;
}

let text: string;
beforeAll(async () => {
  const { bundlePreload } = (await import('../../main/build.mjs')) as { bundlePreload(): Promise<string> };
  text = await bundlePreload();
});

function run() {
  const exposed: Record<string, Exposed> = {};
  const invoked: unknown[][] = [];
  const posted: unknown[][] = [];
  const toPage: unknown[][] = [];
  const listeners = new Map<string, (...args: unknown[]) => void>();
  const required: string[] = [];
  const electron = {
    webUtils: { getPathForFile: (file: { path: string }) => file.path },
    contextBridge: { exposeInMainWorld: (name: string, value: Exposed) => (exposed[name] = value) },
    ipcRenderer: {
      invoke: async (...args: unknown[]) => void invoked.push(args),
      on: (channel: string, listener: (...args: unknown[]) => void) => listeners.set(channel, listener),
      postMessage: (...args: unknown[]) => posted.push(args),
    },
  };
  const window = { location: { origin: 'app://ringside' }, postMessage: (...args: unknown[]) => toPage.push(args) };
  const require = (name: string) => {
    required.push(name);
    if (name !== 'electron') throw new Error(`a sandboxed preload cannot have ${name}`);
    return electron;
  };
  vm.runInNewContext(text, { require, window, MessageChannel, Promise, Set, Error });
  return { exposed, api: exposed.ringside, invoked, posted, toPage, listeners, required };
}

describe('the preload', () => {
  test('needs nothing but Electron, and gives the page three functions', () => {
    const { exposed, required } = run();
    expect(required).toEqual(['electron']);
    expect(Object.keys(exposed)).toEqual(['ringside']);
    expect(Object.keys(exposed.ringside)).toEqual(['call', 'onEvent', 'pathOf', 'openStream']);
  });

  test('passes the contract’s commands on, and no others', async () => {
    const { api, invoked } = run();
    for (const name of commandNames) await api.call(name, { some: name });
    expect(invoked).toEqual(commandNames.map((name) => ['ringside:call', name, { some: name }]));
    for (const name of ['vm.explode', '__proto__', '', null, {}, ['app.info']]) {
      await expect(api.call(name, {})).rejects.toThrow('no such command');
    }
    expect(invoked).toHaveLength(commandNames.length);
  });

  test('gives events without the event object, which has Electron in it', () => {
    const { api, listeners } = run();
    const seen: unknown[][] = [];
    api.onEvent((...args) => seen.push(args));
    listeners.get('ringside:event')!({ sender: 'ipcRenderer' }, 'vm.removed', { id: 1 });
    expect(seen).toEqual([['vm.removed', { id: 1 }]]);
  });

  test('opens streams: one end to the app, one to the page of the same origin', () => {
    const { api, posted, toPage } = run();
    api.openStream('ticket');
    api.openStream({ not: 'a ticket' });
    expect(posted).toEqual([['ringside:stream', 'ticket', [expect.any(MessagePort)]]]);
    expect(toPage).toEqual([
      [{ ringside: 'ringside-stream', ticket: 'ticket' }, 'app://ringside', [expect.any(MessagePort)]],
    ]);
    for (const ports of [posted[0][2], toPage[0][2]]) (ports as { close(): void }[])[0].close();
  });
});
