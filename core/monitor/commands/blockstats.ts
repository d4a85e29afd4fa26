/** What disks have done: query-blockstats (qapi/block-core.json). */
import { bool, i64, list, number, object, optional, str } from '../schema.ts';
import type { BlockInfo } from '../target.ts';
import type { BlkOperation, BlkStatistics } from '../../virtio/blk/statistics.ts';
import type { Infer } from '../schema.ts';
import { query } from './command.ts';

const stats = object('BlockDeviceStats', {
  rd_bytes: i64,
  wr_bytes: i64,
  unmap_bytes: i64,
  rd_operations: i64,
  wr_operations: i64,
  flush_operations: i64,
  unmap_operations: i64,
  rd_total_time_ns: i64,
  wr_total_time_ns: i64,
  flush_total_time_ns: i64,
  unmap_total_time_ns: i64,
  wr_highest_offset: i64,
  rd_merged: i64,
  wr_merged: i64,
  unmap_merged: i64,
  failed_rd_operations: i64,
  failed_wr_operations: i64,
  failed_flush_operations: i64,
  failed_unmap_operations: i64,
  invalid_rd_operations: i64,
  invalid_wr_operations: i64,
  invalid_flush_operations: i64,
  invalid_unmap_operations: i64,
  account_invalid: bool,
  account_failed: bool,
  timed_stats: list(
    object('BlockDeviceTimedStats', {
      interval_length: i64,
      min_rd_latency_ns: i64,
      max_rd_latency_ns: i64,
      avg_rd_latency_ns: i64,
      min_wr_latency_ns: i64,
      max_wr_latency_ns: i64,
      avg_wr_latency_ns: i64,
      min_flush_latency_ns: i64,
      max_flush_latency_ns: i64,
      avg_flush_latency_ns: i64,
      avg_rd_queue_depth: number,
      avg_wr_queue_depth: number,
    }),
  ),
});
/** Of the file below an image: QEMU counts for it only how far it was written. */
const parent = object('BlockStatsParent', { 'node-name': str, stats });

const NOTHING = { operations: 0, bytes: 0, time: 0, failed: 0, invalid: 0 };
const NONE: BlkStatistics = { read: NOTHING, write: NOTHING, flush: NOTHING, unmap: NOTHING, highestWrite: 0 };

function deviceStats(counted: BlkStatistics, accounts: boolean): Infer<typeof stats> {
  const { read, write, flush, unmap } = counted;
  const each = (count: (operation: (typeof counted)[BlkOperation]) => number): [number, number, number, number] => [
    count(read),
    count(write),
    count(flush),
    count(unmap),
  ];
  const [rd, wr, fl, un] = each(({ operations }) => operations);
  const [rdTime, wrTime, flTime, unTime] = each(({ time }) => time);
  const [rdFailed, wrFailed, flFailed, unFailed] = each(({ failed }) => failed);
  const [rdInvalid, wrInvalid, flInvalid, unInvalid] = each(({ invalid }) => invalid);
  return {
    rd_bytes: read.bytes,
    wr_bytes: write.bytes,
    unmap_bytes: unmap.bytes,
    rd_operations: rd,
    wr_operations: wr,
    flush_operations: fl,
    unmap_operations: un,
    rd_total_time_ns: rdTime,
    wr_total_time_ns: wrTime,
    flush_total_time_ns: flTime,
    unmap_total_time_ns: unTime,
    wr_highest_offset: counted.highestWrite,
    rd_merged: 0,
    wr_merged: 0,
    unmap_merged: 0,
    failed_rd_operations: rdFailed,
    failed_wr_operations: wrFailed,
    failed_flush_operations: flFailed,
    failed_unmap_operations: unFailed,
    invalid_rd_operations: rdInvalid,
    invalid_wr_operations: wrInvalid,
    invalid_flush_operations: flInvalid,
    invalid_unmap_operations: unInvalid,
    account_invalid: accounts,
    account_failed: accounts,
    timed_stats: [],
  };
}

/** A line of "info blockstats". */
export function blockStatsText({ device, statistics }: BlockInfo): string {
  const { read, write, flush } = statistics ?? NONE;
  return (
    `${device}: rd_bytes=${read.bytes} wr_bytes=${write.bytes} rd_operations=${read.operations}` +
    ` wr_operations=${write.operations} flush_operations=${flush.operations} wr_total_time_ns=${write.time}` +
    ` rd_total_time_ns=${read.time} flush_total_time_ns=${flush.time} rd_merged=0 wr_merged=0\n`
  );
}

export const BLOCKSTATS_COMMANDS = [
  query('query-blockstats', {
    help: 'what each disk has read, written, flushed and given back, and how long that took',
    args: object('query-blockstats-arg', { 'query-nodes': optional(bool) }),
    returns: list(
      object('BlockStats', {
        device: optional(str),
        qdev: optional(str),
        'node-name': optional(str),
        stats,
        parent: optional(parent),
      }),
    ),
    run({ target }, { 'query-nodes': nodes = false }) {
      const below = (one: BlockInfo): Infer<typeof parent> => ({
        'node-name': one.fileNode,
        stats: deviceStats({ ...NONE, highestWrite: one.statistics?.highestWrite ?? 0 }, false),
      });
      if (nodes) {
        return target.blocks
          .flatMap((one) => [below(one), { ...below(one), 'node-name': one.nodeName, parent: below(one) }])
          .toReversed();
      }
      return target.blocks.map((one) => ({
        device: one.device,
        ...(one.qdev === null ? {} : { qdev: one.qdev }),
        'node-name': one.nodeName,
        stats: deviceStats(one.statistics ?? NONE, true),
        parent: below(one),
      }));
    },
  }),
];
