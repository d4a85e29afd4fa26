/** Guards shared by the archive readers: everything they read comes from the network. */
import { RingsideError } from '../../../core/errors.ts';

/** An archive that is malformed, hostile or larger than its caller allows. */
export function badArchive(what: string): RingsideError {
  return new RingsideError('bad-image', `${what}; the package is damaged: fetch the guest again or use another mirror`);
}

/**
 * The member name as a relative path with no `.`, `..` or empty parts. Nothing is ever written to the host under such a
 * name, but names end in the guest's initramfs, where a `..` would be just as wrong.
 */
export function safeMemberName(raw: string): string {
  if (raw.includes('\0') || raw.includes('\\') || raw.startsWith('/')) {
    throw badArchive(`archive member ${JSON.stringify(raw.slice(0, 80))} has an unsafe name`);
  }
  const parts = raw.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw badArchive(`archive member ${JSON.stringify(raw.slice(0, 80))} has an unsafe name`);
  return parts.join('/');
}

/** Passes chunks on until they come to more than `limit` bytes: what stops a decompression bomb. */
export async function* bounded(
  source: AsyncIterable<Uint8Array>,
  limit: number,
  what: string,
): AsyncGenerator<Uint8Array> {
  let total = 0;
  for await (const chunk of source) {
    total += chunk.length;
    if (total > limit) throw badArchive(`${what} unpacks to more than ${Math.floor(limit / 2 ** 20)} MiB`);
    yield chunk;
  }
}

/** The whole of a bounded stream. */
export async function collect(source: AsyncIterable<Uint8Array>, limit: number, what: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bounded(source, limit, what)) chunks.push(chunk);
  return Buffer.concat(chunks);
}
