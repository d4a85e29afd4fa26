/** An I/O worker as core/worker/iothread.ts makes it, but with the interrupt controller and fake disks of the tests. */
import { workerData } from 'node:worker_threads';

import { createHost } from '../../core/host/node-host.ts';
import { GuestMemory } from '../../core/memory/guest-memory.ts';
import { IoLoop } from '../../core/worker/io-loop.ts';
import type { IoThreadData } from '../../core/worker/iothread-messages.ts';
import { IrqDouble } from './irq-double.ts';
import { TEST_BACKENDS } from './test-backends.ts';

const { guest, index, port, host } = workerData as IoThreadData;
const memory = new GuestMemory(guest);
new IoLoop({
  memory,
  index,
  port,
  irq: new IrqDouble(memory.memory),
  host: createHost(host),
  backends: TEST_BACKENDS,
}).run();
port.close();
