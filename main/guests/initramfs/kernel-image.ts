/** What a boot loader takes for a RISC-V kernel (Linux Documentation/arch/riscv/boot-image-header.rst). */
import { RingsideError } from '../../../core/errors.ts';
import { decompressBytes } from '../archive/decompress.ts';
import type { Compression } from '../archive/decompress.ts';
import { badArchive } from '../archive/limits.ts';

/** An unpacked kernel; Debian's is some 30 MiB. */
const MAX_KERNEL = 256 * 2 ** 20;

/** "RSC\x05", little-endian, in the header of an Image. */
const IMAGE_MAGIC2 = 0x05435352;
const IMAGE = { magic2: 0x38, headerSize: 64 };
const GZIP_MAGIC = 0x8b1f;
/** EFI zboot (drivers/firmware/efi/libstub/zboot-header.S): "MZ\0\0zimg", payload offset and size, compression name. */
const ZBOOT = { magic: 0x676d697a, magicAt: 4, payloadOffset: 8, payloadSize: 12, compression: 24, headerSize: 64 };
const ZBOOT_COMPRESSION: Readonly<Record<string, Compression>> = { gzip: 'gz', zstd: 'zst', xzkern: 'xz' };

/** Whether the bytes begin with the header of a RISC-V Image. */
export function isRiscvImage(data: Uint8Array): boolean {
  return data.length >= IMAGE.headerSize && view(data).getUint32(IMAGE.magic2, true) === IMAGE_MAGIC2;
}

/**
 * The plain Image in a distribution's kernel file: as it is, gzipped, or wrapped as an EFI zboot program.
 * @throws RingsideError 'bad-kernel' when it is none of these.
 */
export async function toRiscvImage(data: Uint8Array): Promise<Uint8Array> {
  if (isRiscvImage(data)) return data;
  const image = await unwrap(data);
  if (image === null || !isRiscvImage(image)) {
    throw new RingsideError(
      'bad-kernel',
      'the kernel package holds no RISC-V Image; choose another mirror with --mirror',
    );
  }
  return image;
}

async function unwrap(data: Uint8Array): Promise<Uint8Array | null> {
  const header = view(data);
  if (data.length >= 2 && header.getUint16(0, true) === GZIP_MAGIC)
    return decompressBytes(data, 'gz', MAX_KERNEL, 'the kernel');
  if (data.length < ZBOOT.headerSize || header.getUint32(ZBOOT.magicAt, true) !== ZBOOT.magic) return null;
  const offset = header.getUint32(ZBOOT.payloadOffset, true);
  const size = header.getUint32(ZBOOT.payloadSize, true);
  const name = Buffer.from(data.subarray(ZBOOT.compression, ZBOOT.headerSize)).toString('latin1').split('\0')[0];
  const compression = ZBOOT_COMPRESSION[name];
  if (compression === undefined || offset + size > data.length)
    throw badArchive('an EFI kernel with an unknown payload');
  return decompressBytes(data.subarray(offset, offset + size), compression, MAX_KERNEL, 'the kernel');
}

function view(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}
