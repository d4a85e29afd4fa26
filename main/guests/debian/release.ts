/** A Debian archive's InRelease file: the signed root of trust for everything that a mirror hands out. */
import { readCleartextMessage, readKey, verify } from 'openpgp';
import { RingsideError } from '../../../core/errors.ts';
import type { ArchiveKey } from './archive-keys.ts';
import { parseStanza } from './control.ts';

/** A Release dated further ahead than this is refused: this computer's clock, or the Release, is wrong. */
const CLOCK_SLACK_MS = 24 * 3600_000;

export interface ReleaseFile {
  readonly sha256: string;
  readonly size: number;
}

export interface Release {
  readonly codename: string;
  /** e.g. "13.7". */
  readonly version: string;
  readonly date: Date;
  /** Files may also be had under by-hash/SHA256/<hash>, which does not change under a running download. */
  readonly acquireByHash: boolean;
  /** By path relative to dists/<codename>. */
  readonly files: ReadonlyMap<string, ReleaseFile>;
}

export interface ReleaseWanted {
  readonly codename: string;
  readonly architecture: string;
  readonly component: string;
  readonly keys: readonly ArchiveKey[];
  /** A Release older than this one, seen before, is refused as a replay. */
  readonly notBefore?: Date;
  readonly now?: Date;
}

/**
 * Checks the signature of an InRelease file and reads what was signed.
 * @param where the mirror, for messages
 * @throws RingsideError 'bad-signature' when it is unsigned, signed by others, expired, or of another archive.
 */
export async function readRelease(inRelease: string, where: string, wanted: ReleaseWanted): Promise<Release> {
  const now = wanted.now ?? new Date();
  const signed = await signedText(inRelease, where, wanted.keys, now);
  const fields = parseStanza(signed.replaceAll('\r\n', '\n'));
  const refuse = (why: string): never => {
    throw new RingsideError('bad-signature', `${where} ${why}; choose another mirror with --mirror`);
  };
  const field = (name: string): string => fields.get(name) ?? '';
  if (field('origin') !== 'Debian' || field('codename') !== wanted.codename) {
    refuse(`offers ${field('origin')} ${field('codename')} where Debian ${wanted.codename} was asked for`);
  }
  if (!field('architectures').split(/\s+/).includes(wanted.architecture))
    refuse(`has no ${wanted.architecture} packages`);
  if (!field('components').split(/\s+/).includes(wanted.component)) refuse(`has no component ${wanted.component}`);
  const date = new Date(field('date'));
  if (Number.isNaN(date.getTime())) refuse('has a Release file with no date');
  if (date.getTime() > now.getTime() + CLOCK_SLACK_MS) {
    throw new RingsideError(
      'bad-signature',
      `${where} has a Release file from the future; check this computer's clock`,
    );
  }
  if (wanted.notBefore !== undefined && date < wanted.notBefore) {
    refuse(`is out of date: its Release file is older than one seen before (${wanted.notBefore.toISOString()})`);
  }
  const until = fields.get('valid-until');
  // An unreadable date compares as not later, and is refused as well.
  if (until !== undefined && !(new Date(until).getTime() > now.getTime())) {
    refuse(`has a Release file that expired on ${until}`);
  }
  return {
    codename: wanted.codename,
    version: field('version'),
    date,
    acquireByHash: field('acquire-by-hash') === 'yes',
    files: parseHashes(field('sha256')),
  };
}

/** The text that one of `keys` signed, and nothing that stands around it. */
async function signedText(inRelease: string, where: string, keys: readonly ArchiveKey[], date: Date): Promise<string> {
  const unsigned = (why: string, cause?: unknown): RingsideError =>
    new RingsideError(
      'bad-signature',
      `${where}: InRelease ${why}; choose another mirror with --mirror (and check this computer's clock)`,
      { cause },
    );
  const message = await readCleartextMessage({ cleartextMessage: inRelease }).catch((cause: unknown) => {
    throw unsigned('is not a signed Debian Release file', cause);
  });
  const verificationKeys = await Promise.all(keys.map(({ armored }) => readKey({ armoredKey: armored })));
  verificationKeys.forEach((key, index) => {
    if (key.getFingerprint().toUpperCase() !== keys[index].fingerprint) {
      throw new RingsideError('internal', `archive key ${keys[index].owner} does not have its fingerprint`);
    }
  });
  const { data, signatures } = await verify({ message, verificationKeys, date });
  const results = await Promise.allSettled(signatures.map(({ verified }) => verified));
  if (!results.some((result) => result.status === 'fulfilled')) {
    const failed = results.find((result) => result.status === 'rejected');
    throw unsigned("is not signed with Debian's archive key", failed?.reason);
  }
  return data;
}

function parseHashes(field: string): Map<string, ReleaseFile> {
  const files = new Map<string, ReleaseFile>();
  for (const line of field.split('\n')) {
    const match = /^([0-9a-f]{64}) +(\d+) +([A-Za-z0-9+.~_/-]+)$/.exec(line.trim());
    if (match !== null) files.set(match[3], { sha256: match[1], size: Number(match[2]) });
  }
  return files;
}
