/**
 * The guest's ends of a character device's byte rings (layout.ts). A ring has one writer and one reader at a time: the
 * caller holds whatever lock makes it so.
 */
import {
  CHARDEV_BASE, CHARDEV_STRIDE, RING_DATA, RING_HEAD, RING_IN, RING_OUT, RING_SIZE, RING_TAIL, RING_WANT_DATA,
  RING_WANT_ROOM,
} from '../worker/layout';
import { callControl } from '../cpu/hart.as';

/** Linear address of a chardev's ring towards the host. */
// @ts-ignore: decorator
@inline
export function outRing(chardev: i32): usize {
  return <usize>CHARDEV_BASE + <usize>chardev * CHARDEV_STRIDE + RING_OUT;
}

/** Linear address of a chardev's ring towards the guest. */
// @ts-ignore: decorator
@inline
export function inRing(chardev: i32): usize {
  return <usize>CHARDEV_BASE + <usize>chardev * CHARDEV_STRIDE + RING_IN;
}

/** Bytes waiting in a ring. */
export function ringUsed(ring: usize): u32 {
  return min<u32>(atomic.load<u32>(ring + RING_HEAD) - atomic.load<u32>(ring + RING_TAIL), RING_SIZE);
}

/** Bytes a ring has room for. */
export function ringRoom(ring: usize): u32 {
  return RING_SIZE - ringUsed(ring);
}

/** Writes up to `count` bytes from linear address `from`; returns how many had room. Wakes the reader if it sleeps. */
export function ringWrite(ring: usize, from: usize, count: u32): u32 {
  const taken = min<u32>(count, ringRoom(ring));
  if (taken == 0) return 0;
  const head = atomic.load<u32>(ring + RING_HEAD);
  const at = head & (RING_SIZE - 1);
  const first = min<u32>(taken, RING_SIZE - at);
  memory.copy(ring + RING_DATA + at, from, first);
  memory.copy(ring + RING_DATA, from + first, taken - first);
  atomic.store<u32>(ring + RING_HEAD, head + taken);
  if (atomic.load<i32>(ring + RING_WANT_DATA) != 0) callControl();
  return taken;
}

/** Writes one byte if there is room; whether there was. Wakes the reader if it sleeps. */
export function ringPut(ring: usize, byte: u32): bool {
  if (ringRoom(ring) == 0) return false;
  const head = atomic.load<u32>(ring + RING_HEAD);
  store<u8>(ring + RING_DATA + (head & (RING_SIZE - 1)), <u8>byte);
  atomic.store<u32>(ring + RING_HEAD, head + 1);
  if (atomic.load<i32>(ring + RING_WANT_DATA) != 0) callControl();
  return true;
}

/** Reads one byte, -1 if there is none. Wakes the writer if it waits for room. */
export function ringTake(ring: usize): i32 {
  if (ringUsed(ring) == 0) return -1;
  const tail = atomic.load<u32>(ring + RING_TAIL);
  const byte = <i32>load<u8>(ring + RING_DATA + (tail & (RING_SIZE - 1)));
  atomic.store<u32>(ring + RING_TAIL, tail + 1);
  if (atomic.load<i32>(ring + RING_WANT_ROOM) != 0) callControl();
  return byte;
}
