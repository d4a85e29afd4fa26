/**
 * The virtio-mmio registers that a hart serves by itself (virtio 1.3, 4.2.2): QueueNotify, InterruptStatus,
 * InterruptACK, ConfigGeneration. They are shared words (layout.ts, VQ_*); all others are the control thread's.
 */
import {
  VIRTIO_BASE, VIRTIO_STRIDE, VQ_CONFIG_GENERATION, VQ_DOORBELL, VQ_DOORBELL_IOTHREAD, VQ_IRQ, VQ_ISR,
  VQ_NOTIFY_DATA, VQ_NUM_QUEUES, VQ_PRESENT, IOT_SLEEPING, IOT_WAKE,
} from '../../worker/layout';
import { irqFollow } from '../../irqchip/irqchip.as';

const QUEUE_NOTIFY: u32 = 0x50;
const INTERRUPT_STATUS: u32 = 0x60;
const INTERRUPT_ACK: u32 = 0x64;
const CONFIG_GENERATION: u32 = 0xfc;

/** Words in the doorbell arrays. */
const MAX_QUEUES: u32 = 256;

/** virtioHotRead's answer for a register that is not served here. */
export const NOT_HOT: i64 = -1;

// @ts-ignore: decorator
@inline
function slotBase(slot: i32): usize {
  return <usize>VIRTIO_BASE + <usize>slot * VIRTIO_STRIDE;
}

/** A 32-bit read of a hot register of slot `slot`: the value, or NOT_HOT. */
export function virtioHotRead(slot: i32, offset: u32): i64 {
  const base = slotBase(slot);
  if (load<i32>(base + VQ_PRESENT) == 0) return NOT_HOT;
  if (offset == INTERRUPT_STATUS) return <i64>atomic.load<u32>(base + VQ_ISR);
  if (offset == CONFIG_GENERATION) return <i64>atomic.load<u32>(base + VQ_CONFIG_GENERATION);
  return NOT_HOT;
}

/** A 32-bit write to a hot register of slot `slot`; false if it is not served here. */
export function virtioHotWrite(slot: i32, offset: u32, value: u32): bool {
  const base = slotBase(slot);
  if (load<i32>(base + VQ_PRESENT) == 0) return false;
  if (offset == QUEUE_NOTIFY) {
    // With NOTIFICATION_DATA the upper half is the position in the ring.
    ringDoorbell(base, value & 0xffff, value);
    return true;
  }
  if (offset == INTERRUPT_ACK) {
    const before = atomic.and<i32>(base + VQ_ISR, ~value);
    if (before != 0 && (before & ~value) == 0) updateInterrupt(base);
    return true;
  }
  return false;
}

/** Notifies a queue of the slot whose words are at `base`; `value` is what the driver wrote. */
export function ringDoorbell(base: usize, queue: u32, value: u32): void {
  if (queue >= min<u32>(load<u32>(base + VQ_NUM_QUEUES), MAX_QUEUES)) return;
  const word: usize = queue << 2;
  atomic.store<u32>(base + VQ_NOTIFY_DATA + word, value);
  atomic.add<i32>(base + VQ_DOORBELL + word, 1);
  const worker = <usize>atomic.load<u32>(base + VQ_DOORBELL_IOTHREAD + word);
  if (worker == 0) return;
  // The worker says that it sleeps before its last look at the doorbells: either it sees this ring or we see it sleep.
  atomic.add<i32>(worker + IOT_WAKE, 1);
  if (atomic.load<i32>(worker + IOT_SLEEPING) != 0) atomic.notify(worker + IOT_WAKE, -1);
}

/** Makes the slot's interrupt source follow InterruptStatus. */
function updateInterrupt(base: usize): void {
  irqFollow(load<i32>(base + VQ_IRQ), base + VQ_ISR);
}
