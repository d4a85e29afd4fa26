/** Which mirrors to ask, in which order. */
import { RingsideError } from '../../../core/errors.ts';
import { aptMirrors } from './apt-sources.ts';

/** More of apt's own sources than this are not worth the waiting when none of them answers. */
const MAX_APT_MIRRORS = 3;

export interface MirrorSources {
  readonly env?: NodeJS.ProcessEnv;
  /** Folder of apt's configuration. */
  readonly etcApt?: string;
  /** BCP 47 or POSIX locale of the user. */
  readonly locale?: string;
}

/**
 * Base addresses of Debian mirrors to try, without a trailing slash. The user's choice (`chosen`, else RINGSIDE_MIRROR)
 * stands alone; else apt's own, then the mirror of the user's country, then the American one, then Debian's CDN.
 * @throws RingsideError 'bad-option' when the choice is not an http(s) address.
 */
export async function mirrorCandidates(chosen?: string, sources: MirrorSources = {}): Promise<string[]> {
  const env = sources.env ?? process.env;
  const choice = chosen ?? env.RINGSIDE_MIRROR;
  if (choice !== undefined && choice !== '') return [checkedMirror(choice)];
  const own = (await aptMirrors(sources.etcApt)).slice(0, MAX_APT_MIRRORS);
  const country = countryOf(sources.locale ?? userLocale(env));
  const hosts = [country === null ? 'ftp.us' : `ftp.${country}`, 'ftp.us', 'deb'];
  return [...new Set([...own, ...hosts.map((host) => `http://${host}.debian.org/debian`)])];
}

function checkedMirror(address: string): string {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '') {
    throw new RingsideError(
      'bad-option',
      `mirror ${JSON.stringify(address)} is not an http or https address, such as http://ftp.us.debian.org/debian`,
    );
  }
  return address.replace(/\/+$/, '');
}

function userLocale(env: NodeJS.ProcessEnv): string {
  return env.LC_ALL || env.LC_MESSAGES || env.LANG || Intl.DateTimeFormat().resolvedOptions().locale;
}

/** The label of ftp.<label>.debian.org for a locale such as de_AT.UTF-8; null when it names no country. */
export function countryOf(locale: string): string | null {
  const region = /^[A-Za-z]{2,3}[-_](?:[A-Za-z]{4}[-_])?([A-Za-z]{2})(?=$|[^A-Za-z])/.exec(locale)?.[1]?.toLowerCase();
  if (region === undefined) return null;
  return region === 'gb' ? 'uk' : region;
}
