/** The back ends that the network worker has, by NetBackendInit.type. */
import type { NetBackendFactory } from '../endpoint.ts';
import { createDgramBackend } from './dgram.ts';
import { hubPorts } from './hub.ts';
import { createStreamBackend } from './stream.ts';

/** A new set for a machine: its hubs are its own. */
export function netBackends(): Readonly<Record<string, NetBackendFactory>> {
  return { stream: createStreamBackend, dgram: createDgramBackend, hubport: hubPorts() };
}
