/** Several workers that serve queues of one device, each its own, with a back end each. */
import type { QueueCommand, QueueControl } from '../../api/inspect.ts';
import type { CaptureOptions, CaptureState } from '../../inspect/capture-writer.ts';
import type { ObservationSpec } from '../../inspect/queue-watch.ts';
import type { BackendInit } from '../device.ts';
import type { RuleCount } from '../lint/findings.ts';
import type { QueuePosition, RunningQueueConfig } from '../queue/running-queue.ts';
import type { InterruptSpec } from '../transport/interrupt.ts';
import type { HeldBuffers, QueueId, QueueServer, QueueServerListener } from './queue-server.ts';

export class QueueServerGroup implements QueueServer {
  readonly #byQueue: readonly QueueServer[];
  readonly #members: readonly QueueServer[];

  /** @param byQueue who serves each queue; at least one */
  constructor(byQueue: readonly QueueServer[]) {
    this.#byQueue = byQueue;
    this.#members = [...new Set(byQueue)];
  }

  waitBlockOf(queue: number): number {
    return this.#byQueue[queue].waitBlockOf(queue);
  }

  async attach(
    slot: number,
    interrupt: InterruptSpec,
    backend: BackendInit,
    listener: QueueServerListener,
  ): Promise<void> {
    const attached: QueueServer[] = [];
    try {
      for (const member of this.#members) {
        await member.attach(slot, interrupt, backend, listener);
        attached.push(member);
      }
    } catch (error) {
      await Promise.allSettled(attached.map((member) => member.detach(slot)));
      throw error;
    }
  }

  async detach(slot: number): Promise<void> {
    await all(this.#members.map((member) => member.detach(slot)));
  }

  async activate(slot: number, queues: RunningQueueConfig[], activation: unknown): Promise<void> {
    const shares = this.#share(queues, ({ index }) => index);
    await all(shares.map(([member, share]) => member.activate(slot, share, activation)));
  }

  async deactivate(slot: number, queues: number[] | null): Promise<{ queue: number; position: QueuePosition }[]> {
    if (queues === null) return (await all(this.#members.map((member) => member.deactivate(slot, null)))).flat();
    const shares = this.#share(queues, (index) => index);
    return (await all(shares.map(([member, share]) => member.deactivate(slot, share)))).flat();
  }

  async held(slot: number, queue: number): Promise<HeldBuffers | null> {
    return this.#byQueue[queue].held(slot, queue);
  }

  async configure(slot: number, change: unknown): Promise<void> {
    await all(this.#members.map((member) => member.configure(slot, change)));
  }

  async observe(slot: number, queue: QueueId, spec: ObservationSpec | null): Promise<void> {
    await this.#byQueue[queue.index].observe(slot, queue, spec);
  }

  async control(slot: number, queue: QueueId, command: QueueCommand): Promise<QueueControl> {
    return this.#byQueue[queue.index].control(slot, queue, command);
  }

  async capture(slot: number, queue: QueueId, options?: CaptureOptions | null): Promise<CaptureState | null> {
    return this.#byQueue[queue.index].capture(slot, queue, options);
  }

  async findings(slot: number, clear: boolean): Promise<RuleCount[]> {
    const found = await Promise.allSettled(this.#members.map((member) => member.findings(slot, clear)));
    return found.flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
  }

  wake(): void {
    for (const member of this.#members) member.wake();
  }

  #share<T>(queues: readonly T[], indexOf: (queue: T) => number): [QueueServer, T[]][] {
    const shares = new Map<QueueServer, T[]>();
    for (const queue of queues) {
      const member = this.#byQueue[indexOf(queue)];
      shares.set(member, [...(shares.get(member) ?? []), queue]);
    }
    return [...shares];
  }
}

/** As Promise.all, but settled only when all are: who is told of a failure must not find another one still at work. */
async function all<T>(work: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(work);
  return Promise.all(work);
}
