/** Socket packets for people (virtio 1.3, section 5.10.6). */
import { FieldReader, PLAIN_QUEUE, codeName, codesOf, peek } from '../decoder.ts';
import type { ByteSource, DecodedField, QueueDecoder } from '../decoder.ts';
import * as spec from '../spec/vsock.ts';

const OPS = codesOf(spec, 'VIRTIO_VSOCK_OP_');
const SOCKET_TYPES = codesOf(spec, 'VIRTIO_VSOCK_TYPE_');

function packetFields(part: 'readable' | 'writable', source: ByteSource): DecodedField[] {
  const fields: DecodedField[] = [];
  const header = new FieldReader(part, source, fields);
  header.number('src_cid', spec.VSOCK_HDR_SRC_CID, 8);
  header.number('dst_cid', spec.VSOCK_HDR_DST_CID, 8);
  header.number('src_port', spec.VSOCK_HDR_SRC_PORT, 4);
  header.number('dst_port', spec.VSOCK_HDR_DST_PORT, 4);
  const length = header.number('len', spec.VSOCK_HDR_LEN, 4);
  header.number('type', spec.VSOCK_HDR_TYPE, 2, (value) => codeName(SOCKET_TYPES, Number(value)));
  header.number('op', spec.VSOCK_HDR_OP, 2, (value) => codeName(OPS, Number(value)));
  header.number('flags', spec.VSOCK_HDR_FLAGS, 4);
  header.number('buf_alloc', spec.VSOCK_HDR_BUF_ALLOC, 4);
  header.number('fwd_cnt', spec.VSOCK_HDR_FWD_CNT, 4);
  if (length) header.bytes('data', spec.VSOCK_HDR_BYTES, Number(length));
  return fields;
}

const RX: QueueDecoder = {
  ...PLAIN_QUEUE,
  fields: (_readable, writable, written) => (written === null ? [] : packetFields('writable', writable)),
};

const TX: QueueDecoder = {
  ...PLAIN_QUEUE,
  purpose: 'requests',
  types: OPS,
  detail: 'destination port',
  summarize(readable, _writable, summary) {
    summary.type = peek(readable, spec.VSOCK_HDR_OP, 2);
    summary.detail = peek(readable, spec.VSOCK_HDR_DST_PORT, 4);
    summary.span = 1;
  },
  fields: (readable) => packetFields('readable', readable),
  lint(readable, _writable, found) {
    const length = peek(readable, spec.VSOCK_HDR_LEN, 4);
    const there = readable.length - spec.VSOCK_HDR_BYTES;
    if (there < 0 || length > there) found('vsock-length', () => `len ${length} of ${readable.length} bytes`);
  },
};

const EVENT: QueueDecoder = {
  ...PLAIN_QUEUE,
  fields(_readable, writable, written) {
    const fields: DecodedField[] = [];
    if (written !== null) new FieldReader('writable', writable, fields).number('id', 0, 4);
    return fields;
  },
};

export function vsockQueue(queue: string): QueueDecoder {
  return queue === 'tx' ? TX : queue === 'rx' ? RX : EVENT;
}
