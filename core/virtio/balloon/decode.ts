/** Balloon requests for people (virtio 1.3, section 5.5.6). */
import { FieldReader, NO_TYPE, PLAIN_QUEUE, peek } from '../decoder.ts';
import type { DecodedField, QueueDecoder } from '../decoder.ts';
import { BALLOON_PAGE_SIZE, BALLOON_STAT_NAMES, BALLOON_STAT_SIZE } from '../spec/balloon.ts';

/** Page numbers shown of a request. */
const PFNS_SHOWN = 64;
const PFN_BYTES = 4;

const pageAddress = (pfn: bigint): string => `${pfn} (0x${(Number(pfn) * BALLOON_PAGE_SIZE).toString(16)})`;

/** Inflate and deflate: page frame numbers. */
const PAGES: QueueDecoder = {
  ...PLAIN_QUEUE,
  purpose: 'requests',
  detail: 'page frame number',
  summarize(readable, _writable, summary) {
    summary.type = NO_TYPE;
    summary.detail = peek(readable, 0, PFN_BYTES);
    summary.span = 1;
  },
  fields(readable) {
    const fields: DecodedField[] = [];
    const reader = new FieldReader('readable', readable, fields);
    const count = Math.min(PFNS_SHOWN, Math.floor(readable.length / PFN_BYTES));
    for (let i = 0; i < count; i++) reader.number(`pfn[${i}]`, PFN_BYTES * i, PFN_BYTES, pageAddress);
    return fields;
  },
};

const STATS: QueueDecoder = {
  ...PLAIN_QUEUE,
  purpose: 'requests',
  fields(readable) {
    const fields: DecodedField[] = [];
    const reader = new FieldReader('readable', readable, fields);
    const count = Math.min(PFNS_SHOWN, Math.floor(readable.length / BALLOON_STAT_SIZE));
    for (let i = 0; i < count; i++) {
      const tag = peek(readable, BALLOON_STAT_SIZE * i, 2);
      const name: string | undefined = BALLOON_STAT_NAMES[tag];
      reader.number(name ?? `tag ${tag}`, BALLOON_STAT_SIZE * i + 2, 8);
    }
    return fields;
  },
};

const FREE_PAGES: QueueDecoder = {
  ...PLAIN_QUEUE,
  purpose: 'requests',
  fields(readable) {
    const fields: DecodedField[] = [];
    new FieldReader('readable', readable, fields).number('cmd_id', 0, 4);
    return fields;
  },
};

export function balloonQueue(queue: string): QueueDecoder {
  if (queue === 'inflateq' || queue === 'deflateq') return PAGES;
  if (queue.startsWith('stats')) return STATS;
  return queue.startsWith('free_page') ? FREE_PAGES : { ...PLAIN_QUEUE, purpose: 'requests' };
}
