/** Input events for people (virtio 1.3, section 5.8.6). */
import { FieldReader, PLAIN_QUEUE, codeName, codesOf, peek } from '../decoder.ts';
import type { ByteSource, DecodedField, QueueDecoder } from '../decoder.ts';
import * as spec from '../spec/input.ts';

const EVENT_TYPES = codesOf(spec, 'EV_');

function eventFields(part: 'readable' | 'writable', source: ByteSource): DecodedField[] {
  const fields: DecodedField[] = [];
  const event = new FieldReader(part, source, fields);
  event.number('type', spec.INPUT_EVENT_TYPE, 2, (value) => codeName(EVENT_TYPES, Number(value)));
  event.number('code', spec.INPUT_EVENT_CODE, 2);
  event.number('value', spec.INPUT_EVENT_VALUE, 4, (value) => `${Number(value) | 0}`);
  return fields;
}

const EVENTQ: QueueDecoder = {
  ...PLAIN_QUEUE,
  fields: (_readable, writable, written) => (written === null ? [] : eventFields('writable', writable)),
};

const STATUSQ: QueueDecoder = {
  ...PLAIN_QUEUE,
  purpose: 'requests',
  types: EVENT_TYPES,
  detail: 'code',
  summarize(readable, _writable, summary) {
    summary.type = peek(readable, spec.INPUT_EVENT_TYPE, 2);
    summary.detail = peek(readable, spec.INPUT_EVENT_CODE, 2);
    summary.span = 1;
  },
  fields: (readable) => eventFields('readable', readable),
};

export function inputQueue(queue: string): QueueDecoder {
  return queue === 'eventq' ? EVENTQ : STATUSQ;
}
