/**
 * What a person can do from anywhere in the window, by name. The native menu, keyboard shortcuts and whatever else lists
 * actions are made from this one table; the page carries them out (renderer/lib/actions.ts).
 */
import type { VmInfo } from './schemas.ts';

/** What the VM that is shown must be for an action to make sense; without: nothing. */
type Needs = 'any' | 'off' | 'on' | 'running' | 'paused';

export interface ActionInfo {
  label: string;
  /** The native menu it is in, in the table's order; a new `group` begins after a separator. */
  menu: 'file' | 'edit' | 'view' | 'machine';
  group?: number;
  /**
   * Keys, as Electron's accelerators. A guest's terminal wants Ctrl with a letter for itself, so ours have Shift too.
   */
  keys?: string;
  needs?: Needs;
}

export const actions = {
  'vm.new': { label: 'New Virtual Machine…', menu: 'file', keys: 'CmdOrCtrl+Shift+N' },
  'file.open': { label: 'Open…', menu: 'file', keys: 'CmdOrCtrl+Shift+O' },
  'capture.open': { label: 'Open Capture…', menu: 'file' },
  'console.find': { label: 'Find in Console', menu: 'edit', keys: 'CmdOrCtrl+Shift+F', needs: 'any' },
  'vm.import': { label: 'Import Virtual Machine…', menu: 'file' },
  'view.library': { label: 'Library', menu: 'view', keys: 'CmdOrCtrl+Shift+L' },
  'view.guests': { label: 'Guests', menu: 'view' },
  'view.log': { label: 'Log', menu: 'view' },
  'view.settings': { label: 'Settings', menu: 'view' },
  'view.palette': { label: 'Command Palette…', menu: 'view', keys: 'CmdOrCtrl+Shift+K' },
  'view.shortcuts': { label: 'Keyboard Shortcuts', menu: 'view' },
  'view.console': { label: 'Console', menu: 'view', group: 1, keys: 'CmdOrCtrl+Shift+1', needs: 'any' },
  'view.devices': { label: 'Devices', menu: 'view', group: 1, keys: 'CmdOrCtrl+Shift+2', needs: 'any' },
  'view.monitor': { label: 'Monitor', menu: 'view', group: 1, keys: 'CmdOrCtrl+Shift+M', needs: 'any' },
  'view.hardware': { label: 'Hardware', menu: 'view', group: 1, keys: 'CmdOrCtrl+Shift+3', needs: 'any' },
  'view.overview': { label: 'Overview', menu: 'view', group: 1, keys: 'CmdOrCtrl+Shift+4', needs: 'any' },
  'vm.start': { label: 'Start', menu: 'machine', keys: 'CmdOrCtrl+Shift+R', needs: 'off' },
  'vm.pause': { label: 'Pause', menu: 'machine', needs: 'running' },
  'vm.resume': { label: 'Resume', menu: 'machine', needs: 'paused' },
  'vm.reset': { label: 'Reset…', menu: 'machine', group: 1, needs: 'on' },
  'vm.powerOff': { label: 'Power Off…', menu: 'machine', group: 1, needs: 'on' },
  'vm.rename': { label: 'Rename…', menu: 'machine', group: 2, needs: 'any' },
  'vm.clone': { label: 'Clone…', menu: 'machine', group: 2, needs: 'off' },
  'vm.export': { label: 'Export…', menu: 'machine', group: 2, needs: 'any' },
  'vm.delete': { label: 'Delete…', menu: 'machine', group: 2, needs: 'off' },
} as const satisfies Record<string, ActionInfo>;

export type ActionName = keyof typeof actions;
export const actionNames = Object.keys(actions) as [ActionName, ...ActionName[]];

/** Whether an action makes sense with this VM shown, or none. */
export function actionEnabled(name: ActionName, vm: Pick<VmInfo, 'state'> | undefined): boolean {
  const { needs }: ActionInfo = actions[name];
  if (needs === undefined) return true;
  if (vm === undefined) return false;
  switch (needs) {
    case 'any':
      return true;
    case 'off':
      return vm.state === 'stopped' || vm.state === 'crashed';
    case 'on':
      return vm.state === 'running' || vm.state === 'paused';
    default:
      return vm.state === needs;
  }
}
