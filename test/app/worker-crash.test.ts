/** A thread of a machine that dies: its VM says so, another VM and the app go on, and it can be started again. */
import diagnostics from 'node:diagnostics_channel';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { App } from '../../main/app/app.ts';
import { createProductionApp } from '../../main/app/production.ts';
import type { VmInfo } from '../../main/ipc/contract.ts';
import { settings, TestClient, until } from './doubles/app.ts';

/** `j .`: runs, and does nothing. */
const LOOP = Uint32Array.of(0x0000006f);

let home: string;
let app: App;
let client: TestClient;
/** Every thread that has been made, in order. */
const workers: Worker[] = [];
const made = (message: unknown) => void workers.push((message as { worker: Worker }).worker);

beforeAll(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'ringside-crash-'));
  await writeFile(path.join(home, 'loop.bin'), LOOP);
  await writeFile(path.join(home, 'disk.raw'), '');
  await truncate(path.join(home, 'disk.raw'), 2 ** 20);
  diagnostics.subscribe('worker_threads', made);
  app = await createProductionApp({ version: '1.2.3', home });
  client = new TestClient(app, 'desktop');
});

afterAll(async () => {
  diagnostics.unsubscribe('worker_threads', made);
  await app?.close();
  await rm(home, { recursive: true, force: true, maxRetries: 10 });
});

const create = (name: string, change = {}) =>
  client.call('vm.create', {
    settings: settings({
      name,
      memory: 32 * 2 ** 20,
      bios: path.join(home, 'loop.bin'),
      boot: { source: 'files', append: '' },
      ...change,
    }),
  });
const info = (id: string): VmInfo => app.vms().find((vm) => vm.id === id)!;

test('the VM of each thread that can die says so; all else goes on', { timeout: 120_000 }, async () => {
  const other = await create('other');
  await client.call('vm.start', { id: other.id });
  const vm = await create('broken', { drives: [{ id: 'drive0', file: path.join(home, 'disk.raw') }] });
  const ends = new Set<string>();
  // How many threads a machine has is its own affair: each of them in turn.
  for (let at = 0, count = 1; at < count; at++) {
    const before = workers.length;
    await client.call('vm.start', { id: vm.id });
    const own = workers.slice(before);
    count = own.length;
    await own[at].terminate();
    await until(() => ['crashed', 'paused'].includes(info(vm.id).state), `a word on thread ${at} of ${count}`, 60_000);
    const { state, message } = info(vm.id);
    ends.add(state);
    expect(message).toMatch(/ended|gone|lost|crashed/);
    expect(info(other.id).state).toBe('running');
    if (state !== 'crashed') await client.call('vm.powerOff', { id: vm.id });
    else expect(info(vm.id).exit).toMatchObject({ reason: 'crash', detail: message });
    await until(() => ['crashed', 'stopped'].includes(info(vm.id).state), 'the end');
  }
  // A hart that is gone is the end of its machine.
  expect([...ends]).toContain('crashed');
  expect(await client.call('vm.start', { id: vm.id })).toMatchObject({ state: 'running', message: null });
  await client.call('vm.pause', { id: other.id });
  expect(await client.call('vm.resume', { id: other.id })).toMatchObject({ state: 'running' });
  const { entries } = await client.call('log.list', {});
  expect(entries.filter(({ level, vm: of }) => level === 'error' && of === vm.id).length).toBeGreaterThan(0);
});
