/**
 * What the inspector of a virtqueue shows and takes: the schemas that its pages, the IPC contract and the I/O workers
 * share. Times are nanoseconds unless a name says otherwise.
 */
import { z } from 'zod';

const count = z.number().int().min(0);
const name = z.string().max(200);

export const namedCode = z.object({ code: z.number().int(), name });
export type NamedCode = z.infer<typeof namedCode>;

/** Of RequestColumns.type: the device's requests have no type. Of status: they have none, or are not done. */
export const NO_CODE = 0xffff;

/** What a device says of one of its queues. */
export const queueProfile = z.object({
  /** requests: the driver asks for something; buffers: it gives buffers to be filled. */
  purpose: z.enum(['requests', 'buffers']),
  /** Names of request types and of the statuses they end with; empty: there are none. */
  types: z.array(namedCode),
  statuses: z.array(namedCode),
  /** What RequestColumns.detail holds, e.g. "sector"; null: nothing. */
  detail: z.string().nullable(),
});
export type QueueProfile = z.infer<typeof queueProfile>;

/** Which requests are meant: all that is said must hold. Nothing said: every one. */
export const requestMatch = z.strictObject({
  /** Codes of QueueProfile.types. */
  types: z.array(z.number().int().min(0).max(0xffff)).max(64).optional(),
  /** From `from` to `to`, both included: a request that covers any of it, e.g. sectors. */
  detail: z
    .strictObject({ from: count.max(Number.MAX_SAFE_INTEGER), to: count.max(Number.MAX_SAFE_INTEGER) })
    .refine(({ from, to }) => from <= to, 'from must not be after to')
    .optional(),
  /** Bytes of all buffers of the chain. */
  length: z
    .strictObject({ min: count.max(2 ** 32), max: count.max(2 ** 32) })
    .refine(({ min, max }) => min <= max, 'min must not be more than max')
    .optional(),
});
export type RequestMatch = z.infer<typeof requestMatch>;

const ruleId = z.string().regex(/^[A-Za-z0-9_-]{1,32}$/, '1 to 32 letters, digits, "_" or "-"');

/** The queue stands still before a request that matches is handed to the device; with `latency`, after one that took longer. */
export const breakpoint = z.strictObject({
  id: ruleId,
  match: requestMatch.default({}),
  /** Microseconds from the device's seeing the request to its being done. */
  latency: z.number().min(0).max(1e9).optional(),
});
export type Breakpoint = z.infer<typeof breakpoint>;

const injectionBase = {
  id: ruleId,
  /** How often at most; null: until it is cleared. */
  count: z.number().int().min(1).max(1e9).nullable().default(null),
  /** Of each occasion, 0 to 1. */
  probability: z.number().min(0).max(1).default(1),
};

export const injection = z.discriminatedUnion('kind', [
  /** The request is not done, and answered with an error. */
  z.strictObject({
    ...injectionBase,
    kind: z.literal('error'),
    match: requestMatch.default({}),
    /** Of QueueProfile.statuses; null: the device's usual error. */
    status: z.number().int().min(0).max(0xfffe).nullable().default(null),
  }),
  /** The request is done, but the driver learns of it later. */
  z.strictObject({
    ...injectionBase,
    kind: z.literal('delay'),
    match: requestMatch.default({}),
    /** Milliseconds. */
    delay: z.number().min(0).max(600_000),
  }),
  /** A used buffer notification that the driver wants is not sent. */
  z.strictObject({ ...injectionBase, kind: z.literal('drop-interrupt') }),
]);
export type Injection = z.infer<typeof injection>;

const MAX_RULES = 32;
const uniqueIds = (rules: readonly { id: string }[]) => new Set(rules.map(({ id }) => id)).size === rules.length;

export const queueCommand = z.discriminatedUnion('op', [
  /** Changes nothing. */
  z.strictObject({ op: z.literal('state') }),
  z.strictObject({ op: z.literal('pause') }),
  z.strictObject({ op: z.literal('resume') }),
  /** Hands so many chains to the device, of a queue that stands still; of one that runs, stops it first. */
  z.strictObject({ op: z.literal('step'), chains: z.number().int().min(1).max(65536).default(1) }),
  /** Replaces all of them. Counts of those whose id was there before, unchanged, go on. */
  z.strictObject({
    op: z.literal('rules'),
    breakpoints: z.array(breakpoint).max(MAX_RULES).refine(uniqueIds, 'two have the same id'),
    injections: z.array(injection).max(MAX_RULES).refine(uniqueIds, 'two have the same id'),
  }),
  /** Resumes, and forgets all rules; what is delayed goes out. */
  z.strictObject({ op: z.literal('clear') }),
]);
export type QueueCommand = z.infer<typeof queueCommand>;

export const queueControl = z.object({
  /** Nothing is taken from the queue. */
  paused: z.boolean(),
  /** Why it stands still, when nobody said pause. */
  stop: z
    .object({
      breakpoint: z.string(),
      kind: z.enum(['request', 'latency']),
      head: count,
      position: count,
      time: z.number(),
    })
    .nullable(),
  /** The chain that the device gets next: it was taken from the ring, and stands at the breakpoint. */
  parked: z.object({ head: count, position: count }).nullable(),
  /** Requests that are done and of which the driver does not know yet. */
  delayed: count,
  breakpoints: z.array(breakpoint.extend({ hits: count })),
  injections: z.array(z.object({ rule: injection, hits: count, left: count.nullable() })),
  /** Anything of this is on. */
  active: z.boolean(),
});
export type QueueControl = z.infer<typeof queueControl>;

/** A queue of which something is set, or that is being captured. */
export const activeQueue = z.object({
  device: z.string(),
  queue: z.number().int(),
  /** null: nothing is set on it. */
  control: queueControl.nullable(),
  capturing: z.boolean(),
});
export type ActiveQueue = z.infer<typeof activeQueue>;

/** A request that has been seen, in arrays: what is at index i of each belongs together. */
export interface RequestColumns {
  /** How many. */
  readonly count: number;
  /** 4 for each: the device saw it available, took it, was done with it, showed it to the driver; NaN: not yet. */
  readonly times: Float64Array;
  /** 8 for each: head, position in the ring, bytes of its buffers, bytes written, type, status, detail (low, high word). */
  readonly words: Uint32Array;
}

export const REQUEST_TIMES = 4;
export const REQUEST_WORDS = 8;

/** What happened besides. */
export const MARK_NOTIFIED = 1;
/** Counted: used buffers. */
export const MARK_INTERRUPT = 2;
export const MARK_SUPPRESSED = 3;
export const MARK_DROPPED = 4;
export const MARK_STARTED = 5;
export const MARK_ENDED = 6;
/** The driver broke a rule; the count is the code. */
export const MARK_FAULT = 7;
/** A breakpoint was hit; the count is the head. */
export const MARK_STOPPED = 8;
/** An error (1) or a delay (2) was injected. */
export const MARK_INJECTED = 9;
/** Events were lost: the count says how many. What was in flight then is not known. */
export const MARK_LOST = 10;

/** What was seen of a queue in a short time. */
export interface QueueBatch {
  /** Counts up by one; a gap means that this watcher was too slow for those between. */
  readonly seq: number;
  /** Covers [from, to), ns since the watch's epoch. */
  readonly from: number;
  readonly to: number;
  /** Requests done in this time. */
  readonly done: RequestColumns;
  /** Requests in flight at its end, at most MAX_OPEN, oldest first. */
  readonly open: RequestColumns;
  /** Times, and (MARK_*, count) for each. */
  readonly markTimes: Float64Array;
  readonly markWords: Uint32Array;
  /** Requests that are in the histogram and the counters but not in `done`: there were too many. */
  readonly leftOut: number;
  /** Events that were lost: of those requests nothing is known, and they are in the counters alone. */
  readonly lost: number;
  /** Since the queue was activated. */
  readonly counters: QueueCounters;
  /** Latencies (seen available to shown used) since the watch began: see LatencyHistogram. */
  readonly histogram: Uint32Array;
}

export interface QueueCounters {
  readonly popped: number;
  readonly used: number;
  readonly notifications: number;
  readonly interrupts: number;
  readonly suppressed: number;
  readonly inFlight: number;
}

/** In one batch at most. */
export const MAX_DONE = 4096;
export const MAX_OPEN = 256;
export const MAX_MARKS = 2048;
