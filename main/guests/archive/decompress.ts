/** One streaming decompressor for what Debian compresses with: xz, zstd, gzip, or nothing. */
import { Readable } from 'node:stream';
import zlib from 'node:zlib';
import xz from 'xz-decompress';
import { RingsideError } from '../../../core/errors.ts';
import { badArchive, collect } from './limits.ts';

export type Compression = 'xz' | 'zst' | 'gz' | 'none';

/** The compression that a file name's ending stands for. */
export function compressionOf(name: string): Compression {
  if (name.endsWith('.xz')) return 'xz';
  if (name.endsWith('.zst')) return 'zst';
  if (name.endsWith('.gz')) return 'gz';
  return 'none';
}

/**
 * Decompresses a stream. The output is not bounded: wrap it in `bounded`.
 * @throws RingsideError 'bad-image' for damaged or truncated data.
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  what: string,
): AsyncGenerator<Uint8Array> {
  if (compression === 'none') {
    yield* source;
    return;
  }
  // The source's own errors (a read error, an abort) are not the archive's fault and must come out as they are.
  const outside: Outside = {};
  const input = Readable.from(remembering(source, outside), { objectMode: false });
  try {
    if (compression === 'xz') {
      // The package carries its own copy of the Web Streams types; at run time they are Node's.
      const web = Readable.toWeb(input) as unknown as ConstructorParameters<typeof xz.XzReadableStream>[0];
      yield* new xz.XzReadableStream(web) as unknown as AsyncIterable<Uint8Array>;
    } else {
      yield* piped(input, compression === 'gz' ? zlib.createGunzip() : zstd());
    }
  } catch (error) {
    if (outside.error !== undefined) throw outside.error;
    if (error instanceof RingsideError) throw error;
    throw badArchive(`${what} does not decompress (${error instanceof Error ? error.message : String(error)})`);
  } finally {
    input.destroy();
  }
}

interface Outside {
  error?: Error;
}

async function* remembering(source: AsyncIterable<Uint8Array>, outside: Outside): AsyncGenerator<Uint8Array> {
  try {
    yield* source;
  } catch (error) {
    outside.error = error instanceof Error ? error : new Error(String(error));
    throw outside.error;
  }
}

async function* piped(input: Readable, transform: zlib.Gunzip): AsyncGenerator<Uint8Array> {
  input.on('error', (error) => transform.destroy(error));
  input.pipe(transform);
  yield* transform as AsyncIterable<Uint8Array>;
}

function zstd(): zlib.Gunzip {
  if (typeof zlib.createZstdDecompress !== 'function') {
    throw new RingsideError('unsupported', 'this Node has no zstd decompressor; use Node 24 or newer');
  }
  return zlib.createZstdDecompress() as unknown as zlib.Gunzip;
}

/** Decompresses bytes held in memory, refusing to make more than `limit` of them. */
export async function decompressBytes(
  data: Uint8Array,
  compression: Compression,
  limit: number,
  what: string,
): Promise<Uint8Array> {
  const once = (async function* () {
    yield data;
  })();
  return collect(decompress(once, compression, what), limit, what);
}
