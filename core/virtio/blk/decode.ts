/** Block requests for people (virtio 1.3, section 5.2.6). */
import { FieldReader, NO_STATUS, NO_TYPE, codeName } from '../decoder.ts';
import type { ByteSource, DecodedField, NamedCode, QueueDecoder } from '../decoder.ts';
import {
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_HEADER_SIZE,
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_LIFETIME_BYTES,
  VIRTIO_BLK_RANGE_F_UNMAP,
  VIRTIO_BLK_RANGE_SIZE,
  VIRTIO_BLK_SECTOR_SIZE,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_BARRIER,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_GET_LIFETIME,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_SCSI_CMD,
  VIRTIO_BLK_T_SECURE_ERASE,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from '../spec/blk.ts';
import { hasFeature } from '../spec/features.ts';

const TYPES: readonly NamedCode[] = [
  { code: VIRTIO_BLK_T_IN, name: 'VIRTIO_BLK_T_IN' },
  { code: VIRTIO_BLK_T_OUT, name: 'VIRTIO_BLK_T_OUT' },
  { code: VIRTIO_BLK_T_SCSI_CMD, name: 'VIRTIO_BLK_T_SCSI_CMD' },
  { code: VIRTIO_BLK_T_FLUSH, name: 'VIRTIO_BLK_T_FLUSH' },
  { code: VIRTIO_BLK_T_GET_ID, name: 'VIRTIO_BLK_T_GET_ID' },
  { code: VIRTIO_BLK_T_GET_LIFETIME, name: 'VIRTIO_BLK_T_GET_LIFETIME' },
  { code: VIRTIO_BLK_T_DISCARD, name: 'VIRTIO_BLK_T_DISCARD' },
  { code: VIRTIO_BLK_T_WRITE_ZEROES, name: 'VIRTIO_BLK_T_WRITE_ZEROES' },
  { code: VIRTIO_BLK_T_SECURE_ERASE, name: 'VIRTIO_BLK_T_SECURE_ERASE' },
];

const STATUSES: readonly NamedCode[] = [
  // The first error is what is injected unless told otherwise.
  { code: VIRTIO_BLK_S_IOERR, name: 'VIRTIO_BLK_S_IOERR' },
  { code: VIRTIO_BLK_S_UNSUPP, name: 'VIRTIO_BLK_S_UNSUPP' },
  { code: VIRTIO_BLK_S_OK, name: 'VIRTIO_BLK_S_OK' },
];

/** What may be asked for only where the feature is negotiated. */
const NEEDED = [
  { type: VIRTIO_BLK_T_FLUSH, feature: VIRTIO_BLK_F_FLUSH, name: 'VIRTIO_BLK_F_FLUSH' },
  { type: VIRTIO_BLK_T_DISCARD, feature: VIRTIO_BLK_F_DISCARD, name: 'VIRTIO_BLK_F_DISCARD' },
  { type: VIRTIO_BLK_T_WRITE_ZEROES, feature: VIRTIO_BLK_F_WRITE_ZEROES, name: 'VIRTIO_BLK_F_WRITE_ZEROES' },
  { type: VIRTIO_BLK_T_SECURE_ERASE, feature: VIRTIO_BLK_F_SECURE_ERASE, name: 'VIRTIO_BLK_F_SECURE_ERASE' },
];

const RANGE_TYPES = [VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_SECURE_ERASE];

const scratch = new Uint8Array(VIRTIO_BLK_HEADER_SIZE);
const words = new Uint32Array(scratch.buffer);

export const BLK_QUEUE: QueueDecoder = {
  purpose: 'requests',
  types: TYPES,
  statuses: STATUSES,
  detail: 'sector',

  summarize(readable, writable, summary) {
    summary.detail = summary.span = 0;
    summary.type = NO_TYPE;
    if (readable.copyOut(0, scratch) < VIRTIO_BLK_HEADER_SIZE) return;
    const type = words[0] & ~VIRTIO_BLK_T_BARRIER;
    summary.type = type < NO_TYPE ? type : NO_TYPE;
    if (type === VIRTIO_BLK_T_IN || type === VIRTIO_BLK_T_OUT) {
      summary.detail = words[2] + words[3] * 2 ** 32;
      const bytes = type === VIRTIO_BLK_T_IN ? writable.length - 1 : readable.length - VIRTIO_BLK_HEADER_SIZE;
      summary.span = Math.max(0, Math.ceil(bytes / VIRTIO_BLK_SECTOR_SIZE));
    } else if (
      RANGE_TYPES.includes(type) &&
      readable.copyOut(VIRTIO_BLK_HEADER_SIZE, scratch) === VIRTIO_BLK_RANGE_SIZE
    ) {
      summary.detail = words[0] + words[1] * 2 ** 32;
      summary.span = words[2];
    }
  },

  status(_readable, writable) {
    if (writable.length === 0) return NO_STATUS;
    writable.copyOut(writable.length - 1, scratch, 1);
    return scratch[0];
  },

  fields(readable, writable, written) {
    const fields: DecodedField[] = [];
    const header = new FieldReader('readable', readable, fields);
    const type = header.number('type', 0, 4, (value) => typeName(Number(value)));
    header.number('reserved', 4, 4);
    header.number('sector', 8, 8);
    if (type !== null) body(Number(type) & ~VIRTIO_BLK_T_BARRIER, header, readable, writable, fields, written !== null);
    const answer = new FieldReader('writable', writable, fields);
    if (written !== null) {
      answer.number('status', writable.length - 1, 1, (value) => codeName(STATUSES, Number(value)));
    }
    return fields;
  },

  lint(readable, writable, found, features) {
    if (readable.copyOut(0, scratch) < VIRTIO_BLK_HEADER_SIZE) return;
    const type = words[0] & ~VIRTIO_BLK_T_BARRIER;
    const sector = words[2] + words[3] * 2 ** 32;
    const data = readable.length - VIRTIO_BLK_HEADER_SIZE;
    const needed = NEEDED.find((each) => each.type === type);
    if (needed !== undefined && !hasFeature(features, needed.feature)) {
      found('not-negotiated', () => `${typeName(type)} without ${needed.name}`);
    }
    if (type === VIRTIO_BLK_T_FLUSH) {
      if (sector !== 0) found('blk-flush-sector', () => `a flush of sector ${sector}`);
      if (data + writable.length > 1) found('blk-flush-data', () => `a flush with ${data + writable.length - 1} bytes`);
    }
    if (type === VIRTIO_BLK_T_GET_ID && writable.length - 1 !== VIRTIO_BLK_ID_BYTES) {
      found('blk-id-size', () => `GET_ID with ${writable.length - 1} bytes`);
    }
    if (RANGE_TYPES.includes(type)) {
      if (data === 0 || data % VIRTIO_BLK_RANGE_SIZE !== 0) {
        found('blk-range-size', () => `${typeName(type)} with ${data} bytes of ranges`);
      }
      if (type === VIRTIO_BLK_T_DISCARD && data >= VIRTIO_BLK_RANGE_SIZE) {
        readable.copyOut(VIRTIO_BLK_HEADER_SIZE, scratch);
        const flags = words[3];
        if (flags & VIRTIO_BLK_RANGE_F_UNMAP) found('blk-discard-unmap', () => `a discard with flags ${flags}`);
      }
    }
    if (type !== VIRTIO_BLK_T_IN && type !== VIRTIO_BLK_T_OUT) return;
    const bytes = type === VIRTIO_BLK_T_IN ? writable.length - 1 : readable.length - VIRTIO_BLK_HEADER_SIZE;
    if (bytes % VIRTIO_BLK_SECTOR_SIZE !== 0) {
      found('blk-size', () => `${bytes} bytes at sector ${sector}`);
    }
  },

  refuse(_readable, writable, status) {
    if (writable.length === 0) return 0;
    scratch[0] = status;
    writable.copyIn(writable.length - 1, scratch, 1);
    // The used length counts from the start: of a request with room for data none of that was written.
    return writable.length === 1 ? 1 : 0;
  },
};

function body(
  type: number,
  header: FieldReader,
  readable: ByteSource,
  writable: ByteSource,
  fields: DecodedField[],
  done: boolean,
): void {
  const answer = new FieldReader('writable', writable, fields);
  const answerBytes = writable.length - 1;
  if (type === VIRTIO_BLK_T_OUT) {
    header.bytes('data', VIRTIO_BLK_HEADER_SIZE, readable.length - VIRTIO_BLK_HEADER_SIZE);
  } else if (RANGE_TYPES.includes(type)) {
    header.number('range.sector', VIRTIO_BLK_HEADER_SIZE, 8);
    header.number('range.num_sectors', VIRTIO_BLK_HEADER_SIZE + 8, 4);
    const flags = (value: bigint) => (Number(value) & VIRTIO_BLK_RANGE_F_UNMAP ? `unmap (${value})` : `${value}`);
    header.number('range.flags', VIRTIO_BLK_HEADER_SIZE + 12, 4, flags);
  } else if (done && type === VIRTIO_BLK_T_IN) {
    answer.bytes('data', 0, answerBytes);
  } else if (done && type === VIRTIO_BLK_T_GET_ID) {
    answer.text('id', 0, answerBytes);
  } else if (done && type === VIRTIO_BLK_T_GET_LIFETIME && answerBytes >= VIRTIO_BLK_LIFETIME_BYTES) {
    answer.number('pre_eol_info', 0, 2);
    answer.number('device_lifetime_est_typ_a', 2, 2);
    answer.number('device_lifetime_est_typ_b', 4, 2);
  }
}

function typeName(type: number): string {
  const plain = (type & ~VIRTIO_BLK_T_BARRIER) >>> 0;
  return codeName(TYPES, plain) + (type >= VIRTIO_BLK_T_BARRIER ? ' | VIRTIO_BLK_T_BARRIER' : '');
}
