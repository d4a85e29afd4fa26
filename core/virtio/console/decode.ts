/** Console text and control messages for people (virtio 1.3, sections 5.3.6 and 5.3.6.2). */
import { FieldReader, PLAIN_QUEUE, codeName, codesOf, peek } from '../decoder.ts';
import type { ByteSource, DecodedField, QueueDecoder } from '../decoder.ts';
import * as spec from '../spec/console.ts';

const EVENTS = [
  ...codesOf(spec, 'VIRTIO_CONSOLE_DEVICE_'),
  ...codesOf(spec, 'VIRTIO_CONSOLE_PORT_'),
  { code: spec.VIRTIO_CONSOLE_CONSOLE_PORT, name: 'VIRTIO_CONSOLE_CONSOLE_PORT' },
  { code: spec.VIRTIO_CONSOLE_RESIZE, name: 'VIRTIO_CONSOLE_RESIZE' },
];

function text(part: 'readable' | 'writable', source: ByteSource, length: number): DecodedField[] {
  const fields: DecodedField[] = [];
  new FieldReader(part, source, fields).text('text', 0, length);
  return fields;
}

function control(part: 'readable' | 'writable', source: ByteSource, length: number): DecodedField[] {
  const fields: DecodedField[] = [];
  const message = new FieldReader(part, source, fields);
  message.number('id', 0, 4);
  const event = message.number('event', 4, 2, (value) => codeName(EVENTS, Number(value)));
  message.number('value', 6, 2);
  const more = length - spec.CONSOLE_CONTROL_BYTES;
  if (event === BigInt(spec.VIRTIO_CONSOLE_PORT_NAME)) message.text('name', spec.CONSOLE_CONTROL_BYTES, more);
  if (event === BigInt(spec.VIRTIO_CONSOLE_RESIZE)) {
    message.number('cols', spec.CONSOLE_CONTROL_BYTES, 2);
    message.number('rows', spec.CONSOLE_CONTROL_BYTES + 2, 2);
  }
  return fields;
}

const RECEIVEQ: QueueDecoder = {
  ...PLAIN_QUEUE,
  fields: (_readable, writable, written) => (written === null ? [] : text('writable', writable, written)),
};
const TRANSMITQ: QueueDecoder = {
  ...PLAIN_QUEUE,
  purpose: 'requests',
  fields: (readable) => text('readable', readable, readable.length),
};
const CONTROL_RECEIVEQ: QueueDecoder = {
  ...PLAIN_QUEUE,
  fields: (_readable, writable, written) => (written === null ? [] : control('writable', writable, written)),
};
const CONTROL_TRANSMITQ: QueueDecoder = {
  ...PLAIN_QUEUE,
  purpose: 'requests',
  types: EVENTS,
  detail: 'port',
  summarize(readable, _writable, summary) {
    summary.type = peek(readable, 4, 2);
    summary.detail = peek(readable, 0, 4);
    summary.span = 1;
  },
  fields: (readable) => control('readable', readable, readable.length),
  lint(readable, _writable, found) {
    if (readable.length < spec.CONSOLE_CONTROL_BYTES) {
      found('console-control-small', () => `a message of ${readable.length} bytes`);
    }
  },
};

export function consoleQueue(queue: string): QueueDecoder {
  if (queue.startsWith('control ')) return queue.endsWith('receiveq') ? CONTROL_RECEIVEQ : CONTROL_TRANSMITQ;
  return queue.startsWith('receiveq') ? RECEIVEQ : TRANSMITQ;
}
