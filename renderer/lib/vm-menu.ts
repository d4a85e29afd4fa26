/** What else can be done with a VM, as a menu. */
import type { VmInfo } from '../../main/ipc/contract.ts';
import { isLive } from './state/app.svelte.ts';
import { router } from './state/router.svelte.ts';
import type { Item } from './ui/Menu.svelte';
import * as ops from './vm-actions.ts';

/** @param prefix of the items' test ids */
export function vmMenu(vm: VmInfo, prefix: string): Item[] {
  const busy = isLive(vm) || vm.cloning !== null;
  return [
    { label: 'Rename…', icon: 'edit', act: () => ops.rename(vm), testid: `${prefix}-rename` },
    { label: 'Clone…', icon: 'copy', disabled: busy, act: () => ops.clone(vm), testid: `${prefix}-clone` },
    {
      label: 'Export…',
      icon: 'download',
      act: () => router.go({ page: 'export', id: vm.id }),
      testid: `${prefix}-export`,
    },
    {
      label: 'Delete…',
      icon: 'trash',
      danger: true,
      disabled: busy,
      act: () => ops.remove(vm),
      testid: `${prefix}-delete`,
    },
  ];
}
