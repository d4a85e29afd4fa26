/** The main story on the real thing: Debian of the catalogue, on our machine, in a browser. */
import { mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { App } from '../../main/app/app.ts';
import { createProductionApp } from '../../main/app/production.ts';
import { fetchGuest } from '../../main/guests/index.ts';
import { ringsideVersion } from '../../main/version.ts';
import { noBrowser, Workstation } from './browser.ts';
import { tellLiveStory } from './live-story.ts';
import { tellCaptureStory, tellMonitorStory } from './watch-story.ts';
import { beginStory, DEBIAN, endStory } from './story.ts';

const MIB = 2 ** 20;
const FETCH_MS = 600_000;

describe('Debian in the workstation', { timeout: 2 * DEBIAN.bootTime }, () => {
  let home: string;
  let disk: string;
  let app: App | null = null;
  let workstation: Workstation | null = null;
  let missing = noBrowser;
  const emptyImage = async (name: string) => {
    const file = path.join(home, name);
    await writeFile(file, '');
    await truncate(file, 64 * MIB);
    return file;
  };

  beforeAll(async () => {
    if (missing !== null) return;
    try {
      await fetchGuest('debian');
    } catch (error) {
      missing = `the guest debian cannot be fetched: ${(error as Error).message}`;
      return;
    }
    home = await mkdtemp(path.join(tmpdir(), 'ringside-real-'));
    disk = await emptyImage('disk.raw');
    app = await createProductionApp({ version: ringsideVersion(), home });
    workstation = await Workstation.open(app);
  }, FETCH_MS);

  beforeEach(({ skip }) => skip(missing !== null, missing ?? ''));

  afterAll(async () => {
    await workstation?.close();
    await app?.close();
    if (home) await rm(home, { recursive: true, force: true });
  });

  const story = () => ({ ...DEBIAN, disk, pictures: 'debian' });

  test('create, attach, boot, type, watch', async () => {
    await beginStory(workstation!, story());
    expect(workstation!.complaints).toEqual([]);
  });

  test('its consoles: several lines pasted, text found, hvc0 with the size of its terminal, a log, a host terminal', async () => {
    const { page } = workstation!;
    await page.getByTestId('tab-console').click();
    await page.getByTestId('port-serial0').click();
    await workstation!.type('clear');
    await page.evaluate(`navigator.clipboard.writeText('echo pasted $((1 + 1))\\necho pasted $((2 + 2))\\n')`);
    await page.getByRole('button', { name: /^Paste/ }).click();
    await page.getByTestId('confirm-yes').click();
    await workstation!.see(/^pasted 4/m);
    await page.keyboard.press('Control+Shift+F');
    await page.getByLabel('Find in the console').fill('pasted 4');
    await page.getByTestId('find-matches').filter({ hasText: '1 of 1' }).waitFor();
    await page.keyboard.press('Escape');
    const row = page.locator('.xterm-rows > div').filter({ hasText: /^pasted.4/ });
    await row.first().dblclick({ position: { x: 20, y: 5 }, force: true });
    await page.getByRole('button', { name: /^Copy/ }).click();
    await expect.poll(() => page.evaluate('navigator.clipboard.readText()'), { timeout: 30_000 }).toBe('pasted');

    // The bell is seen for a moment only: it is counted.
    await page.evaluate(`window.rung = 0, new MutationObserver(() => window.rung++)
      .observe(document.querySelector('[data-testid=terminal]'), { attributeFilter: ['data-bell'] })`);
    await workstation!.type("printf '\\a'; echo rung");
    await workstation!.see(/^rung/m);
    await expect.poll(() => page.evaluate<number>('window.rung'), { timeout: 30_000 }).toBeGreaterThan(0);

    // The other port: what the guest writes there, and the size that it has been told of.
    await workstation!.type('echo over hvc0 >/dev/hvc0');
    await page.getByTestId('port-console0').click();
    await workstation!.see(/over hvc0/);
    const size = page.getByTitle(/^Columns and rows/);
    await expect.poll(() => size.innerText(), { timeout: 30_000 }).toMatch(/\d+ × \d+/);
    const sizeOf = async () => (await size.innerText()).split(' × ').reverse().join(' ');
    // The guest is told by an interrupt, in its own time: it is asked until it knows.
    const told = async () => {
      for (let attempt = 1; ; attempt++) {
        const now = await sizeOf();
        await page.getByTestId('port-serial0').click();
        await workstation!.type('clear; stty -F /dev/hvc0 size');
        const known = await workstation!.see(new RegExp(`^${now}`, 'm'), 5_000).then(
          () => true,
          (error: unknown) => {
            if (attempt === 12) throw error;
            return false;
          },
        );
        await page.getByTestId('port-console0').click();
        if (known) return now;
      }
    };
    const before = await told();
    await page.setViewportSize({ width: 1100, height: 700 });
    await expect.poll(sizeOf, { timeout: 30_000 }).not.toBe(before);
    await told();
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.getByTestId('port-serial0').click();

    // A log from now on, and a terminal of the host, which other programs use.
    const log = path.join(home, 'serial.log');
    await page.getByTestId('console-menu').click();
    await page.getByRole('menuitem', { name: 'Log to a file…' }).click();
    await page.getByTestId('log-path').fill(log);
    await page.getByTestId('log-start').click();
    await page.getByTestId('logged').waitFor();
    await workstation!.type('echo into the log');
    await expect.poll(() => readFile(log, 'utf8'), { timeout: 30_000 }).toMatch(/^into the log/m);
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.getByTestId('console-menu').click();
    if (await page.getByTestId('open-pty').isVisible()) {
      await page.getByTestId('open-pty').click();
      const where = await page.getByTestId('pty').locator('code').first().innerText();
      const pty = await open(where, 'r+');
      await pty.write('echo from the host\n');
      await workstation!.see(/^from the host/m);
      await pty.close();
      await page.getByTestId('pty').getByRole('button', { name: 'Close' }).click();
      await page.getByTestId('pty').waitFor({ state: 'hidden' });
    } else await page.keyboard.press('Escape');

    // What has been written is there again after a reload.
    await page.reload();
    await workstation!.see(/^into the log/m);
    expect(workstation!.complaints).toEqual([]);
  });

  test('attach to the running VM, watch, stop at a sector, step, let a request fail, clear, detach', async () => {
    const image = await emptyImage('hot.raw');
    await tellLiveStory(workstation!, image, DEBIAN.prompt);
    expect(workstation!.complaints).toEqual([]);
    const [vm] = app!.vms();
    expect(vm.pending).toBe(false);
    expect(vm.settings.drives.map(({ file }) => file)).toEqual([disk]);
  });

  test('its monitor: completion, commands, the log of QMP', async () => {
    await tellMonitorStory(workstation!);
    expect(workstation!.complaints).toEqual([]);
  });

  test('a queue is recorded, the capture is looked at, and Linux is found to break no rule', async () => {
    const [{ id }] = app!.vms();
    const read = 'dd if=/dev/vda of=/dev/null bs=64k count=16 iflag=direct; echo read $((6 * 7))';
    await tellCaptureStory(workstation!, id, read, /^read 42/m);
    await workstation!.page.getByTestId('tab-console').click();
    expect(workstation!.complaints).toEqual([]);
  });

  test('power off', async () => {
    await endStory(workstation!, story(), /gone 42/);
    expect(workstation!.complaints).toEqual([]);
  });

  test('what the guest wrote and flushed is in the image', async () => {
    const file = await open(disk);
    const { buffer } = await file.read(Buffer.alloc(4 * MIB), 0, 4 * MIB, 0);
    const beyond = await file.read(Buffer.alloc(MIB), 0, MIB, 8 * MIB);
    await file.close();
    // Random bytes: no block of them is all zeros.
    for (let at = 0; at < buffer.length; at += 4096) {
      expect(buffer.subarray(at, at + 4096).some((byte) => byte !== 0)).toBe(true);
    }
    expect(beyond.buffer.every((byte) => byte === 0)).toBe(true);
  });
});
