/** The application menu. Roles, mostly: the platform knows their labels and keys. */
import type { MenuItem } from './api.ts';

export function menuTemplate(name: string, platform: string, developer: boolean): MenuItem[] {
  const separator: MenuItem = { type: 'separator' };
  const mac = platform === 'darwin';
  const view: MenuItem[] = [
    { role: 'reload' },
    separator,
    { role: 'resetZoom' },
    { role: 'zoomIn' },
    { role: 'zoomOut' },
    separator,
    { role: 'togglefullscreen' },
  ];
  if (developer) view.push(separator, { role: 'toggleDevTools' });
  return [
    ...(mac
      ? [
          {
            label: name,
            submenu: [
              { role: 'about' },
              separator,
              { role: 'hide' },
              { role: 'hideOthers' },
              separator,
              { role: 'quit' },
            ],
          },
        ]
      : []),
    { label: 'File', submenu: [mac ? { role: 'close' } : { role: 'quit' }] },
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
      ],
    },
    { label: 'View', submenu: view },
    { label: 'Window', submenu: [{ role: 'minimize' }, ...(mac ? [{ role: 'zoom' }, { role: 'front' }] : [])] },
  ];
}
