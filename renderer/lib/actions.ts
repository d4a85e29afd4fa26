/** Carries out the contract's actions, whoever asks: the native menu, a key, a list of commands. */
import { actionEnabled } from '../../main/ipc/contract.ts';
import type { ActionName, VmInfo } from '../../main/ipc/contract.ts';
import { find } from './console/find.svelte.ts';
import { ui } from '../palette/ui.svelte.ts';
import { openFile } from './opened-files.svelte.ts';
import { app } from './state/app.svelte.ts';
import { router } from './state/router.svelte.ts';
import type { VmTab } from './state/router.svelte.ts';
import { act } from './state/toasts.svelte.ts';
import * as ops from './vm-actions.ts';

/** The VM that is shown. */
export function currentVm(): VmInfo | undefined {
  return router.route.page === 'vm' ? app.vms.get(router.route.id) : undefined;
}

type Run = (vm: VmInfo) => unknown;

const tab = (name: VmTab): Run => {
  return (vm) => router.go({ page: 'vm', id: vm.id, tab: name });
};

/** An action that needs a VM is called only when there is one that fits. */
const RUN: Record<ActionName, Run> = {
  'vm.new': () => router.go({ page: 'create' }),
  'file.open': () => act(chooseFile),
  'capture.open': () => router.go({ page: 'capture' }),
  'console.find': (vm) => {
    tab('console')(vm);
    find.open();
  },
  'vm.import': () => router.go({ page: 'import' }),
  'view.library': () => router.go({ page: 'library' }),
  'view.guests': () => router.go({ page: 'guests' }),
  'view.log': () => router.go({ page: 'log' }),
  'view.settings': () => router.go({ page: 'settings' }),
  'view.palette': () => (ui.palette = true),
  'view.shortcuts': () => (ui.shortcuts = true),
  'view.console': tab('console'),
  'view.devices': tab('devices'),
  'view.monitor': tab('monitor'),
  'view.hardware': tab('hardware'),
  'view.overview': tab('overview'),
  'vm.start': (vm) => ops.start(vm),
  'vm.pause': (vm) => ops.pause(vm),
  'vm.resume': (vm) => ops.resume(vm),
  'vm.reset': (vm) => ops.reset(vm),
  'vm.powerOff': (vm) => ops.powerOff(vm),
  'vm.rename': (vm) => ops.rename(vm),
  'vm.clone': (vm) => ops.clone(vm),
  'vm.export': (vm) => router.go({ page: 'export', id: vm.id }),
  'vm.delete': (vm) => ops.remove(vm),
};

/** Does nothing when the action makes no sense now. */
export function run(name: ActionName): void {
  const vm = currentVm();
  if (actionEnabled(name, vm)) void RUN[name](vm as VmInfo);
}

export const OPEN_TITLE = 'Open a disk image, a capture or a .ringside file';

async function chooseFile(): Promise<void> {
  if (app.info?.nativeDialogs !== true) {
    ui.choosing = true;
    return;
  }
  const { path } = await app.client.call('files.pick', { kind: 'open', title: OPEN_TITLE });
  if (path !== null) openFile(path);
}
