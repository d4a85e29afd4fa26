/** What a disk's driver is told of blocks and limits (virtio 1.3, sections 5.2.4 and 5.2.5): QEMU's block properties. */
import type { Disk } from '../../block/disk.ts';
import { RingsideError } from '../../errors.ts';
import type { ConfigSpace } from '../config-space.ts';
import * as spec from '../spec/blk.ts';
import { REQUEST_SECTORS_MAX } from './request.ts';

const SECTOR = spec.VIRTIO_BLK_SECTOR_SIZE;
/** QEMU's largest block. */
const BLOCK_SIZE_MAX = 2 ** 21;
/** So that an erase, which writes every byte, keeps other requests waiting for milliseconds only. */
export const SECURE_ERASE_SECTORS_MAX = (16 * 2 ** 20) / SECTOR;
/** Segments of data in a request: QEMU's figure for its default queue of 256. */
const SEG_MAX = 254;

/** All in bytes but where said. */
export interface BlkLimitOptions {
  /** A power of 2 from 512 up; requests are whole blocks. Default: the disk's. */
  logicalBlockSize?: number;
  /** A power of 2, at least the logical one. Default: the logical one. */
  physicalBlockSize?: number;
  /** Best least and best size of a request, multiples of the logical block. Default 0: nothing is said. */
  minIoSize?: number;
  optIoSize?: number;
  /** Sectors of 512 bytes in a request. Default (and most): what fits in 31 bits of bytes. */
  maxDiscardSectors?: number;
  maxWriteZeroesSectors?: number;
}

export type BlkLimits = Required<BlkLimitOptions>;

/** @throws RingsideError 'bad-option' */
export function checkLimits(id: string, disk: Disk, options: BlkLimitOptions): BlkLimits {
  const logicalBlockSize = options.logicalBlockSize ?? disk.blockSize;
  const limits = {
    logicalBlockSize,
    physicalBlockSize: options.physicalBlockSize ?? logicalBlockSize,
    minIoSize: options.minIoSize ?? 0,
    optIoSize: options.optIoSize ?? 0,
    maxDiscardSectors: options.maxDiscardSectors ?? REQUEST_SECTORS_MAX,
    maxWriteZeroesSectors: options.maxWriteZeroesSectors ?? REQUEST_SECTORS_MAX,
  };
  const refuse = (what: string): never => {
    throw new RingsideError('bad-option', `${id}: ${what}.`);
  };
  for (const [name, size] of [
    ['logical_block_size', logicalBlockSize],
    ['physical_block_size', limits.physicalBlockSize],
  ] as const) {
    if (!Number.isInteger(Math.log2(size)) || size < SECTOR || size > BLOCK_SIZE_MAX) {
      refuse(`${name} must be a power of 2 from ${SECTOR} to ${BLOCK_SIZE_MAX}, not ${size}`);
    }
  }
  if (logicalBlockSize < disk.blockSize)
    refuse(`the disk's blocks have ${disk.blockSize} bytes, so that its guest's must too`);
  if (limits.physicalBlockSize < logicalBlockSize) refuse('physical_block_size must not be below logical_block_size');
  for (const [name, size, max] of [
    ['min_io_size', limits.minIoSize, 0xffff],
    ['opt_io_size', limits.optIoSize, 0xffff_ffff],
  ] as const) {
    if (size % logicalBlockSize !== 0 || size < 0 || size / logicalBlockSize > max) {
      refuse(`${name} must be a multiple of logical_block_size, not ${size}`);
    }
  }
  if (disk.size % logicalBlockSize !== 0)
    refuse(`the disk's ${disk.size} bytes are not whole blocks of ${logicalBlockSize}`);
  for (const sectors of [limits.maxDiscardSectors, limits.maxWriteZeroesSectors]) {
    if (!Number.isInteger(sectors) || sectors < 1 || sectors > REQUEST_SECTORS_MAX) {
      refuse(`a request can have 1 to ${REQUEST_SECTORS_MAX} sectors, not ${sectors}`);
    }
  }
  return limits;
}

/** Fills in what follows from them. */
export function fillLimits(config: ConfigSpace, disk: Disk, limits: BlkLimits, queueSize: number): void {
  const { logicalBlockSize, physicalBlockSize, minIoSize, optIoSize, maxDiscardSectors, maxWriteZeroesSectors } =
    limits;
  // Header and status take two of the queue's descriptors.
  config.set(spec.BLK_CONFIG_SEG_MAX, Math.max(1, Math.min(SEG_MAX, queueSize - 2)));
  config.set(spec.BLK_CONFIG_BLK_SIZE, logicalBlockSize);
  config.set(spec.BLK_CONFIG_PHYSICAL_BLOCK_EXP, Math.log2(physicalBlockSize / logicalBlockSize));
  config.set(spec.BLK_CONFIG_MIN_IO_SIZE, minIoSize / logicalBlockSize);
  config.set(spec.BLK_CONFIG_OPT_IO_SIZE, optIoSize / logicalBlockSize);
  if (disk.readonly) return;
  const alignment = Math.max(disk.discardGranularity, logicalBlockSize) / SECTOR;
  config.set(spec.BLK_CONFIG_MAX_DISCARD_SECTORS, maxDiscardSectors);
  config.set(spec.BLK_CONFIG_MAX_DISCARD_SEG, 1);
  config.set(spec.BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT, alignment);
  if (disk.canDiscard) {
    config.set(spec.BLK_CONFIG_MAX_SECURE_ERASE_SECTORS, SECURE_ERASE_SECTORS_MAX);
    config.set(spec.BLK_CONFIG_MAX_SECURE_ERASE_SEG, 1);
    config.set(spec.BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT, logicalBlockSize / SECTOR);
  }
  if (!disk.canWriteZeroes) return;
  config.set(spec.BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS, maxWriteZeroesSectors);
  config.set(spec.BLK_CONFIG_MAX_WRITE_ZEROES_SEG, 1);
  config.set(spec.BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP, disk.canDiscard ? 1 : 0);
}
