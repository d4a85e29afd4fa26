/** The app in a person's desktop, on a double: menus, files that are opened, recent items, notifications, logs, crashes. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { actionNames, actions } from '../../main/ipc/contract.ts';
import type { ActionInfo } from '../../main/ipc/contract.ts';
import type { MenuItem } from '../../main/electron/api.ts';
import { filesAmong, filesHandedOver } from '../../main/electron/opened-files.ts';
import { until } from '../app/doubles/app.ts';
import { TestDesktop } from './doubles/desktop.ts';
import { CancellableEvent, FakeElectron } from './doubles/electron.ts';

let desktop: TestDesktop;

beforeEach(async () => {
  desktop = await TestDesktop.create();
});
afterEach(() => desktop.close());

const image = async (name: string) => {
  const file = path.join(desktop.home, name);
  await writeFile(file, '');
  return file;
};
/** As the page does once it has loaded, and whenever it shows another VM. */
const shows = (vm: string | null) => desktop.call('ui.context', { vm });

describe('the menu', () => {
  const all = (items: MenuItem[]): MenuItem[] => items.flatMap((item) => [item, ...all(item.submenu ?? [])]);

  test('has every action of the contract, once, and no two of them the same keys', async () => {
    await desktop.start();
    const items = all(desktop.electron.menu);
    for (const name of actionNames) {
      expect(
        items.filter(({ label }) => label === actions[name].label),
        name,
      ).toHaveLength(1);
    }
    const keys = actionNames.flatMap((name) => (actions[name] as ActionInfo).keys ?? []);
    expect(new Set(keys).size).toBe(keys.length);
    // Ctrl with a letter belongs to the guest's terminal.
    for (const key of keys) expect(key).toMatch(/^CmdOrCtrl\+Shift\+/);
  });

  test('lets one do what makes sense for the VM that is shown', async () => {
    await desktop.start();
    const enabled = (...labels: string[]) => labels.map((label) => desktop.electron.menuItem('Machine', label).enabled);
    const labels = ['Start', 'Pause', 'Resume', 'Power Off…', 'Delete…'];
    expect(enabled(...labels)).toEqual([false, false, false, false, false]);
    const vm = await desktop.startVm();
    await shows(vm.id);
    expect(enabled(...labels)).toEqual([false, true, false, true, false]);
    await desktop.call('vm.pause', { id: vm.id });
    expect(enabled(...labels)).toEqual([false, false, true, true, false]);
    await desktop.call('vm.powerOff', { id: vm.id });
    expect(enabled(...labels)).toEqual([true, false, false, false, true]);
    await shows(null);
    expect(enabled(...labels)).toEqual([false, false, false, false, false]);
    expect(desktop.electron.menuItem('File', 'New Virtual Machine…').enabled).toBe(true);
  });

  test('is made anew only when something in it changes', async () => {
    await desktop.start();
    const vm = await desktop.startVm();
    await shows(vm.id);
    const { menus } = desktop.electron;
    await shows(vm.id);
    await desktop.call('vm.update', { id: vm.id, settings: { ...vm.settings, name: 'another name' } });
    expect(desktop.electron.menus).toBe(menus);
  });

  test('asks the page, which may still have to load', async () => {
    await desktop.start();
    desktop.electron.menuItem('File', 'New Virtual Machine…').click!();
    expect(desktop.requests).toEqual([]);
    await shows(null);
    await until(() => desktop.requests.length === 1);
    desktop.electron.menuItem('View', 'Log').click!();
    expect(desktop.requests).toEqual([
      { kind: 'action', action: 'vm.new' },
      { kind: 'action', action: 'view.log' },
    ]);
    // A page that is loaded again does not get it twice.
    desktop.electron.window.webContents.emit('did-start-navigation', { isMainFrame: true, isSameDocument: false });
    await shows(null);
    await new Promise((resolve) => setImmediate(resolve));
    expect(desktop.requests).toHaveLength(2);
  });

  test('on macOS has the app’s own menu, and opens a window when there is none', async () => {
    desktop.platform = 'darwin';
    await desktop.start();
    expect(desktop.electron.menuItem('Ringside', 'quit')).toBeDefined();
    expect(() => desktop.electron.menuItem('File', 'quit')).toThrow('no File > quit');
    desktop.electron.window.closeByPerson();
    desktop.electron.menuItem('View', 'Guests').click!();
    await until(() => desktop.electron.windows.length === 2);
  });
});

describe('files opened with the app', () => {
  test('named on the command line go to the page, as full paths', async () => {
    await image('disk one.qcow2');
    desktop.argv = ['/app', '--no-sandbox', 'disk one.qcow2', 'none.qcow2', '/etc/passwd'];
    await desktop.start();
    await shows(null);
    await until(() => desktop.requests.length === 1);
    expect(desktop.requests).toEqual([{ kind: 'open-file', path: path.join(desktop.home, 'disk one.qcow2') }]);
    expect(desktop.electron.recentDocuments).toEqual([path.join(desktop.home, 'disk one.qcow2')]);
  });

  test('a second instance hands them to the first, which comes to the front', async () => {
    const file = await image('disk.raw');
    desktop.argv = [file];
    desktop.electron.firstInstance = false;
    await desktop.start();
    const { handedOver } = desktop.electron;
    expect(handedOver).toEqual({ files: [file] });

    desktop.argv = [];
    desktop.electron.firstInstance = true;
    await desktop.start();
    await shows(null);
    desktop.electron.window.minimized = true;
    desktop.electron.appEvents.emit('second-instance', {}, ['ignored.raw'], '/', handedOver);
    expect(desktop.requests).toEqual([{ kind: 'open-file', path: file }]);
    expect(desktop.electron.window.minimized).toBe(false);
  });

  test('macOS sends them, also before the app is ready', async () => {
    const file = await image('disk.img');
    desktop.platform = 'darwin';
    const ready = desktop.electron.api.app.whenReady;
    const event = new CancellableEvent();
    desktop.electron.api.app.whenReady = async () => {
      desktop.electron.appEvents.emit('open-file', event, file);
      await ready();
    };
    await desktop.start();
    await shows(null);
    await until(() => desktop.requests.length === 1);
    expect([event.prevented, desktop.requests]).toEqual([true, [{ kind: 'open-file', path: file }]]);
  });

  test('what another process says is believed only as far as it has the right shape', () => {
    for (const data of [null, 'x', {}, { files: 'x' }, { files: [1] }, { files: ['relative'] }, { files: ['/a\0b'] }]) {
      expect(filesHandedOver(data), JSON.stringify(data)).toEqual([]);
    }
    expect(filesHandedOver({ files: Array.from({ length: 17 }, () => '/a.raw') })).toEqual([]);
    expect(filesHandedOver({ files: ['/a.raw'], more: 1 })).toEqual(['/a.raw']);
    expect(
      filesAmong(
        Array.from({ length: 40 }, () => import.meta.filename),
        '/',
      ),
    ).toEqual([]);
  });
});

describe('recent items', () => {
  const recent = () =>
    desktop.electron
      .menuItem('File', 'Open Recent')
      .submenu!.map(({ label }) => label)
      .filter(Boolean);

  test('are the VMs started and the files opened, newest first, also after a restart', async () => {
    const file = await image('R&D.raw');
    desktop.argv = [file];
    await desktop.start();
    expect(recent()).toEqual(['R&&D.raw', 'Clear Menu']);
    const vm = await desktop.startVm('box');
    expect(recent()).toEqual(['box', 'R&&D.raw', 'Clear Menu']);
    const saved = () => readFile(path.join(desktop.home, 'recent.json'), 'utf8').catch(() => '');
    await expect.poll(saved, { timeout: 30_000 }).toContain('box');

    desktop.electron = new FakeElectron();
    desktop.argv = [];
    await desktop.app.app.close();
    await desktop.start();
    expect(recent()).toEqual(['box', 'R&&D.raw', 'Clear Menu']);
    await shows(null);
    desktop.electron.menuItem('File', 'Open Recent', 'box').click!();
    desktop.electron.menuItem('File', 'Open Recent', 'R&&D.raw').click!();
    expect(desktop.requests).toEqual([
      { kind: 'show-vm', id: vm.id },
      { kind: 'open-file', path: file },
    ]);
    expect(recent()).toEqual(['R&&D.raw', 'box', 'Clear Menu']);
  });

  test('what is gone goes', async () => {
    const file = await image('disk.raw');
    desktop.argv = [file];
    await desktop.start();
    const vm = await desktop.startVm();
    await desktop.call('vm.powerOff', { id: vm.id });
    await desktop.call('vm.delete', { id: vm.id });
    expect(recent()).toEqual(['disk.raw', 'Clear Menu']);
    await rm(file);
    desktop.electron.menuItem('File', 'Open Recent', 'disk.raw').click!();
    expect(desktop.electron.errors).toEqual([`${file}: it has been moved or deleted.`]);
    expect(desktop.electron.menuItem('File', 'Open Recent').enabled).toBe(false);
  });

  test('can be cleared; a broken list is none', async () => {
    await writeFile(path.join(desktop.home, 'recent.json'), '[{"kind":"vm","id":"../x"}]');
    await desktop.start();
    expect(recent()).toEqual(['Clear Menu']);
    await desktop.startVm();
    desktop.electron.menuItem('File', 'Open Recent', 'Clear Menu').click!();
    expect(recent()).toEqual(['Clear Menu']);
  });
});

describe('notifications', () => {
  const news = () => desktop.electron.notifications.map(({ options }) => options);
  const lookAway = () => {
    desktop.electron.window.inFront = false;
  };

  test('a crash, and a click on it leads there', async () => {
    await desktop.start();
    await shows(null);
    const vm = await desktop.startVm('box');
    lookAway();
    desktop.app.machines.last.end({ reason: 'crash', code: 1, detail: 'hart 0: the worker ended' });
    await until(() => news().length > 0);
    expect(news()).toEqual([{ title: '“box” crashed', body: 'hart 0: the worker ended' }]);
    desktop.electron.notifications[0].emit('click');
    expect(desktop.requests).toEqual([{ kind: 'show-vm', id: vm.id }]);
    expect(desktop.electron.window.focused).toBe(1);
    // The app has survived it.
    expect(await desktop.call('vm.start', { id: vm.id })).toMatchObject({ state: 'running' });
  });

  test('a VM that had to be paused, a guest that failed', async () => {
    await desktop.start();
    await desktop.startVm('box');
    lookAway();
    desktop.app.machines.last.stopFor('drive0: no space left on this computer');
    desktop.app.machines.last.end({ reason: 'guest-fail', code: 7 });
    await until(() => news().length === 2);
    expect(news()).toEqual([
      { title: '“box” was paused', body: 'drive0: no space left on this computer' },
      { title: '“box” ended with an error', body: 'Its guest reported failure code 7.' },
    ]);
  });

  test('a download that has ended, well or not', async () => {
    await desktop.start();
    lookAway();
    await desktop.call('guests.fetch', { id: 'debian' });
    await until(() => news().length === 1);
    desktop.app.catalogue.error = new Error('the mirror does not answer');
    await desktop.call('guests.fetch', { id: 'debian-installer' });
    await until(() => news().length === 2);
    expect(news()).toEqual([
      { title: 'Debian 13 (trixie) is ready', body: 'It can be booted now.' },
      { title: 'Debian 13 installer was not downloaded', body: 'the mirror does not answer' },
    ]);
  });

  test('nothing that a person did, and nothing while they look', async () => {
    await desktop.start();
    const vm = await desktop.startVm();
    lookAway();
    await desktop.call('vm.pause', { id: vm.id });
    await desktop.call('vm.resume', { id: vm.id });
    await desktop.call('vm.powerOff', { id: vm.id });
    await desktop.call('vm.start', { id: vm.id });
    desktop.electron.window.inFront = true;
    desktop.app.machines.last.end({ reason: 'crash', code: 1 });
    await until(() => desktop.app.app.vms()[0].state === 'crashed');
    expect(news()).toEqual([]);
  });
});

describe('logs', () => {
  test('are in files that Help shows, and say what nobody caught', async () => {
    await desktop.start();
    const folder = path.join(desktop.home, 'logs');
    desktop.electron.menuItem('Help', 'Show Log Files').click!();
    expect(desktop.electron.openedPaths).toEqual([folder]);
    expect(await desktop.call('log.reveal', {})).toEqual({});
    await desktop.startVm('box');
    desktop.process.emit('uncaughtException', new Error('lost in\nthought'));
    desktop.process.emit('unhandledRejection', 'no error at all');
    desktop.electron.appEvents.emit('child-process-gone', {}, { type: 'GPU', reason: 'crashed' });
    expect(desktop.app.machines.last.state).toBe('running');
    await desktop.app.app.close();
    const lines = (await readFile(path.join(folder, 'ringside.log'), 'utf8')).trimEnd().split('\n');
    expect(lines[0]).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z info Ringside 4\.5\.6 on /);
    const text = lines.join('\n');
    expect(text).toContain('“box” started');
    expect(text).toMatch(/error an error that nobody caught: Error: lost in\\nthought\\n +at /);
    expect(text).toContain('error an error that nobody caught: no error at all');
    expect(text).toContain('error the GPU process ended (crashed)');
  });

  test('what cannot be shown is said', async () => {
    await desktop.start();
    desktop.electron.openProblem = 'no application is set for folders';
    desktop.electron.menuItem('Help', 'Show Log Files').click!();
    await until(() => desktop.electron.errors.length === 1);
    expect(desktop.electron.errors[0]).toContain('no application is set for folders');
    expect(await desktop.electron.invoke('log.reveal', {})).toMatchObject({ ok: false, error: { kind: 'io' } });
  });
});
