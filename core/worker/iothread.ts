/** Entry point of an I/O worker: runs queues and the back ends behind them until the control thread says quit. */
import { workerData } from 'node:worker_threads';

import { instantiateEngine } from '../engine.ts';
import { createHost } from '../host/node-host.ts';
import { interruptSink } from '../irqchip/interrupt-sink.ts';
import { GuestMemory } from '../memory/guest-memory.ts';
import { BACKENDS } from '../virtio/backend/registry.ts';
import { IoLoop } from './io-loop.ts';
import type { IoThreadData } from './iothread-messages.ts';

const { guest, index, port, engine: module, host } = workerData as IoThreadData;
const memory = new GuestMemory(guest);
const engine = await instantiateEngine(module, memory.memory);
new IoLoop({
  memory,
  index,
  port,
  irq: interruptSink(engine),
  host: createHost(host),
  backends: BACKENDS,
}).run();
port.close();
