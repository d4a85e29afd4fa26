/** The command palette and the list of shortcuts: whether they are open, and what the palette lists. */
import { actionEnabled, actionNames, actions } from '../../main/ipc/contract.ts';
import type { ActionInfo } from '../../main/ipc/contract.ts';
import { currentVm, run } from '../lib/actions.ts';
import { app } from '../lib/state/app.svelte.ts';
import { router } from '../lib/state/router.svelte.ts';
import type { IconName } from '../lib/ui/Icon.svelte';
import { STATE_WORDS } from '../lib/ui/StateBadge.svelte';
import { ui } from './ui.svelte.ts';

export interface Command {
  id: string;
  label: string;
  /** What it is about, e.g. the VM that it acts on. */
  detail: string;
  icon: IconName;
  keys?: string | undefined;
  run: () => void;
}

const ICONS: Readonly<Record<ActionInfo['menu'], IconName>> = {
  file: 'file',
  edit: 'edit',
  view: 'right',
  machine: 'power',
};

/** Everything that can be done now. */
export function commands(): Command[] {
  const vm = currentVm();
  const found: Command[] = [];
  for (const name of actionNames) {
    if (name === 'view.palette' || !actionEnabled(name, vm)) continue;
    const { label, menu, keys, needs }: ActionInfo = actions[name];
    const detail = needs === undefined ? '' : (vm?.settings.name ?? '');
    found.push({ id: name, label: label.replace(/…$/, ''), detail, icon: ICONS[menu], keys, run: () => run(name) });
  }
  for (const each of app.sortedVms) {
    const { name } = each.settings;
    const open = (tab: 'console' | 'hardware') => () => router.go({ page: 'vm', id: each.id, tab });
    const detail = STATE_WORDS[each.state];
    found.push({ id: `vm:${each.id}`, label: name, detail, icon: 'terminal', run: open('console') });
    found.push({ id: `hw:${each.id}`, label: `${name}: hardware`, detail, icon: 'settings', run: open('hardware') });
  }
  return found;
}

/** Those that have all words in them, the ones that begin with them first. */
export function search(all: readonly Command[], text: string): Command[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const rank = ({ label }: Command) => (words.length > 0 && label.toLowerCase().startsWith(words[0]) ? 0 : 1);
  return all
    .filter(({ label, detail }) => words.every((word) => `${label} ${detail}`.toLowerCase().includes(word)))
    .sort((a, b) => rank(a) - rank(b));
}

export function openPalette(): void {
  ui.shortcuts = false;
  ui.palette = true;
}
