/** Entry point of the network worker: the back ends of a machine's network cards, on an event loop of their own. */
import { parentPort, workerData } from 'node:worker_threads';

import { netBackends } from '../net/backends/registry.ts';
import type { NetWorkerData, NumberedNetRequest } from '../net/messages.ts';
import { NetLoop } from '../net/net-loop.ts';

const port = parentPort!;
const loop = new NetLoop(workerData as NetWorkerData, netBackends(), (message) => port.postMessage(message));
port.on('message', (request: NumberedNetRequest) => void loop.obey(request));
await loop.run();
port.close();
