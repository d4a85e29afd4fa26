/** The inspector's pages in a browser, on scripted machines: captures, what is set, and what hours of it cost. */
import { mkdir, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { TestApp, settings } from '../app/doubles/app.ts';
import { sampleCapture } from '../harness/sample-capture.ts';
import { batch } from '../renderer/batches.ts';
import { noBrowser, Workstation } from './browser.ts';

const REQUESTS = 3000;
const BATCHES_PER_SECOND = 30;
/** An hour of 500 requests a second, in fewer and larger batches than it would have. */
const HOUR_BATCHES = 3000;
const HOUR_REQUESTS = 600;

describe('the inspector in a browser', { timeout: 120_000 }, () => {
  let app: TestApp;
  let workstation: Awaited<ReturnType<typeof Workstation.open>>;
  let vm: string;
  let disk: string;

  beforeAll(async () => {
    if (noBrowser !== null) return;
    app = await TestApp.create();
    disk = path.join(app.home, 'disks', 'disk.raw');
    await mkdir(path.dirname(disk));
    await writeFile(disk, '');
    await truncate(disk, 2 ** 20);
    const client = app.connect();
    const drives = [{ id: 'drive0', file: disk, readonly: false }];
    ({ id: vm } = await client.call('vm.create', { settings: settings({ name: 'Debian', drives }) }));
    await client.call('vm.start', { id: vm });
    workstation = await Workstation.open(app.app);
  }, 120_000);

  beforeEach(({ skip }) => skip(noBrowser !== null, noBrowser ?? ''));

  afterAll(async () => {
    await workstation?.close();
    await app?.close();
  });

  const go = async (place: string) => {
    const { page } = workstation;
    await page.goto(`${page.url().replace(/#.*/, '')}#${place}`);
  };

  test('a queue is captured from its page, and its marks are seen everywhere', async () => {
    const { page } = workstation;
    await go(`/vm/${vm}/devices/virtio/drive0/capture/0`);
    const field = page.getByTestId('record-file');
    const file = path.join(app.home, 'captures', 'debian-drive0-requestq.rsq');
    await expect.poll(() => field.inputValue(), { timeout: 30_000 }).toBe(file);
    await page.getByTestId('record-limit').fill('1 KiB');
    await page.getByText('A size from 64 KiB to 16 GiB').waitFor();
    await page.getByTestId('record-limit').fill('16 MiB');
    await workstation.pictures('record');
    await page.getByTestId('record-start').click();
    await page.getByTestId('recording').waitFor();
    Object.assign(app.machines.last.inspector.captures.get('drive0 0')!, { requests: 4012, bytes: 3 * 2 ** 20 });
    await page.getByText('4,012 requests, 3 MiB of 16 MiB').waitFor();
    await page.getByTestId('active-drive0-0').filter({ hasText: 'capturing' }).waitFor();
    await workstation.pictures('recording');
    await page.getByTestId('record-stop').click();
    await page.getByTestId('recorded').filter({ hasText: '4,012 requests' }).waitFor();
    await page.getByTestId('active-drive0-0').waitFor({ state: 'hidden' });
  });

  test('a capture is looked at without a VM: over time, request by request, and done again', async () => {
    const { page } = workstation;
    const file = path.join(app.home, 'sample.rsq');
    sampleCapture(file, REQUESTS);
    await page.getByRole('link', { name: 'Library' }).click();
    await page.getByTestId('open-capture').click();
    await page.getByTestId('capture-path').fill(file);
    await workstation.pictures('capture-open');
    await page.getByTestId('capture-open').click();
    await page.locator('[data-testid=capture][data-loaded=true]').waitFor();
    const canvas = page.getByTestId('timeline-canvas');
    await expect.poll(() => canvas.getAttribute('data-requests'), { timeout: 30_000 }).toBe(String(REQUESTS));
    await workstation.pictures('capture-timeline');
    await canvas.focus();
    await page.keyboard.press('.');
    await page.getByTestId('request').filter({ hasText: 'VIRTIO_BLK_T_OUT' }).waitFor();
    await page.getByTestId('show-request').click();
    await page.getByTestId('fields').filter({ hasText: 'sector' }).waitFor();
    const rings = page.getByTestId('captured-rings');
    for (let step = 0; step < 9; step++) await page.getByTestId('capture-next').click();
    await expect.poll(() => rings.getAttribute('data-request'), { timeout: 30_000 }).toBe('9');
    await page.getByTestId('fields').filter({ hasText: 'VIRTIO_BLK_T_IN' }).waitFor();
    expect(await page.getByTestId('capture-live').locator('li').count()).toBe(3);
    expect(await page.getByTestId('capture-slots').getAttribute('data-live')).toBe('3');
    await workstation.pictures('capture-requests');

    await page.getByTestId('capture-replay').click();
    await page.getByTestId('replay-image').fill(disk);
    await page.getByTestId('replay-start').click();
    await page.getByTestId('confirm').getByText('The image itself is only read.').waitFor();
    await workstation.picture('replay-asks');
    await page.getByTestId('confirm-yes').click();
    await page.locator('[data-testid=replayed][data-different="0"]').waitFor();
    expect((await stat(path.join(app.home, 'sample-replayed.raw'))).size).toBe(2 ** 20);
    // The copy is there by now, and none is replaced.
    await page.getByTestId('replay-start').click();
    await page.getByTestId('confirm-yes').click();
    await page.getByText('is there already').waitFor();
    await workstation.pictures('replay');
  });

  test('what is no capture is refused where it was chosen', async () => {
    const { page } = workstation;
    await go(`/capture/${encodeURIComponent(disk)}/timeline`);
    await page.getByTestId('capture-error').filter({ hasText: 'is not a capture of a queue' }).waitFor();
    await workstation.picture('capture-refused');
  });

  test('what is set on a queue is seen from every page, and cleared with one click', async () => {
    const { page } = workstation;
    await go(`/vm/${vm}/devices/virtio/drive0/control/0`);
    await page.getByTestId('queue-pause').click();
    await page.getByTestId('break-from').fill('2048');
    await page.getByTestId('add-break').click();
    await page.getByTestId('inject-count').fill('1');
    await page.getByTestId('add-injection').click();
    await page.getByTestId('active-drive0-0').filter({ hasText: 'paused, 2 rules' }).waitFor();
    await workstation.pictures('control');
    for (const place of ['virtio/rng0/device', 'machine/harts', 'linter', 'virtio/drive0/timeline/0']) {
      await go(`/vm/${vm}/devices/${place}`);
      await page.getByTestId('active-bar').filter({ hasText: 'drive0 queue 0' }).waitFor();
    }
    await page.getByTestId('clear-everything').click();
    await page.getByTestId('active-bar').waitFor({ state: 'hidden' });
    await go(`/vm/${vm}/devices/virtio/drive0/control/0`);
    await page.locator('[data-testid=control-active][data-active=false]').waitFor();
  });

  const canvas = () => workstation.page.getByTestId('timeline-canvas');
  const batches = async () => Number(await canvas().getAttribute('data-batches'));

  test('50,000 requests a second are drawn without holding the page up', async () => {
    await go(`/vm/${vm}/devices/virtio/drive0/timeline/0`);
    const { inspector } = app.machines.last;
    await expect.poll(() => inspector.watchers('drive0', 0), { timeout: 30_000 }).toBe(1);
    const requests = Math.round(50_000 / BATCHES_PER_SECOND);
    const every = 1e9 / 50_000;
    let seq = 0;
    // A person moves the pointer and turns the wheel meanwhile.
    const box = (await canvas().boundingBox())!;
    const timer = setInterval(() => {
      inspector.show('drive0', 0, batch(seq, seq * requests * every, requests, { every, took: 8 * every, types: 2 }));
      seq++;
    }, 1000 / BATCHES_PER_SECOND);
    try {
      for (let step = 0; (await batches()) < 5 * BATCHES_PER_SECOND; step++) {
        await workstation.page.mouse.move(box.x + 200 + (step % 400), box.y + 120);
        if (step % 20 === 10) await workstation.page.mouse.wheel(0, step % 40 === 10 ? 120 : -120);
      }
    } finally {
      clearInterval(timer);
    }
    // A picture's time is in data-draw-ms; what it may cost at most is counted in test/renderer/timeline-work.test.ts.
    expect(Number(await canvas().getAttribute('data-requests'))).toBeGreaterThan(1000);
    await workstation.pictures('timeline-50k');
  });

  test('memory stays flat over an hour of watching', async () => {
    const { page } = workstation;
    await go(`/vm/${vm}/devices/virtio/rng0/timeline/0`);
    const { inspector } = app.machines.last;
    await expect.poll(() => inspector.watchers('rng0', 0), { timeout: 30_000 }).toBe(1);
    const client = await page.context().newCDPSession(page);
    const used = async (): Promise<number> => {
      await client.send('HeapProfiler.collectGarbage');
      const heap = (await client.send('Runtime.getHeapUsage')) as { usedSize: number; backingStorageSize?: number };
      return heap.usedSize + (heap.backingStorageSize ?? 0);
    };
    const every = 1e9 / BATCHES_PER_SECOND / HOUR_REQUESTS;
    let seq = 0;
    // Batches that come faster than the page takes them are left out: those that it takes count.
    const watch = async (count: number) => {
      const until = (await batches()) + count;
      while ((await batches()) < until) {
        for (let i = 0; i < 200; i++, seq++) {
          inspector.show(
            'rng0',
            0,
            batch(seq, (seq * 1e9) / BATCHES_PER_SECOND, HOUR_REQUESTS, { every, took: every }),
          );
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
    };
    await watch(200);
    const before = await used();
    await watch(HOUR_BATCHES);
    const after = await used();
    expect(after - before).toBeLessThan(8 * 2 ** 20);
  });

  test('the page has nothing to complain about', () => {
    expect(workstation.complaints).toEqual([]);
  });
});
