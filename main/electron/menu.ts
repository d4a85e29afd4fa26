/** The application menu: the contract's actions, and roles, whose labels and keys the platform knows. */
import path from 'node:path';
import { actionEnabled, actionNames, actions } from '../ipc/contract.ts';
import type { ActionInfo, ActionName, VmInfo } from '../ipc/contract.ts';
import type { MenuItem } from './api.ts';
import type { RecentItem } from './recent.ts';

export interface MenuState {
  /** The app's name. */
  name: string;
  platform: string;
  developer: boolean;
  /** The VM that the window shows. */
  vm: Pick<VmInfo, 'state'> | undefined;
  recent: readonly RecentItem[];
}

export interface MenuCommands {
  run(action: ActionName): void;
  open(item: RecentItem): void;
  clearRecent(): void;
  showLogs(): void;
}

const separator: MenuItem = { type: 'separator' };

export function menuTemplate(state: MenuState, commands: MenuCommands): MenuItem[] {
  const { name, platform, developer, vm } = state;
  const mac = platform === 'darwin';

  /** The actions of one menu, a separator between groups. */
  const own = (menu: ActionInfo['menu']): MenuItem[] => {
    const items: MenuItem[] = [];
    let group = 0;
    for (const action of actionNames) {
      const info: ActionInfo = actions[action];
      if (info.menu !== menu) continue;
      if ((info.group ?? 0) !== group) items.push(separator);
      group = info.group ?? 0;
      items.push({
        label: info.label,
        ...(info.keys === undefined ? {} : { accelerator: info.keys }),
        enabled: actionEnabled(action, vm),
        click: () => commands.run(action),
      });
    }
    return items;
  };

  const recent: MenuItem = {
    label: 'Open Recent',
    enabled: state.recent.length > 0,
    submenu: [
      ...state.recent.map((item) => ({
        // An ampersand would underline what follows it.
        label: (item.kind === 'vm' ? item.name : path.basename(item.path)).replaceAll('&', '&&'),
        click: () => commands.open(item),
      })),
      separator,
      { label: 'Clear Menu', click: () => commands.clearRecent() },
    ],
  };

  return [
    ...(mac
      ? [
          {
            label: name,
            submenu: [
              { role: 'about' },
              separator,
              { role: 'services' },
              separator,
              { role: 'hide' },
              { role: 'hideOthers' },
              { role: 'unhide' },
              separator,
              { role: 'quit' },
            ],
          },
        ]
      : []),
    { label: 'File', submenu: [...own('file'), recent, separator, mac ? { role: 'close' } : { role: 'quit' }] },
    {
      label: 'Edit',
      submenu: [
        { role: 'undo' },
        { role: 'redo' },
        separator,
        { role: 'cut' },
        { role: 'copy' },
        { role: 'paste' },
        { role: 'selectAll' },
        separator,
        ...own('edit'),
      ],
    },
    {
      label: 'View',
      submenu: [
        ...own('view'),
        separator,
        { role: 'reload' },
        { role: 'resetZoom' },
        { role: 'zoomIn' },
        { role: 'zoomOut' },
        separator,
        { role: 'togglefullscreen' },
        ...(developer ? [separator, { role: 'toggleDevTools' }] : []),
      ],
    },
    { label: 'Machine', submenu: own('machine') },
    { label: 'Window', submenu: [{ role: 'minimize' }, ...(mac ? [{ role: 'zoom' }, { role: 'front' }] : [])] },
    {
      label: 'Help',
      submenu: [
        { label: 'Show Log Files', click: () => commands.showLogs() },
        ...(mac ? [] : [separator, { role: 'about' }]),
      ],
    },
  ];
}
