/** Who has a slot, in words, colours and shapes: each state is told by more than its colour. */
import type { RingState } from '../../../main/ipc/contract.ts';

export const STATE_WORDS: Record<RingState, string> = {
  free: 'free',
  available: 'available',
  'in-flight': 'in flight',
  used: 'used',
};

export const STATE_HELP: Record<RingState, string> = {
  free: 'nobody’s: what stands there is left over from before',
  available: 'the driver has offered it, and the device has not taken it yet',
  'in-flight': 'the device has it and works on it',
  used: 'the device has given it back',
};

export const STATE_CHIPS: Record<RingState, string> = {
  free: 'text-faint ring-1 ring-line',
  available: 'bg-warn-soft text-warn',
  'in-flight': 'bg-accent text-on-accent',
  used: 'bg-ok-soft text-ok',
};
