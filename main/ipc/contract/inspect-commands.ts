/** The inspector's commands: a part of `commands` in ../contract.ts. */
import { z } from 'zod';
import { queueCommand, queueControl, queueProfile } from '../../../core/api/inspect.ts';
import { lintFinding, lintRule } from '../../../core/api/lint.ts';
import { MAX_BYTES, MAX_ROWS, queueView } from '../../../core/api/queue-view.ts';
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
  /** A queue as it stands now: rows [from, from + count) of its rings, its live chains decoded, what is set on it. */
  'inspect.queue': {
    params: z.strictObject({
      ...oneQueue.shape,
      from: z.number().int().min(0).max(32767).default(0),
      count: z.number().int().min(0).max(MAX_ROWS).default(256),
    }),
    result: queueView,
  },
  /** Bytes of guest RAM, as hex digits: a buffer, or an indirect table. */
  'inspect.bytes': {
    params: z.strictObject({
      id: vmId,
      /** Guest physical, 0x hex. */
      address: z.string().regex(/^0x[0-9a-f]{1,16}$/, '0x and up to 16 hex digits'),
      length: z.number().int().min(1).max(MAX_BYTES),
    }),
    result: z.object({ bytes: z.string() }),
  },
  /** What the driver of a device was found to do against the spec (docs/linter.md); `clear` forgets it afterwards. */
  'inspect.findings': {
    params: z.strictObject({ id: vmId, device: deviceId, clear: z.boolean().default(false) }),
    result: z.object({ findings: z.array(lintFinding) }),
  },
  /** All rules that there are. */
  'inspect.rules': { params: z.strictObject({}), result: z.object({ rules: z.array(lintRule) }) },
} as const;
