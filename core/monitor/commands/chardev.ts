/** Character devices (qapi/char.json). */
import { MonitorError } from '../errors.ts';
import type { Json } from '../qmp/json.ts';
import { bool, check, i64, list, nothing, object, oneOf, openObject, optional, str } from '../schema.ts';
import type { ObjectType } from '../schema.ts';
import { action, query } from './command.ts';

/** What each kind's `data` has. */
const common = { logfile: optional(str), logappend: optional(bool) };
const address = object('SocketAddressLegacy', {
  type: oneOf('SocketAddressType', ['inet', 'unix', 'vsock', 'fd']),
  data: openObject('SocketAddressLegacyData', {}),
});
const inetAddress = object('InetSocketAddress', {
  host: str,
  port: str,
  numeric: optional(bool),
  to: optional(i64),
  ipv4: optional(bool),
  ipv6: optional(bool),
  'keep-alive': optional(bool),
});
const unixAddress = object('UnixSocketAddress', { path: str, abstract: optional(bool), tight: optional(bool) });
const BACKENDS: Readonly<Record<string, ObjectType>> = {
  null: object('ChardevCommon', common),
  file: object('ChardevFile', { ...common, in: optional(str), out: str, append: optional(bool) }),
  pipe: object('ChardevHostdev', { ...common, device: str }),
  pty: object('ChardevCommon', common),
  socket: object('ChardevSocket', {
    ...common,
    addr: address,
    'tls-creds': optional(str),
    'tls-authz': optional(str),
    server: optional(bool),
    wait: optional(bool),
    nodelay: optional(bool),
    telnet: optional(bool),
    tn3270: optional(bool),
    websocket: optional(bool),
    reconnect: optional(i64),
    'reconnect-ms': optional(i64),
  }),
  udp: object('ChardevUdp', { ...common, remote: address, local: optional(address) }),
  ringbuf: object('ChardevRingbuf', { ...common, size: optional(i64) }),
  memory: object('ChardevRingbuf', { ...common, size: optional(i64) }),
};

export const CHARDEV_BACKENDS: readonly string[] = Object.keys(BACKENDS);

type Members = { [key: string]: Json | undefined };

/** An address of QMP in the keys of -chardev. */
function addressKeys(given: Json, path: string, host: string, port: string): Members {
  const { type, data } = given as { type: string; data: Members };
  if (type === 'unix') {
    check(unixAddress, data as Json, path);
    const { path: name, abstract } = data;
    return { path: name, ...(abstract === undefined ? {} : { abstract }) };
  }
  if (type !== 'inet') throw new MonitorError(`'${type}' addresses are not supported here: inet and unix are`);
  check(inetAddress, data as Json, path);
  return { [host]: data['host'], [port]: data['port'] };
}

/**
 * QMP's back end in the keys of -chardev.
 *
 * @throws MonitorError
 */
export function chardevProperties(type: string, given: Members): Record<string, Json> {
  if (!Object.hasOwn(BACKENDS, type)) throw new MonitorError(`Parameter 'type' does not accept value '${type}'`);
  check(BACKENDS[type], given as Json, 'backend.data');
  const { addr, remote, local, in: input, out, device, ...rest } = given;
  for (const key of ['tls-creds', 'tls-authz', 'tn3270', 'websocket']) {
    if (rest[key] !== undefined && rest[key] !== false)
      throw new MonitorError(`Parameter '${key}' is not supported here`);
    delete rest[key];
  }
  const keys: Members = {
    ...rest,
    'input-path': input,
    path: out ?? device,
    ...(addr === undefined ? {} : addressKeys(addr, 'backend.data.addr.data', 'host', 'port')),
    ...(remote === undefined ? {} : addressKeys(remote, 'backend.data.remote.data', 'host', 'port')),
    ...(local === undefined ? {} : addressKeys(local, 'backend.data.local.data', 'localaddr', 'localport')),
  };
  // In QMP a server listens unless it is told otherwise.
  if (type === 'socket' && keys['server'] === undefined) keys['server'] = true;
  const properties = Object.create(null) as Record<string, Json>;
  for (const [name, value] of Object.entries(keys)) if (value !== undefined) properties[name] = value;
  return properties;
}

const backend = object('ChardevBackend', { type: str, data: openObject('ChardevBackendData', {}) });
const chardevReturn = object('ChardevReturn', { pty: optional(str) });
const dataFormat = oneOf('DataFormat', ['utf8', 'base64']);

export const CHARDEV_COMMANDS = [
  query('query-chardev', {
    help: 'the character devices',
    args: nothing,
    returns: list(object('ChardevInfo', { label: str, filename: str, 'frontend-open': bool })),
    run: ({ target }) =>
      target.chardevs.map(({ label, filename, frontendOpen }) => ({ label, filename, 'frontend-open': frontendOpen })),
  }),
  query('query-chardev-backends', {
    help: 'the kinds of character devices',
    args: nothing,
    returns: list(object('ChardevBackendInfo', { name: str })),
    run: () => CHARDEV_BACKENDS.map((name) => ({ name })),
  }),
  query('chardev-add', {
    help: 'adds a character device',
    args: object('chardev-add-arg', { id: str, backend }),
    returns: chardevReturn,
    run: ({ target }, { id, backend: { type, data } }) =>
      target.addChardev(id, { type, data: chardevProperties(type, data) }),
  }),
  query('chardev-change', {
    help: 'gives a character device another back end; what uses it stays',
    args: object('chardev-change-arg', { id: str, backend }),
    returns: chardevReturn,
    run: ({ target }, { id, backend: { type, data } }) =>
      target.changeChardev(id, { type, data: chardevProperties(type, data) }),
  }),
  action('chardev-remove', {
    help: 'removes a character device that nothing uses',
    args: object('chardev-remove-arg', { id: str }),
    run: ({ target }, { id }) => target.removeChardev(id),
  }),
  action('chardev-send-break', {
    help: 'sends a break',
    args: object('chardev-send-break-arg', { id: str }),
    run: ({ target }, { id }) => target.sendBreak(id),
  }),
  action('ringbuf-write', {
    help: 'writes into a ringbuf character device',
    args: object('ringbuf-write-arg', { device: str, data: str, format: optional(dataFormat) }),
    run({ target }, { device, data, format = 'utf8' }) {
      target.ringbuf(device).put(Buffer.from(data, format));
    },
  }),
  query('ringbuf-read', {
    help: 'takes what was written into a ringbuf character device',
    args: object('ringbuf-read-arg', { device: str, size: i64, format: optional(dataFormat) }),
    returns: str,
    run({ target }, { device, size, format = 'utf8' }) {
      const buffer = target.ringbuf(device);
      if (size <= 0) throw new MonitorError('size must be greater than zero');
      return Buffer.from(buffer.take(Number(size))).toString(format);
    },
  }),
];
