/** 9P messages for people (9P2000.L). */
import { FieldReader, codeName, codesOf, peek } from '../decoder.ts';
import type { ByteSource, DecodedField, NamedCode, QueueDecoder } from '../decoder.ts';
import * as p9 from './protocol.ts';

const TYPES = codesOf(p9, 'P9_T');
const REPLIES: readonly NamedCode[] = [
  { code: p9.P9_RLERROR, name: 'P9_RLERROR' },
  ...TYPES.map(({ code, name }) => ({ code: code + 1, name: name.replace('P9_T', 'P9_R') })),
];
/** Linux's errors that are worth a name here. */
const EIO = 5;
const ERRORS: readonly NamedCode[] = [
  { code: EIO, name: 'EIO' },
  { code: 1, name: 'EPERM' },
  { code: 2, name: 'ENOENT' },
  { code: 13, name: 'EACCES' },
  { code: 28, name: 'ENOSPC' },
  { code: 0, name: 'ok' },
];
/** Messages whose first field is a fid. */
const WITH_FID = TYPES.filter(({ code }) => ![p9.P9_TVERSION, p9.P9_TFLUSH, p9.P9_TRENAMEAT].includes(code)).map(
  ({ code }) => code,
);

const TYPE = 4;
const TAG = 5;
const BODY = p9.P9_HEADER_BYTES;
const RLERROR_BYTES = BODY + 4;

export const P9_QUEUE: QueueDecoder = {
  purpose: 'requests',
  types: TYPES,
  statuses: ERRORS,
  detail: 'tag',
  summarize(readable, _writable, summary) {
    summary.type = peek(readable, TYPE, 1);
    summary.detail = peek(readable, TAG, 2);
    summary.span = 1;
  },
  status: (_readable, writable) => (peek(writable, TYPE, 1) === p9.P9_RLERROR ? peek(writable, BODY, 4) & 0xffff : 0),
  fields(readable, writable, written) {
    const fields: DecodedField[] = [];
    const request = header('readable', readable, TYPES, fields);
    const type = peek(readable, TYPE, 1);
    if (WITH_FID.includes(type)) request.number('fid', BODY, 4);
    if (type === p9.P9_TREAD || type === p9.P9_TWRITE || type === p9.P9_TREADDIR) {
      request.number('offset', BODY + 4, 8);
      request.number('count', BODY + 12, 4);
      if (type === p9.P9_TWRITE) request.bytes('data', p9.P9_TWRITE_BYTES, peek(readable, BODY + 12, 4));
    } else if (type === p9.P9_TWALK) {
      request.number('newfid', BODY + 4, 4);
      walkNames(request, readable);
    } else if (type === p9.P9_TVERSION) {
      request.number('msize', BODY, 4);
      request.text('version', BODY + 6, peek(readable, BODY + 4, 2));
    } else if (type === p9.P9_TLCREATE || type === p9.P9_TMKDIR || type === p9.P9_TSYMLINK) {
      request.text('name', BODY + 6, peek(readable, BODY + 4, 2));
    }
    if (written === null) return fields;
    const reply = header('writable', writable, REPLIES, fields);
    const answer = peek(writable, TYPE, 1);
    if (answer === p9.P9_RLERROR) reply.number('ecode', BODY, 4, (value) => codeName(ERRORS, Number(value)));
    if (answer === p9.P9_TREAD + 1) reply.bytes('data', p9.P9_RREAD_BYTES, peek(writable, BODY, 4));
    return fields;
  },
  lint(readable, _writable, found) {
    const size = peek(readable, 0, 4);
    if (size !== readable.length) found('9p-length', () => `size ${size} of ${readable.length} bytes`);
  },
  refuse(readable, writable, status) {
    const reply = new Uint8Array(RLERROR_BYTES);
    const data = new DataView(reply.buffer);
    data.setUint32(0, RLERROR_BYTES, true);
    data.setUint8(TYPE, p9.P9_RLERROR);
    data.setUint16(TAG, peek(readable, TAG, 2), true);
    data.setUint32(BODY, status, true);
    return writable.copyIn(0, reply);
  },
};

function header(
  part: 'readable' | 'writable',
  source: ByteSource,
  names: readonly NamedCode[],
  fields: DecodedField[],
): FieldReader {
  const reader = new FieldReader(part, source, fields);
  reader.number('size', 0, 4);
  reader.number('type', TYPE, 1, (value) => codeName(names, Number(value)));
  reader.number('tag', TAG, 2);
  return reader;
}

function walkNames(reader: FieldReader, source: ByteSource): void {
  const count = Math.min(peek(source, BODY + 8, 2), p9.P9_MAXWELEM);
  let offset = BODY + 10;
  for (let i = 0; i < count; i++) {
    const length = peek(source, offset, 2);
    reader.text(`wname[${i}]`, offset + 2, length);
    offset += 2 + length;
  }
}
