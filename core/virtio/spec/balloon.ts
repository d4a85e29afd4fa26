/** Traditional memory balloon device (virtio 1.3, section 5.5). */
import type { FeatureInfo } from './features.ts';

// Feature bits (section 5.5.3).
export const VIRTIO_BALLOON_F_MUST_TELL_HOST = 0;
export const VIRTIO_BALLOON_F_STATS_VQ = 1;
export const VIRTIO_BALLOON_F_DEFLATE_ON_OOM = 2;
export const VIRTIO_BALLOON_F_FREE_PAGE_HINT = 3;
export const VIRTIO_BALLOON_F_PAGE_POISON = 4;
export const VIRTIO_BALLOON_F_PAGE_REPORTING = 5;

export const BALLOON_FEATURES: readonly FeatureInfo[] = [
  {
    bit: VIRTIO_BALLOON_F_MUST_TELL_HOST,
    name: 'VIRTIO_BALLOON_F_MUST_TELL_HOST',
    help: 'the driver deflates a page before it uses it again',
  },
  { bit: VIRTIO_BALLOON_F_STATS_VQ, name: 'VIRTIO_BALLOON_F_STATS_VQ', help: 'memory statistics of the guest' },
  {
    bit: VIRTIO_BALLOON_F_DEFLATE_ON_OOM,
    name: 'VIRTIO_BALLOON_F_DEFLATE_ON_OOM',
    help: 'the driver deflates the balloon when the guest runs out of memory',
  },
  {
    bit: VIRTIO_BALLOON_F_FREE_PAGE_HINT,
    name: 'VIRTIO_BALLOON_F_FREE_PAGE_HINT',
    help: 'the driver says, when it is asked, which pages are free',
  },
  {
    bit: VIRTIO_BALLOON_F_PAGE_POISON,
    name: 'VIRTIO_BALLOON_F_PAGE_POISON',
    help: 'the guest fills free pages with poison_val',
  },
  {
    bit: VIRTIO_BALLOON_F_PAGE_REPORTING,
    name: 'VIRTIO_BALLOON_F_PAGE_REPORTING',
    help: 'the driver reports free pages all the time',
  },
];

// Virtqueues (section 5.5.2).
export const BALLOON_INFLATEQ = 0;
export const BALLOON_DEFLATEQ = 1;
export const BALLOON_STATSQ = 2;
export const BALLOON_FREE_PAGE_VQ = 3;
export const BALLOON_REPORTING_VQ = 4;

// struct virtio_balloon_config (section 5.5.4): offsets of le32.
export const BALLOON_CONFIG_NUM_PAGES = 0;
export const BALLOON_CONFIG_ACTUAL = 4;
export const BALLOON_CONFIG_FREE_PAGE_HINT_CMD_ID = 8;
export const BALLOON_CONFIG_POISON_VAL = 12;
export const BALLOON_CONFIG_BYTES = 16;

/** What pages are counted in, whatever the guest's page size (section 5.5.6). */
export const BALLOON_PAGE_SIZE = 4096;

// Values of free_page_hint_cmd_id that are no command (section 5.5.6.7).
export const VIRTIO_BALLOON_CMD_ID_STOP = 0;
export const VIRTIO_BALLOON_CMD_ID_DONE = 1;
export const VIRTIO_BALLOON_CMD_ID_MIN = 0x8000_0000;

/** struct virtio_balloon_stat: le16 tag, le64 val, packed (section 5.5.6.3). */
export const BALLOON_STAT_SIZE = 10;

/** QEMU's names of the statistics in `guest-stats`, by tag (section 5.5.6.4; from 10 on Linux's virtio_balloon.h). */
export const BALLOON_STAT_NAMES = [
  'stat-swap-in',
  'stat-swap-out',
  'stat-major-faults',
  'stat-minor-faults',
  'stat-free-memory',
  'stat-total-memory',
  'stat-available-memory',
  'stat-disk-caches',
  'stat-htlb-pgalloc',
  'stat-htlb-pgfail',
  'stat-oom-kills',
  'stat-alloc-stalls',
  'stat-async-scans',
  'stat-direct-scans',
  'stat-async-reclaims',
  'stat-direct-reclaims',
] as const;
export type BalloonStatName = (typeof BALLOON_STAT_NAMES)[number];
