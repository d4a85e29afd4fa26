/** What no page may do, whatever it contains: leave, open windows, embed others, ask for devices. */
import type { ElectronApi } from './api.ts';
import { isOurs } from './protocol.ts';

/** The console copies and pastes; nothing else needs a permission. */
const GRANTED: ReadonlySet<string> = new Set(['clipboard-read', 'clipboard-sanitized-write']);

export function installGuards(electron: Pick<ElectronApi, 'app' | 'session'>): void {
  electron.app.on('web-contents-created', (_event, contents) => {
    const stay = (event: { url: string; preventDefault(): void }) => {
      if (!isOurs(event.url)) event.preventDefault();
    };
    contents.on('will-navigate', stay);
    contents.on('will-redirect', stay);
    contents.on('will-attach-webview', (event) => event.preventDefault());
    contents.setWindowOpenHandler(() => ({ action: 'deny' }));
  });
}

/** Must be called once the app is ready. */
export function installPermissions(electron: Pick<ElectronApi, 'session'>): void {
  const { defaultSession } = electron.session;
  defaultSession.setPermissionRequestHandler((_contents, permission, callback, { requestingUrl }) => {
    callback(GRANTED.has(permission) && isOurs(requestingUrl));
  });
  defaultSession.setPermissionCheckHandler(
    (_contents, permission, requestingOrigin) => GRANTED.has(permission) && isOurs(requestingOrigin),
  );
}
