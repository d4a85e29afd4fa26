/** What is behind the devices: disks, memory, I/O threads (qapi/block-core.json, machine.json, misc.json). */
import { bool, i64, list, nothing, object, oneOf, optional, str, u16, u64 } from '../schema.ts';
import type { BlockInfo, MonitorTarget } from '../target.ts';
import type { Infer } from '../schema.ts';
import { query } from './command.ts';

const inserted = object('BlockDeviceInfo', {
  file: str,
  'node-name': optional(str),
  ro: bool,
  drv: str,
  backing_file_depth: i64,
  encrypted: bool,
  detect_zeroes: oneOf('BlockdevDetectZeroesOptions', ['off', 'on', 'unmap']),
  bps: i64,
  bps_rd: i64,
  bps_wr: i64,
  iops: i64,
  iops_rd: i64,
  iops_wr: i64,
  image: object('ImageInfo', {
    filename: str,
    format: str,
    'virtual-size': u64,
    'actual-size': optional(u64),
    'dirty-flag': optional(bool),
  }),
  cache: object('BlockdevCacheInfo', { writeback: bool, direct: bool, 'no-flush': bool }),
  write_threshold: i64,
});

/** A node: that of an image's format, or that of the file below it. */
function describeNode(block: BlockInfo, name: string, driver: string): Infer<typeof inserted> {
  return {
    file: block.file,
    'node-name': name,
    ro: block.readonly,
    drv: driver,
    backing_file_depth: 0,
    encrypted: false,
    detect_zeroes: 'off',
    bps: 0,
    bps_rd: 0,
    bps_wr: 0,
    iops: 0,
    iops_rd: 0,
    iops_wr: 0,
    image: {
      filename: block.file,
      format: driver,
      'virtual-size': block.virtualSize,
      'actual-size': block.actualSize,
      'dirty-flag': false,
    },
    cache: { writeback: block.cache.writeback, direct: block.cache.direct, 'no-flush': block.cache.noFlush },
    write_threshold: 0,
  };
}

/** The newest first, as in QEMU. */
export function blockNodes(target: MonitorTarget): Infer<typeof inserted>[] {
  return target.blocks
    .flatMap((block) => [
      describeNode(block, block.fileNode, 'file'),
      describeNode(block, block.nodeName, block.format),
    ])
    .toReversed();
}

export const BACKEND_COMMANDS = [
  query('query-block', {
    help: 'the disks',
    args: nothing,
    returns: list(
      object('BlockInfo', {
        device: str,
        qdev: optional(str),
        type: str,
        removable: bool,
        locked: bool,
        inserted: optional(inserted),
        'io-status': optional(oneOf('BlockDeviceIoStatus', ['ok', 'failed', 'nospace'])),
      }),
    ),
    run: ({ target }) =>
      target.blocks.map((block) => ({
        'io-status': block.ioStatus,
        device: block.device,
        locked: false,
        removable: false,
        inserted: describeNode(block, block.nodeName, block.format),
        ...(block.qdev === null ? {} : { qdev: block.qdev }),
        type: 'unknown',
      })),
  }),
  query('query-named-block-nodes', {
    help: 'the block nodes: for each disk that of its format and that of its file',
    args: object('query-named-block-nodes-arg', { flat: optional(bool) }),
    returns: list(inserted),
    run: ({ target }) => blockNodes(target),
  }),
  query('query-memdev', {
    help: 'the memory back ends',
    args: nothing,
    returns: list(
      object('Memdev', {
        id: optional(str),
        size: u64,
        merge: bool,
        dump: bool,
        prealloc: bool,
        share: bool,
        reserve: optional(bool),
        'host-nodes': list(u16),
        policy: oneOf('HostMemPolicy', ['default', 'preferred', 'bind', 'interleave']),
      }),
    ),
    run: ({ target }) =>
      target.memoryBackends.map(({ id, size, share }) => ({
        id,
        size,
        share,
        merge: true,
        dump: true,
        prealloc: false,
        reserve: true,
        'host-nodes': [],
        policy: 'default' as const,
      })),
  }),
  query('query-memory-devices', {
    help: 'the devices that are memory: virtio-pmem',
    args: nothing,
    returns: list(
      object('MemoryDeviceInfo', {
        type: oneOf('MemoryDeviceInfoKind', ['virtio-pmem']),
        data: object('VirtioPMEMDeviceInfo', { id: optional(str), memaddr: u64, size: u64, memdev: str }),
      }),
    ),
    run: ({ target }) =>
      target.memoryDevices.map(({ id, address, size, memdev }) => ({
        type: 'virtio-pmem' as const,
        data: { ...(id === null ? {} : { id }), memaddr: address, size, memdev },
      })),
  }),
  query('query-iothreads', {
    help: 'the I/O threads',
    args: nothing,
    returns: list(
      object('IOThreadInfo', {
        id: str,
        'thread-id': i64,
        'poll-max-ns': i64,
        'poll-grow': i64,
        'poll-shrink': i64,
        'aio-max-batch': i64,
      }),
    ),
    run: ({ target }) =>
      target.iothreads.map(({ id, threadId, tuning: { pollMaxNs, pollGrow, pollShrink, maxBatch } }) => ({
        id,
        'thread-id': threadId,
        'poll-max-ns': pollMaxNs,
        'poll-grow': pollGrow,
        'poll-shrink': pollShrink,
        'aio-max-batch': maxBatch,
      })),
  }),
];
