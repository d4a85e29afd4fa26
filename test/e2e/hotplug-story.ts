/** Devices come and go on the Hardware page of a VM that is on: on a scripted machine, whose guest serves its slots. */
import { expect } from 'vitest';
import type { TestApp } from '../app/doubles/app.ts';
import type { Workstation } from './browser.ts';

export async function tellHotplug(workstation: Workstation, app: TestApp): Promise<void> {
  const { page } = workstation;
  const vm = () => app.app.vms().find(({ state }) => state === 'running')!;
  const before = vm().settings.devices;
  const { hotplug } = app.machines.last;
  const live = page.getByTestId('live-rng1');
  const status = (text: string) => live.getByTestId('live-status').filter({ hasText: text }).waitFor();
  const detach = async () => {
    await live.getByTestId('detach').click();
    await page.getByTestId('confirm-yes').click();
  };

  await page.getByRole('link', { name: vm().settings.name }).first().click();
  await page.getByTestId('tab-hardware').click();
  await page.getByTestId('add-device-button').click();
  await page.getByTestId('device-search').fill('entropy');
  await page.keyboard.press('Enter');
  await page.getByTestId('part-rng1').waitFor();
  await page.getByTestId('attach-now').click();
  await status('Attached');
  await page.getByTestId('save-bar').waitFor({ state: 'hidden' });
  expect(vm()).toMatchObject({ pending: false });
  expect(vm().settings.devices.at(-1)).toMatchObject({ id: 'rng1', bus: 'rp0' });
  await workstation.pictures('hotplug-attached');

  await page.getByTestId('row-Hotplug ports').click();
  await page.getByTestId('ports').getByText('served by the guest').first().waitFor();
  await workstation.pictures('hotplug-ports');
  await page.getByTestId('ports').getByRole('button', { name: 'rng1' }).click();

  // The guest may refuse, and change its mind.
  hotplug.guest = 'refuses';
  await detach();
  await status('The guest keeps it');
  await workstation.picture('hotplug-refused');
  hotplug.guest = 'lets go';
  await live.getByTestId('detach').click();
  await page.getByTestId('confirm-choice').uncheck();
  await page.getByTestId('confirm-yes').click();
  await page.getByTestId('attach-box').getByText('it comes with the next start, or now').waitFor();
  await workstation.pictures('hotplug-detached');
  expect(vm().settings.devices.at(-1)).toMatchObject({ id: 'rng1' });

  await page.getByTestId('attach-now').click();
  await status('Attached');
  await page.getByTestId('show-arguments').click();
  await page.getByTestId('export-text').filter({ hasText: 'virtio-rng-pci,id=rng1' }).waitFor();
  await workstation.picture('hotplug-arguments');
  await page.keyboard.press('Escape');
  await page.getByTestId('export').waitFor({ state: 'hidden' });
  await detach();
  await page.getByTestId('row-rng1').waitFor({ state: 'detached' });
  expect(vm().settings.devices).toEqual(before);
}
