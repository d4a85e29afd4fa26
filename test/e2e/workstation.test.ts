/** The user interface in a browser, on scripted machines: every page, and the stories that it is for. */
import { chmod, mkdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { serveApp } from '../../main/serve/server.ts';
import { settings, TestApp, until } from '../app/doubles/app.ts';
import { DEBIAN_COMMAND } from '../app/interchange/samples.ts';
import { noBrowser, Workstation } from './browser.ts';
import { tellHotplug } from './hotplug-story.ts';
import { browseTo, tellStory } from './story.ts';

const MIB = 2 ** 20;

describe('the workstation in a browser', { timeout: 120_000 }, () => {
  let app: TestApp;
  let workstation: Awaited<ReturnType<typeof Workstation.open>>;
  let disk: string;

  beforeAll(async () => {
    if (noBrowser !== null) return;
    app = await TestApp.create();
    disk = path.join(app.home, 'images', 'disk.raw');
    await mkdir(path.dirname(disk));
    await writeFile(disk, '');
    await truncate(disk, 64 * MIB);
    await writeFile(path.join(app.home, 'Image'), Buffer.alloc(24 * MIB));
    workstation = await Workstation.open(app.app);
  }, 120_000);

  beforeEach(({ skip }) => skip(noBrowser !== null, noBrowser ?? ''));

  afterAll(async () => {
    await workstation?.close();
    await app?.close();
  });

  test('an empty library invites to create a VM', async () => {
    await workstation.page.getByTestId('empty-library').waitFor();
    await workstation.pictures('library-empty');
    expect(workstation.page.url()).not.toContain('token');
  });

  test('the form says what is wrong at the field it is wrong in, and where it can, as one types', async () => {
    const { page } = workstation;
    await page.getByTestId('create-first').click();
    await workstation.pictures('create-guest');
    await page.getByTestId('choose-kernel').click();
    await page.getByTestId('vm-kernel').fill('/no/such/kernel');
    await page.getByText('There is no such file.').waitFor();
    await page.getByTestId('vm-kernel').fill('');
    await page.getByTestId('vm-memory').fill('lots');
    await page.getByTestId('vm-memory').blur();
    await page.getByText('a size, like 512 MiB or 2 GiB').waitFor();
    await page.getByTestId('vm-memory').fill('64G');
    await page.getByText('at most 3776 MiB').waitFor();
    await page.getByTestId('attach-disk').click();
    await page.getByTestId('drive-path').fill(path.dirname(disk));
    await page.getByText('This is a directory: choose a file in it.').waitFor();
    await page.getByTestId('create').click();
    await page.getByText('choose a kernel, or a firmware that has one').waitFor();
    await workstation.pictures('create-errors');
    expect(app.app.vms()).toEqual([]);
  });

  test('a disk image of another format is said to be one, with the command that converts it', async () => {
    const { page } = workstation;
    const image = path.join(app.home, 'images', 'cloud image.vmdk');
    await writeFile(image, Buffer.concat([Buffer.from('KDMV'), Buffer.alloc(1020)]));
    await page.getByTestId('choose-disk').click();
    await page.getByTestId('drive-path').fill(image);
    const raw = image.replace('.vmdk', '.raw');
    await page.getByTestId('convert').getByText(`qemu-img convert -O raw '${image}' '${raw}'`).waitFor();
    await workstation.pictures('create-disk');
    await page.getByRole('button', { name: 'Use cloud image.raw' }).click();
    expect(await page.getByTestId('drive-path').inputValue()).toBe(raw);
    await page.getByTestId('convert').waitFor({ state: 'hidden' });
    await page.getByText('A kernel from files').click();
    expect(await page.getByTestId('vm-append').inputValue()).toBe('console=ttyS0 root=/dev/vda1 rw');
    await page.getByTestId('choose-firmware').click();
    await page.getByTestId('vm-bios').waitFor();
    expect(await page.getByTestId('vm-append').inputValue()).toBe('');
    await workstation.pictures('create-firmware');
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByTestId('empty-library').waitFor();
  });

  test('create, attach, boot, type, watch, power off', async () => {
    await tellStory(workstation, {
      name: 'My machine',
      disk,
      boot: async ({ page }) => {
        await page.getByTestId('choose-kernel').click();
        await page.getByTestId('vm-kernel').fill(path.join(app.home, 'Image'));
      },
      prompt: /guest# /,
      bootTime: 10_000,
      write: 'dd if=/dev/zero of=/dev/vda',
      written: /128\+0 records out/,
      busy: 'busy',
      pictures: 'double',
    });
  });

  test('a guest of the catalogue is downloaded, then booted, with a new disk', async () => {
    const { page } = workstation;
    app.catalogue.duration = 60_000;
    await page.getByTestId('new-vm').click();
    await page.getByTestId('choose-debian').click();
    await page.getByTestId('create-disk').click();
    await page.getByTestId('new-disk-size').fill('256 MiB');
    await expect
      .poll(() => page.getByTestId('new-disk-path').inputValue(), { timeout: 30_000 })
      .toBe(`${app.home}/disks/debian.raw`);
    await workstation.picture('new-disk');
    await page.getByTestId('new-disk-create').click();
    await expect
      .poll(() => page.getByTestId('drive-path').inputValue(), { timeout: 30_000 })
      .toBe(`${app.home}/disks/debian.raw`);
    const made = await stat(`${app.home}/disks/debian.raw`);
    expect(made.size).toBe(256 * MIB);
    expect(made.blocks * 512).toBeLessThan(MIB);
    await page.getByTestId('create-and-start').click();
    await page.getByTestId('waits-for-guest').waitFor();
    await workstation.picture('waits-for-guest');
    // Its download waits for the person, who goes on with it on another page.
    await page.getByRole('link', { name: 'Guests' }).click();
    await page.getByTestId('guest-progress').getByText('Downloading linux-image').waitFor();
    await page.getByRole('button', { name: 'Pause: the download of Debian 13 (trixie)' }).click();
    await page.getByTestId('guest-progress').getByText('Paused').waitFor();
    await workstation.pictures('guest-paused');
    expect(app.app.vms().find((vm) => vm.settings.name === 'debian')?.state).toBe('stopped');
    app.catalogue.duration = 2000;
    await page.getByRole('button', { name: 'Resume: the download of Debian 13 (trixie)' }).click();
    await page.getByRole('link', { name: 'debian' }).first().click();
    await workstation.state('running');
    await workstation.see(/Command line: console=ttyS0/);
    expect(app.machines.last.config.kernel).toBe('/cache/debian/Image');
  });

  test('the library and the guests are shown', async () => {
    const { page } = workstation;
    await page.getByRole('link', { name: 'Library' }).click();
    await expect.poll(() => page.getByTestId('vm-row').count(), { timeout: 30_000 }).toBe(2);
    await workstation.pictures('library');
    await page.getByRole('link', { name: 'Guests' }).click();
    app.catalogue.error = new Error('deb.example.org does not answer: check your network and try again');
    await page
      .getByTestId('guest-debian-installer')
      .getByRole('button', { name: /^Download/ })
      .click();
    await page.getByText('deb.example.org does not answer').waitFor();
    await workstation.pictures('guests');
    app.catalogue.error = null;
  });

  test('a VM is imported, given a device, shown as arguments, cloned and deleted', async () => {
    const { page } = workstation;
    const names = () => app.app.vms().map((vm) => vm.settings.name);
    const before = names();
    await page.getByRole('link', { name: 'Library' }).click();
    await page.getByTestId('import').click();
    await page.getByTestId('import-text').fill('qemu-system-x86_64 -m 1G');
    await page.getByTestId('import-read').click();
    await page.getByTestId('import-error').filter({ hasText: 'this VM is for x86_64' }).waitFor();
    await page.getByTestId('import-text').fill(DEBIAN_COMMAND.replace('-m 4G', '-m 1G -name Imported'));
    await page.getByTestId('import-read').click();
    await page.getByTestId('import-notes').filter({ hasText: 'The network net (user) is left out' }).waitFor();
    await workstation.pictures('imported');
    await page.getByTestId('create').click();

    await page.getByTestId('tab-hardware').click();
    await page.getByTestId('add-device-button').click();
    await page.getByTestId('device-search').fill('ciphers');
    await workstation.picture('add-device');
    await page.keyboard.press('Enter');
    await page.getByTestId('part-crypto0').waitFor();
    await page.getByTestId('add-device-button').click();
    await page.getByTestId('device-search').fill('entropy');
    await page.keyboard.press('Enter');
    const random = page.getByTestId('part-rng0');
    await random.getByText('More settings').click();
    await random.getByTestId('property-period').fill('fast');
    await random.getByText('"fast" is not a whole number').waitFor();
    await workstation.pictures('hardware-problem');
    await random.getByTestId('property-period').fill('1000');
    await random.getByText('"fast" is not a whole number').waitFor({ state: 'hidden' });
    await page.getByTestId('save').click();
    await page.getByTestId('save-bar').waitFor({ state: 'hidden' });
    await page.getByTestId('show-arguments').click();
    await page.getByTestId('export-text').filter({ hasText: 'virtio-rng-pci,id=rng0,period=1000' }).waitFor();
    await page.getByRole('radio', { name: 'libvirt' }).check({ force: true });
    await page.getByTestId('export-text').filter({ hasText: '<rng model=' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByTestId('export').waitFor({ state: 'hidden' });

    await page.getByRole('link', { name: 'Library' }).click();
    const card = (name: string) =>
      page.getByTestId('vm-row').filter({ has: page.getByRole('link', { name, exact: true }) });
    await card('Imported').getByTestId('card-menu').click();
    await page.getByTestId('card-clone').click();
    await page.getByTestId('confirm-choice').uncheck();
    await page.getByTestId('confirm-text').fill('The clone');
    await page.getByTestId('confirm-yes').click();
    await card('The clone').waitFor();
    for (const name of ['Imported', 'The clone']) {
      await card(name).getByTestId('card-menu').click();
      await page.getByTestId('card-delete').click();
      await page.getByTestId('confirm-yes').click();
      await card(name).waitFor({ state: 'hidden' });
    }
    expect(names()).toEqual(before);
  });

  test('a VM is exported on a page, and saved', async () => {
    const { page } = workstation;
    await page.getByRole('link', { name: 'Library' }).click();
    await page.getByTestId('card-menu').first().click();
    await page.getByTestId('card-export').click();
    await page.getByTestId('export-text').filter({ hasText: 'qemu-system-riscv64' }).waitFor();
    await workstation.pictures('export');
    await page.getByRole('radio', { name: '.ringside file' }).check({ force: true });
    await page.getByTestId('export-text').filter({ hasText: '"ringside": 1' }).waitFor();
    await page.getByTestId('export-copy').click();
    await expect
      .poll(() => page.evaluate<string>('navigator.clipboard.readText()'), { timeout: 30_000 })
      .toContain('"ringside": 1');
    const saving = page.waitForEvent('download');
    await page.getByTestId('export-save').click();
    const download = await saving;
    expect(download.suggestedFilename()).toBe('My-machine.ringside');
    const file = path.join(app.home, 'saved.ringside');
    await download.saveAs(file);

    // It is opened as it would be on the desktop, by the file browser.
    await page.keyboard.press('Control+Shift+O');
    await browseTo(page, file);
    await page.getByTestId('import-notes').filter({ hasText: disk }).waitFor();
    expect(await page.getByTestId('vm-name').inputValue()).toBe('My machine');
    await page.getByRole('button', { name: 'Cancel' }).click();
  });

  test('a disk image that is opened finds a VM', async () => {
    const { page } = workstation;
    const image = path.join(app.home, 'images', 'opened.raw');
    await writeFile(image, '');
    await truncate(image, MIB);
    const open = async (file: string) => {
      await page.keyboard.press('Control+Shift+O');
      await browseTo(page, file);
      await page.getByTestId('open-image').waitFor();
    };
    await open(image);
    await workstation.pictures('open-image');
    await page.getByTestId('image-new-vm').click();
    await expect.poll(() => page.getByTestId('drive-path').inputValue(), { timeout: 30_000 }).toBe(image);
    await page.getByRole('button', { name: 'Cancel' }).click();
    await open(image);
    await page.getByRole('button', { name: 'Attach to My machine' }).click();
    await page.getByTestId('row-drive1').waitFor();
    expect(app.app.vms().find((vm) => vm.settings.name === 'My machine')!.settings.drives[1].file).toBe(image);
    await page.getByTestId('row-drive1').click();
    await page.getByRole('button', { name: /^Remove/ }).click();
    await page.getByTestId('save').click();
    await page.getByTestId('save-bar').waitFor({ state: 'hidden' });
  });

  test('a clone says how far it is, and can be cancelled', async () => {
    const { page } = workstation;
    const large = path.join(app.home, 'images', 'large.raw');
    await writeFile(large, '');
    await truncate(large, 512 * 1024 * MIB);
    const client = app.connect();
    const { id } = await client.call('vm.create', {
      settings: settings({ name: 'Large', drives: [{ id: 'drive0', file: large }] }),
    });
    await page.getByRole('link', { name: 'Library' }).click();
    const card = page.getByTestId('vm-row').filter({ has: page.getByRole('link', { name: 'Large', exact: true }) });
    await card.getByTestId('card-menu').click();
    await page.getByTestId('card-clone').click();
    await page.getByTestId('confirm-yes').click();
    await card.getByTestId('cloning').waitFor();
    await workstation.picture('cloning');
    await card.getByRole('button', { name: 'Cancel the clone Large copy' }).click();
    await card.getByTestId('cloning').waitFor({ state: 'hidden' });
    await page.getByText('the clone of “Large” was cancelled').waitFor();
    await client.call('vm.delete', { id, disks: [large] });
    await card.waitFor({ state: 'hidden' });
    client.close();
  });

  test('a second VM cannot have the disk that a running one writes to', async () => {
    const { page } = workstation;
    const running = app.app.vms().find((vm) => vm.state === 'running')!;
    const other = app.app.vms().find((vm) => vm.state === 'stopped')!;
    await page.goto(`${page.url().replace(/#.*/, '')}#/vm/${other.id}/hardware`);
    await page.getByTestId(`row-${other.settings.drives[0].id}`).click();
    await page.getByTestId('drive-path').fill(running.settings.drives[0].file);
    await page.getByTestId('save').click();
    await page.getByText('Saved.').waitFor();
    await page.getByTestId('start').click();
    await page.getByTestId('vm-message').filter({ hasText: 'is in use by the VM “debian”' }).waitFor();
    await workstation.pictures('in-use');
    await workstation.state('stopped');
  });

  test('devices come and go while a VM is on', () => tellHotplug(workstation, app));

  test('a reload brings back the console, and a flood does not stop it', async () => {
    const { page } = workstation;
    const running = app.app.vms().find((vm) => vm.state === 'running')!;
    await page.getByRole('link', { name: running.settings.name }).click();
    await workstation.see(/Welcome/);
    await workstation.type('echo before the reload');
    await workstation.see(/^before the reload/m);
    await page.reload();
    await workstation.see(/^before the reload/m);
    // 54 MB in one go.
    await workstation.type('flood 1000000');
    await workstation.see(/xyz\nguest# /, 60_000);
    await workstation.type('echo after the flood');
    await workstation.see(/^after the flood/m, 60_000);
  });

  test('copy and paste', async () => {
    const { page } = workstation;
    await page.evaluate(`navigator.clipboard.writeText('echo pasted text\\r')`);
    await page.getByRole('button', { name: /^Paste/ }).click();
    await workstation.see(/^pasted text/m);
    const row = page.locator('.xterm-rows > div').filter({ hasText: /^pasted.text/ });
    await row.first().dblclick({ position: { x: 20, y: 5 }, force: true });
    await page.getByRole('button', { name: /^Copy/ }).click();
    await expect.poll(() => page.evaluate('navigator.clipboard.readText()'), { timeout: 30_000 }).toBe('pasted');
  });

  test('several lines are pasted after a question; text is found; another port is a tab; a log is kept', async () => {
    const { page } = workstation;
    await page.evaluate(`navigator.clipboard.writeText('echo first\\necho second\\n')`);
    await page.getByRole('button', { name: /^Paste/ }).click();
    await page.getByTestId('confirm').getByText('Paste 3 lines?').waitFor();
    await workstation.picture('console-paste');
    await page.getByTestId('confirm-yes').click();
    await workstation.see(/^second/m);

    await page.keyboard.press('Control+Shift+F');
    await page.getByLabel('Find in the console').fill('second');
    const matches = page.getByTestId('find-matches');
    await matches.filter({ hasText: /^[12] of 2$/ }).waitFor();
    const other = (await matches.innerText()) === '1 of 2' ? '2 of 2' : '1 of 2';
    await page.keyboard.press('Enter');
    await matches.filter({ hasText: other }).waitFor();
    await workstation.pictures('console-find');
    await page.keyboard.press('Escape');
    await page.getByTestId('find-bar').waitFor({ state: 'hidden' });

    await page.getByTestId('port-console0').click();
    await page.locator('[data-port=console0] .xterm-helper-textarea').waitFor({ state: 'attached' });
    await workstation.type('said on hvc0');
    await workstation.see(/^said on hvc0/m);
    await expect.poll(() => app.machines.last.virtio.size?.cols, { timeout: 30_000 }).toBeGreaterThan(80);

    await page.getByTestId('console-menu').click();
    await page.getByRole('menuitem', { name: 'Log to a file…' }).click();
    const file = path.join(app.home, 'hvc0.log');
    await page.getByTestId('log-path').fill(file);
    await page.getByTestId('log-start').click();
    await page.getByTestId('logged').getByText(file).waitFor();
    await expect.poll(() => readFile(file, 'utf8'), { timeout: 30_000 }).toContain('said on hvc0');
    await workstation.pictures('console-log');
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.getByTestId('logged').waitFor({ state: 'hidden' });
    await page.getByTestId('port-serial0').click();
  });

  test('the GPU draws where it can, and hands over to the page when it is told to', async () => {
    const { page } = workstation;
    const gpu = async (on: boolean) => {
      await page.getByTestId('console-menu').click();
      await page.getByRole('menuitem', { name: 'Console settings…' }).click();
      await page.getByLabel('Draw with the GPU').setChecked(on);
      await page.keyboard.press('Escape');
      await page.getByTestId('console-settings').waitFor({ state: 'hidden' });
    };
    await gpu(true);
    // Without WebGL the page goes on drawing, which is all that there is to see then.
    await gpu(false);
    await workstation.see(/^second/m);
  });

  test('a device without a driver, and one that its driver has broken, are plain to see', async () => {
    const { page } = workstation;
    app.machines.last.trouble.set('rng0', 'no driver').set('drive0', 'needs reset');
    await page.getByTestId('tab-devices').click();
    await page.getByTestId('device-drive0').click();
    await page.getByText('descriptor 17 points to itself').waitFor();
    expect(await page.getByTestId('device-drive0').innerText()).toContain('needs reset');
    await workstation.picture('device-broken');
    await page.getByTestId('device-rng0').click();
    expect(await page.getByTestId('feature-count').innerText()).toContain('none negotiated yet');
    await workstation.picture('device-no-driver');
    await page.getByTestId('device-console0').click();
    await workstation.picture('device-console');
    app.machines.last.trouble.clear();
  });

  test('what the machine has to say is shown: a full disk, a crash', async () => {
    const { page } = workstation;
    app.machines.last.stopFor('drive0: no space left on this computer: free some, then resume');
    await workstation.state('paused');
    await page.getByTestId('vm-message').filter({ hasText: 'no space left' }).waitFor();
    await workstation.picture('paused-no-space');
    app.machines.last.end({ reason: 'crash', code: 1, detail: 'hart 0: the worker ended' });
    await workstation.state('crashed');
    await page.getByTestId('vm-message').filter({ hasText: 'It crashed (hart 0: the worker ended)' }).waitFor();
    await workstation.pictures('crashed');
    await page.getByTestId('tab-devices').click();
    await page.getByText('The VM is off').waitFor();
    await workstation.picture('devices-off');
    await page.getByTestId('tab-console').click();
    await page.getByTestId('start').click();
    await workstation.state('running');
  });

  test('a directory that cannot be read, odd names, links to nothing: the file browser shows them all', async () => {
    const { page } = workstation;
    const folder = path.join(app.home, 'odd');
    await mkdir(path.join(folder, 'a folder'), { recursive: true });
    await writeFile(path.join(folder, '.hidden'), 'x');
    await writeFile(Buffer.concat([Buffer.from(`${folder}/bad-`), Buffer.from([0xff])]), 'x');
    await mkdir(path.join(folder, 'closed'));
    await chmod(path.join(folder, 'closed'), 0);
    await page.getByTestId('new-vm').click();
    await page.getByTestId('attach-disk').click();
    await page.getByTestId('drive-path').fill(`${folder}/x`);
    await page.getByTestId('drive-path-browse').click();
    await expect.poll(() => page.getByTestId('file-entry').count(), { timeout: 30_000 }).toBe(4);
    await page.getByText('its name is not UTF-8').waitFor();
    await workstation.pictures('file-browser');
    await page.keyboard.press('Escape');
    await page.getByTestId('file-browser').waitFor({ state: 'hidden' });
    await page.getByRole('button', { name: 'Cancel' }).click();
  });

  test('every main page can be used from the keyboard', async () => {
    const { page } = workstation;
    await page.getByRole('link', { name: 'Library' }).click();
    await page.getByTestId('vm-row').first().waitFor();
    await page.getByRole('link', { name: 'Library' }).focus();
    const seen = new Set<string>();
    for (let step = 0; step < 30; step++) {
      await page.keyboard.press('Tab');
      seen.add(
        await page.evaluate<string>(
          `document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent?.trim() ?? ''`,
        ),
      );
    }
    for (const name of ['Guests', 'New virtual machine', 'debian', 'New VM', 'Pause', 'Power off', 'More actions']) {
      expect([...seen], name).toContain(name);
    }
  });

  test('a stranger sees nothing but the way in, and a wrong token does not open it', async () => {
    const { page, server } = workstation;
    const stranger = await page
      .context()
      .browser()!
      .newContext({ viewport: { width: 1280, height: 800 } });
    const theirs = await stranger.newPage();
    await theirs.goto(`http://127.0.0.1:${server.port}/#token=wrong`);
    await theirs.getByTestId('sign-in').waitFor();
    await theirs.getByRole('textbox').fill('wrong too');
    await theirs.getByRole('button', { name: 'Sign in' }).click();
    await theirs.getByText('This is not the token').waitFor();
    await theirs.screenshot({ path: 'test/out/sign-in.png' });
    await theirs.getByRole('textbox').fill(server.url);
    await theirs.getByRole('button', { name: 'Sign in' }).click();
    await theirs.getByTestId('vm-row').first().waitFor();
    await stranger.close();
  });

  test('delete says what goes and what stays', async () => {
    const { page } = workstation;
    const other = app.app.vms().find((vm) => vm.state === 'stopped')!;
    await page.getByRole('link', { name: other.settings.name }).first().click();
    await page.getByTestId('vm-menu').click();
    await page.getByTestId('vm-delete').click();
    await page.getByTestId('confirm').getByText('Its disk image stays where it is:').waitFor();
    await workstation.picture('delete');
    await page.getByTestId('confirm-yes').click();
    await expect.poll(() => page.getByTestId('vm-row').count(), { timeout: 30_000 }).toBe(1);
    expect(app.app.vms()).toHaveLength(1);
    expect((await stat(other.settings.drives[0].file)).size).toBeGreaterThan(0);
  });

  test('the page has nothing to complain about', () => {
    // The stranger's failed attempts are theirs; everything else would be a bug.
    expect(workstation.complaints).toEqual([]);
  });

  test('a lost connection is shown, the VMs go on, and the page comes back with them', async () => {
    const { page, server } = workstation;
    await page.getByRole('link', { name: 'debian' }).first().click();
    await workstation.see(/guest# /);
    await server.close();
    await page.getByTestId('link-lost').waitFor();
    await workstation.picture('link-lost');
    // A server that has been started anew knows no sessions: the page asks for the token.
    const again = await serveApp({ app: app.app, port: server.port, token: server.token });
    await page.getByTestId('sign-in').waitFor();
    await page.getByRole('textbox').fill(again.url);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await workstation.state('running');
    await workstation.see(/guest# /);
    await workstation.type('echo still here');
    await workstation.see(/^still here/m);
  });

  test('quitting with a VM on asks first', async () => {
    const { page } = workstation;
    await page.getByTestId('quit').click();
    await page.getByTestId('confirm').getByText('“debian” is still running.').waitFor();
    await workstation.picture('quit');
    await page.getByRole('button', { name: 'Keep running' }).click();
    expect(app.machines.last.state).toBe('running');
    await page.getByTestId('quit').click();
    await page.getByTestId('confirm-yes').click();
    await page.getByText('Ringside has quit').waitFor();
    await until(() => app.quitCalled, 'quit');
    expect(app.machines.last.disposed).toBe(true);
  });
});
