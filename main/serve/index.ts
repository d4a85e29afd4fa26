/** `ringside serve`, and what `npm start` falls back to: the workstation on this computer's loopback address. */
import { readFileSync } from 'node:fs';
import { createProductionApp } from '../app/production.ts';
import { serveApp } from './server.ts';
import type { RunningServer, ServerOptions } from './server.ts';

export type { RunningServer } from './server.ts';

export interface ServeOptions extends Omit<ServerOptions, 'app'> {
  /** The library's folder; the user's unless told otherwise. */
  home?: string;
  /** The person has chosen to quit in the browser, and everything has been shut down. */
  onQuit?: () => void;
}

/**
 * Serves the workstation until close(), which powers off what runs, disks flushed.
 * @throws RingsideError in-use (port), permission, bad-option (host), not-found (the renderer is not built)
 */
export async function startServer({ home, onQuit, ...options }: ServeOptions = {}): Promise<RunningServer> {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  const app = await createProductionApp({ version: manifest.version, home, quit: () => onQuit?.() });
  try {
    const server = await serveApp({ ...options, app });
    return {
      ...server,
      close: async () => {
        await server.close();
        await app.close();
      },
    };
  } catch (error) {
    await app.close();
    throw error;
  }
}
