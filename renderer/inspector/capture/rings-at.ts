/** The rings of a captured queue as they were at one instant, from the requests of the capture. */
import type { CaptureInfo } from '../../../main/ipc/contract.ts';
import type { Cell } from '../queue/SlotGrid.svelte';
import { EVERYTHING } from '../timeline/model.ts';
import type { TimelineModel } from '../timeline/model.ts';

/** Requests before an instant that are looked at for what was given back last. */
const BACK = 2 ** 16;
/** Heads drawn when the capture does not say how large the queue was, at most. */
const MOST_HEADS = 1024;
const PACKED_OFFSET = 0x7fff;

export interface RingsAt {
  /** By the index of a chain's first descriptor; of a packed ring by buffer id. */
  heads: Cell[];
  /** By the slot in the ring in which a chain was offered; null: the capture does not say how large the ring was. */
  slots: Cell[] | null;
  /** Requests that the driver had offered and not got back, as indices of the model, oldest first. */
  live: number[];
}

/** Slots of each grid; what is beyond cannot have been. */
export function sizeOf(ring: CaptureInfo['ring'], model: TimelineModel): number {
  if (ring !== null) return ring.size;
  let most = 0;
  for (let index = model.first; index < model.count; index++) most = Math.max(most, model.request(index).head);
  return Math.min(MOST_HEADS, 2 ** Math.ceil(Math.log2(most + 1)));
}

/** @param time ns, as the model has it */
export function ringsAt(model: TimelineModel, ring: CaptureInfo['ring'], size: number, time: number): RingsAt {
  const free = (): Cell[] => Array.from({ length: size }, () => ({ state: 'free', head: null, text: '' }));
  const heads = free();
  const slots = ring === null ? null : free();
  const slotOf = (position: number) => (ring?.format === 'packed' ? position & PACKED_OFFSET : position) % size;
  const set = (cells: Cell[] | null, at: number, cell: Cell) => {
    if (cells !== null && at < size) cells[at] = cell;
  };
  // Given back before: the newest last, so that nothing older stands over it.
  const next = model.find(time);
  for (let index = Math.max(model.first, next - BACK); index < next; index++) {
    const { head, position } = model.request(index);
    set(heads, head, { state: 'used', head: null, text: `${head}` });
    set(slots, slotOf(position), { state: 'stale', head: null, text: '' });
  }
  const live: number[] = [];
  model.visit(time, time, EVERYTHING, (_, index) => live.push(index));
  live.sort((a, b) => model.request(a).available - model.request(b).available);
  for (const index of live) {
    const { head, position, popped, used } = model.request(index);
    if (used <= time) continue;
    const state = popped <= time ? 'in-flight' : 'available';
    set(heads, head, { state, head, text: `${head}` });
    set(slots, slotOf(position), { state, head, text: `${head}` });
  }
  return { heads, slots, live: live.filter((index) => model.request(index).used > time) };
}
