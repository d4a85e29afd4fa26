/** `-monitor`, `-qmp`, `-mon` and `-chardev socket`: where monitors listen. */
import type { Endpoint } from '../../../core/monitor/listener.ts';
import { type Values, badOption, choice, onOff, parseList, splitList, text } from './syntax.ts';

/** readline: HMP; control: QMP. */
export type MonitorMode = 'readline' | 'control';

/** The terminal, or a socket; `wait`: the machine starts when a client has connected. */
export type MonitorPlace = { kind: 'stdio' } | { kind: 'socket'; endpoint: Endpoint; wait: boolean };

export interface MonitorRequest {
  mode: MonitorMode;
  /** QMP on several lines. */
  pretty: boolean;
  place: MonitorPlace;
}

const SERVER = onOff('this end listens; must be on');
const WAIT = onOff('the machine starts when a client has connected; on unless said otherwise, as in QEMU');

export const SOCKET_KEYS = {
  path: text('PATH', 'a socket in the file system, for you alone'),
  host: text('HOST', 'address to listen on; without it 127.0.0.1'),
  port: text('PORT', 'TCP port'),
  server: SERVER,
  wait: WAIT,
  nowait: onOff('as wait=off'),
};
const PLACE_KEYS = { place: text('PLACE', 'where'), server: SERVER, wait: WAIT, nowait: onOff('as wait=off') };
export const MON_KEYS = {
  chardev: text('ID', 'the -chardev (stdio or socket) that it is on'),
  mode: choice(['readline', 'control'], 'HMP or QMP'),
  pretty: onOff('QMP on several lines'),
};

/** @throws RingsideError */
export function socketPlace(option: string, values: Values<typeof SOCKET_KEYS>): MonitorPlace {
  const { path, host = '', port, server, wait = true, nowait = false } = values;
  if (server !== true) throw badOption(option, 'only listening sockets: add server=on,wait=off');
  const waits = wait && !nowait;
  if (path !== undefined) {
    if (port !== undefined) throw badOption(option, 'path or port, not both');
    return { kind: 'socket', endpoint: { kind: 'unix', path }, wait: waits };
  }
  if (port === undefined) throw badOption(option, 'where? Give path=PATH or port=PORT');
  const number = /^\d{1,5}$/.test(port) ? Number(port) : NaN;
  if (!(number <= 65535)) throw badOption(option, `"${port}" is not a port: 0 to 65535`);
  return { kind: 'socket', endpoint: { kind: 'tcp', host: host || '127.0.0.1', port: number }, wait: waits };
}

/**
 * The value of -monitor or -qmp; null for none.
 * @throws RingsideError
 */
export function parsePlace(option: string, value: string): MonitorPlace | null {
  const allowed = 'allowed: none, stdio, unix:PATH,server=on,wait=off, tcp:HOST:PORT,server=on,wait=off';
  const [first] = splitList(value);
  const name = first.value === undefined ? first.key : `${first.key}=${first.value}`;
  // There is no window to put a virtual console into.
  if (name === 'none' || name === 'vc' || name === 'null') return null;
  if (name === 'stdio') return { kind: 'stdio' };
  const rest = value.slice(name.replaceAll(',', ',,').length);
  const { server, wait, nowait } = parseList(option, `place=x${rest}`, PLACE_KEYS);
  const flags = {
    ...(server === undefined ? {} : { server }),
    ...(wait === undefined ? {} : { wait }),
    ...(nowait === undefined ? {} : { nowait }),
  };
  const unix = /^unix:(.+)$/.exec(name);
  if (unix !== null) return socketPlace(option, { ...flags, path: unix[1] });
  const tcp = /^tcp:(?:\[([^\]]*)\]|([^:]*)):([^:]+)$/.exec(name);
  if (tcp === null) throw badOption(option, `"${name}" is not allowed; ${allowed}`);
  return socketPlace(option, { ...flags, host: tcp[1] ?? tcp[2], port: tcp[3] });
}
