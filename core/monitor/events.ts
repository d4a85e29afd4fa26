/** The events of QMP (qapi/run-state.json and others of QEMU): their data, and how often a client gets one at most. */
import { bool, i64, nothing, object, oneOf, optional, str } from './schema.ts';
import type { Infer } from './schema.ts';

const SHUTDOWN_CAUSES = [
  'none',
  'host-error',
  'host-qmp-quit',
  'host-qmp-system-reset',
  'host-signal',
  'host-ui',
  'guest-shutdown',
  'guest-reset',
  'guest-panic',
  'subsystem-reset',
  'snapshot-load',
] as const;
const shutdownCause = oneOf('ShutdownCause', SHUTDOWN_CAUSES);
export type ShutdownCause = (typeof SHUTDOWN_CAUSES)[number];

export const EVENTS = {
  STOP: nothing,
  RESUME: nothing,
  POWERDOWN: nothing,
  RESET: object('RESET-arg', { guest: bool, reason: shutdownCause }),
  SHUTDOWN: object('SHUTDOWN-arg', { guest: bool, reason: shutdownCause }),
  DEVICE_DELETED: object('DEVICE_DELETED-arg', { device: optional(str), path: str }),
  DEVICE_UNPLUG_GUEST_ERROR: object('DEVICE_UNPLUG_GUEST_ERROR-arg', { device: optional(str), path: str }),
  BLOCK_IO_ERROR: object('BLOCK_IO_ERROR-arg', {
    device: str,
    'node-name': optional(str),
    operation: oneOf('IoOperationType', ['read', 'write']),
    action: oneOf('BlockErrorAction', ['ignore', 'report', 'stop']),
    nospace: optional(bool),
    reason: str,
  }),
  RTC_CHANGE: object('RTC_CHANGE-arg', { offset: i64, 'qom-path': str }),
  BALLOON_CHANGE: object('BALLOON_CHANGE-arg', { actual: i64 }),
  VSERPORT_CHANGE: object('VSERPORT_CHANGE-arg', { id: str, open: bool }),
  NIC_RX_FILTER_CHANGED: object('NIC_RX_FILTER_CHANGED-arg', { name: optional(str), path: str }),
} as const;

export type EventName = keyof typeof EVENTS;
export type EventData<N extends EventName> = Infer<(typeof EVENTS)[N]>;

/** Events of which only the last in each second is sent (monitor/monitor.c, monitor_qapi_event_conf), ms. */
export const EVENT_PERIOD: Partial<Record<EventName, number>> = {
  RTC_CHANGE: 1000,
  BALLOON_CHANGE: 1000,
  VSERPORT_CHANGE: 1000,
};

export function isEventName(name: string): name is EventName {
  return Object.hasOwn(EVENTS, name);
}
