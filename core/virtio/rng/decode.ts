/** Entropy for people (virtio 1.3, section 5.4.6): buffers to be filled with it. */
import { FieldReader, PLAIN_QUEUE } from '../decoder.ts';
import type { DecodedField, QueueDecoder } from '../decoder.ts';

export const RNG_QUEUE: QueueDecoder = {
  ...PLAIN_QUEUE,
  fields(_readable, writable, written) {
    const fields: DecodedField[] = [];
    if (written !== null) new FieldReader('writable', writable, fields).bytes('entropy', 0, written);
    return fields;
  },
};
