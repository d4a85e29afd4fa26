/** Captures of queues and packets, as the inspector's pages see them. docs/capture.md has the file's format. */
import { z } from 'zod';
import { queueProfile } from './inspect.ts';
import { decodedField } from './queue-view.ts';

const count = z.number().int().min(0);

export const captureState = z.object({
  /** The file, and how many bytes it may have. */
  file: z.string(),
  limit: count,
  requests: count,
  /** Requests that the file had no room for. */
  leftOut: count,
  /** Of the file. */
  bytes: count,
  /** Why it has ended by itself, one line; null: it goes on, or was ended. */
  error: z.string().nullable(),
});
export type CaptureStateView = z.infer<typeof captureState>;

/** Bytes of a capture, and of a request in each direction, at most. */
export const CAPTURE_LIMIT_MAX = 16 * 2 ** 30;
export const CAPTURE_KEEP_MAX = 4 * 2 ** 20;

export const captureInfo = z.object({
  device: z.string(),
  /** e.g. "virtio-blk". */
  type: z.string(),
  queue: count,
  name: z.string(),
  /** As the driver had set the queue up when the capture began; null: it had not. */
  ring: z.object({ format: z.enum(['split', 'packed']), size: count }).nullable(),
  profile: queueProfile,
  /** ms since 1970 at which times are 0. */
  epoch: z.number(),
  count,
  leftOut: count,
  /** False: it was cut off; what is there is whole. */
  complete: z.boolean(),
});
export type CaptureInfo = z.infer<typeof captureInfo>;

export const capturedRequest = z.object({
  index: count,
  fields: z.array(decodedField),
  /** Bytes that the request had, and the first of those that were kept, as hex digits. */
  readableLength: count,
  readable: z.string(),
  writableLength: count,
  writable: z.string(),
});
export type CapturedRequestView = z.infer<typeof capturedRequest>;

/** A network card whose packets go to a pcapng file. */
export const packetCapture = z.object({ device: z.string(), file: z.string() });
export type PacketCapture = z.infer<typeof packetCapture>;

export const replayResult = z.object({
  requests: count,
  /** Not done: the capture did not keep all of their bytes. */
  skipped: count,
  /** Whose status or data were others than in the capture. */
  different: count,
  examples: z.array(z.object({ index: count, detail: z.string() })),
  /** Of the device's work. */
  seconds: z.number(),
});
