/**
 * Every page in its states, in one browser: nothing that axe knows of keeps anyone out, in light and dark; nothing is
 * beyond the edge or elsewhere than it was, at both sizes; each page's story can be done from the keyboard alone.
 */
import { mkdir, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { VmInfo } from '../../main/ipc/contract.ts';
import { settings, TestApp } from '../app/doubles/app.ts';
import type { TestClient } from '../app/doubles/app.ts';
import { axeProblems } from './axe.ts';
import { noBrowser, Workstation } from './browser.ts';
import { layoutOf, Layouts, misplaced } from './layout.ts';

const MIB = 2 ** 20;
const SIZES = [
  [1280, 800],
  [1920, 1080],
];

/** Whoever sets it writes down how pages are laid out now. */
const UPDATE = Boolean(process.env.RINGSIDE_UPDATE_LAYOUT);
/** Whoever sets it wants to look at each page. */
const PICTURES = Boolean(process.env.RINGSIDE_PICTURES);

/** What has the focus, and whether it can be seen that it has. */
const FOCUSED = `(() => {
  const element = document.activeElement;
  const marked = (each) => {
    const style = getComputedStyle(each);
    return (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
  };
  const path = [];
  for (let each = element; each && each !== document.body; each = each.parentElement)
    path.unshift(each.tagName + ':' + [...each.parentElement.children].indexOf(each));
  // A control that is drawn by its label shows it there.
  const places = [element, element.closest('label'), element.parentElement].filter(Boolean);
  const name = element.getAttribute('aria-label') ?? element.textContent.trim().slice(0, 40);
  return [name + ' ' + path.join('>'), element === document.body || places.some(marked)];
})()`;

describe('all pages', { timeout: 300_000 }, () => {
  let app: TestApp;
  let client: TestClient;
  let workstation: Awaited<ReturnType<typeof Workstation.open>>;
  let layouts: Layouts;
  let on: VmInfo;
  let off: VmInfo;
  const problems: string[] = [];

  beforeAll(async () => {
    if (noBrowser !== null) return;
    app = await TestApp.create();
    client = app.connect();
    layouts = await Layouts.open(fileURLToPath(new URL('layout.txt', import.meta.url)));
    workstation = await Workstation.open(app.app);
    await workstation.page.emulateMedia({ reducedMotion: 'reduce' });
  }, 120_000);

  beforeEach(({ skip }) => skip(noBrowser !== null, noBrowser ?? ''));

  afterAll(async () => {
    if (UPDATE) await layouts?.save();
    await workstation?.close();
    await app?.close();
  });

  /**
   * @param hash where; undefined: as the page is
   * @param ready what must be there
   */
  async function look(name: string, hash?: string, ready?: string): Promise<void> {
    const { page } = workstation;
    if (hash !== undefined) await go(hash);
    if (ready !== undefined) await page.getByTestId(ready).first().waitFor();
    // Messages that go away by themselves are no part of a page.
    for (const toast of await page.getByTestId('toast').all()) {
      await toast
        .getByRole('button', { name: 'Dismiss' })
        .click({ timeout: 5000 })
        .catch(() => undefined);
    }
    const found: string[] = [];
    await theme('light');
    found.push(...(await axeProblems(page)));
    await theme('dark');
    found.push(...(await axeProblems(page, ['color-contrast'])));
    for (const [width, height] of SIZES) {
      await page.setViewportSize({ width, height });
      const key = `${name} ${width}x${height}`;
      const settled = async () => [...(await misplaced(page)), ...layouts.compare(key, await layoutOf(page))];
      // Terminals and charts fit themselves to the window in their own time.
      if (UPDATE) await page.waitForTimeout(500);
      const until = Date.now() + 10_000;
      let wrong = await settled();
      while (wrong.length > 0 && Date.now() < until && !UPDATE) {
        await page.waitForTimeout(100);
        wrong = await settled();
      }
      if (!UPDATE) found.push(...wrong);
      if (PICTURES) {
        await workstation.picture(`page-${name}-${width}-dark`);
        await theme('light');
        await workstation.picture(`page-${name}-${width}-light`);
        await theme('dark');
      }
    }
    await page.setViewportSize({ width: SIZES[0][0], height: SIZES[0][1] });
    problems.push(...found.map((line) => `${name}: ${line}`));
  }

  /** Until it is painted; with reduced motion nothing moves after that. */
  async function theme(colorScheme: 'light' | 'dark'): Promise<void> {
    const { page } = workstation;
    await page.emulateMedia({ colorScheme });
    await page.evaluate(`(async () => {
      const frame = () => new Promise((done) => requestAnimationFrame(done));
      while (document.documentElement.dataset.theme !== '${colorScheme}') await frame();
      for (let frames = 0; frames < 2; frames++) await frame();
    })()`);
  }

  async function go(hash: string): Promise<void> {
    const { page } = workstation;
    await page.goto(`${page.url().replace(/#.*/, '')}#/${hash}`);
  }

  test('before there is a VM', async () => {
    const { page } = workstation;
    await look('library-empty', 'library', 'empty-library');
    await look('create', 'create', 'choose-debian');
    for (const kind of ['disk', 'kernel', 'firmware']) {
      await page.getByTestId(`choose-${kind}`).click();
      await look(`create-${kind}`);
    }
    await page.getByTestId('create').click();
    await page.getByText('More of the machine').click();
    await look('create-errors');
    await look('import', 'import', 'import-text');
    await page.getByTestId('import-text').fill('qemu-system-x86_64 -m 1G');
    await page.getByTestId('import-read').click();
    await look('import-error', undefined, 'import-error');
    app.catalogue.error = new Error('deb.example.org does not answer: check your network and try again');
    await go('guests');
    await page.getByRole('button', { name: 'Download: Debian 13 (trixie)' }).click();
    await page.getByText('deb.example.org does not answer').waitFor();
    await look('guests');
    app.catalogue.error = null;
    expect(problems).toEqual([]);
  });

  test('with VMs, on and off', async () => {
    const { page } = workstation;
    const disk = path.join(app.home, 'disk.raw');
    await writeFile(disk, '');
    await truncate(disk, 64 * MIB);
    const broken = path.join(app.home, 'vms', '3b241101-e2bb-4255-8caf-4136c566a962');
    await mkdir(broken, { recursive: true });
    await writeFile(path.join(broken, 'vm.json'), '{');
    const drives = [{ id: 'drive0', file: disk }];
    const devices = [{ driver: 'virtio-rng-pci', id: 'rng1' }];
    on = await client.call('vm.create', { settings: settings({ name: 'Running', drives, devices }) });
    off = await client.call('vm.create', { settings: settings({ name: 'Stopped' }) });
    await client.call('vm.start', { id: on.id });
    await look('library', 'library', 'vm-row');
    await page.getByTestId('card-menu').first().click();
    await look('library-menu', undefined, 'card-export');
    await page.keyboard.press('Escape');
    await look('export', `export/${on.id}`, 'export-text');
    await look('log', 'log');
    await look('settings', 'settings');
    await look('console', `vm/${on.id}/console`, 'terminal');
    await look('monitor', `vm/${on.id}/monitor`, 'terminal');
    await look('hardware', `vm/${on.id}/hardware`, 'row-drive0');
    await look('overview', `vm/${on.id}/overview`, 'harts');
    await look('off-console', `vm/${off.id}/console`);
    await look('off-monitor', `vm/${off.id}/monitor`);
    await look('off-devices', `vm/${off.id}/devices`);
    await look('off-overview', `vm/${off.id}/overview`);
    expect(problems).toEqual([]);
  });

  test('the inspector', async () => {
    const base = `vm/${on.id}/devices/`;
    await look('inspector-device', `${base}virtio/drive0/device`, 'device-drive0');
    await look('inspector-queue', `${base}virtio/drive0/queue/0`, 'device-drive0');
    await look('inspector-timeline', `${base}virtio/drive0/timeline/0`, 'device-drive0');
    await look('inspector-control', `${base}virtio/drive0/control/0`, 'device-drive0');
    await look('inspector-linter', `${base}linter`, 'device-drive0');
    for (const view of ['objects', 'memory', 'interrupts', 'harts']) {
      await look(`inspector-${view}`, `${base}machine/${view}`, 'device-drive0');
    }
    expect(problems).toEqual([]);
  });

  test('what is over the pages', async () => {
    const { page } = workstation;
    await go(`vm/${off.id}/hardware`);
    await page.getByTestId('add-device-button').click();
    await look('add-device', undefined, 'device-search');
    await page.keyboard.press('Escape');
    await page.getByTestId('add-device').waitFor({ state: 'hidden' });
    await page.keyboard.press('Control+k');
    await look('palette', undefined, 'palette-text');
    await page.keyboard.press('Escape');
    await page.getByTestId('palette').waitFor({ state: 'hidden' });
    await page.getByRole('link', { name: 'Library' }).focus();
    await page.keyboard.press('?');
    await look('shortcuts', undefined, 'shortcuts');
    await page.keyboard.press('Escape');
    await page.getByTestId('vm-menu').click();
    await page.getByTestId('vm-delete').click();
    await look('delete', undefined, 'confirm-yes');
    await page.keyboard.press('Escape');
    await page.getByTestId('confirm').waitFor({ state: 'hidden' });
    await go('create');
    await page.getByTestId('create-disk').click();
    await look('new-disk', undefined, 'new-disk-create');
    await page.getByTestId('new-disk-path-browse').click();
    await look('file-browser', undefined, 'file-browser-accept');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    app.machines.last.end({ reason: 'crash', code: 1, detail: 'hart 0: the worker ended' });
    await look('crashed', `vm/${on.id}/console`, 'vm-message');
    expect(problems).toEqual([]);
  });

  test('everything that has the focus shows it, and nothing keeps it', async () => {
    const { page } = workstation;
    for (const hash of [
      'library',
      'create',
      'import',
      'guests',
      'settings',
      `vm/${off.id}/hardware`,
      `vm/${off.id}/overview`,
    ]) {
      await go(hash);
      await page.locator('h1').waitFor();
      await page.evaluate(`document.activeElement?.blur(), document.body.focus()`);
      const walk: string[] = [];
      const hidden: string[] = [];
      // Once around: the first that comes again ends it.
      for (let step = 0; step < 120; step++) {
        await page.keyboard.press('Tab');
        const [name, shown] = await page.evaluate<[string, boolean]>(FOCUSED);
        if (walk.includes(name) && name === walk[0]) break;
        walk.push(name);
        if (!shown) hidden.push(name);
      }
      expect(hidden, `${hash}: no mark of the focus`).toEqual([]);
      expect(walk.length, `${hash}: ${walk.join(' / ')}`).toBeGreaterThan(6);
      expect(walk.length, `${hash}: the focus does not come around: ${walk.slice(-5).join(' / ')}`).toBeLessThan(120);
    }
  });

  test('a VM is made, started, looked at, powered off and deleted with the keyboard alone', async () => {
    const { page } = workstation;
    app.catalogue.install('debian');
    await go('library');
    await page.locator('h1').waitFor();
    await page.keyboard.press('Control+Shift+N');
    await page.getByTestId('choose-debian').waitFor();
    await page.getByRole('radio', { name: /^Debian 13 \(trixie\)/ }).focus();
    // The cards are radio buttons: arrows go among them.
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    await page.getByTestId('drive-path').waitFor();
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('ArrowUp');
    await page.getByTestId('drive-path').waitFor({ state: 'hidden' });
    await page.getByTestId('vm-name').focus();
    await page.keyboard.press('Control+A');
    await page.keyboard.type('By keys');
    await page.keyboard.press('Enter');
    await workstation.state('running');
    await workstation.see(/guest# /);
    // The terminal has the keyboard; keys with Ctrl and Shift lead out of it.
    await workstation.type('echo by keys');
    await workstation.see(/^by keys/m);
    await page.keyboard.press('Control+Shift+3');
    await page.getByTestId('row-Processor and memory').waitFor();
    await page.keyboard.press('Control+K');
    await page.keyboard.type('power off');
    await page.keyboard.press('Enter');
    await page.getByTestId('confirm-yes').waitFor();
    // Escape is no.
    await page.keyboard.press('Escape');
    await page.getByTestId('confirm').waitFor({ state: 'hidden' });
    expect(app.machines.last.state).toBe('running');
    await page.keyboard.press('Control+K');
    await page.keyboard.type('power off');
    await page.keyboard.press('Enter');
    await page.getByTestId('confirm-yes').focus();
    await page.keyboard.press('Enter');
    await workstation.state('stopped');
    await page.getByTestId('vm-menu').focus();
    await page.keyboard.press('Enter');
    await page.getByTestId('vm-delete').waitFor();
    await page.keyboard.press('End');
    await page.keyboard.press('Enter');
    await page.getByTestId('confirm-yes').focus();
    await page.keyboard.press('Enter');
    await page.getByTestId('vm-row').first().waitFor();
    expect(app.app.vms().map((vm) => vm.settings.name)).not.toContain('By keys');
  });

  test('the page has nothing to complain about', () => {
    expect(workstation.complaints).toEqual([]);
  });
});
