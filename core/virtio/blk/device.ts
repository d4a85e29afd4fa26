/** The control thread's half of virtio-blk (virtio 1.3, section 5.2). */
import type { Disk } from '../../block/disk.ts';
import { RingsideError } from '../../errors.ts';
import { ConfigSpace } from '../config-space.ts';
import type { ConfigField } from '../config-space.ts';
import { VirtioDevice } from '../device.ts';
import type { BackendInit } from '../device.ts';
import type { QueueSpec } from '../queue/configured-queue.ts';
import {
  BLK_CONFIG_ALIGNMENT_OFFSET,
  BLK_CONFIG_BLK_SIZE,
  BLK_CONFIG_BYTES,
  BLK_CONFIG_CAPACITY,
  BLK_CONFIG_CYLINDERS,
  BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT,
  BLK_CONFIG_HEADS,
  BLK_CONFIG_MAX_DISCARD_SECTORS,
  BLK_CONFIG_MAX_DISCARD_SEG,
  BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS,
  BLK_CONFIG_MAX_WRITE_ZEROES_SEG,
  BLK_CONFIG_MIN_IO_SIZE,
  BLK_CONFIG_NUM_QUEUES,
  BLK_CONFIG_OPT_IO_SIZE,
  BLK_CONFIG_PHYSICAL_BLOCK_EXP,
  BLK_CONFIG_SECTORS,
  BLK_CONFIG_SEG_MAX,
  BLK_CONFIG_SIZE_MAX,
  BLK_CONFIG_MAX_SECURE_ERASE_SECTORS,
  BLK_CONFIG_MAX_SECURE_ERASE_SEG,
  BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT,
  BLK_CONFIG_WRITEBACK,
  BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP,
  BLK_FEATURES,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_GEOMETRY,
  VIRTIO_BLK_F_LIFETIME,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_SECTOR_SIZE,
} from '../spec/blk.ts';
import { VIRTIO_ID_BLOCK } from '../spec/device-ids.ts';
import { featureMask, hasFeature } from '../spec/features.ts';
import type { BlkActivation, BlkBackendOptions, BlkChange, BlkLifetime } from './backend.ts';
import type { ReadPolicy, WritePolicy } from './error-policy.ts';
import { SECURE_ERASE_SECTORS_MAX, checkLimits, fillLimits } from './limits.ts';
import type { BlkLimitOptions, BlkLimits } from './limits.ts';
import { createBlkCounters, readBlkStatistics } from './statistics.ts';
import type { BlkStatistics } from './statistics.ts';

/** As QEMU's virtio-mmio has it: drivers in courses count on room for their fixed sizes. */
export const QUEUE_SIZE = 1024;
export const QUEUES_MAX = 16;

// Disk geometry for whoever still asks, as QEMU guesses it.
const HEADS = 16;
const SECTORS_PER_TRACK = 63;
const CYLINDERS_MIN = 2;
const CYLINDERS_MAX = 16383;

export interface BlkDeviceOptions extends BlkLimitOptions {
  /** e.g. "drive0". */
  id: string;
  /** Open; owned by the caller, who closes it when the device is unplugged. */
  disk: Disk;
  /** At most 20 bytes of UTF-8. Default: empty. */
  serial?: string;
  werror?: WritePolicy;
  rerror?: ReadPolicy;
  /** Request queues, 1..16. Default 1. */
  queues?: number;
  /** Entries of each, a power of 2, at most (and by default) 1024. */
  queueSize?: number;
  /** Whether VIRTIO_BLK_F_CONFIG_WCE, _DISCARD, ... are offered where the disk allows. Default true. */
  configWce?: boolean;
  discard?: boolean;
  writeZeroes?: boolean;
  secureErase?: boolean;
  /** What VIRTIO_BLK_T_GET_LIFETIME says; null (the default): VIRTIO_BLK_F_LIFETIME is not offered. */
  lifetime?: BlkLifetime | null;
}

const FIELDS: readonly ConfigField[] = [
  { name: 'capacity', offset: BLK_CONFIG_CAPACITY, size: 8 },
  { name: 'size_max', offset: BLK_CONFIG_SIZE_MAX, size: 4 },
  { name: 'seg_max', offset: BLK_CONFIG_SEG_MAX, size: 4 },
  { name: 'geometry.cylinders', offset: BLK_CONFIG_CYLINDERS, size: 2 },
  { name: 'geometry.heads', offset: BLK_CONFIG_HEADS, size: 1 },
  { name: 'geometry.sectors', offset: BLK_CONFIG_SECTORS, size: 1 },
  { name: 'blk_size', offset: BLK_CONFIG_BLK_SIZE, size: 4 },
  { name: 'topology.physical_block_exp', offset: BLK_CONFIG_PHYSICAL_BLOCK_EXP, size: 1 },
  { name: 'topology.alignment_offset', offset: BLK_CONFIG_ALIGNMENT_OFFSET, size: 1 },
  { name: 'topology.min_io_size', offset: BLK_CONFIG_MIN_IO_SIZE, size: 2 },
  { name: 'topology.opt_io_size', offset: BLK_CONFIG_OPT_IO_SIZE, size: 4 },
  { name: 'writeback', offset: BLK_CONFIG_WRITEBACK, size: 1, writable: true },
  { name: 'num_queues', offset: BLK_CONFIG_NUM_QUEUES, size: 2 },
  { name: 'max_discard_sectors', offset: BLK_CONFIG_MAX_DISCARD_SECTORS, size: 4 },
  { name: 'max_discard_seg', offset: BLK_CONFIG_MAX_DISCARD_SEG, size: 4 },
  { name: 'discard_sector_alignment', offset: BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT, size: 4 },
  { name: 'max_write_zeroes_sectors', offset: BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS, size: 4 },
  { name: 'max_write_zeroes_seg', offset: BLK_CONFIG_MAX_WRITE_ZEROES_SEG, size: 4 },
  { name: 'write_zeroes_may_unmap', offset: BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP, size: 1 },
  { name: 'max_secure_erase_sectors', offset: BLK_CONFIG_MAX_SECURE_ERASE_SECTORS, size: 4 },
  { name: 'max_secure_erase_seg', offset: BLK_CONFIG_MAX_SECURE_ERASE_SEG, size: 4 },
  { name: 'secure_erase_sector_alignment', offset: BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT, size: 4 },
];

export class BlkDevice extends VirtioDevice {
  readonly type = 'virtio-blk';
  readonly virtioId = VIRTIO_ID_BLOCK;
  readonly featureInfo = BLK_FEATURES;
  readonly features: bigint;
  readonly queues: readonly QueueSpec[];
  readonly config = new ConfigSpace(BLK_CONFIG_BYTES, FIELDS);
  override readonly oneWorker: string | null;
  #backend: { type: string; options: BlkBackendOptions };
  readonly #limits: BlkLimits;
  readonly #counters: SharedArrayBuffer;
  #negotiated = 0n;
  #legacy = false;

  /** @throws RingsideError 'bad-option' */
  constructor({
    id,
    disk,
    serial = '',
    werror = 'enospc',
    rerror = 'report',
    queues = 1,
    queueSize = QUEUE_SIZE,
    configWce = true,
    discard = true,
    writeZeroes = true,
    secureErase = true,
    lifetime = null,
    ...limits
  }: BlkDeviceOptions) {
    super(id);
    // Its tables are in the memory of who uses it.
    this.oneWorker = disk.handle.format === 'raw' ? null : `a ${disk.handle.format} image is used by one I/O worker`;
    this.#limits = checkLimits(id, disk, limits);
    if (new TextEncoder().encode(serial).length > VIRTIO_BLK_ID_BYTES) {
      throw new RingsideError('bad-option', `Serial "${serial}" of ${id} is longer than ${VIRTIO_BLK_ID_BYTES} bytes.`);
    }
    if (!Number.isInteger(queues) || queues < 1 || queues > QUEUES_MAX) {
      throw new RingsideError('bad-option', `${id} can have 1 to ${QUEUES_MAX} queues, not ${queues}.`);
    }
    const optional: number[] = [];
    if (disk.readonly) optional.push(VIRTIO_BLK_F_RO);
    else if (discard) optional.push(VIRTIO_BLK_F_DISCARD);
    if (writeZeroes && disk.canWriteZeroes) optional.push(VIRTIO_BLK_F_WRITE_ZEROES);
    if (secureErase && disk.canDiscard) optional.push(VIRTIO_BLK_F_SECURE_ERASE);
    if (lifetime) optional.push(VIRTIO_BLK_F_LIFETIME);
    if (configWce) optional.push(VIRTIO_BLK_F_CONFIG_WCE);
    if (queues > 1) optional.push(VIRTIO_BLK_F_MQ);
    this.features = featureMask(
      VIRTIO_BLK_F_SEG_MAX,
      VIRTIO_BLK_F_GEOMETRY,
      VIRTIO_BLK_F_BLK_SIZE,
      VIRTIO_BLK_F_FLUSH,
      VIRTIO_BLK_F_TOPOLOGY,
      ...optional,
    );
    this.queues = Array.from({ length: queues }, (_, i) => ({
      name: queues === 1 ? 'requestq' : `requestq${i + 1}`,
      maxSize: queueSize,
    }));
    this.#counters = createBlkCounters(queues);
    const options: BlkBackendOptions = {
      disk: disk.handle,
      serial,
      werror,
      rerror,
      blockSize: this.#limits.logicalBlockSize,
      lifetime,
      statistics: this.#counters,
    };
    this.#backend = { type: this.type, options };
    this.#fillConfig(disk, queues, queueSize);
  }

  get backend(): BackendInit {
    return this.#backend;
  }

  /** The disk has become larger; the driver is told (section 5.2.4: a change of capacity). */
  async grow(disk: Disk): Promise<void> {
    this.#backend = { ...this.#backend, options: { ...this.#backend.options, disk: disk.handle } };
    // The worker knows of new sectors before the driver does.
    const change: BlkChange = { disk: disk.handle };
    await this.host?.configureBackend(change);
    this.#setCapacity(disk);
    this.host?.configChanged();
  }

  #setCapacity({ size }: Disk): void {
    const sectors = size / VIRTIO_BLK_SECTOR_SIZE;
    const cylinders = Math.floor(sectors / (HEADS * SECTORS_PER_TRACK));
    this.config.set(BLK_CONFIG_CAPACITY, sectors);
    this.config.set(BLK_CONFIG_CYLINDERS, Math.min(Math.max(cylinders, CYLINDERS_MIN), CYLINDERS_MAX));
  }

  #fillConfig(disk: Disk, queues: number, queueSize: number): void {
    const { config } = this;
    this.#setCapacity(disk);
    config.set(BLK_CONFIG_HEADS, HEADS);
    config.set(BLK_CONFIG_SECTORS, SECTORS_PER_TRACK);
    config.set(BLK_CONFIG_WRITEBACK, 1);
    config.set(BLK_CONFIG_NUM_QUEUES, queues);
    fillLimits(config, disk, this.#limits, queueSize);
  }

  /** What it has done since it is there. */
  get statistics(): BlkStatistics {
    return readBlkStatistics(this.#counters);
  }

  override negotiated(features: bigint, legacy: boolean): void {
    this.#negotiated = features;
    this.#legacy = legacy;
    // Sections 5.2.5.2 and, for legacy drivers, 5.2.5.3: negotiation does not touch their cache mode.
    if (legacy) return;
    if (!hasFeature(features, VIRTIO_BLK_F_FLUSH)) this.config.set(BLK_CONFIG_WRITEBACK, 0);
  }

  override activation(negotiated: bigint): BlkActivation {
    return {
      discard: hasFeature(negotiated, VIRTIO_BLK_F_DISCARD) ? this.#limits.maxDiscardSectors : 0,
      writeZeroes: hasFeature(negotiated, VIRTIO_BLK_F_WRITE_ZEROES) ? this.#limits.maxWriteZeroesSectors : 0,
      secureErase: hasFeature(negotiated, VIRTIO_BLK_F_SECURE_ERASE) ? SECURE_ERASE_SECTORS_MAX : 0,
      lifetime: hasFeature(negotiated, VIRTIO_BLK_F_LIFETIME),
      writeThrough: this.#writeThrough(negotiated),
    };
  }

  /** Section 5.2.6.2: when a write must be stable at its completion. */
  #writeThrough(negotiated: bigint): boolean {
    if (hasFeature(negotiated, VIRTIO_BLK_F_CONFIG_WCE)) return this.config.get(BLK_CONFIG_WRITEBACK) === 0n;
    return !hasFeature(negotiated, VIRTIO_BLK_F_FLUSH);
  }

  override configWritten(): void | Promise<void> {
    const writeback = this.config.get(BLK_CONFIG_WRITEBACK) !== 0n;
    this.config.set(BLK_CONFIG_WRITEBACK, writeback ? 1 : 0);
    // A legacy driver may write it before it says which features it has.
    if (!this.#legacy && !hasFeature(this.#negotiated, VIRTIO_BLK_F_CONFIG_WCE)) return;
    const change: BlkChange = { writeThrough: this.#writeThrough(this.#negotiated) };
    return this.host?.configureBackend(change);
  }

  override reset(): void {
    this.#negotiated = 0n;
    this.#legacy = false;
    this.config.set(BLK_CONFIG_WRITEBACK, 1);
  }
}
