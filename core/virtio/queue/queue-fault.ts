/** What a driver can do wrong with a queue. It ends in DEVICE_NEEDS_RESET with the reason shown, never in a crash. */

/** Stable codes: they stand in shared memory (QS_ERROR) and in snapshots. 0 is no fault. */
export const QUEUE_FAULTS = {
  'index-jump': { code: 1, section: '2.7.6' },
  'bad-head': { code: 2, section: '2.7.6' },
  'bad-next': { code: 3, section: '2.7.5' },
  loop: { code: 4, section: '2.7.5.2' },
  'too-long': { code: 5, section: '2.7.5.2' },
  'zero-length': { code: 6, section: '2.7.5' },
  'outside-ram': { code: 7, section: '2.7.5' },
  'bad-order': { code: 8, section: '2.7.4.2' },
  'indirect-not-negotiated': { code: 9, section: '2.7.5.3.1' },
  'indirect-in-indirect': { code: 10, section: '2.7.5.3.1' },
  'indirect-and-next': { code: 11, section: '2.7.5.3.1' },
  'bad-indirect-table': { code: 12, section: '2.7.5.3' },
  'too-many-in-flight': { code: 13, section: '2.7.6' },
  'bad-request': { code: 14, section: '5' },
  'partial-chain': { code: 15, section: '2.8.17' },
} as const satisfies Record<string, { code: number; section: string }>;

export type QueueFaultKind = keyof typeof QUEUE_FAULTS;

/** Thrown by a running queue or a device's request parsing; caught where the queue is served. */
export class QueueFault extends Error {
  readonly kind: QueueFaultKind;

  /** @param detail what was seen, in one line with the numbers */
  constructor(kind: QueueFaultKind, detail: string) {
    super(detail);
    this.name = 'QueueFault';
    this.kind = kind;
  }

  get code(): number {
    return QUEUE_FAULTS[this.kind].code;
  }
}

export function queueFaultKind(code: number): QueueFaultKind | null {
  for (const [kind, info] of Object.entries(QUEUE_FAULTS)) if (info.code === code) return kind as QueueFaultKind;
  return null;
}
