/** What a person can do with a VM, with the questions that go before it. */
import { closeQuestion } from '../../main/ipc/contract.ts';
import type { VmInfo } from '../../main/ipc/contract.ts';
import { baseName } from './format.ts';
import { app } from './state/app.svelte.ts';
import { router } from './state/router.svelte.ts';
import { act, lineOf, toasts } from './state/toasts.svelte.ts';
import { confirm } from './ui/confirm.svelte.ts';

/** Starts a VM; one whose guest is not here yet starts when it has been downloaded. */
export async function start(vm: VmInfo): Promise<boolean> {
  const { boot } = vm.settings;
  const guest = boot.source === 'guest' ? app.guests.get(boot.guest) : undefined;
  if (guest !== undefined && guest.state !== 'ready') {
    return act(async () => {
      app.startWhenReady.set(vm.id, guest.id);
      try {
        await app.client.call('guests.fetch', { id: guest.id });
      } catch (error) {
        app.startWhenReady.delete(vm.id);
        throw error;
      }
    });
  }
  try {
    await app.client.call('vm.start', { id: vm.id });
    return true;
  } catch (error) {
    // The VM's own page says it where it can be read at leisure.
    const shown =
      router.route.page === 'vm' && router.route.id === vm.id && app.vms.get(vm.id)?.message === lineOf(error);
    if (!shown) toasts.show('error', lineOf(error));
    return false;
  }
}

export function pause(vm: VmInfo): Promise<boolean> {
  return act(() => app.client.call('vm.pause', { id: vm.id }));
}

export function resume(vm: VmInfo): Promise<boolean> {
  return act(() => app.client.call('vm.resume', { id: vm.id }));
}

export async function reset(vm: VmInfo): Promise<void> {
  const yes = await confirm.ask({
    title: 'Reset the machine?',
    message: `“${vm.settings.name}” starts anew, as if its reset button were pressed. What the guest has not written to its disks is lost.`,
    confirm: 'Reset',
    danger: true,
  });
  if (yes) await act(() => app.client.call('vm.reset', { id: vm.id }));
}

export async function powerOff(vm: VmInfo): Promise<void> {
  const yes = await confirm.ask({
    title: 'Pull the plug?',
    message: `“${vm.settings.name}” goes off at once. Its disks are flushed, but the guest gets no chance to shut down: what it holds in memory is lost.`,
    details: ['To end it properly, shut it down inside the guest, e.g. with “poweroff”.'],
    confirm: 'Power off',
    danger: true,
  });
  if (yes) await act(() => app.client.call('vm.powerOff', { id: vm.id }));
}

export async function remove(vm: VmInfo): Promise<void> {
  const { name, drives } = vm.settings;
  const others = app.sortedVms.filter((each) => each.id !== vm.id);
  const choices = drives
    .filter(
      ({ file, readonly }) =>
        !readonly && !others.some((each) => each.settings.drives.some((drive) => drive.file === file)),
    )
    .map(({ file }) => ({
      value: file,
      label: `Also delete ${baseName(file)}`,
      help: 'The image file and all that is on it',
    }));
  const yes = await confirm.ask({
    title: `Delete “${name}”?`,
    message: 'This removes the VM and its settings from the library. It cannot be undone.',
    details:
      drives.length === 0
        ? ['It has no disks.']
        : [
            drives.length === 1 ? 'Its disk image stays where it is:' : 'Its disk images stay where they are:',
            ...drives.map((drive) => drive.file),
          ],
    choices,
    confirm: 'Delete',
    danger: true,
  });
  if (!yes) return;
  const disks = [...confirm.chosen];
  if (!(await act(() => app.client.call('vm.delete', { id: vm.id, disks })))) return;
  const gone =
    disks.length === 0 ? '' : `, and ${disks.length === 1 ? 'its disk image' : `${disks.length} disk images`}`;
  toasts.show('info', `“${name}”${gone} has been deleted.`);
  if (router.route.page === 'vm' && router.route.id === vm.id) router.go({ page: 'library' });
}

export async function rename(vm: VmInfo): Promise<void> {
  const yes = await confirm.ask({
    title: 'Rename',
    message: 'The name is for you; the guest does not see it.',
    input: { label: 'Name', value: vm.settings.name },
    confirm: 'Rename',
  });
  const name = confirm.text.trim();
  if (!yes || name === vm.settings.name) return;
  await act(() => app.client.call('vm.update', { id: vm.id, settings: { ...vm.settings, name } }));
}

/** A VM like it, with copies of its disks or without them. */
export async function clone(vm: VmInfo): Promise<void> {
  const { name, drives } = vm.settings;
  const written = drives.filter(({ readonly }) => !readonly);
  const yes = await confirm.ask({
    title: `Clone “${name}”`,
    message: 'A new VM with the same hardware.',
    input: { label: 'Name', value: `${name} copy`.slice(0, 80) },
    choices:
      written.length === 0
        ? []
        : [
            {
              value: 'copy',
              label: written.length === 1 ? 'Copy its disk' : `Copy its ${written.length} disks`,
              help: 'Into Ringside’s disks folder. Without it the clone gets no disk that the original writes to.',
              chosen: true,
            },
          ],
    confirm: 'Clone',
  });
  if (!yes) return;
  const disks = confirm.chosen.includes('copy') ? 'copy' : 'leave-out';
  const wanted = confirm.text.trim();
  try {
    const copy = await app.client.call('vm.clone', { id: vm.id, name: wanted, disks });
    app.vms.set(copy.id, copy);
    toasts.show('info', `“${wanted}” is in the library.`);
  } catch (error) {
    toasts.show(cancelled.delete(vm.id) ? 'info' : 'error', lineOf(error));
  }
}

/** Sources of clones that the person has cancelled: it is no error then. */
const cancelled = new Set<string>();

export async function cancelClone(vm: VmInfo): Promise<void> {
  cancelled.add(vm.id);
  await act(() => app.client.call('vm.cancelClone', { id: vm.id }));
}

/** Ends the app; with VMs on it asks first. */
export async function quit(): Promise<void> {
  const question = closeQuestion(app.liveVms);
  if (question !== null) {
    const { title, message, detail, confirm: yes, cancel } = question;
    if (!(await confirm.ask({ title, message, details: [detail], confirm: yes, cancel, danger: true }))) return;
  }
  await app.quit();
}
