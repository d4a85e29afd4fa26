/** Who has a slot, in words, colours and shapes: each state is told by more than its colour. */
import type { SlotState } from '../../../main/ipc/contract.ts';

export const STATE_WORDS: Record<SlotState, string> = {
  free: 'unused',
  stale: 'left over',
  available: 'available',
  'in-flight': 'in flight',
  used: 'used',
};

export const STATE_HELP: Record<SlotState, string> = {
  free: 'nothing has ever stood here since the queue was set up',
  stale: 'nobody’s: what stands here is left over from before',
  available: 'the driver has offered it, and the device has not taken it yet',
  'in-flight': 'the device has it and works on it',
  used: 'the device has given it back',
};

export const STATE_CHIPS: Record<SlotState, string> = {
  free: 'text-faint ring-1 ring-line',
  stale: 'text-faint ring-1 ring-line',
  available: 'bg-warn-soft text-warn',
  'in-flight': 'bg-accent text-on-accent',
  used: 'bg-ok-soft text-ok',
};

/** In the order in which a slot goes through them. */
export const STATES: readonly SlotState[] = ['available', 'in-flight', 'used', 'stale', 'free'];

export const isLive = (state: SlotState) => state === 'available' || state === 'in-flight';
