/** The main story on the real thing: Debian of the catalogue, on our machine, in a browser. */
import { mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { App } from '../../main/app/app.ts';
import { createProductionApp } from '../../main/app/production.ts';
import { fetchGuest } from '../../main/guests/index.ts';
import { noBrowser, Workstation } from './browser.ts';
import { tellLiveStory } from './live-story.ts';
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
    app = await createProductionApp({ version: '0.0.0', home });
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

  test('attach to the running VM, watch, stop at a sector, step, let a request fail, clear, detach', async () => {
    const image = await emptyImage('hot.raw');
    await tellLiveStory(workstation!, image, DEBIAN.prompt);
    expect(workstation!.complaints).toEqual([]);
    const [vm] = app!.vms();
    expect(vm.pending).toBe(false);
    expect(vm.settings.drives.map(({ file }) => file)).toEqual([disk]);
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
