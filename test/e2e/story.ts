/**
 * What a person does first: make a VM, attach a disk, boot, type, watch the disk's queue move, power off. The same story
 * runs on a scripted machine and on a real one.
 */
import type { Locator, Page } from 'playwright-core';
import { expect } from 'vitest';
import type { Workstation } from './browser.ts';

export interface Story {
  /** The VM's name. */
  name: string;
  disk: string;
  /** Chooses the disk once "Browse" was pressed; in the file browser unless told otherwise. */
  chooseDisk?(workstation: Workstation, disk: string): Promise<void>;
  /** What to boot: fills in the first part of the form. */
  boot(workstation: Workstation): Promise<void>;
  /** What the guest shows when it takes commands, and how long that may take, ms. */
  prompt: RegExp;
  bootTime: number;
  /** A command that makes disk requests, and what it prints. */
  write: string;
  written: RegExp;
  /** A command that keeps the disk busy for a few seconds and comes back at once. */
  busy: string;
  /** Prefix of the pictures kept. */
  pictures: string;
}

/** What is typed and seen in the catalogue's Debian. The disk has 64 MiB; its first four are written and flushed. */
export const DEBIAN = {
  name: 'Debian',
  boot: ({ page }) => page.getByTestId('choose-debian').click(),
  prompt: /root@ringside:\S+# /,
  /** A boot takes about 10 s on an idle computer. */
  bootTime: 180_000,
  write: 'dd if=/dev/urandom of=/dev/vda bs=1M count=4 conv=fsync && echo written $((6 * 7))',
  written: /^written 42/m,
  busy: '(for i in $(seq 60); do dd if=/dev/urandom of=/dev/vda bs=64k count=16 seek=64 conv=fsync; done 2>/dev/null) &',
} satisfies Partial<Story>;

/** Shows a folder in the file browser that is open; a file is chosen by it. */
export async function browseTo(page: Page, where: string): Promise<Locator> {
  const browser = page.getByTestId('file-browser');
  const field = browser.getByRole('textbox', { name: 'Directory' });
  // The folder that it begins with is put in when it has been read: not amid what is typed.
  await expect.poll(() => field.inputValue(), { timeout: 30_000 }).not.toBe('');
  await field.fill(where);
  await browser.getByRole('button', { name: 'Go', exact: true }).click();
  return browser;
}

async function chooseInFileBrowser({ page }: Workstation, disk: string): Promise<void> {
  const folder = disk.replace(/\/[^/]*$/, '');
  const browser = await browseTo(page, folder);
  const name = disk.slice(folder.length + 1);
  await browser.getByTestId('file-entry').filter({ hasText: name }).click();
  await page.getByTestId('file-browser-accept').click();
}

export async function tellStory(workstation: Workstation, story: Story): Promise<void> {
  await beginStory(workstation, story);
  await endStory(workstation, story);
}

/** Up to a VM that runs. */
export async function beginStory(workstation: Workstation, story: Story): Promise<void> {
  const { page } = workstation;

  await page.getByTestId('new-vm').click();
  await story.boot(workstation);
  await page.getByTestId('vm-name').fill(story.name);
  await page.getByTestId('vm-memory').fill('512 MiB');

  await page.getByTestId('attach-disk').click();
  await page.getByTestId('drive-path-browse').click();
  await (story.chooseDisk ?? chooseInFileBrowser)(workstation, story.disk);
  expect(await page.getByTestId('drive-path').inputValue()).toBe(story.disk);
  await workstation.pictures(`${story.pictures}-create`);
  await page.getByTestId('create-and-start').click();

  // It boots, and takes what is typed.
  await page.getByTestId('terminal').waitFor();
  await workstation.state('running');
  await workstation.see(story.prompt, story.bootTime);
  await workstation.type('echo hello from ringside');
  await workstation.see(/^hello from ringside/m);

  // Its disk's driver is ready, has negotiated what it needs, and the indices move when the guest writes.
  await page.getByTestId('tab-devices').click();
  await page.getByTestId('device-drive0').click();
  await expect
    .poll(() => page.getByTestId('status-DRIVER_OK').getAttribute('data-set'), { timeout: 30_000 })
    .toBe('true');
  for (const feature of ['VIRTIO_BLK_F_FLUSH', 'VIRTIO_F_VERSION_1', 'VIRTIO_F_EVENT_IDX']) {
    expect(await page.getByTestId(`feature-${feature}`).getAttribute('data-negotiated'), feature).toBe('true');
  }
  const used = page.getByTestId('queue-0').getByTestId('counter-used');
  const before = Number(await used.getAttribute('data-value'));
  await page.getByTestId('tab-console').click();
  await workstation.see(/hello from ringside/);
  await workstation.type(story.write);
  await workstation.see(story.written, 60_000);
  await workstation.pictures(`${story.pictures}-console`);
  await page.getByTestId('tab-devices').click();
  await page.getByTestId('device-drive0').click();
  await expect
    .poll(async () => Number(await used.getAttribute('data-value')), { timeout: 30_000 })
    .toBeGreaterThan(before);
  const index = page.getByTestId('queue-0').getByTestId('index-used.idx');
  expect(Number(await index.getAttribute('data-value'))).toBeGreaterThan(0);

  // They move while one watches.
  await page.getByTestId('tab-console').click();
  await workstation.see(story.prompt);
  await workstation.type(story.busy);
  await page.getByTestId('tab-devices').click();
  await page.getByTestId('device-drive0').click();
  const seen = new Set<string | null>();
  await expect
    .poll(async () => seen.add(await index.getAttribute('data-value')).size, { timeout: 30_000, interval: 100 })
    .toBeGreaterThan(4);
  await page.waitForTimeout(2000);
  await workstation.pictures(`${story.pictures}-devices`);

  // Pause and resume.
  await page.getByTestId('pause').click();
  await workstation.state('paused');
  await page.getByTestId('resume').click();
  await workstation.state('running');

  await page.getByTestId('tab-overview').click();
  await page.getByTestId('harts').waitFor();
  await workstation.pictures(`${story.pictures}-overview`);
}

/**
 * Power off asks first.
 *
 * @param last what the console still shows then
 */
export async function endStory(workstation: Workstation, story: Story, last = story.written): Promise<void> {
  const { page } = workstation;
  await page.getByTestId('power-off').click();
  await workstation.pictures(`${story.pictures}-power-off`);
  await page.getByTestId('confirm-yes').click();
  await workstation.state('stopped');
  await page.getByTestId('tab-console').click();
  await workstation.see(last);
}
