/** What a device does with a running queue, for tests of queues by themselves. */
import type { DescriptorChain } from '../../core/virtio/queue/descriptor-chain.ts';
import type { RunningQueue } from '../../core/virtio/queue/running-queue.ts';

export function popped(device: RunningQueue): DescriptorChain {
  const chain = device.pop();
  if (!chain) throw new Error('nothing was available');
  return chain;
}

/** Serves one buffer. */
export function serve(device: RunningQueue, written = 0): void {
  device.push(popped(device), written);
  device.flush();
}
