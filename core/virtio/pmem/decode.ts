/** Persistent memory's requests for people (virtio 1.3, section 5.19.6). */
import { FieldReader, NO_STATUS, codeName, peek } from '../decoder.ts';
import type { DecodedField, NamedCode, QueueDecoder } from '../decoder.ts';
import {
  PMEM_REQUEST_SIZE,
  PMEM_RESPONSE_SIZE,
  VIRTIO_PMEM_REQ_TYPE_FLUSH,
  VIRTIO_PMEM_RESP_TYPE_EIO,
  VIRTIO_PMEM_RESP_TYPE_OK,
} from '../spec/pmem.ts';

const TYPES: readonly NamedCode[] = [{ code: VIRTIO_PMEM_REQ_TYPE_FLUSH, name: 'VIRTIO_PMEM_REQ_TYPE_FLUSH' }];
const STATUSES: readonly NamedCode[] = [
  { code: VIRTIO_PMEM_RESP_TYPE_EIO, name: 'VIRTIO_PMEM_RESP_TYPE_EIO' },
  { code: VIRTIO_PMEM_RESP_TYPE_OK, name: 'VIRTIO_PMEM_RESP_TYPE_OK' },
];

export const PMEM_QUEUE: QueueDecoder = {
  purpose: 'requests',
  types: TYPES,
  statuses: STATUSES,
  detail: null,
  summarize(readable, _writable, summary) {
    summary.type = Math.min(peek(readable, 0, PMEM_REQUEST_SIZE), 0xffff);
    summary.detail = summary.span = 0;
  },
  status: (_readable, writable) =>
    writable.length < PMEM_RESPONSE_SIZE ? NO_STATUS : peek(writable, 0, PMEM_RESPONSE_SIZE),
  fields(readable, writable, written) {
    const fields: DecodedField[] = [];
    new FieldReader('readable', readable, fields).number('type', 0, 4, (value) => codeName(TYPES, Number(value)));
    if (written !== null) {
      new FieldReader('writable', writable, fields).number('ret', 0, 4, (value) => codeName(STATUSES, Number(value)));
    }
    return fields;
  },
  refuse: (_readable, writable, status) => writable.copyIn(0, Uint8Array.of(status, 0, 0, 0)),
};
