/** Compressed clusters: raw deflate in a window of 4 KiB, or a zstd frame. */
import { constants, deflateRawSync, inflateRawSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

const WINDOW_BITS = 12;

/**
 * @param bytes what is compressed, and maybe others behind it
 * @returns a cluster; null when the bytes are no compressed cluster of that size
 */
export function decompress(type: 'zlib' | 'zstd', bytes: Uint8Array, clusterSize: number): Uint8Array | null {
  try {
    const options = { maxOutputLength: clusterSize };
    const plain =
      type === 'zstd'
        ? zstdDecompressSync(bytes, options)
        : inflateRawSync(bytes, { ...options, finishFlush: constants.Z_SYNC_FLUSH });
    return plain.length === clusterSize ? plain : null;
  } catch {
    return null;
  }
}

/** @returns null when it does not get smaller */
export function compress(type: 'zlib' | 'zstd', cluster: Uint8Array): Uint8Array | null {
  const packed =
    type === 'zstd' ? zstdCompressSync(cluster) : deflateRawSync(cluster, { windowBits: WINDOW_BITS, level: 6 });
  return packed.length < cluster.length ? packed : null;
}
