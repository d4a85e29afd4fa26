/** Errors of monitor commands, as QMP has them. */
import { errorLine } from '../errors.ts';

/** QAPI's QapiErrorClass. */
export type QmpErrorClass = 'GenericError' | 'CommandNotFound' | 'DeviceNotActive' | 'DeviceNotFound';

export class MonitorError extends Error {
  readonly errorClass: QmpErrorClass;

  constructor(message: string, errorClass: QmpErrorClass = 'GenericError') {
    super(message);
    this.name = 'MonitorError';
    this.errorClass = errorClass;
  }
}

export function deviceNotFound(name: string): MonitorError {
  return new MonitorError(`Device '${name}' not found`, 'DeviceNotFound');
}

/** The class and the one line that a client is told, whatever was thrown. */
export function describeError(error: unknown): { class: QmpErrorClass; desc: string } {
  return { class: error instanceof MonitorError ? error.errorClass : 'GenericError', desc: errorLine(error) };
}

/** There is no keyboard, mouse or tablet for an event of this type. */
export function noHandler(type: string): MonitorError {
  return new MonitorError(`Input handler not found for event type ${type}`);
}
