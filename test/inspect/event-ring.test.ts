/** Event rings: what is read is what was written, and what is not read is counted. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  EVENT_POPPED,
  EventReader,
  EventWriter,
  HEADER_BYTES,
  createEventRing,
} from '../../core/inspect/event-ring.ts';
import type { RingEvent } from '../../core/inspect/event-ring.ts';

function whole({ time, code, head, position, length, detailLow, detailHigh }: RingEvent): boolean {
  return (
    code === (time & 0xffff) &&
    head === time &&
    position === (time & 0x7fff) &&
    length === time * 2 &&
    detailLow + detailHigh * 2 ** 32 === time * 2 ** 20
  );
}

describe('on one thread', () => {
  it('gives all events in order, or says how many are gone', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(128, 256, 1024),
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.array(fc.nat(600), { maxLength: 30 }),
        (capacity, start, bursts) => {
          const ring = createEventRing(capacity);
          // Counts wrap at 2^32.
          new Uint32Array(ring)[0] = start;
          let now = 0;
          const writer = new EventWriter(ring, () => now);
          const reader = new EventReader(ring);
          let next = 0;
          for (const burst of bursts) {
            for (let i = 0; i < burst; i++, now++) {
              writer.record(EVENT_POPPED, now & 0xffff, now, now & 0x7fff, now * 2, now * 2 ** 20);
            }
            let lost = 0;
            let seen = 0;
            let wrong = 0;
            reader.read(
              (event) => {
                if (!whole(event) || event.time !== next + lost + seen) wrong++;
                seen++;
              },
              (count) => (lost += count),
            );
            expect({ wrong, all: seen + lost }).toEqual({ wrong: 0, all: burst });
            if (burst <= capacity - 64) expect(lost).toBe(0);
            next += burst;
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it('goes on where another writer stopped', () => {
    const ring = createEventRing(128);
    const reader = new EventReader(ring);
    new EventWriter(ring, () => 1).record(EVENT_POPPED, 0, 0, 0, 0);
    new EventWriter(ring, () => 2).record(EVENT_POPPED, 0, 0, 0, 0);
    const times: number[] = [];
    reader.read(
      ({ time }) => times.push(time),
      () => expect.unreachable(),
    );
    expect(times).toEqual([1, 2]);
  });

  it('has room for what it says', () => {
    expect(createEventRing(1024).byteLength).toBe(HEADER_BYTES + 1024 * 32);
    expect(() => createEventRing(1000)).toThrow(RangeError);
    expect(() => createEventRing(64)).toThrow(RangeError);
  });
});

describe('with the writer on another thread', () => {
  it.each([128, 4096])('never shows a torn event in a ring of %i', async (capacity) => {
    const ring = createEventRing(capacity);
    const go = new SharedArrayBuffer(8);
    const state = new Int32Array(go);
    const count = 400_000;
    const reader = new EventReader(ring);
    const worker = new Worker(new URL('./event-writer.ts', import.meta.url), { workerData: { ring, count, go } });
    const exited = once(worker, 'exit');
    await once(worker, 'online');
    Atomics.store(state, 0, 1);
    Atomics.notify(state, 0);
    let last = -1;
    let seen = 0;
    let lost = 0;
    let torn = 0;
    const read = () =>
      reader.read(
        (event) => {
          if (!whole(event) || event.time <= last) torn++;
          last = event.time;
          seen++;
        },
        (missed) => (lost += missed),
      );
    while (Atomics.load(state, 1) === 0) {
      read();
      // Now and then the reader is late, as a busy control thread is.
      if (seen % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    read();
    await exited;
    expect(torn).toBe(0);
    expect(seen + lost).toBe(count);
    expect(last).toBe(count - 1);
  });
});
