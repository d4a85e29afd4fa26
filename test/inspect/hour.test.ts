/** An hour of watching, on the app's side: what is read of the ring, made into requests and put on the wire leaves nothing behind. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';

import { LATENCY_BUCKETS } from '../../core/api/latency.ts';
import {
  DEFAULT_CAPACITY,
  EVENT_AVAILABLE,
  EVENT_NOTIFIED,
  EVENT_POPPED,
  EVENT_PUBLISHED,
  EVENT_PUSHED,
  EventReader,
  EventWriter,
  INTERRUPT_SENT,
  createEventRing,
} from '../../core/inspect/event-ring.ts';
import { RequestLog } from '../../core/inspect/request-log.ts';
import { encodeBatch } from '../../main/ipc/contract/inspect-frames.ts';

const MIB = 2 ** 20;
const LOOKS = 3600 * 30;
/** Requests between two looks. */
const REQUESTS = 4;
const HEADS = 256;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function used(): number {
  // What the first finds dead the second gives back.
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

it('takes no more memory after an hour than after a minute', () => {
  const ring = createEventRing(DEFAULT_CAPACITY);
  let now = 0;
  const writer = new EventWriter(ring, () => (now += 1000));
  const reader = new EventReader(ring);
  const log = new RequestLog(() => false);
  let bytes = 0;
  const watch = (looks: number): void => {
    for (let look = 0; look < looks; look++) {
      for (let i = 0; i < REQUESTS; i++) {
        const head = (look * REQUESTS + i) % HEADS;
        writer.record(EVENT_NOTIFIED, 0, 0, 0, 1);
        writer.record(EVENT_AVAILABLE, 0, 0, head, 1);
        writer.record(EVENT_POPPED, 1, head, head, 4096, look);
        writer.record(EVENT_PUSHED, 0, head, head, 1);
        writer.record(EVENT_PUBLISHED, INTERRUPT_SENT, 0, 0, 1);
      }
      reader.read(
        (event) => log.add(event),
        (count) => log.lose(count, now),
      );
      const from = now;
      const counters = { popped: 0, used: 0, notifications: 0, interrupts: 0, suppressed: 0, inFlight: 0 };
      const batch = { seq: look, from, to: now, ...log.take(), counters, histogram: log.histogram };
      bytes += encodeBatch(batch).length;
    }
  };
  watch(60 * 30);
  const before = used();
  watch(LOOKS);
  expect(used() - before).toBeLessThan(8 * MIB);
  expect(log.completed).toBe((LOOKS + 60 * 30) * REQUESTS);
  expect(bytes).toBeGreaterThan(LOOKS * 4 * LATENCY_BUCKETS);
}, 120_000);
