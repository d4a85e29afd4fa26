/** The desktop app on an Electron that is a double, in folders of its own. */
import { EventEmitter } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'vitest';
import { startDesktop } from '../../../main/electron/desktop.ts';
import type { VmInfo } from '../../../main/ipc/contract.ts';
import { settings, TestApp } from '../../app/doubles/app.ts';
import { FakeElectron } from './electron.ts';

export class TestDesktop {
  electron = new FakeElectron();
  app!: TestApp;
  readonly home: string;
  readonly renderer: string;
  readonly process = new EventEmitter();
  platform = 'linux';
  argv: string[] = [];

  private constructor(home: string, renderer: string) {
    this.home = home;
    this.renderer = renderer;
  }

  static async create(): Promise<TestDesktop> {
    const home = await mkdtemp(path.join(tmpdir(), 'ringside-desktop-'));
    const renderer = await mkdtemp(path.join(tmpdir(), 'ringside-renderer-'));
    await writeFile(path.join(renderer, 'index.html'), '<title>Ringside</title>');
    return new TestDesktop(home, renderer);
  }

  async start(): Promise<void> {
    await startDesktop(this.electron.api, {
      createApp: async (options) => {
        this.app = await TestApp.create({ ...options, home: this.home });
        return this.app.app;
      },
      preload: '/app/preload.cjs',
      renderer: this.renderer,
      platform: this.platform,
      argv: this.argv,
      directory: this.home,
      process: this.process,
    });
  }

  /** As the page calls. */
  async call(name: string, params: unknown): Promise<unknown> {
    const reply = (await this.electron.invoke(name, params)) as { ok: boolean; result: unknown };
    expect(reply).toMatchObject({ ok: true });
    return reply.result;
  }

  async startVm(name = 'box'): Promise<VmInfo> {
    const vm = (await this.call('vm.create', { settings: settings({ name }) })) as VmInfo;
    await this.call('vm.start', { id: vm.id });
    return vm;
  }

  /** What the page was asked to do. */
  get requests(): unknown[] {
    return this.electron.window.webContents.sent
      .filter(([channel, name]) => channel === 'ringside:event' && name === 'ui.request')
      .map(([, , request]) => request);
  }

  async close(): Promise<void> {
    await this.app?.close();
    await rm(this.renderer, { recursive: true, force: true });
    // A list being saved when the app ended may still come.
    await rm(this.home, { recursive: true, force: true, maxRetries: 5 });
  }
}
