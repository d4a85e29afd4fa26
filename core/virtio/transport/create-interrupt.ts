import type { HostEvents } from '../../host/host.ts';
import { CallInterrupt } from './call-interrupt.ts';
import type { Interrupt, InterruptSink, InterruptSpec } from './interrupt.ts';
import { InterruptLine } from './interrupt.ts';
import { PciInterrupt } from './pci-interrupt.ts';

/** The interrupt of the device in a slot, for a thread that serves its queues. */
export function createInterrupt(
  memory: WebAssembly.Memory,
  slot: number,
  { kind, irq }: InterruptSpec,
  sink: InterruptSink,
  host: HostEvents,
): Interrupt {
  if (kind === 'call') return new CallInterrupt(host);
  return kind === 'pci' ? new PciInterrupt(memory, slot, irq, sink) : new InterruptLine(memory, slot, irq, sink);
}
