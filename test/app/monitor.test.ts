/** The monitor of a VM as a page has it: HMP on a stream, the log of QMP, requests. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ConsoleClient } from '../../main/ipc/contract/console-client.ts';
import type { VmInfo } from '../../main/ipc/contract.ts';
import { settings, TestApp, until } from './doubles/app.ts';
import type { TestClient } from './doubles/app.ts';

let app: TestApp;
let client: TestClient;
let vm: VmInfo;

beforeEach(async () => {
  app = await TestApp.create();
  client = app.connect();
  vm = await client.call('vm.create', { settings: settings({ name: 'box' }) });
  await client.call('vm.start', { id: vm.id });
});
afterEach(() => app.close());

/** A terminal on the monitor: what it has shown since it was opened. */
async function terminal() {
  const seen = { text: '' };
  const decoder = new TextDecoder();
  const stream = new ConsoleClient(await client.openMonitor(vm.id), {
    data: (bytes, _replay, shown) => {
      seen.text += decoder.decode(bytes, { stream: true });
      shown();
    },
    gap: () => {},
    reset: () => {},
    closed: () => {},
  });
  return { seen, type: (text: string) => stream.send(new TextEncoder().encode(text)) };
}

test('HMP takes lines, completes words, and is there again for the next page', async () => {
  const { seen, type } = await terminal();
  await until(() => seen.text.includes('(qemu) '));
  type('info stat\t\r');
  await until(() => /VM status: [\s\S]*\(qemu\) /.test(seen.text));
  const other = await terminal();
  await until(() => other.seen.text.includes('VM status: '));
});

test('requests of QMP are answered, and all that is said is in the log, once', async () => {
  const { reply } = await client.call('monitor.execute', { id: vm.id, request: '{"execute": "query-name"}' });
  expect(JSON.parse(reply)).toHaveProperty('return');
  const wrong = await client.call('monitor.execute', { id: vm.id, request: '{"execute": "no-such"}' });
  expect(JSON.parse(wrong.reply)).toMatchObject({ error: { class: 'CommandNotFound' } });
  const log = async (after: number) => (await client.call('monitor.log', { id: vm.id, after })).entries;
  const all = (await log(0)).filter(({ client: who }) => who === 0);
  expect(all.map(({ kind }) => kind)).toEqual(['command', 'reply', 'command', 'error']);
  expect(await log(all.at(-1)!.number)).toEqual([]);
});

test('the log begins with the machine, not with whoever looks at it first', async () => {
  await client.call('vm.pause', { id: vm.id });
  await client.call('vm.resume', { id: vm.id });
  const { entries } = await client.call('monitor.log', { id: vm.id, after: 0 });
  const events = entries
    .filter(({ kind }) => kind === 'event')
    .map(({ text }) => JSON.parse(text) as { event: string });
  expect(events.map(({ event }) => event)).toEqual(['RESUME', 'RESUME']);
});

test('what is no request is refused, and a VM that is off has no monitor', async () => {
  await expect(client.call('monitor.execute', { id: vm.id, request: '{' })).rejects.toMatchObject({
    kind: 'bad-option',
    message: expect.stringContaining('this is not JSON') as string,
  });
  const { seen } = await terminal();
  await until(() => seen.text.includes('(qemu) '));
  await client.call('vm.powerOff', { id: vm.id });
  await expect(client.call('monitor.log', { id: vm.id, after: 0 })).rejects.toMatchObject({ kind: 'bad-state' });
  await expect(client.openMonitor(vm.id)).rejects.toMatchObject({ kind: 'bad-state' });
  // The next machine has a monitor of its own, whose log begins at 1.
  await client.call('vm.start', { id: vm.id });
  await client.call('monitor.execute', { id: vm.id, request: '{"execute": "query-name"}' });
  const { entries } = await client.call('monitor.log', { id: vm.id, after: 0 });
  expect(entries[0].number).toBe(1);
});
