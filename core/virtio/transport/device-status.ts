/**
 * What a driver may write to the device status field, as a table (virtio 1.3, sections 2.1 and 3.1.1). A rule that is broken
 * harmlessly is noted for the people who write drivers, and otherwise taken as QEMU takes it; one that is not is refused.
 */
import {
  STATUS_ACKNOWLEDGE,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FAILED,
  STATUS_FEATURES_OK,
  statusNames,
} from '../spec/status.ts';

interface Transition {
  /** The bit being set. */
  readonly sets: number;
  /** Bits that must be set before, or with it. */
  readonly after: number;
  /** Bits that must not be set. */
  readonly notAfter: number;
  /** What happens when they are not as they must: it is set all the same, or not. */
  readonly otherwise: 'note' | 'refuse';
  /** Section of the rule. */
  readonly section: string;
}

/** In the order in which bits written together are set. */
const MODERN: readonly Transition[] = [
  { sets: STATUS_ACKNOWLEDGE, after: 0, notAfter: STATUS_FAILED, otherwise: 'refuse', section: '2.1.1' },
  { sets: STATUS_DRIVER, after: STATUS_ACKNOWLEDGE, notAfter: 0, otherwise: 'note', section: '3.1.1' },
  { sets: STATUS_DRIVER, after: 0, notAfter: STATUS_FAILED, otherwise: 'refuse', section: '2.1.1' },
  { sets: STATUS_FEATURES_OK, after: STATUS_DRIVER, notAfter: 0, otherwise: 'note', section: '3.1.1' },
  {
    sets: STATUS_FEATURES_OK,
    after: 0,
    notAfter: STATUS_FAILED | STATUS_DRIVER_OK,
    otherwise: 'refuse',
    section: '3.1.1',
  },
  {
    sets: STATUS_DRIVER_OK,
    after: STATUS_DRIVER | STATUS_FEATURES_OK,
    notAfter: 0,
    otherwise: 'note',
    section: '3.1.1',
  },
  {
    sets: STATUS_DRIVER_OK,
    after: 0,
    notAfter: STATUS_FAILED | STATUS_DEVICE_NEEDS_RESET,
    otherwise: 'refuse',
    section: '2.1.1',
  },
  { sets: STATUS_FAILED, after: 0, notAfter: 0, otherwise: 'note', section: '2.1' },
];

/** Section 3.1.2: FEATURES_OK does not exist, and order was never kept. */
const LEGACY: readonly Transition[] = [
  { sets: STATUS_ACKNOWLEDGE, after: 0, notAfter: 0, otherwise: 'note', section: '2.1' },
  { sets: STATUS_DRIVER, after: 0, notAfter: 0, otherwise: 'note', section: '2.1' },
  { sets: STATUS_DRIVER_OK, after: 0, notAfter: 0, otherwise: 'note', section: '2.1' },
  { sets: STATUS_FAILED, after: 0, notAfter: 0, otherwise: 'note', section: '2.1' },
];

export interface StatusWrite {
  /** Bits newly set. */
  added: number;
  /** Rules that were broken, one line each. */
  notes: string[];
}

/**
 * What a write of `value`, not 0, to the status field does (0 is a reset, section 2.4).
 *
 * @param current the field as it is
 */
export function writeStatus(current: number, value: number, legacy: boolean): StatusWrite {
  const notes: string[] = [];
  const cleared = current & ~value & ~STATUS_DEVICE_NEEDS_RESET;
  if (cleared !== 0) notes.push(`status: the driver must not clear ${statusNames(cleared)} (2.1.1); kept`);
  const table = legacy ? LEGACY : MODERN;
  const known = table.reduce((mask, { sets }) => mask | sets, 0);
  const foreign = value & ~known & ~current;
  if (foreign !== 0) notes.push(`status: ${statusNames(foreign)} is not the driver's to set (2.1); ignored`);

  let refused = 0;
  let added = 0;
  for (const { sets, after, notAfter, otherwise, section } of table) {
    if (!(value & sets) || current & sets) continue;
    const now = current | added;
    const missing = after & ~now;
    const against = notAfter & now;
    if (missing || against) {
      const why = missing ? `before ${statusNames(missing)}` : `after ${statusNames(against)}`;
      const refuse = otherwise === 'refuse';
      notes.push(`status: ${statusNames(sets)} set ${why} (${section})${refuse ? '; refused' : ''}`);
      if (refuse) refused |= sets;
    }
    added = (added | sets) & ~refused;
  }
  return { added, notes };
}
