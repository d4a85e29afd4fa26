/** Asking the JIT worker for regions: the hart's end of its ring (jit/abi.ts). */
import {
  CONTROL_BASE, CTL_RUN, H_CODE_COUNT, H_CODE_NEXT, H_CODE_START, H_ID, RUN_RUNNING,
} from '../../worker/layout';
import { cachedPage, fetchPage } from '../code.as';
import { OP_JIT } from '../generated/decode.as';
import { fetchIsPartial } from '../mmu.as';
import { clearFault } from '../state.as';
import {
  H_JIT_FLUSHING, H_JIT_THRESHOLD, H_WINDOW, JIT_EAGER, JIT_FLAGS, JIT_PAGES, JIT_RING_ANSWERED, JIT_RING_DATA, JIT_RING_ENTRIES,
  JIT_RING_STRIDE, JIT_RINGS, JIT_SLEEPING, JIT_SYNCHRONOUS, JIT_WAKE, PAGE_HEAT, PAGE_STRIDE, PAGE_VERSION, REQUEST_PAGE, REQUEST_SIZE,
  REQUEST_WINDOW,
} from './abi';

/** How long a hart that waits for an answer does so before it looks for other reasons to go on, ns. */
const ANSWER_TURN = 1000000;

// @ts-ignore: decorator
@inline
function version(page: usize): u32 {
  return page != 0 ? load<u32>(page, PAGE_VERSION) : 0;
}

/** The code page of a neighbour of `page`; with JIT_EAGER it is made if need be. 0: none. */
function neighbour(block: usize, page: usize, va: u64, eager: bool): usize {
  const there = cachedPage(block, va);
  if (there != 0 || !eager) return there;
  // The page that is being executed must not be the one that makes room.
  const next = load<u32>(block + H_CODE_START) + load<u32>(block + H_CODE_NEXT) * PAGE_STRIDE;
  if (next == <u32>page || load<i32>(block + H_CODE_COUNT) < 3) return 0;
  const made = fetchPage(block, va);
  clearFault();
  return fetchIsPartial ? 0 : made;
}

/** Waits until all that the hart has asked for has been answered. H_POLL is set when the answer brings something. */
function awaitAnswer(block: usize, ring: usize): void {
  for (;;) {
    const answered = atomic.load<u32>(ring, JIT_RING_ANSWERED);
    if (answered == atomic.load<u32>(ring) || atomic.load<i32>(block + H_JIT_FLUSHING) != 0) return;
    if (atomic.load<i32>(CONTROL_BASE + CTL_RUN) != RUN_RUNNING) return;
    atomic.wait<i32>(ring + JIT_RING_ANSWERED, <i32>answered, ANSWER_TURN);
  }
}

/** The request behind `head` is whole. */
function push(ring: usize, head: u32): void {
  atomic.store<u32>(ring, head + 1);
  atomic.add<i32>(JIT_WAKE, 1);
  if (atomic.load<i32>(JIT_SLEEPING) != 0) atomic.notify(JIT_WAKE, -1);
}

/** A code page has been made: tells the JIT worker, if it wants to know and there is room to say so. */
export function announcePage(block: usize, page: usize): void {
  if (!(load<i32>(JIT_FLAGS) & JIT_PAGES) || load<i32>(block + H_JIT_THRESHOLD) == 0) return;
  const ring = <usize>JIT_RINGS + <usize>load<i32>(block + H_ID) * JIT_RING_STRIDE;
  const head = atomic.load<u32>(ring);
  if (head - atomic.load<u32>(ring, 4) >= <u32>JIT_RING_ENTRIES) return;
  const at = ring + JIT_RING_DATA + <usize>(head % JIT_RING_ENTRIES) * REQUEST_SIZE;
  store<u64>(at, REQUEST_PAGE);
  store<u32>(at, <u32>page, 8);
  store<u64>(at, 0, 12);
  store<u32>(at, version(page), 20);
  push(ring, head);
}

/** The halfword at `va`, in the code page `page`, has become hot: asks for a region that begins there. */
export function requestRegion(block: usize, page: usize, va: u64): void {
  if (load<i32>(block + H_JIT_THRESHOLD) == 0) return;
  const halfword = <usize>(va & 4095) >> 1;
  if (load<u16>(page + (halfword << 4)) == OP_JIT) return;
  const ring = <usize>JIT_RINGS + <usize>load<i32>(block + H_ID) * JIT_RING_STRIDE;
  const head = atomic.load<u32>(ring);
  if (head - atomic.load<u32>(ring, 4) >= <u32>JIT_RING_ENTRIES) {
    // It has as long to wait again.
    store<u16>(page + (halfword << 1), 0, PAGE_HEAT);
    return;
  }
  const at = ring + JIT_RING_DATA + <usize>(head % JIT_RING_ENTRIES) * REQUEST_SIZE;
  const flags = load<i32>(JIT_FLAGS);
  const eager = (flags & JIT_EAGER) != 0;
  let before = neighbour(block, page, va - 4096, eager);
  const behind = neighbour(block, page, va + 4096, eager);
  // The one may have taken the other's place.
  if (eager) before = cachedPage(block, va - 4096);
  store<u64>(at, va);
  store<u32>(at, <u32>page, 8);
  store<u32>(at, <u32>before, 12);
  store<u32>(at, <u32>behind, 16);
  store<u32>(at, version(page), 20);
  store<u32>(at, version(before), 24);
  store<u32>(at, version(behind), 28);
  store<u64>(at, load<u64>(block + H_WINDOW), REQUEST_WINDOW);
  push(ring, head);
  if (flags & JIT_SYNCHRONOUS) awaitAnswer(block, ring);
}
