/** The files inside a Debian binary package (deb(5)). */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { readAr } from './ar.ts';
import { compressionOf, decompress } from './decompress.ts';
import { badArchive, bounded } from './limits.ts';
import { readTar } from './tar.ts';
import type { TarEntry, TarHeader } from './tar.ts';

export interface DebLimits {
  /** Bytes that data.tar may unpack to. */
  readonly total: number;
  /** Bytes that one wanted file may have. */
  readonly entry: number;
}

/**
 * Yields the members of the package's data archive that `want` accepts.
 * @param onProgress compressed bytes read, of how many
 * @throws RingsideError 'bad-image'; an AbortError when `signal` fires.
 */
export async function* readDeb(
  path: string,
  want: (header: TarHeader) => boolean,
  limits: DebLimits,
  options: { onProgress?: (done: number, total: number) => void; signal?: AbortSignal } = {},
): AsyncGenerator<TarEntry> {
  const member = await dataMember(path);
  const compressed = createReadStream(path, {
    start: member.offset,
    end: member.offset + member.size - 1,
    highWaterMark: 256 * 1024,
    signal: options.signal,
  });
  const counted = counting(compressed, (done) => options.onProgress?.(done, member.size));
  const tar = decompress(counted, compressionOf(member.name), member.name);
  yield* readTar(bounded(tar, limits.total, member.name), want, limits.entry);
}

async function* counting(
  source: AsyncIterable<Uint8Array>,
  report: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let done = 0;
  for await (const chunk of source) {
    done += chunk.length;
    report(done);
    yield chunk;
  }
}

async function dataMember(path: string) {
  const file = await open(path, 'r');
  try {
    const members = await readAr(file);
    if (members[0]?.name !== 'debian-binary') throw badArchive('not a Debian package (no debian-binary member)');
    const data = members.find(({ name }) => /^data\.tar(\.(xz|zst|gz))?$/.test(name));
    if (data === undefined || data.size === 0) throw badArchive('a Debian package with no readable data archive');
    return data;
  } finally {
    await file.close();
  }
}
