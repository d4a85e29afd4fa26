/** The Electron main module on a double: every security setting, every message's sender, windows, quitting. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { MenuItem } from '../../main/electron/api.ts';
import { until } from '../app/doubles/app.ts';
import { TestDesktop } from './doubles/desktop.ts';
import { CancellableEvent, FakeContents, FakeElectron, FakePort } from './doubles/electron.ts';

let desktop: TestDesktop;
let electron: FakeElectron;

beforeEach(async () => {
  desktop = await TestDesktop.create();
  ({ electron } = desktop);
});
afterEach(() => desktop.close());

const start = async (platform = 'linux') => {
  desktop.electron = electron;
  desktop.platform = platform;
  await desktop.start();
};
const call = (name: string, params: unknown) => desktop.call(name, params);

describe('the window', () => {
  test('is sandboxed, isolated, without Node, and shows our own page only', async () => {
    await start();
    expect(electron.window.options.webPreferences).toEqual({
      preload: '/app/preload.cjs',
      contextIsolation: true,
      sandbox: true,
      nodeIntegration: false,
      nodeIntegrationInWorker: false,
      nodeIntegrationInSubFrames: false,
      webSecurity: true,
      allowRunningInsecureContent: false,
      webviewTag: false,
      navigateOnDragDrop: false,
      spellcheck: false,
      devTools: false,
    });
    expect(electron.window.url).toBe('app://ringside/index.html');
    expect(electron.window.shown).toBe(true);
    expect(electron.calls).toEqual(['schemes', 'ready']);
    expect(electron.schemes).toEqual([
      { scheme: 'app', privileges: { standard: true, secure: true, supportFetchAPI: true } },
    ]);
  });

  test('has developer tools only when not packaged', async () => {
    electron.packaged = false;
    await start();
    expect(electron.window.options.webPreferences.devTools).toBe(true);
  });

  test.each(['will-navigate', 'will-redirect'])('cannot be led elsewhere: %s', async (event) => {
    await start();
    for (const url of [
      'https://example.org/',
      'file:///etc/passwd',
      'app://other/',
      'app://ringside.example/',
      'javascript:1',
      '',
    ]) {
      const leaving = new CancellableEvent(url);
      electron.window.webContents.emit(event, leaving);
      expect(leaving.prevented, url).toBe(true);
    }
    const staying = new CancellableEvent('app://ringside/index.html#/guests');
    electron.window.webContents.emit(event, staying);
    expect(staying.prevented).toBe(false);
  });

  test('opens no other window and embeds nothing; that holds for every contents there is', async () => {
    await start();
    expect(electron.window.webContents.windowOpenHandler?.()).toEqual({ action: 'deny' });
    const other = new FakeContents();
    electron.appEvents.emit('web-contents-created', {}, other);
    expect(other.windowOpenHandler?.()).toEqual({ action: 'deny' });
    const webview = new CancellableEvent();
    other.emit('will-attach-webview', webview);
    expect(webview.prevented).toBe(true);
  });

  test('gets no permission but the clipboard', async () => {
    await start();
    const asked = (permission: string, requestingUrl = 'app://ringside/index.html') => {
      let granted: boolean | null = null;
      electron.permissionRequest!(electron.window.webContents, permission, (answer) => (granted = answer), {
        requestingUrl,
      });
      return granted;
    };
    expect(asked('clipboard-read')).toBe(true);
    expect(asked('clipboard-sanitized-write')).toBe(true);
    for (const permission of [
      'media',
      'geolocation',
      'notifications',
      'usb',
      'serial',
      'hid',
      'openExternal',
      'fullscreen',
    ]) {
      expect(asked(permission), permission).toBe(false);
      expect(electron.permissionCheck!(null, permission, 'app://ringside')).toBe(false);
    }
    expect(asked('clipboard-read', 'https://example.org/')).toBe(false);
    expect(electron.permissionCheck!(null, 'clipboard-read', 'https://example.org')).toBe(false);
    expect(electron.permissionCheck!(null, 'clipboard-read', 'app://ringside/')).toBe(true);
  });

  test('is served with its policy, and nothing else is', async () => {
    await start();
    const get = (url: string, method = 'GET') => electron.protocolHandler!({ url, method });
    const page = await get('app://ringside/index.html');
    expect([page.status, await page.text()]).toEqual([200, '<title>Ringside</title>']);
    const policy = page.headers.get('content-security-policy')!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).toContain("connect-src 'self';");
    expect(page.headers.get('x-content-type-options')).toBe('nosniff');
    for (const url of [
      'app://ringside/../package.json',
      'app://ringside/%2e%2e/x',
      'app://other/index.html',
      'app://ringside/none',
    ]) {
      expect((await get(url)).status, url).toBe(404);
    }
    expect((await get('app://ringside/index.html', 'POST')).status).toBe(404);
  });
});

describe('a message', () => {
  test('of our own page is answered', async () => {
    await start();
    expect(await electron.invoke('app.info', {})).toMatchObject({
      ok: true,
      result: { host: 'desktop', version: '4.5.6', nativeDialogs: true },
    });
    expect(await electron.invoke('vm.start', { id: 'no uuid' })).toMatchObject({
      ok: false,
      error: { kind: 'bad-option' },
    });
    expect(await electron.invoke('shell.exec', { command: 'x' })).toMatchObject({
      ok: false,
      error: { kind: 'unsupported' },
    });
  });

  test.each([
    ['a page of another origin', { url: 'https://example.org/' }],
    ['a file', { url: 'file:///tmp/x.html' }],
    ['a page with a name like ours', { url: 'app://ringside.example/index.html' }],
    ['a page that is none', { url: '' }],
    ['a frame inside our page', { parent: { url: 'app://ringside/index.html', parent: null } }],
    ['a frame that has gone', null],
  ])('of %s is not', async (_, from) => {
    await start();
    expect(await electron.invoke('app.info', {}, from)).toEqual({
      ok: false,
      error: { kind: 'permission', message: 'not from a page of this app' },
    });
  });
});

describe('events and consoles', () => {
  test('events go to the page; a page that reloads begins anew', async () => {
    await start();
    const vm = await desktop.startVm();
    const contents = electron.window.webContents;
    expect(contents.sent).toContainEqual(['ringside:event', 'vm.changed', expect.objectContaining({ id: vm.id })]);
    const { stream } = (await call('console.attach', { id: vm.id, port: 'serial0' })) as { stream: string };
    contents.emit('did-start-navigation', { isMainFrame: true, isSameDocument: true });
    contents.emit('did-start-navigation', { isMainFrame: false, isSameDocument: false });
    const port = new FakePort();
    electron.postStream(stream, [port]);
    expect(port.started).toBe(true);
    await until(() => port.posted.length > 1);
    expect(port.posted.every((message) => message instanceof Uint8Array)).toBe(true);
    const before = contents.sent.length;
    contents.emit('did-start-navigation', { isMainFrame: true, isSameDocument: false });
    expect(port.closed).toBe(true);
    desktop.app.machines.last.stopFor('reason');
    expect(contents.sent.length).toBe(before);
  });

  test('a stream is opened by its ticket, once, from our page', async () => {
    await start();
    const vm = await desktop.startVm();
    const attach = async () =>
      ((await call('console.attach', { id: vm.id, port: 'serial0' })) as { stream: string }).stream;
    const open = (ticket: unknown, from = {}, ports = [new FakePort()]) => {
      electron.postStream(ticket, ports, from);
      return ports.map(({ started, closed }) => ({ started, closed }));
    };
    const refused = { started: false, closed: true };
    const ticket = await attach();
    expect(open('guess')).toEqual([refused]);
    expect(open(null)).toEqual([refused]);
    expect(open(ticket, { url: 'https://example.org/' })).toEqual([refused]);
    expect(open(ticket, {}, [new FakePort(), new FakePort()])).toEqual([refused, refused]);
    expect(open(ticket, {}, [])).toEqual([]);
    expect(open(ticket)).toEqual([{ started: true, closed: false }]);
    expect(open(ticket)).toEqual([refused]);
    // A page that sends something else than frames loses the stream.
    const port = new FakePort();
    electron.postStream(await attach(), [port]);
    port.emit('message', { data: { type: 'input' } });
    expect(port.closed).toBe(true);
  });

  test('files are chosen in the native dialog', async () => {
    await start();
    expect(await call('files.pick', { kind: 'open', title: 'Choose a disk', path: '/images' })).toEqual({
      path: '/chosen.raw',
    });
    electron.chosen = null;
    expect(await call('files.pick', { kind: 'save', title: 'Where to' })).toEqual({ path: null });
    expect(electron.dialogs).toEqual([
      {
        title: 'Choose a disk',
        defaultPath: '/images',
        properties: ['openFile', 'showHiddenFiles', 'dontAddToRecent'],
      },
      { title: 'Where to', defaultPath: undefined, properties: ['showHiddenFiles', 'dontAddToRecent'] },
    ]);
    await call('files.pick', { kind: 'folder', title: 'Which folder' });
    expect(electron.dialogs.at(-1)).toMatchObject({ properties: expect.arrayContaining(['openDirectory']) });
  });

  test('text is saved where the native dialog says, and nowhere when it says nothing', async () => {
    await start();
    const file = path.join(desktop.home, 'saved.sh');
    electron.chosen = file;
    const save = { title: 'Save', name: 'vm.sh', text: 'qemu\n' };
    expect(await call('files.saveText', save)).toEqual({ path: file });
    expect(electron.dialogs.at(-1)).toMatchObject({ title: 'Save', defaultPath: 'vm.sh' });
    expect(await readFile(file, 'utf8')).toBe('qemu\n');
    electron.chosen = null;
    expect(await call('files.saveText', { ...save, text: 'other' })).toEqual({ path: null });
    expect(await readFile(file, 'utf8')).toBe('qemu\n');
    electron.chosen = path.join(desktop.home, 'no/such/folder.sh');
    await expect(call('files.saveText', save)).rejects.toThrow();
    await expect(call('files.saveText', { ...save, name: '../x' })).rejects.toThrow();
  });
});

describe('closing and quitting', () => {
  test('with nothing on just happens', async () => {
    await start();
    expect(electron.window.closeByPerson().prevented).toBe(true);
    await until(() => electron.quits === 1);
    expect(electron.questions).toEqual([]);
    expect(electron.quit()).toBe(true);
  });

  test('with a VM on asks; the answer no keeps everything', async () => {
    await start();
    await desktop.startVm();
    expect(electron.quit()).toBe(false);
    // A second attempt while the question stands asks no second time.
    expect(electron.quit()).toBe(false);
    await until(() => electron.questions.length > 0);
    expect(electron.questions).toHaveLength(1);
    expect(electron.questions[0]).toMatchObject({
      message: '“box” is still running.',
      buttons: ['Power off and quit', 'Keep running'],
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([electron.quits, desktop.app.machines.last.state]).toEqual([0, 'running']);
    expect(electron.window.closeByPerson().prevented).toBe(true);
    await until(() => electron.questions.length === 2);
  });

  test('the answer yes powers off, then quits', async () => {
    await start();
    await desktop.startVm();
    electron.answer = 0;
    electron.window.closeByPerson();
    await until(() => electron.quits === 1);
    expect(desktop.app.machines.last.disposed).toBe(true);
    expect(electron.quit()).toBe(true);
    expect(electron.window.closeByPerson().prevented).toBe(false);
  });

  test('on macOS the machines outlive the window, which comes back', async () => {
    await start('darwin');
    await desktop.startVm();
    expect(electron.window.closeByPerson().prevented).toBe(false);
    electron.appEvents.emit('window-all-closed');
    expect([electron.quits, desktop.app.machines.last.state]).toEqual([0, 'running']);
    electron.appEvents.emit('activate');
    electron.appEvents.emit('activate');
    await until(() => electron.windows.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(electron.windows).toHaveLength(2);
  });

  test('a page that crashes is loaded again and finds its machines; one that keeps crashing is not', async () => {
    await start();
    await desktop.startVm();
    const { webContents } = electron.window;
    webContents.emit('render-process-gone', {}, { reason: 'oom' });
    expect(webContents.reloads).toBe(1);
    expect(desktop.app.machines.last.state).toBe('running');
    webContents.emit('render-process-gone', {}, { reason: 'oom' });
    expect(webContents.reloads).toBe(1);
    expect(electron.errors).toEqual(['oom. Virtual machines go on running.']);
  });
});

describe('one instance, one window, remembered', () => {
  test('a second instance ends and brings the first to the front', async () => {
    electron.firstInstance = false;
    await start();
    expect([electron.quits, electron.windows.length, electron.calls.length]).toEqual([1, 0, 0]);
    electron.firstInstance = true;
    await start();
    electron.window.minimized = true;
    electron.appEvents.emit('second-instance');
    expect([electron.window.minimized, electron.window.focused]).toEqual([false, 1]);
  });

  test('the window comes back where it was, if that is still on a display', async () => {
    await start();
    expect(electron.window.options).toMatchObject({ width: 1280, height: 800 });
    const { x, ...size } = electron.window.options;
    expect(x).toBeUndefined();
    expect(size).toMatchObject({ minWidth: 900, minHeight: 600 });
    electron.window.bounds = { x: 300, y: 200, width: 1000, height: 700 };
    electron.window.maximized = true;
    electron.window.closeByPerson();
    await until(() => electron.quits === 1);
    const again = async (displays = electron.displays) => {
      electron = new FakeElectron();
      electron.displays = displays;
      await start();
      return { ...electron.window.options, maximized: electron.window.maximized };
    };
    expect(await again()).toMatchObject({ x: 300, y: 200, width: 1000, height: 700, maximized: true });
    const smaller = await again([{ workArea: { x: 0, y: 0, width: 940, height: 640 } }]);
    expect(smaller).toMatchObject({ width: 940, height: 640 });
    const elsewhere = await again([{ workArea: { x: 5000, y: 0, width: 1920, height: 1080 } }]);
    expect(elsewhere).toMatchObject({ width: 1000, height: 700 });
    expect(elsewhere.x).toBeUndefined();
    await writeFile(path.join(desktop.home, 'window.json'), '{"bounds":{"x":1e99}}');
    expect(await again()).toMatchObject({ width: 1280, height: 800 });
  });

  test('what keeps it from starting is said', async () => {
    await rm(path.join(desktop.renderer, 'index.html'));
    await start();
    expect(electron.errors).toEqual(['the user interface is not built: run npm run setup']);
    expect(electron.exitCode).toBe(1);
  });

  test('the menu has what a person expects, and no developer tools in a package', async () => {
    await start();
    const roles = (items: MenuItem[]): string[] =>
      items.flatMap(({ role, submenu }) => [...(role ? [role] : []), ...roles(submenu ?? [])]);
    expect(roles(electron.menu)).toEqual(
      expect.arrayContaining(['quit', 'copy', 'paste', 'zoomIn', 'togglefullscreen', 'minimize']),
    );
    expect(roles(electron.menu)).not.toContain('toggleDevTools');
  });
});
