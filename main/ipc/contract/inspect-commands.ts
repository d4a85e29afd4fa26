/** The inspector's commands: a part of `commands` in ../contract.ts. */
import { z } from 'zod';
import { queueCommand, queueControl, queueProfile } from '../../../core/api/inspect.ts';
import { vmId } from './schemas.ts';

const deviceId = z.string().min(1).max(200);
/** A queue of a virtio device of a VM that is on. */
export const oneQueue = z.strictObject({ id: vmId, device: deviceId, queue: z.number().int().min(0).max(65535) });

export const inspectCommands = {
  /**
   * Watches a queue, whether it runs or not: a one-time ticket with which the transport opens the stream of its batches
   * (inspect-frames.ts), until the stream is closed or the VM ends.
   */
  'inspect.watch': {
    params: oneQueue,
    result: z.object({
      stream: z.string(),
      profile: queueProfile,
      /** ms since 1970 at which times of the batches are 0. */
      epoch: z.number(),
    }),
  },
  /** Stops, steps, disturbs a queue, or only asks (op: state). It stays so when the page is closed, until it is cleared. */
  'inspect.control': {
    params: z.strictObject({ ...oneQueue.shape, command: queueCommand }),
    result: queueControl,
  },
} as const;
