/** Asking the JIT worker for regions: the hart's end of its ring (jit/abi.ts). */
import { H_ID } from '../../worker/layout';
import { cachedPage } from '../code.as';
import { OP_JIT } from '../generated/decode.as';
import {
  H_JIT_THRESHOLD, JIT_RING_DATA, JIT_RING_ENTRIES, JIT_RING_STRIDE, JIT_RINGS, JIT_SLEEPING, JIT_WAKE, PAGE_HEAT, PAGE_VERSION,
  REQUEST_SIZE,
} from './abi';

// @ts-ignore: decorator
@inline
function version(page: usize): u32 {
  return page != 0 ? load<u32>(page, PAGE_VERSION) : 0;
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
  const before = cachedPage(block, va - 4096);
  const behind = cachedPage(block, va + 4096);
  store<u64>(at, va);
  store<u32>(at, <u32>page, 8);
  store<u32>(at, <u32>before, 12);
  store<u32>(at, <u32>behind, 16);
  store<u32>(at, version(page), 20);
  store<u32>(at, version(before), 24);
  store<u32>(at, version(behind), 28);
  atomic.store<u32>(ring, head + 1);
  atomic.add<i32>(JIT_WAKE, 1);
  if (atomic.load<i32>(JIT_SLEEPING) != 0) atomic.notify(JIT_WAKE, -1);
}
