/** The machine's interrupt controller as devices see it, on any thread: the engine's. */
import type { Engine } from '../engine.ts';
import { INTX_INPUT } from '../pci/intx.ts';
import type { InterruptSink } from '../virtio/transport/interrupt.ts';

export function interruptSink(engine: Engine): InterruptSink {
  return {
    setIrq: (irq, level) => (irq >= INTX_INPUT ? engine.intxSetLevel(irq, level) : engine.irqSetLevel(irq, level)),
    writeMsi: (address, data) => engine.msiWrite(address, data),
  };
}
