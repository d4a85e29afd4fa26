/** The Monitor page and what the inspector keeps of a VM that runs: its monitor is asked, a queue is recorded, the linter is read. */
import { expect } from 'vitest';
import type { Workstation } from './browser.ts';

const LONG = 60_000;

/** HMP in a terminal, completed by Tab; QMP as a log, which began with the VM. */
export async function tellMonitorStory(workstation: Workstation): Promise<void> {
  const { page } = workstation;
  await page.getByTestId('tab-monitor').click();
  await workstation.see('(qemu)', LONG);
  await page.locator('.xterm-helper-textarea').focus();
  await page.keyboard.type('info virtio-q', { delay: 5 });
  await page.keyboard.press('Tab');
  await workstation.see(/info virtio-queue-/, LONG);
  await page.keyboard.press('Control+U');
  await workstation.type('info status');
  await workstation.see(/VM status: running/, LONG);
  await workstation.type('info virtio');
  await workstation.see(/\[virtio-blk\]/, LONG);
  await workstation.pictures('debian-monitor');
  await page.getByTestId('monitor-qmp').click();
  await page.getByTestId('qmp-request').fill('{"execute": "query-status"}');
  await page.getByTestId('qmp-execute').click();
  await page
    .getByTestId('qmp-log')
    .filter({ hasText: /"running"/ })
    .waitFor({ timeout: LONG });
  // Before anybody looked.
  await page.getByTestId('qmp-log').filter({ hasText: 'RESUME' }).waitFor({ timeout: LONG });
  await workstation.pictures('debian-qmp');
}

/**
 * A disk's queue is recorded and the capture opened; Linux breaks no rule; the machine's pages show what it is made of.
 *
 * @param vm its id
 * @param read a command that reads the disk, and what it prints
 */
export async function tellCaptureStory(workstation: Workstation, vm: string, read: string, shows: RegExp) {
  const { page } = workstation;
  const go = (place: string) => page.goto(`${page.url().replace(/#.*/, '')}#${place}`);

  await go(`/vm/${vm}/devices/virtio/drive0/capture/0`);
  const field = page.getByTestId('record-file');
  await expect.poll(() => field.inputValue(), { timeout: LONG }).toContain('.rsq');
  await page.getByTestId('record-start').click();
  await page.getByTestId('active-drive0-0').filter({ hasText: 'capturing' }).waitFor({ timeout: LONG });
  await page.getByTestId('tab-console').click();
  await workstation.type(read);
  await workstation.see(shows, LONG);

  await go(`/vm/${vm}/devices/virtio/drive0/capture/0`);
  const requests = async () => Number(await page.getByTestId('recording').getAttribute('data-requests'));
  await expect.poll(requests, { timeout: LONG }).toBeGreaterThan(0);
  await page.getByTestId('record-stop').click();
  await page.getByTestId('recorded-open').click();
  await page.locator('[data-testid=capture][data-loaded=true]').waitFor({ timeout: LONG });
  await page.getByTestId('timeline-canvas').focus();
  await page.keyboard.press('.');
  await page.getByTestId('show-request').click();
  await page.getByTestId('fields').filter({ hasText: 'VIRTIO_BLK_T_' }).waitFor({ timeout: LONG });
  await workstation.pictures('debian-capture');

  await go(`/vm/${vm}/devices/linter`);
  await page
    .getByTestId('linter')
    .getByText(/by \d+ rules/)
    .waitFor({ timeout: LONG });
  expect(await page.locator('[data-testid^=finding-]').count()).toBe(0);
}
