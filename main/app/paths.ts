/** Where the app keeps what is the user's. */
import { homedir } from 'node:os';
import path from 'node:path';
import { RingsideError } from '../../core/errors.ts';

type Env = Record<string, string | undefined>;

/** The library's folder: RINGSIDE_HOME, or the platform's place for user data. */
export function dataHome(
  env: Env = process.env,
  platform: string = process.platform,
  home: string = homedir(),
): string {
  if (env.RINGSIDE_HOME) return path.resolve(env.RINGSIDE_HOME);
  if (platform === 'win32') return path.join(env.APPDATA || path.join(home, 'AppData', 'Roaming'), 'Ringside');
  if (platform === 'darwin') return path.join(home, 'Library', 'Application Support', 'Ringside');
  // XDG base directories: a relative path in the variable is to be ignored.
  const data = env.XDG_DATA_HOME;
  return path.join(data && path.isAbsolute(data) ? data : path.join(home, '.local', 'share'), 'ringside');
}

/** An absolute path from what a person typed: `~` is the home directory, anything else must be absolute. */
export function userPath(text: string, home: string = homedir()): string {
  if (text === '~') return home;
  if (text.startsWith('~/') || text.startsWith(`~${path.sep}`)) return path.join(home, text.slice(2));
  if (!path.isAbsolute(text)) {
    throw new RingsideError('bad-option', `${text}: give the whole path, from ${path.parse(home).root} or ~ on`);
  }
  return path.normalize(text);
}

/** A path as it should be shown: below home with `~`. */
export function shownPath(file: string, home: string = homedir()): string {
  const relative = path.relative(home, file);
  if (relative === '') return '~';
  return relative.startsWith('..') || path.isAbsolute(relative) ? file : `~${path.sep}${relative}`;
}
