/** Where downloads, what is made of them, and what can be made again are kept. */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

/** RINGSIDE_CACHE, else `ringside` in the user's cache folder as the platform has it. */
export function defaultCacheDir(env: NodeJS.ProcessEnv = process.env, platform: string = process.platform): string {
  if (env.RINGSIDE_CACHE) return resolve(env.RINGSIDE_CACHE);
  if (platform === 'win32') return join(env.LOCALAPPDATA || join(homedir(), 'AppData', 'Local'), 'ringside');
  if (platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'ringside');
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'ringside');
}

/** Folder of what the translator keeps of guests it has seen. */
export function jitCacheDir(env: NodeJS.ProcessEnv = process.env, platform: string = process.platform): string {
  return join(defaultCacheDir(env, platform), 'jit');
}
