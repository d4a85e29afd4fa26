/** The Debian mirrors that this computer's own apt is set up with (sources.list(5)). */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseStanzas } from './control.ts';

/** Suites that only Debian's own archive has; a third party's carry other names or other components. */
const DEBIAN_SUITES =
  /^(stable|testing|unstable|oldstable|oldoldstable|buster|bullseye|bookworm|trixie|forky|duke|sid)$/;

/**
 * The http(s) base addresses of Debian's archive in apt's configuration, in the order apt reads it.
 * @param etc apt's configuration folder
 */
export async function aptMirrors(etc = '/etc/apt'): Promise<string[]> {
  const parts = join(etc, 'sources.list.d');
  const names = await readdir(parts).catch(() => []);
  const files = ['sources.list', ...names.sort().map((name) => join('sources.list.d', name))];
  const found: string[] = [];
  for (const file of files) {
    const text = await readFile(join(etc, file), 'utf8').catch(() => '');
    if (file.endsWith('.list')) found.push(...oneLineMirrors(text));
    else if (file.endsWith('.sources')) found.push(...deb822Mirrors(text));
  }
  return [...new Set(found)];
}

/** `deb [option=value ...] uri suite component...` */
export function oneLineMirrors(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+([^#]*)/.exec(line);
    if (match === null) return [];
    return debianMirror(match[1], [match[2]], match[3].trim().split(/\s+/));
  });
}

/** Stanzas with Types, URIs, Suites and Components. */
export function deb822Mirrors(text: string): string[] {
  return parseStanzas(text).flatMap((stanza) => {
    const words = (name: string): string[] => (stanza.get(name) ?? '').split(/\s+/).filter((word) => word !== '');
    if (!words('types').includes('deb') || /^(no|false|0|off|disable)$/i.test(stanza.get('enabled') ?? '')) return [];
    return words('uris').flatMap((uri) => debianMirror(uri, words('suites'), words('components')));
  });
}

function debianMirror(uri: string, suites: string[], components: string[]): string[] {
  if (!components.includes('main') || !suites.some((suite) => DEBIAN_SUITES.test(suite))) return [];
  if (!/^https?:$/.test(URL.canParse(uri) ? new URL(uri).protocol : '')) return [];
  return [uri.replace(/\/+$/, '')];
}
