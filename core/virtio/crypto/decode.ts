/** Crypto requests for people (virtio 1.3, sections 5.9.7.2 and 5.9.7.4). */
import { FieldReader, NO_STATUS, codeName, peek } from '../decoder.ts';
import type { ByteSource, DecodedField, NamedCode, QueueDecoder } from '../decoder.ts';
import * as spec from '../spec/crypto.ts';

const STATUSES: readonly NamedCode[] = (
  ['ERR', 'BADMSG', 'NOTSUPP', 'INVSESS', 'NOSPC', 'KEY_REJECTED', 'OK'] as const
).map((name) => ({ name: `VIRTIO_CRYPTO_${name}`, code: spec[`VIRTIO_CRYPTO_${name}`] }));
const status = (value: bigint): string => codeName(STATUSES, Number(value));

const SERVICES = ['CIPHER', 'HASH', 'MAC', 'AEAD', 'AKCIPHER'] as const;
const CONTROL_OPS: readonly NamedCode[] = SERVICES.flatMap((service) => {
  const own = service === 'AKCIPHER';
  const base = spec[`VIRTIO_CRYPTO_SERVICE_${service}`] << 8;
  const [create, destroy] = own
    ? [spec.VIRTIO_CRYPTO_AKCIPHER_CREATE_SESSION, spec.VIRTIO_CRYPTO_AKCIPHER_DESTROY_SESSION]
    : [base | spec.VIRTIO_CRYPTO_CREATE_SESSION, base | spec.VIRTIO_CRYPTO_DESTROY_SESSION];
  return [
    { code: create, name: `VIRTIO_CRYPTO_${service}_CREATE_SESSION` },
    { code: destroy, name: `VIRTIO_CRYPTO_${service}_DESTROY_SESSION` },
  ];
});
const DATA_OPS: readonly NamedCode[] = (
  [
    'CIPHER_ENCRYPT',
    'CIPHER_DECRYPT',
    'HASH',
    'MAC',
    'AEAD_ENCRYPT',
    'AEAD_DECRYPT',
    'AKCIPHER_ENCRYPT',
    'AKCIPHER_DECRYPT',
    'AKCIPHER_SIGN',
    'AKCIPHER_VERIFY',
  ] as const
).map((name) => ({ name: `VIRTIO_CRYPTO_${name}`, code: spec[`VIRTIO_CRYPTO_${name}`] }));

function summaryOf(readable: ByteSource, sessionAt: number) {
  return { type: peek(readable, 0, 4) & 0xffff, detail: peek(readable, sessionAt, 4), span: 1 };
}

const DATAQ: QueueDecoder = {
  purpose: 'requests',
  types: DATA_OPS,
  statuses: STATUSES,
  detail: 'session',
  summarize(readable, _writable, summary) {
    Object.assign(summary, summaryOf(readable, spec.DATA_SESSION_ID));
  },
  status: (_readable, writable) => (writable.length === 0 ? NO_STATUS : peek(writable, writable.length - 1, 1)),
  fields(readable, writable, written) {
    const fields: DecodedField[] = [];
    const header = new FieldReader('readable', readable, fields);
    header.number('opcode', spec.DATA_OPCODE, 4, (value) => codeName(DATA_OPS, Number(value)));
    header.number('algo', spec.DATA_OPCODE + 4, 4);
    header.number('session_id', spec.DATA_SESSION_ID, 8);
    header.bytes('body', spec.DATA_UNION, readable.length - spec.DATA_UNION);
    if (written !== null)
      new FieldReader('writable', writable, fields).number('status', writable.length - 1, 1, status);
    return fields;
  },
  refuse(_readable, writable, code) {
    if (writable.length === 0) return 0;
    writable.copyIn(writable.length - 1, Uint8Array.of(code));
    return writable.length === 1 ? 1 : 0;
  },
};

const CONTROLQ: QueueDecoder = {
  ...DATAQ,
  types: CONTROL_OPS,
  detail: null,
  status: (_readable, writable) =>
    writable.length >= spec.SESSION_INPUT_SIZE
      ? peek(writable, spec.SESSION_INPUT_STATUS, 4)
      : DATAQ.status(_readable, writable, 0),
  fields(readable, writable, written) {
    const fields: DecodedField[] = [];
    const header = new FieldReader('readable', readable, fields);
    header.number('opcode', spec.CTRL_OPCODE, 4, (value) => codeName(CONTROL_OPS, Number(value)));
    header.number('algo', spec.CTRL_OPCODE + 4, 4);
    header.bytes('body', spec.CTRL_UNION, readable.length - spec.CTRL_UNION);
    if (written === null) return fields;
    const answer = new FieldReader('writable', writable, fields);
    if (writable.length < spec.SESSION_INPUT_SIZE) answer.number('status', 0, 1, status);
    else {
      answer.number('session_id', 0, 8);
      answer.number('status', spec.SESSION_INPUT_STATUS, 4, status);
    }
    return fields;
  },
  refuse(_readable, writable, code) {
    if (writable.length < spec.SESSION_INPUT_SIZE) return writable.copyIn(0, Uint8Array.of(code));
    const input = new Uint8Array(spec.SESSION_INPUT_SIZE);
    input[spec.SESSION_INPUT_STATUS] = code;
    return writable.copyIn(0, input);
  },
};

export function cryptoQueue(queue: string): QueueDecoder {
  return queue === 'controlq' ? CONTROLQ : DATAQ;
}
