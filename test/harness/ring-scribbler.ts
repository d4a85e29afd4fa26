/** A hart gone mad: rewrites descriptors and rings, again and again, with values that are now right and now wrong. */
import { workerData } from 'node:worker_threads';

import { GuestMemory } from '../../core/memory/guest-memory.ts';
import type { GuestMemoryHandle } from '../../core/memory/guest-memory.ts';

export interface ScribblerData {
  guest: GuestMemoryHandle;
  /** Guest physical 32-bit words, and what to write to them by turns. */
  words: { address: number; values: number[] }[];
  /** Word 0: 1 asks it to end; word 1: rounds made. */
  control: SharedArrayBuffer;
}

const { guest, words, control } = workerData as ScribblerData;
const memory = new GuestMemory(guest);
const flags = new Int32Array(control);
for (let round = 0; Atomics.load(flags, 0) === 0; round++) {
  for (const { address, values } of words) memory.writeU32(address, values[round % values.length]);
  Atomics.store(flags, 1, round);
}
