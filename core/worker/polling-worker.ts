/** Entry point of an I/O worker whose queues' drivers are in other processes: it sleeps on descriptors. */
import { workerData } from 'node:worker_threads';

import { createHost } from '../host/node-host.ts';
import { MappedGuestMemory } from '../vhost-user/export/mapped-memory.ts';
import type { MappedMemoryHandle } from '../vhost-user/export/mapped-memory.ts';
import { BACKENDS } from '../virtio/backend/registry.ts';
import { IoLoop } from './io-loop.ts';
import type { PollingWorkerData } from './iothread-messages.ts';

const { guest, index, port, host, wakeFd } = workerData as PollingWorkerData;
// Interrupts are eventfds: there is no interrupt controller.
const none = { setIrq: () => {}, writeMsi: () => {} };
new IoLoop({
  memory: new MappedGuestMemory(guest as MappedMemoryHandle),
  index,
  port,
  irq: none,
  host: createHost(host),
  backends: BACKENDS,
  wakeFd,
}).run();
port.close();
