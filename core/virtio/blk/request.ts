/** Block requests (virtio 1.3, section 5.2.6), parsed and checked before anything is done. */
import type { DescriptorChain } from '../queue/descriptor-chain.ts';
import type { Segments } from '../queue/segments.ts';
import { QueueFault } from '../queue/queue-fault.ts';
import {
  VIRTIO_BLK_HEADER_SIZE,
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_LIFETIME_BYTES,
  VIRTIO_BLK_RANGE_F_UNMAP,
  VIRTIO_BLK_RANGE_SIZE,
  VIRTIO_BLK_SECTOR_SIZE,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_BARRIER,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_GET_LIFETIME,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_SECURE_ERASE,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from '../spec/blk.ts';
import type { BlkOperation } from './statistics.ts';

/** Sectors a request may cover: its bytes fit in a signed 32-bit number, as in QEMU (BDRV_REQUEST_MAX_SECTORS). */
export const REQUEST_SECTORS_MAX = 0x3fffff;

export interface BlkLimits {
  /** Bytes. */
  readonly size: number;
  readonly readonly: boolean;
  /** Logical block, bytes: requests are whole ones. */
  readonly blockSize: number;
  /** Sectors at most; 0 when the feature is not negotiated. */
  readonly discard: number;
  readonly writeZeroes: number;
  readonly secureErase: number;
  /** VIRTIO_BLK_F_LIFETIME is negotiated. */
  readonly lifetime: boolean;
}

type RangeOp = 'discard' | 'write-zeroes' | 'secure-erase';

/** What is to be done; offsets and lengths are bytes of the disk and lie inside it. */
export type BlkRequest =
  | { readonly op: 'read' | 'write'; readonly offset: number; readonly length: number }
  | { readonly op: 'flush' }
  | { readonly op: 'get-id' | 'get-lifetime'; readonly length: number }
  | {
      readonly op: RangeOp;
      readonly offset: number;
      readonly length: number;
      readonly unmap: boolean;
    }
  /** Answered with a status and nothing done. `of`: what it would have been, where that is counted. */
  | { readonly op: 'fail'; readonly status: number; readonly of: BlkOperation | null };

const fail = (status: number, of: BlkOperation | null): BlkRequest => ({ op: 'fail', status, of });
const IOERR = fail(VIRTIO_BLK_S_IOERR, null);
const UNSUPP = fail(VIRTIO_BLK_S_UNSUPP, null);
/** For what is counted. */
const REFUSED = {
  read: fail(VIRTIO_BLK_S_IOERR, 'read'),
  write: fail(VIRTIO_BLK_S_IOERR, 'write'),
  discard: fail(VIRTIO_BLK_S_IOERR, 'unmap'),
  'write-zeroes': fail(VIRTIO_BLK_S_IOERR, 'write'),
  'secure-erase': fail(VIRTIO_BLK_S_IOERR, 'unmap'),
} as const;
const FLUSH: BlkRequest = { op: 'flush' };

const header = new Uint8Array(VIRTIO_BLK_HEADER_SIZE);
const headerView = new DataView(header.buffer);

/**
 * @throws QueueFault when there is no room for a header or a status: the driver cannot be answered
 */
export function parseBlkRequest(chain: DescriptorChain, limits: BlkLimits): BlkRequest {
  const { readable, writable } = chain;
  // The status byte is the last device-writable one, whatever the framing (section 2.7.4).
  if (writable.length < 1) throw new QueueFault('bad-request', `chain ${chain.head}: no room for the status (5.2.6)`);
  if (readable.copyOut(0, header) < header.length) {
    const detail = `chain ${chain.head}: header of ${readable.length} bytes, ${header.length} needed (5.2.6)`;
    throw new QueueFault('bad-request', detail);
  }
  const type = headerView.getUint32(0, true) & ~VIRTIO_BLK_T_BARRIER;
  const sector = headerView.getUint32(8, true) + headerView.getUint32(12, true) * 2 ** 32;
  const outBytes = readable.length - header.length;
  const inBytes = writable.length - 1;

  switch (type) {
    case VIRTIO_BLK_T_IN:
      return transfer('read', sector, inBytes, limits);
    case VIRTIO_BLK_T_OUT:
      return limits.readonly ? REFUSED.write : transfer('write', sector, outBytes, limits);
    // QEMU ignores the direction bit on these, and old drivers set it.
    case VIRTIO_BLK_T_FLUSH:
    case VIRTIO_BLK_T_FLUSH | VIRTIO_BLK_T_OUT:
      return FLUSH;
    case VIRTIO_BLK_T_GET_ID:
    case VIRTIO_BLK_T_GET_ID | VIRTIO_BLK_T_OUT:
      return { op: 'get-id', length: Math.min(inBytes, VIRTIO_BLK_ID_BYTES) };
    case VIRTIO_BLK_T_DISCARD:
      return range('discard', readable, header.length, outBytes, limits, limits.discard);
    case VIRTIO_BLK_T_WRITE_ZEROES:
      return range('write-zeroes', readable, header.length, outBytes, limits, limits.writeZeroes);
    case VIRTIO_BLK_T_SECURE_ERASE:
      // Linux (6.12) goes by bit 0 of the type, which is clear in this one, and puts the range where the device writes.
      return outBytes === 0 && inBytes > 0
        ? range('secure-erase', writable, 0, inBytes, limits, limits.secureErase)
        : range('secure-erase', readable, header.length, outBytes, limits, limits.secureErase);
    case VIRTIO_BLK_T_GET_LIFETIME:
      if (!limits.lifetime) return UNSUPP;
      return inBytes < VIRTIO_BLK_LIFETIME_BYTES ? IOERR : { op: 'get-lifetime', length: VIRTIO_BLK_LIFETIME_BYTES };
    default:
      return UNSUPP;
  }
}

function transfer(op: 'read' | 'write', sector: number, length: number, limits: BlkLimits): BlkRequest {
  if (length % limits.blockSize !== 0 || (sector * VIRTIO_BLK_SECTOR_SIZE) % limits.blockSize !== 0) return REFUSED[op];
  if (!inside(sector, length / VIRTIO_BLK_SECTOR_SIZE, REQUEST_SECTORS_MAX, limits)) return REFUSED[op];
  return { op, offset: sector * VIRTIO_BLK_SECTOR_SIZE, length };
}

const segment = new Uint8Array(VIRTIO_BLK_RANGE_SIZE);
const segmentView = new DataView(segment.buffer);

/**
 * One struct virtio_blk_discard_write_zeroes: max_discard_seg, max_write_zeroes_seg, max_secure_erase_seg are 1.
 *
 * @param bytes that there are for it in `buffers`, from `offset` on
 */
function range(
  op: RangeOp,
  buffers: Segments,
  offset: number,
  bytes: number,
  limits: BlkLimits,
  maxSectors: number,
): BlkRequest {
  if (maxSectors === 0) return UNSUPP;
  if (bytes > VIRTIO_BLK_RANGE_SIZE) return UNSUPP;
  if (bytes < VIRTIO_BLK_RANGE_SIZE) return IOERR;
  buffers.copyOut(offset, segment);
  const sector = segmentView.getUint32(0, true) + segmentView.getUint32(4, true) * 2 ** 32;
  const sectors = segmentView.getUint32(8, true);
  const flags = segmentView.getUint32(12, true);
  const unmap = (flags & VIRTIO_BLK_RANGE_F_UNMAP) !== 0;
  // Section 5.2.6.2: unknown flags, and unmap on what is not writing zeroes.
  if ((flags & ~VIRTIO_BLK_RANGE_F_UNMAP) !== 0 || (unmap && op !== 'write-zeroes')) return UNSUPP;
  if (!inside(sector, sectors, maxSectors, limits)) return REFUSED[op];
  return { op, offset: sector * VIRTIO_BLK_SECTOR_SIZE, length: sectors * VIRTIO_BLK_SECTOR_SIZE, unmap };
}

/** Whether the sectors are on the disk. A sector above 2^53 has lost bits, and is not. */
function inside(sector: number, sectors: number, max: number, limits: BlkLimits): boolean {
  const capacity = limits.size / VIRTIO_BLK_SECTOR_SIZE;
  return sectors <= max && sector <= capacity && sectors <= capacity - sector;
}
