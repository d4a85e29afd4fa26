/** The app in Electron itself, wherever there is one: the main story, with the native dialog and its own window. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { _electron } from 'playwright-core';
import type { ElectronApplication } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { guestPaths } from '../../main/guests/index.ts';
import { READABLE_CONSOLES, Workstation } from '../e2e/browser.ts';
import { DEBIAN, tellStory } from '../e2e/story.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const PROGRAMS: Record<string, string> = {
  darwin: 'Electron.app/Contents/MacOS/Electron',
  win32: 'electron.exe',
};

/** Electron's program, or why there is none to test with. (Importing the package would try to download it.) */
async function findElectron(): Promise<{ program: string } | { missing: string }> {
  const dist = process.env.ELECTRON_OVERRIDE_DIST_PATH ?? path.join(ROOT, 'node_modules/electron/dist');
  const program = path.join(dist, PROGRAMS[process.platform] ?? 'electron');
  if (!existsSync(program)) return { missing: 'there is no Electron dist here' };
  if (process.platform === 'linux' && !process.env.DISPLAY && !process.env.WAYLAND_DISPLAY) {
    return { missing: 'there is an Electron dist but no display (run under xvfb-run)' };
  }
  if ((await guestPaths('debian')) === null) return { missing: 'the guest debian has not been fetched' };
  return { program };
}

describe('in Electron', { timeout: 2 * DEBIAN.bootTime }, () => {
  let missing: string | null = null;
  let home: string;
  let electron: ElectronApplication;
  let workstation: Workstation;

  beforeAll(async () => {
    const found = await findElectron();
    if ('missing' in found) {
      ({ missing } = found);
      return;
    }
    const { build } = (await import('../../main/build.mjs')) as { build(): Promise<boolean> };
    await build();
    home = await mkdtemp(path.join(tmpdir(), 'ringside-electron-'));
    await writeFile(path.join(home, 'disk.raw'), '');
    await truncate(path.join(home, 'disk.raw'), 64 * 2 ** 20);
    electron = await _electron.launch({
      executablePath: found.program,
      args: process.getuid?.() === 0 ? ['--no-sandbox', ROOT] : [ROOT],
      env: { ...(process.env as Record<string, string>), RINGSIDE_HOME: home },
    });
    const window = await electron.firstWindow();
    await window.evaluate(READABLE_CONSOLES);
    await window.reload();
    workstation = new Workstation(window, () => electron.close());
  }, DEBIAN.bootTime);

  beforeEach(({ skip }) => skip(missing !== null, missing ?? ''));

  afterAll(async () => {
    await workstation?.close();
    if (home) await rm(home, { recursive: true, force: true });
  });

  test('create, attach, boot, type, watch, power off', async () => {
    const disk = path.join(home, 'disk.raw');
    await electron.evaluate(({ dialog }, chosen) => {
      dialog.showOpenDialog = async () => ({ canceled: false, filePaths: [chosen] });
    }, disk);
    await tellStory(workstation, {
      ...DEBIAN,
      disk,
      // The native dialog has answered already.
      chooseDisk: ({ page }) => expect.poll(() => page.getByTestId('drive-path').inputValue()).toBe(disk),
      pictures: 'electron',
    });
    expect(workstation.complaints).toEqual([]);
  });

  test('the page has no Node', async () => {
    const found = await workstation.page.evaluate<string[]>(
      `['require', 'process', 'module', 'Buffer'].filter((name) => name in globalThis)`,
    );
    expect(found).toEqual([]);
  });
});
