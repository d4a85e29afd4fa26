/** A Debian archive's Packages index. */
import { RingsideError } from '../../../core/errors.ts';
import { badArchive } from '../archive/limits.ts';
import { parseStanza } from './control.ts';

/** Far more than the longest stanza of Debian's index. */
const MAX_STANZA = 1 << 20;

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  /** Depends and Pre-Depends, as written. */
  readonly depends: string;
  /** Path of the .deb, relative to the mirror. */
  readonly filename: string;
  readonly size: number;
  readonly sha256: string;
}

/**
 * Reads the packages that `want` accepts out of an uncompressed index, keeping nothing else.
 * @throws RingsideError 'bad-image' when the index is damaged.
 */
export async function readPackages(
  source: AsyncIterable<Uint8Array>,
  want: (name: string) => boolean,
): Promise<Map<string, DebianPackage>> {
  const packages = new Map<string, DebianPackage>();
  const add = (stanza: string): void => {
    const name = /^Package: *(\S+)/m.exec(stanza)?.[1];
    if (name !== undefined && want(name)) packages.set(name, readPackage(name, stanza));
  };
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of source) {
    const stanzas = (rest + decoder.decode(chunk, { stream: true })).split('\n\n');
    rest = stanzas.pop() ?? '';
    if (rest.length > MAX_STANZA) throw badArchive('a damaged package index');
    stanzas.forEach(add);
  }
  add(rest);
  return packages;
}

function readPackage(name: string, stanza: string): DebianPackage {
  const fields = parseStanza(stanza);
  const field = (key: string): string => fields.get(key) ?? '';
  const filename = field('filename');
  const sha256 = field('sha256');
  const size = Number(field('size'));
  const safePath = /^[A-Za-z0-9+.~_/-]+\.deb$/.test(filename) && !filename.split('/').includes('..');
  if (!safePath || !/^[0-9a-f]{64}$/.test(sha256) || !Number.isSafeInteger(size) || size <= 0) {
    throw badArchive(`the package index has a damaged entry for ${name}`);
  }
  const depends = [field('pre-depends'), field('depends')].filter((list) => list !== '').join(', ');
  return { name, version: field('version'), depends, filename, size, sha256 };
}

/** The package names in a dependency list, the first of each group of alternatives. */
export function dependencyNames(depends: string): string[] {
  return depends
    .split(',')
    .map((group) => /^\s*([a-z0-9][a-z0-9+.-]*)/.exec(group)?.[1])
    .filter((name) => name !== undefined);
}

/** @throws RingsideError 'not-found' when the archive does not have it. */
export function requirePackage(packages: ReadonlyMap<string, DebianPackage>, name: string): DebianPackage {
  const found = packages.get(name);
  if (found === undefined) {
    throw new RingsideError('not-found', `the mirror has no package ${name}; choose another mirror with --mirror`);
  }
  return found;
}
