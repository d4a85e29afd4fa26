/** What a PCI bus is to the ports that are plugged into it: the implementation (QomBus.instance) of a bus of type PCI. */
import type { InterruptSink } from '../virtio/transport/interrupt.ts';
import type { PciBus } from './bus.ts';
import type { PciHost } from './host.ts';

export interface PciPortBus {
  readonly bus: PciBus;
  readonly host: PciHost;
  readonly sink: InterruptSink;
  /** The same for a bus that is behind a bridge. */
  behind(bus: PciBus): PciPortBus;
}
