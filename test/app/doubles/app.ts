/** The app on fake machines, in a folder of its own, with a client on a pair of ports: no window, no network. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createApp } from '../../../main/app/app.ts';
import { bytePair } from '../../../main/app/byte-pair.ts';
import type { App, AppOptions } from '../../../main/app/app.ts';
import { Client } from '../../../main/ipc/contract/client.ts';
import type { EventName, VmSettings, VmSettingsInput } from '../../../main/ipc/contract.ts';
import { vmSettings } from '../../../main/ipc/contract.ts';
import { FakeCatalogue } from './catalogue.ts';
import { FakeMachines } from './machine.ts';

export const MAX_MEMORY = 3776 * 2 ** 20;

export class TestApp {
  readonly app: App;
  readonly home: string;
  readonly machines: FakeMachines;
  readonly catalogue: FakeCatalogue;
  /** Whether the app has asked its host to end. */
  quitCalled = false;

  private constructor(app: App, home: string, machines: FakeMachines, catalogue: FakeCatalogue) {
    this.app = app;
    this.home = home;
    this.machines = machines;
    this.catalogue = catalogue;
  }

  static async create(options: Partial<AppOptions> = {}): Promise<TestApp> {
    const home = options.home ?? (await mkdtemp(path.join(tmpdir(), 'ringside-app-')));
    const machines = new FakeMachines();
    const catalogue = new FakeCatalogue();
    const app = await createApp({
      version: '1.2.3',
      machines,
      guests: catalogue,
      maxMemory: MAX_MEMORY,
      quit: () => (test.quitCalled = true),
      ...options,
      home,
    });
    const test: TestApp = new TestApp(app, home, machines, catalogue);
    return test;
  }

  /** A client in the same process, on the same dispatcher as every other. */
  connect(host: 'desktop' | 'browser' = 'browser'): TestClient {
    return new TestClient(this.app, host);
  }

  async close(): Promise<void> {
    await this.app.close();
    // What a desktop remembers may still be on its way to the disk.
    await rm(this.home, { recursive: true, force: true, maxRetries: 10 });
  }
}

export class TestClient extends Client {
  /** Every event, in order. */
  readonly events: { name: string; payload: unknown }[];
  readonly bugs: string[];
  congested = false;
  readonly close: () => void;

  constructor(app: App, host: 'desktop' | 'browser') {
    const events: { name: string; payload: unknown }[] = [];
    const bugs: string[] = [];
    let deliver: (name: string, payload: unknown) => void = () => {};
    const session = app.dispatcher.open({
      host,
      send: (name: EventName, payload: unknown) => {
        // As a wire would: what arrives is a copy.
        const copy: unknown = JSON.parse(JSON.stringify(payload));
        events.push({ name, payload: copy });
        deliver(name, copy);
      },
      congested: () => this.congested,
    });
    super(
      {
        call: (name, params) => app.dispatcher.call(session, name, params),
        onEvent: (listener) => (deliver = listener),
        openStream: async (ticket) => {
          const [ours, theirs] = bytePair();
          if (!app.streams.redeem(session.id, ticket, theirs)) throw new Error('no such stream');
          return ours;
        },
      },
      (text) => bugs.push(text),
    );
    this.events = events;
    this.bugs = bugs;
    this.close = () => session.close();
  }
}

export function settings(change: Partial<VmSettingsInput> = {}): VmSettings {
  return vmSettings.parse({
    name: 'test',
    memory: 256 * 2 ** 20,
    boot: { source: 'files', kernel: '/kernel' },
    ...change,
  });
}

/** Waits until `look` gives something. */
export async function until<T>(look: () => T | undefined | null | false, what = 'it', ms = 30_000): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const found = look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what} did not happen within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
