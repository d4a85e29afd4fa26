/** The inspector's commands: a part of `commands` in ../contract.ts. */
import { z } from 'zod';
import { activeQueue, queueCommand, queueControl, queueProfile } from '../../../core/api/inspect.ts';
import {
  CAPTURE_KEEP_MAX,
  CAPTURE_LIMIT_MAX,
  captureInfo,
  capturedRequest,
  captureState,
  packetCapture,
  replayResult,
} from '../../../core/api/capture.ts';
import { lintFinding, lintRule } from '../../../core/api/lint.ts';
import { MAX_BYTES, MAX_ROWS, queueView } from '../../../core/api/queue-view.ts';
import { hostPath, vmId } from './schemas.ts';

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
  /** What the device says of a queue, whether the driver has set it up or not. */
  'inspect.profile': { params: oneQueue, result: queueProfile },
  /** Queues of which anything is set, or that are being captured. */
  'inspect.active': { params: z.strictObject({ id: vmId }), result: z.object({ queues: z.array(activeQueue) }) },
  /** Clears what is set on queues, on all of them; captures go on. */
  'inspect.clearAll': { params: z.strictObject({ id: vmId }), result: z.object({}) },
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
  /** Begins to write a queue's requests to a new file (docs/capture.md), ends it, or only says how it stands. */
  'inspect.capture': {
    params: z.strictObject({
      ...oneQueue.shape,
      action: z.discriminatedUnion('op', [
        z.strictObject({
          op: z.literal('start'),
          file: hostPath,
          /** Bytes of the file. */
          limit: z
            .number()
            .int()
            .min(65536)
            .max(CAPTURE_LIMIT_MAX)
            .default(2 ** 30),
          /** Bytes of a request kept in each direction. */
          keep: z
            .number()
            .int()
            .min(0)
            .max(CAPTURE_KEEP_MAX)
            .default(2 ** 20),
        }),
        z.strictObject({ op: z.literal('stop') }),
        z.strictObject({ op: z.literal('state') }),
      ]),
    }),
    result: z.object({ capture: captureState.nullable() }),
  },
  /** Begins to write a network card's packets to a new pcapng file, ends it, or only says how it stands. */
  'inspect.packets': {
    params: z.strictObject({
      id: vmId,
      device: deviceId,
      action: z.discriminatedUnion('op', [
        z.strictObject({ op: z.literal('start'), file: hostPath }),
        z.strictObject({ op: z.literal('stop') }),
        z.strictObject({ op: z.literal('state') }),
      ]),
    }),
    result: z.object({ packets: packetCapture.nullable() }),
  },
  /** A capture, without a guest: what it is, and a stream of its requests as batches like those of a live queue; it ends behind the last. */
  'inspect.openCapture': {
    params: z.strictObject({ file: hostPath }),
    result: z.object({ stream: z.string(), info: captureInfo }),
  },
  'inspect.capturedRequest': {
    params: z.strictObject({ file: hostPath, index: z.number().int().min(0) }),
    result: capturedRequest,
  },
  /** Copies an image to a new file, and does a capture's requests on the copy; what differs from the capture is counted. */
  'inspect.replay': {
    params: z.strictObject({ file: hostPath, image: hostPath, copy: hostPath }),
    result: replayResult,
  },
  /** All rules that there are. */
  'inspect.rules': { params: z.strictObject({}), result: z.object({ rules: z.array(lintRule) }) },
} as const;
