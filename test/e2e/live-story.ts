/**
 * What a driver's author does: attaches an image to the running VM, finds it in the guest, watches its queue while the guest
 * writes, stops at a sector, steps, makes a request fail, sees what the guest makes of it, clears, detaches.
 */
import { open } from 'node:fs/promises';
import { expect } from 'vitest';
import type { Workstation } from './browser.ts';

const LONG = 120_000;
const SECTOR = 512;
/** Where the queue is stopped. */
const STOP_SECTOR = 2048;
const BLOCK = 4096;
/** A page of that sector and the next seven: the kernel need not read what it writes whole. */
const WRITE_THERE = `dd if=/dev/urandom of=/dev/vdb bs=4k count=1 seek=${(STOP_SECTOR * SECTOR) / BLOCK} conv=fsync,notrunc`;

/** @param image a raw image of 64 MiB, all zeroes; the guest has one disk, vda, and a shell on its serial port */
export async function tellLiveStory(workstation: Workstation, image: string, prompt: RegExp): Promise<void> {
  const { page } = workstation;
  const id = 'disk0';
  const live = page.getByTestId(`live-${id}`);
  const status = live.getByTestId('live-status');
  const go = (tab: string) => page.getByTestId(`tab-${tab}`).click();
  const inGuest = async (command: string, shows: RegExp) => {
    await go('console');
    await workstation.see(prompt, LONG);
    await workstation.type(command);
    await workstation.see(shows, LONG);
  };
  /** Types what the page says that the guest has to do. */
  const doGuestsPart = async () => {
    const steps = (await live.getByTestId('guest-steps').innerText()).replaceAll('\u00a0', ' ').split('\n');
    await go('console');
    await workstation.see(prompt, LONG);
    for (const step of steps) await workstation.type(step);
  };
  const control = async () => {
    await go('devices');
    await page.getByTestId(`device-${id}`).click();
    await page.getByTestId('view-control').click();
    await page.getByTestId('control').getByTestId('queue-state').waitFor();
  };
  const paused = (is: boolean) =>
    page.locator(`[data-testid=queue-state][data-paused=${is}]`).waitFor({ timeout: LONG });
  const sector = async () => {
    const file = await open(image);
    const { buffer } = await file.read(Buffer.alloc(BLOCK), 0, BLOCK, STOP_SECTOR * SECTOR);
    await file.close();
    return buffer;
  };

  // Attach: the page says what Debian's kernel needs to be told.
  await go('hardware');
  await page.getByTestId('attach-disk').click();
  await page.getByTestId('drive-path').fill(image);
  await page.getByTestId('keep').uncheck();
  await workstation.pictures('live-attach');
  await page.getByTestId('attach-now').click();
  await status.filter({ hasText: 'the guest has not turned its slot on' }).waitFor();
  await workstation.pictures('live-attached');
  await doGuestsPart();
  await inGuest(
    'while [ ! -e /sys/block/vdb ]; do usleep 100000; done; echo sectors=$(cat /sys/block/vdb/size)',
    /^sectors=131072/m,
  );
  await go('hardware');
  await page.getByTestId(`row-${id}`).click();
  await status.filter({ hasText: 'Attached' }).waitFor();
  // Where the first disk sits nothing can go.
  await page.getByTestId('row-drive0').click();
  await page.getByTestId('live-drive0').getByText('no way to tell a guest').waitFor();

  // Its queue moves while the guest writes.
  await inGuest(
    '(while [ ! -e /tmp/enough ]; do dd if=/dev/zero of=/dev/vdb bs=4k count=64 seek=1024 conv=fsync,notrunc; done >/dev/null 2>&1; echo stopped $((6 * 7))) & echo begun $((6 * 7))',
    /begun 42/,
  );
  await go('devices');
  await page.getByTestId(`device-${id}`).click();
  const used = page.getByTestId('queue-0').getByTestId('counter-used');
  const before = Number(await used.getAttribute('data-value'));
  await expect
    .poll(async () => Number(await used.getAttribute('data-value')), { timeout: LONG })
    .toBeGreaterThan(before + 10);
  await page.getByTestId('view-timeline').click();
  await workstation.picture('live-timeline');
  await inGuest('touch /tmp/enough', /stopped 42/);

  // Stop before the guest writes that sector; nothing of it is on the disk before the step.
  await control();
  await page.getByTestId('break-from').fill(String(STOP_SECTOR));
  await page.getByTestId('add-break').click();
  await page.getByTestId('breakpoints').getByText(String(STOP_SECTOR)).waitFor();
  await inGuest(`clear; (${WRITE_THERE} 2>/dev/null; echo first=$?) & echo asked $((6 * 7))`, /asked 42/);
  await control();
  await paused(true);
  await workstation.picture('live-stopped');
  expect((await sector()).every((byte) => byte === 0)).toBe(true);
  await page.getByTestId('queue-step').click();
  await expect.poll(async () => (await sector()).some((byte) => byte !== 0), { timeout: LONG }).toBe(true);
  await page.getByTestId('queue-resume').click();
  await paused(false);
  await go('console');
  await workstation.see(/first=0/, LONG);

  // The next one fails, and the guest says so.
  const written = await sector();
  await inGuest(`clear; (${WRITE_THERE} 2>/dev/null; echo second=$?) & echo asked $((6 * 7))`, /asked 42/);
  await control();
  await paused(true);
  await page.getByTestId('inject-from').fill(String(STOP_SECTOR));
  await page.getByTestId('add-injection').click();
  await page.getByTestId('injections').getByRole('listitem').waitFor();
  await workstation.picture('live-inject');
  await page.getByTestId('queue-step').click();
  await page.getByTestId('injections').getByTitle('used up').waitFor({ timeout: LONG });
  await page.getByTestId('queue-resume').click();
  await go('console');
  await workstation.see(/second=1/, LONG);
  await inGuest('clear; dmesg | grep -o "error, dev vdb, sector [0-9]*"', new RegExp(`dev vdb, sector ${STOP_SECTOR}`));
  expect((await sector()).equals(written)).toBe(true);
  await workstation.picture('live-guest-error');

  await control();
  await page.getByTestId('clear-all').click();
  await page.locator('[data-testid=control-active][data-active=false]').waitFor();
  await inGuest(`clear; ${WRITE_THERE} 2>/dev/null; echo third=$?`, /^third=0/m);

  // Detach.
  await go('hardware');
  await page.getByTestId(`row-${id}`).click();
  await live.getByTestId('detach').click();
  await page.getByTestId('confirm-yes').click();
  await status.filter({ hasText: /Waiting for the guest|has not let go/ }).waitFor();
  await workstation.pictures('live-detaching');
  await doGuestsPart();
  await inGuest('clear; [ ! -e /sys/block/vdb ] && echo gone $((6 * 7))', /gone 42/);
  await go('hardware');
  await page.getByTestId('hardware').waitFor();
  await page.getByTestId(`row-${id}`).waitFor({ state: 'detached' });
  await go('console');
}
