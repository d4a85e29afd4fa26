/**
 * The linter's rules: what the spec wants of drivers, as far as a device can see whether they do it. docs/linter.md has the
 * same table; a test compares them.
 */
import type { LintRuleInfo } from '../../api/lint.ts';
import { QUEUE_FAULTS } from '../queue/queue-fault.ts';
import type { QueueFaultKind } from '../queue/queue-fault.ts';

interface Rule {
  readonly section: string;
  readonly severity: 'must' | 'should';
  readonly title: string;
}

const must = (section: string, title: string): Rule => ({ section, severity: 'must', title });
const should = (section: string, title: string): Rule => ({ section, severity: 'should', title });

/** Seen at registers, always. */
const CONTROL_RULES = {
  'status-order': must('2.1.1, 3.1.1', 'status bits are set in order, and never cleared but by a reset'),
  'features-unoffered': must('2.2.1', 'only features that were offered are accepted, each with those it requires'),
  'features-late': must('3.1.1', 'features are not written after FEATURES_OK'),
  'features-ok-unread': must('3.1.1', 'the status is read again after FEATURES_OK has been set'),
  'version-1': must('6.1', 'VIRTIO_F_VERSION_1 is accepted where it is offered'),
  'early-notify': must('3.1.1', 'the device is not notified before DRIVER_OK'),
  'queue-setup': must('2.6, 2.7', 'size, alignment and place of a queue are as they must be'),
  'queue-busy': must('4.2.2.2', 'registers of a queue are not written while it is in use'),
  'queue-missing': must('4.2.3.2', 'only queues that the device has are set up'),
  'queue-reset': must('2.6.1', 'queues are reset only with VIRTIO_F_RING_RESET'),
  'register-access': must(
    '4.2.2.2, 4.1.3.1',
    'registers are read and written as wide as they are, in the direction they have',
  ),
  'interface-mix': must('1.3.1', 'a driver uses the legacy interface or the modern one, not both'),
  'config-readonly': must('2.5.1', 'only writable fields of the configuration are written'),
  'used-flags': must('2.7.10.1', 'flags of the used ring are 0 when the driver hands it over'),
  'notify-missing': must('2.7.10.1', 'the device is notified of new buffers where it wants to be'),
  'config-torn': must('2.5.1', 'a field that changed between two reads of its parts is read again'),
} as const satisfies Record<string, Rule>;

/** Seen when a chain is taken, always: the device stops at each of them. */
const FAULT_TITLES: Record<QueueFaultKind, string> = {
  'index-jump': 'the available index goes on by no more than the queue has entries',
  'bad-head': 'entries of the available ring are indices of descriptors that there are',
  'bad-next': 'next is the index of a descriptor that there is',
  loop: 'chains do not loop',
  'too-long': 'chains are not too long, in descriptors or bytes',
  'zero-length': 'buffers are not empty',
  'outside-ram': 'buffers and indirect tables are in memory',
  'bad-order': 'device-readable buffers come before device-writable ones',
  'indirect-not-negotiated': 'indirect descriptors are used only with VIRTIO_F_INDIRECT_DESC',
  'indirect-in-indirect': 'an indirect table does not refer to another one',
  'indirect-and-next': 'a descriptor does not have both INDIRECT and NEXT',
  'bad-indirect-table': 'an indirect table is a whole number of descriptors, at least one',
  'too-many-in-flight': 'no more buffers are made available than the queue has room for',
  'bad-request': "a request has room for its device's header and status",
  'partial-chain': 'a list of a packed ring is made available whole',
};

/** Seen while somebody watches the queue: they cost a look at each chain. */
const WATCHED_RULES = {
  'notify-empty': should('2.7.13.4', 'the device is notified only of new buffers'),
  'notify-unwanted': should('2.7.10.1', 'with VIRTIO_F_EVENT_IDX the device is notified once for each time it asks'),
  'in-flight-changed': must('3.3.1', 'descriptors of buffers that the device has are not changed'),
  'in-flight-again': must('2.7.13.1', 'a buffer that the device has is not made available again'),
  'used-written': must('2.7.8', 'the used ring is written by the device alone'),
  'not-negotiated': must('2.2', 'what needs a feature is asked for only where that is negotiated'),
  'flags-reserved': must('2.7.5, 2.8.13', 'reserved bits of descriptor flags are 0'),
  'avail-flags': must('2.7.7.1', 'flags of the available ring are 0 or 1, and 0 with VIRTIO_F_EVENT_IDX'),
  'blk-size': must('5.2.6.1', 'data of reads and writes are whole sectors of 512 bytes'),
  'blk-flush-sector': must('5.2.6.1', 'sector is 0 in a flush'),
  'blk-flush-data': should('5.2.6.1', 'a flush has no data'),
  'blk-id-size': must('5.2.6.1', 'there are 20 bytes for the id'),
  'blk-range-size': must('5.2.6.1', 'ranges to discard, to erase and to fill with zeros are whole, 16 bytes each'),
  'blk-discard-unmap': must('5.2.6.1', 'the unmap bit is 0 in a discard'),
  'net-num-buffers': must('5.1.6.2.1', 'num_buffers is 0 in what is sent'),
  'net-flags': must('5.1.6.2.1', 'DATA_VALID and RSC_INFO are not set in what is sent'),
  'net-receive-small': must('5.1.6.3.1', 'receive buffers have room for the header'),
  'console-control-small': must('5.3.6.2', 'control messages are whole'),
  'vsock-length': must('5.10.6', 'a packet has the bytes that its header says'),
  '9p-length': must('5.20', 'a message has the bytes that its header says'),
} as const satisfies Record<string, Rule>;

export type ControlRule = keyof typeof CONTROL_RULES;
export type WatchedRule = keyof typeof WATCHED_RULES;
export type LintRule = ControlRule | WatchedRule | QueueFaultKind;

const info = (rules: Readonly<Record<string, Rule>>, watched: boolean): LintRuleInfo[] =>
  Object.entries(rules).map(([rule, each]) => ({ rule, ...each, watched }));

const FAULT_RULES = Object.fromEntries(
  Object.entries(FAULT_TITLES).map(([kind, title]) => [
    kind,
    must(QUEUE_FAULTS[kind as QueueFaultKind].section, title),
  ]),
);

/** In the order of docs/linter.md. */
export const LINT_RULES: readonly LintRuleInfo[] = [
  ...info(CONTROL_RULES, false),
  ...info(FAULT_RULES, false),
  ...info(WATCHED_RULES, true),
];

const BY_NAME = new Map(LINT_RULES.map((rule) => [rule.rule, rule]));

export function lintRuleInfo(rule: LintRule): LintRuleInfo {
  return BY_NAME.get(rule)!;
}
