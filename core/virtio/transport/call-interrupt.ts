/** Interrupts of a device whose driver is in another process: an eventfd for each queue (vhost: the call descriptor). */
import type { HostEvents } from '../../host/host.ts';
import type { Interrupt } from './interrupt.ts';

export class CallInterrupt implements Interrupt {
  /** There is no ISR status in vhost. */
  readonly status = 0;
  readonly #host: Pick<HostEvents, 'ringEvent'>;
  readonly #calls = new Map<number, number>();

  constructor(host: Pick<HostEvents, 'ringEvent'>) {
    this.#host = host;
  }

  /** @param fd null: nobody wants to know */
  setCall(queue: number, fd: number | null): void {
    if (fd === null) this.#calls.delete(queue);
    else this.#calls.set(queue, fd);
  }

  usedBuffer(queue: number): void {
    const fd = this.#calls.get(queue);
    if (fd !== undefined) this.#host.ringEvent(fd);
  }

  /** Goes over the socket, from the control thread. */
  configChange(): void {}

  acknowledge(): void {}

  clear(): void {}
}
