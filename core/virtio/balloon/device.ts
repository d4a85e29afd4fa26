/** The control thread's half of virtio-balloon: the traditional memory balloon (virtio 1.3, section 5.5). */
import { RingsideError } from '../../errors.ts';
import type { ComputedProperty } from '../../qom/property.ts';
import { ConfigSpace } from '../config-space.ts';
import type { ConfigField } from '../config-space.ts';
import { VirtioDevice } from '../device.ts';
import type { BackendInit } from '../device.ts';
import type { QueueSpec } from '../queue/configured-queue.ts';
import {
  BALLOON_CONFIG_ACTUAL,
  BALLOON_CONFIG_BYTES,
  BALLOON_CONFIG_FREE_PAGE_HINT_CMD_ID,
  BALLOON_CONFIG_NUM_PAGES,
  BALLOON_CONFIG_POISON_VAL,
  BALLOON_FEATURES,
  BALLOON_PAGE_SIZE,
  BALLOON_STAT_NAMES,
  VIRTIO_BALLOON_CMD_ID_DONE,
  VIRTIO_BALLOON_CMD_ID_MIN,
  VIRTIO_BALLOON_CMD_ID_STOP,
  VIRTIO_BALLOON_F_DEFLATE_ON_OOM,
  VIRTIO_BALLOON_F_FREE_PAGE_HINT,
  VIRTIO_BALLOON_F_PAGE_POISON,
  VIRTIO_BALLOON_F_PAGE_REPORTING,
  VIRTIO_BALLOON_F_STATS_VQ,
} from '../spec/balloon.ts';
import type { BalloonStatName } from '../spec/balloon.ts';
import { VIRTIO_ID_BALLOON } from '../spec/device-ids.ts';
import { featureMask, hasFeature } from '../spec/features.ts';
import type { BalloonActivation, BalloonBackendOptions, BalloonChange, BalloonReport } from './backend.ts';

/** As QEMU's. */
const QUEUE_SIZE = 128;
/** QEMU's for a statistic that the guest has not given: (uint64_t)-1. */
const STAT_UNKNOWN = 0xffff_ffff_ffff_ffffn;
/** The longest interval that a timer takes, seconds. */
const POLL_SECONDS_MAX = 2 ** 31 / 1000;

export interface BalloonDeviceOptions {
  id: string;
  /** Bytes of RAM that the board has. */
  ramSize: number;
  /** Default false. */
  deflateOnOom?: boolean;
  /** Default false. */
  freePageHint?: boolean;
  /** Default false. */
  freePageReporting?: boolean;
  /** Default true. */
  pagePoison?: boolean;
  /** Something the user should know, one line. */
  warn?: (message: string) => void;
}

/** QEMU's `guest-stats`. */
export interface GuestStats {
  /** Bytes or counts; 2^64 - 1 for what the guest does not tell. */
  readonly stats: Readonly<Record<BalloonStatName, bigint>>;
  /** Seconds since 1970, 0 when there was none. */
  readonly lastUpdate: number;
}

interface Hinting {
  readonly command: number;
  resolve(bytes: number): void;
  reject(error: RingsideError): void;
}

const FIELDS: readonly ConfigField[] = [
  { name: 'num_pages', offset: BALLOON_CONFIG_NUM_PAGES, size: 4 },
  { name: 'actual', offset: BALLOON_CONFIG_ACTUAL, size: 4, writable: true },
  { name: 'free_page_hint_cmd_id', offset: BALLOON_CONFIG_FREE_PAGE_HINT_CMD_ID, size: 4 },
  { name: 'poison_val', offset: BALLOON_CONFIG_POISON_VAL, size: 4, writable: true },
];

export class BalloonDevice extends VirtioDevice {
  readonly type = 'virtio-balloon';
  readonly virtioId = VIRTIO_ID_BALLOON;
  readonly featureInfo = BALLOON_FEATURES;
  readonly features: bigint;
  readonly queues: readonly QueueSpec[];
  readonly config: ConfigSpace;
  readonly backend: BackendInit;
  override readonly computed: Readonly<Record<string, ComputedProperty>> = {
    'guest-stats': {
      type: 'guest statistics',
      description: 'what the guest says of its memory',
      get: () => ({ stats: this.#stats.stats, 'last-update': this.#stats.lastUpdate }),
    },
    'guest-stats-polling-interval': {
      type: 'int',
      description: 'seconds between requests for guest-stats; 0: none',
      get: () => this.#pollSeconds,
      set: (value) => {
        // A worker that is gone is told of by the machine.
        this.setPollSeconds(Number(value)).catch(() => {});
      },
    },
  };
  /** The balloon's size has changed: bytes of RAM that the guest has left (QEMU: BALLOON_CHANGE). */
  onActual: (bytes: number) => void = () => {};

  readonly #ramSize: number;
  readonly #warn: (message: string) => void;
  #negotiated = 0n;
  /** `actual` as last told. */
  #toldPages = 0;
  #stats: GuestStats = noStats();
  #pollSeconds = 0;
  #hinting: Hinting | null = null;
  #nextCommand = VIRTIO_BALLOON_CMD_ID_MIN;

  constructor(options: BalloonDeviceOptions) {
    super(options.id);
    const { ramSize, deflateOnOom, freePageHint = false, freePageReporting = false, pagePoison = true } = options;
    this.#ramSize = ramSize;
    this.#warn = options.warn ?? (() => {});
    this.features = featureMask(
      VIRTIO_BALLOON_F_STATS_VQ,
      ...(deflateOnOom ? [VIRTIO_BALLOON_F_DEFLATE_ON_OOM] : []),
      ...(freePageHint ? [VIRTIO_BALLOON_F_FREE_PAGE_HINT] : []),
      ...(pagePoison ? [VIRTIO_BALLOON_F_PAGE_POISON] : []),
      ...(freePageReporting ? [VIRTIO_BALLOON_F_PAGE_REPORTING] : []),
    );
    this.queues = queueNames(freePageHint, freePageReporting).map((name) => ({ name, maxSize: QUEUE_SIZE }));
    const size = configBytes(freePageHint, pagePoison);
    this.config = new ConfigSpace(
      size,
      FIELDS.filter(({ offset }) => offset < size),
    );
    const backend: BalloonBackendOptions = { ramSize };
    this.backend = { type: this.type, options: backend };
  }

  /** Bytes of RAM that the guest is asked to get along with. */
  get target(): number {
    return this.#ramSize - Number(this.config.get(BALLOON_CONFIG_NUM_PAGES)) * BALLOON_PAGE_SIZE;
  }

  /** Bytes of RAM that the guest has, by its own account. */
  get actual(): number {
    return this.#ramSize - this.#toldPages * BALLOON_PAGE_SIZE;
  }

  /**
   * Asks the guest to get along with so much RAM (QEMU: `balloon`). It takes its time, and may not do it at all.
   *
   * @param bytes more than the machine has counts as all of it
   * @throws RingsideError 'bad-option' when it is not a positive number
   */
  setTarget(bytes: number): void {
    if (!(bytes > 0))
      throw new RingsideError('bad-option', `A balloon target of ${bytes} bytes leaves no RAM. Give a size.`);
    const pages = Math.floor((this.#ramSize - Math.min(bytes, this.#ramSize)) / BALLOON_PAGE_SIZE);
    this.config.set(BALLOON_CONFIG_NUM_PAGES, pages);
    this.host?.configChanged();
  }

  /** What the guest has last said of its memory (QEMU's property guest-stats). */
  get guestStats(): GuestStats {
    return this.#stats;
  }

  /** Seconds between requests for statistics; 0: none are requested (QEMU: guest-stats-polling-interval). */
  get pollSeconds(): number {
    return this.#pollSeconds;
  }

  /**
   * Resolves when it holds.
   *
   * @throws RingsideError 'bad-option', at once
   */
  setPollSeconds(seconds: number): Promise<void> {
    if (!Number.isInteger(seconds) || seconds < 0 || seconds > POLL_SECONDS_MAX) {
      throw new RingsideError('bad-option', `guest-stats-polling-interval is in seconds, 0 and up, not ${seconds}.`);
    }
    this.#pollSeconds = seconds;
    return this.#tell({ kind: 'poll', interval: seconds * 1000 });
  }

  /**
   * Asks the driver which pages are free (section 5.5.6.7), and then lets it have them back.
   *
   * @returns bytes hinted
   * @throws RingsideError 'unsupported' when the driver does not do it, 'bad-state' when it is being asked already or the
   *   device is reset meanwhile
   */
  async hintFreePages(): Promise<number> {
    if (!this.host || !hasFeature(this.#negotiated, VIRTIO_BALLOON_F_FREE_PAGE_HINT)) {
      const remedy = 'It needs a guest driver with VIRTIO_BALLOON_F_FREE_PAGE_HINT, and free-page-hint=on.';
      throw new RingsideError('unsupported', `The driver of ${this.id} gives no free page hints. ${remedy}`);
    }
    if (this.#hinting) throw new RingsideError('bad-state', `${this.id} is being asked for free page hints already.`);
    const command = this.#nextCommand;
    this.#nextCommand = command === 0xffff_ffff ? VIRTIO_BALLOON_CMD_ID_MIN : command + 1;
    const hinted = new Promise<number>((resolve, reject) => (this.#hinting = { command, resolve, reject }));
    try {
      await this.#tell({ kind: 'hint', command });
      this.#setCommand(command);
    } catch (error) {
      this.#endHinting(errorOf(error));
    }
    return hinted;
  }

  #setCommand(command: number): void {
    this.config.set(BALLOON_CONFIG_FREE_PAGE_HINT_CMD_ID, command);
    this.host?.configChanged();
  }

  #endHinting(error: RingsideError): void {
    this.#hinting?.reject(error);
    this.#hinting = null;
  }

  async #tell(change: BalloonChange): Promise<void> {
    await this.host?.configureBackend(change);
  }

  override negotiated(features: bigint): void {
    this.#negotiated = features;
  }

  override activation(): BalloonActivation {
    return {
      hint: hasFeature(this.#negotiated, VIRTIO_BALLOON_F_FREE_PAGE_HINT),
      poison: this.#poison,
      poll: this.#pollSeconds * 1000,
    };
  }

  /** 0 when pages are not poisoned. */
  get #poison(): number {
    if (!hasFeature(this.#negotiated, VIRTIO_BALLOON_F_PAGE_POISON)) return 0;
    return Number(this.config.get(BALLOON_CONFIG_POISON_VAL));
  }

  override configWritten(offset: number, size: number): void | Promise<void> {
    if (offset < BALLOON_CONFIG_ACTUAL + 4 && offset + size > BALLOON_CONFIG_ACTUAL) this.#tellActual();
    if (offset >= BALLOON_CONFIG_POISON_VAL) return this.#tell({ kind: 'poison', value: this.#poison });
  }

  #tellActual(): void {
    // The driver may write anything; the guest cannot have given more than there is.
    const pages = Math.min(
      Number(this.config.get(BALLOON_CONFIG_ACTUAL)),
      Math.floor(this.#ramSize / BALLOON_PAGE_SIZE),
    );
    if (pages === this.#toldPages) return;
    this.#toldPages = pages;
    this.onActual(this.actual);
  }

  override backendEvent(detail: unknown): void {
    const report = detail as BalloonReport;
    switch (report.kind) {
      case 'stats': {
        const stats = { ...noStats().stats };
        for (const [tag, value] of report.values) stats[BALLOON_STAT_NAMES[tag]] = value;
        this.#stats = { stats, lastUpdate: Math.floor(Date.now() / 1000) };
        break;
      }
      case 'hinted':
        if (this.#hinting?.command !== report.command) break;
        this.#setCommand(VIRTIO_BALLOON_CMD_ID_DONE);
        this.#hinting.resolve(report.bytes);
        this.#hinting = null;
        break;
      case 'not-released':
        this.#warn(`the host does not take back what the guest gives up: ${report.reason}`);
        break;
    }
  }

  /** The target stays: it is the host's. */
  override reset(): void {
    this.#negotiated = 0n;
    this.config.set(BALLOON_CONFIG_ACTUAL, 0);
    if (this.config.size > BALLOON_CONFIG_FREE_PAGE_HINT_CMD_ID) {
      this.config.set(BALLOON_CONFIG_FREE_PAGE_HINT_CMD_ID, VIRTIO_BALLOON_CMD_ID_STOP);
    }
    if (this.config.size > BALLOON_CONFIG_POISON_VAL) this.config.set(BALLOON_CONFIG_POISON_VAL, 0);
    this.#tellActual();
    this.#stats = noStats();
    this.#endHinting(new RingsideError('bad-state', `${this.id} was reset while it was asked for free page hints.`));
    // A worker that is gone knows nothing of pages.
    this.#tell({ kind: 'reset' }).catch(() => {});
  }
}

function queueNames(hint: boolean, reporting: boolean): string[] {
  const names = ['inflateq', 'deflateq', 'statsq'];
  // Section 5.5.2 counts queues that are not offered; Linux up to 6.12 and QEMU do not.
  if (hint) names.push('free_page_vq');
  else if (reporting) names.push('reporting_vq (unless free_page_vq is counted)');
  if (reporting) names.push('reporting_vq');
  return names;
}

/** As QEMU has it: older drivers were given no more than what they knew. */
function configBytes(hint: boolean, poison: boolean): number {
  if (poison) return BALLOON_CONFIG_BYTES;
  return hint ? BALLOON_CONFIG_POISON_VAL : BALLOON_CONFIG_FREE_PAGE_HINT_CMD_ID;
}

function noStats(): GuestStats {
  const stats = Object.fromEntries(BALLOON_STAT_NAMES.map((name) => [name, STAT_UNKNOWN]));
  return { stats: stats as Record<BalloonStatName, bigint>, lastUpdate: 0 };
}

function errorOf(error: unknown): RingsideError {
  return error instanceof RingsideError ? error : new RingsideError('internal', String(error), { cause: error });
}
