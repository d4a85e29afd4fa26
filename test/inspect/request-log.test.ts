/** Requests made of events: bounded whatever comes, and what does not fit is counted. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { MARK_LOST, MAX_DONE, MAX_MARKS, MAX_OPEN } from '../../core/api/inspect.ts';
import {
  EVENT_AVAILABLE,
  EVENT_ENDED,
  EVENT_POPPED,
  EVENT_PUBLISHED,
  EVENT_PUSHED,
  EVENT_STARTED,
  EventReader,
  EventWriter,
  INTERRUPT_SENT,
  createEventRing,
} from '../../core/inspect/event-ring.ts';
import { RequestLog } from '../../core/inspect/request-log.ts';

/** A log with its ring, as a queue has them. */
function makeLog(inOrder = false, capacity = 65536) {
  let now = 0;
  const ring = createEventRing(capacity);
  const writer = new EventWriter(ring, () => (now += 100));
  const reader = new EventReader(ring);
  const log = new RequestLog(() => inOrder);
  const read = () =>
    reader.read(
      (event) => log.add(event),
      (count) => log.lose(count, now),
    );
  return { writer, log, read };
}

describe('a log of requests', () => {
  it('has each request once, whatever the order in which they are done', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(fc.nat(31), { maxLength: 200 }), (inOrder, picks) => {
        const { writer, log, read } = makeLog(inOrder);
        const out: number[] = [];
        const order: number[] = [];
        const pushed = new Set<number>();
        let position = 0;
        let expected = 0;
        for (const pick of picks) {
          if (out.length < 16 && pick % 2 === 0) {
            const head = Array.from({ length: 32 }, (_, i) => i).find((i) => !out.includes(i))!;
            writer.record(EVENT_AVAILABLE, 0, 0, position, 1);
            writer.record(EVENT_POPPED, 1, head, position++, 512, head * 8);
            out.push(head);
            order.push(head);
          } else {
            const waiting = out.filter((head) => !pushed.has(head));
            if (waiting.length === 0) continue;
            const head = waiting[pick % waiting.length];
            writer.record(EVENT_PUSHED, 0, head, 0, 1);
            pushed.add(head);
            // In order, only what is at the front becomes visible.
            const visible = inOrder ? order.findIndex((each) => !pushed.has(each)) : pushed.size;
            const count = visible < 0 ? order.length : visible;
            if (count === 0) continue;
            const gone = inOrder ? order.splice(0, count) : [...pushed];
            for (const each of gone) {
              out.splice(out.indexOf(each), 1);
              pushed.delete(each);
            }
            if (!inOrder) order.length = 0;
            writer.record(EVENT_PUBLISHED, INTERRUPT_SENT, 0, 0, gone.length);
            expected += gone.length;
          }
        }
        read();
        const batch = log.take();
        expect(batch.done.count).toBe(expected);
        expect(batch.open.count).toBe(out.length);
        expect(log.histogram.reduce((sum, n) => sum + n, 0)).toBe(expected);
        const heads = Array.from({ length: batch.done.count }, (_, i) => batch.done.words[8 * i]);
        const details = Array.from({ length: batch.done.count }, (_, i) => batch.done.words[8 * i + 6]);
        expect(details).toEqual(heads.map((head) => head * 8));
      }),
      { numRuns: 100 },
    );
  });

  it('leaves out what is too much for a batch, evenly, and counts it', () => {
    const { writer, log, read } = makeLog();
    const burst = (requests: number) => {
      for (let i = 0; i < requests; i++) {
        writer.record(EVENT_POPPED, 0, 7, i & 0xffff, 1);
        writer.record(EVENT_PUSHED, 0, 7, 0, 1);
        writer.record(EVENT_PUBLISHED, INTERRUPT_SENT, 0, 0, 1);
      }
      read();
      return log.take();
    };
    const many = 3 * MAX_DONE;
    const first = burst(many);
    expect(first.done.count + first.leftOut).toBe(many);
    expect(first.done.count).toBe(MAX_DONE);
    const second = burst(many);
    expect(second.done.count + second.leftOut).toBe(many);
    // Every third: from the first one to the last ones.
    const positions = Array.from({ length: second.done.count }, (_, i) => second.done.words[8 * i + 1]);
    expect(positions.at(-1)).toBeGreaterThan(many - 4);
    expect(second.markTimes.length).toBe(MAX_MARKS);
    expect(log.completed).toBe(2 * many);
    expect(burst(10).leftOut).toBeGreaterThan(0);
    expect(burst(10).leftOut).toBe(0);
  });

  it('forgets what was in flight when events are lost, or the queue stops', () => {
    const { writer, log, read } = makeLog(false, 128);
    writer.record(EVENT_STARTED, 0, 0, 0, 0);
    writer.record(EVENT_POPPED, 0, 1, 0, 1);
    read();
    expect(log.take().open.count).toBe(1);
    for (let i = 0; i < 1000; i++) writer.record(EVENT_AVAILABLE, 0, 0, 0, 1);
    writer.record(EVENT_PUSHED, 0, 1, 0, 1);
    writer.record(EVENT_PUBLISHED, INTERRUPT_SENT, 0, 0, 1);
    read();
    const batch = log.take();
    expect(batch.lost).toBeGreaterThan(900);
    expect({ done: batch.done.count, open: batch.open.count }).toEqual({ done: 0, open: 0 });
    expect([...batch.markWords.subarray(0, 2)]).toEqual([MARK_LOST, batch.lost]);
    writer.record(EVENT_POPPED, 0, 2, 0, 1);
    writer.record(EVENT_ENDED, 0, 0, 0, 0);
    read();
    expect(log.take().open.count).toBe(0);
  });

  it('takes any head and any number', () => {
    const { writer, log, read } = makeLog();
    for (const head of [0xffff, 0x10000, 0xffff_ffff]) {
      writer.record(EVENT_POPPED, 0xffff, head, 0xffff, 0xffff_ffff, 2 ** 53);
      writer.record(EVENT_PUSHED, 0xffff, head, 0, 0xffff_ffff);
    }
    writer.record(EVENT_PUBLISHED, INTERRUPT_SENT, 0, 0, 3);
    for (let head = 0; head < 2 * MAX_OPEN; head++) writer.record(EVENT_POPPED, 0, head, 0, 0);
    read();
    const batch = log.take();
    expect(batch.done.count).toBe(1);
    expect(batch.open.count).toBe(MAX_OPEN);
  });

  it('stays as large as it is, however long somebody watches', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const { writer, log, read } = makeLog(false, 16384);
    // A batch of 50,000 requests a second.
    const poll = () => {
      for (let i = 0; i < 1667; i++) {
        const head = (i * 3) % 256;
        writer.record(EVENT_AVAILABLE, 0, 0, i, 1);
        writer.record(EVENT_POPPED, 1, head, i, 4096, i);
        writer.record(EVENT_PUSHED, 0, head, 0, 1);
        writer.record(EVENT_PUBLISHED, INTERRUPT_SENT, 0, 0, 1);
      }
      read();
      return log.take();
    };
    const used = () => {
      collect();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    };
    for (let i = 0; i < 50; i++) poll();
    const before = used();
    // What else the process does comes and goes; what is kept here would only grow.
    const after = Array.from({ length: 4 }, () => {
      let done = 0;
      for (let i = 0; i < 150; i++) done += poll().done.count;
      expect(done).toBe(150 * 1667);
      return used();
    });
    expect(Math.min(...after) - before).toBeLessThan(2 * 2 ** 20);
  });
});
