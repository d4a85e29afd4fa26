/** A writer of an event ring on a thread of its own: events whose fields all follow from their number. */
import { workerData } from 'node:worker_threads';

import { EVENT_POPPED, EventWriter } from '../../core/inspect/event-ring.ts';

const { ring, count, go } = workerData as { ring: SharedArrayBuffer; count: number; go: SharedArrayBuffer };
let number = 0;
const writer = new EventWriter(ring, () => number);
const state = new Int32Array(go);
Atomics.wait(state, 0, 0);
for (; number < count; number++) {
  writer.record(EVENT_POPPED, number & 0xffff, number, number & 0x7fff, number * 2, number * 2 ** 20);
}
Atomics.store(state, 1, 1);
