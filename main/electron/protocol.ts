/** app://ringside/: the built renderer, with its headers. Nothing is loaded from file:// or from the network. */
import { securityHeaders } from '../serve/headers.ts';
import type { StaticFiles } from '../serve/static.ts';
import type { ElectronApi } from './api.ts';

export const APP_SCHEME = 'app';
const APP_HOST = 'ringside';
export const APP_ORIGIN = `${APP_SCHEME}://${APP_HOST}`;
export const APP_URL = `${APP_ORIGIN}/index.html`;

/** Whether a URL is a page of ours. */
export function isOurs(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, host } = new URL(url);
  return protocol === `${APP_SCHEME}:` && host === APP_HOST;
}

/** Must be called before the app is ready. */
export function registerScheme(electron: Pick<ElectronApi, 'protocol'>): void {
  electron.protocol.registerSchemesAsPrivileged([
    { scheme: APP_SCHEME, privileges: { standard: true, secure: true, supportFetchAPI: true } },
  ]);
}

export function serveRenderer(electron: Pick<ElectronApi, 'protocol'>, files: StaticFiles): void {
  // Control messages go over IPC: the page connects to nothing but where it came from.
  const headers = securityHeaders("'self'");
  electron.protocol.handle(APP_SCHEME, async ({ url, method }) => {
    const file = isOurs(url) && method === 'GET' ? await files.get(new URL(url).pathname) : null;
    if (file === null) return new Response('There is nothing here.\n', { status: 404, headers });
    return new Response(new Uint8Array(file.body), { headers: { ...headers, ...file.headers } });
  });
}
