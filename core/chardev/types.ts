/** The types chardev-KIND, which -chardev makes (QEMU: chardev/char-*.c); the properties are the keys of -chardev. */
import { isIPv6 } from 'node:net';
import { RingsideError } from '../errors.ts';
import { LOOPBACK, parsePort } from '../net/address.ts';
import type { Environment } from '../qom/environment.ts';
import type { QomObject, TypeInfo } from '../qom/object.ts';
import type { PropertySpec, PropertyValues } from '../qom/property.ts';
import { FileSink } from './file-sink.ts';
import type { HostLink } from './host-link.ts';
import type { Endpoint } from './listener.ts';
import { PipeLink } from './links/pipe.ts';
import { PtyLink } from './links/pty.ts';
import { FileLink, NullLink, RingbufLink } from './links/simple.ts';
import { ConnectingLink, ListeningLink } from './links/socket.ts';
import { UdpLink } from './links/udp.ts';

const RINGBUF_SIZE = 64n * 1024n;
const RINGBUF_SIZE_MAX = 16n * 1024n * 1024n;
const SECOND = 1000;

/** What a kind's link is made with. */
interface Making {
  readonly id: string;
  readonly values: PropertyValues;
  readonly environment: Environment;
  warn(message: string): void;
}

function text(name: string, description: string, holds?: 'file' | 'socket'): PropertySpec {
  return { name, kind: 'string', default: null, description, ...(holds === undefined ? {} : { holds }) };
}
function flag(name: string, description: string, value = false): PropertySpec {
  return { name, kind: 'bool', default: value, description };
}

const LOG: readonly PropertySpec[] = [
  text('logfile', 'file into which everything is written too that the guest writes', 'file'),
  flag('logappend', 'what is in the logfile stays'),
];

function stringOf(values: PropertyValues, name: string): string | null {
  const value = values[name] as string | null;
  return value === '' ? null : value;
}

function bad(message: string): RingsideError {
  return new RingsideError('bad-option', message);
}

function needed(values: PropertyValues, name: string): string {
  const value = stringOf(values, name);
  if (value === null) throw bad(`${name}= is needed`);
  return value;
}

function chardevType(
  kind: string,
  description: string,
  properties: readonly PropertySpec[],
  make: (making: Making) => HostLink | Promise<HostLink>,
): TypeInfo {
  return {
    name: `chardev-${kind}`,
    parent: 'chardev',
    description,
    properties: [...properties, ...LOG],
    async realize(object, environment) {
      const id = object.id!;
      const warn = (message: string): void => environment.warn(`chardev ${id}: ${message}`);
      const link = await named(id, () =>
        makeLink(object, warn, () => make({ id, values: object.values, environment, warn })),
      );
      let chardev;
      try {
        chardev = environment.chardevs.open(id, link);
      } catch (error) {
        await link.close();
        throw error;
      }
      object.onClose(() => environment.chardevs.close(chardev, id, link));
      object.instance = chardev;
      if (link.announcement !== null) environment.warn(link.announcement);
    },
  };
}

/** Says what it is about; the object model does so where it is about options. */
async function named<T>(id: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof RingsideError) || error.kind === 'bad-option') throw error;
    throw new RingsideError(error.kind, `chardev ${id}: ${error.message}`, { cause: error });
  }
}

async function makeLink(
  object: QomObject,
  warn: (message: string) => void,
  make: () => HostLink | Promise<HostLink>,
): Promise<HostLink> {
  const log = logOf(object, warn);
  try {
    const link = await make();
    if (log !== null) link.log = log;
    return link;
  } catch (error) {
    await log?.close();
    throw error;
  }
}

function logOf(object: QomObject, warn: (message: string) => void): FileSink | null {
  const path = stringOf(object.values, 'logfile');
  return path === null ? null : FileSink.open(path, object.value<boolean>('logappend'), warn);
}

// ---- socket -----------------------------------------------------------------------------------------------------------

const SOCKET_PROPERTIES: readonly PropertySpec[] = [
  text('path', 'a socket in the file system', 'socket'),
  flag('abstract', 'the path is a name that is in no file system (Linux)'),
  text('host', 'host to connect to, or address to listen on; by default 127.0.0.1'),
  text('port', 'TCP port; 0 with server=on: any that is free'),
  flag('ipv4', 'for compatibility', true),
  flag('ipv6', 'for compatibility', true),
  flag('server', 'wait for a client rather than connect'),
  flag('wait', 'with server=on: the machine starts when a client has come'),
  {
    name: 'reconnect',
    kind: 'u32',
    default: 0,
    max: 3600,
    unit: 's',
    description: 'a lost or refused connection is tried again after this; 0: never',
  },
  {
    name: 'reconnect-ms',
    kind: 'u32',
    default: 0,
    max: 3_600_000,
    unit: 'ms',
    description: 'the same in milliseconds',
  },
  flag('nodelay', 'small writes are sent at once (TCP_NODELAY)'),
  { ...flag('delay', 'small writes are gathered; the opposite of nodelay', true) },
  flag('telnet', 'speak the telnet protocol'),
];

function endpointOf(values: PropertyValues): Endpoint {
  const path = stringOf(values, 'path');
  const port = stringOf(values, 'port');
  if (path !== null) {
    if (port !== null) throw bad('path= or port=, not both');
    return { kind: 'unix', path: values['abstract'] === true ? `\0${path}` : path };
  }
  if (port === null) throw bad('where? Give path=PATH, or port=PORT and host=HOST');
  return { kind: 'tcp', host: stringOf(values, 'host') ?? LOOPBACK, port: parsePort(port, 'port') };
}

function makeSocket({ values, warn }: Making): Promise<HostLink> {
  const endpoint = endpointOf(values);
  const options = {
    endpoint,
    telnet: values['telnet'] === true,
    noDelay: values['nodelay'] === true || values['delay'] === false,
  };
  const seconds = values['reconnect'] as number;
  const milliseconds = values['reconnect-ms'] as number;
  if (seconds > 0 && milliseconds > 0) throw bad('reconnect= or reconnect-ms=, not both');
  const reconnect = milliseconds || seconds * SECOND;
  if (values['server'] === true) {
    if (reconnect > 0) throw bad("'reconnect' option is incompatible with socket in server listen mode");
    return ListeningLink.listen({ ...options, waits: values['wait'] === true });
  }
  if (endpoint.kind === 'tcp' && endpoint.port === 0) throw bad('port=0 is for server=on');
  return ConnectingLink.connect({ ...options, reconnect, warn });
}

// ---- the others -------------------------------------------------------------------------------------------------------

function makeUdp({ values }: Making): Promise<HostLink> {
  const remote = { host: stringOf(values, 'host') ?? LOOPBACK, port: parsePort(needed(values, 'port'), 'port') };
  if (remote.port === 0) throw bad('port= cannot be 0');
  const localPort = stringOf(values, 'localport') ?? '0';
  // The host chooses the address that leads to a remote one; what others send is not let through either way.
  const anyAddress = /^(127\.|localhost$)/.test(remote.host) ? LOOPBACK : isIPv6(remote.host) ? '::' : '0.0.0.0';
  const local = { host: stringOf(values, 'localaddr') ?? anyAddress, port: parsePort(localPort, 'localport') };
  return UdpLink.open({ remote, local });
}

function makeRingbuf({ values }: Making): HostLink {
  const size = values['size'] as bigint;
  if ((size & (size - 1n)) !== 0n) throw bad('size of ringbuf chardev must be power of two');
  return new RingbufLink(Number(size));
}

const RINGBUF_PROPERTIES: readonly PropertySpec[] = [
  {
    name: 'size',
    kind: 'size',
    default: RINGBUF_SIZE,
    min: 1n,
    max: RINGBUF_SIZE_MAX,
    description: 'how much is kept, a power of 2',
  },
];

/** All but that of program-type.ts. */
export const CHARDEV_TYPES: readonly TypeInfo[] = [
  chardevType('null', 'nowhere: output is dropped, and there is no input', [], () => new NullLink()),
  chardevType(
    'file',
    'a file that output is written to',
    [
      { ...text('path', 'the file', 'file'), required: true },
      { ...text('input-path', 'a file whose bytes are the input', 'file') },
      flag('append', 'what is in the file stays'),
    ],
    ({ values, warn }) =>
      new FileLink({
        path: needed(values, 'path'),
        append: values['append'] === true,
        inputPath: stringOf(values, 'input-path'),
        onError: warn,
      }),
  ),
  chardevType(
    'pipe',
    'named pipes: PATH.in and PATH.out, or PATH for both ways',
    [{ ...text('path', 'the pipes, made by mkfifo', 'file'), required: true }],
    ({ values }) => new PipeLink(needed(values, 'path')),
  ),
  chardevType('pty', 'a pseudo-terminal of the host', [], ({ id, environment }) => new PtyLink(environment.host, id)),
  chardevType('socket', 'a unix or TCP socket', SOCKET_PROPERTIES, makeSocket),
  chardevType(
    'udp',
    'UDP datagrams to and from one address',
    [
      text('host', 'where to send; by default 127.0.0.1'),
      { ...text('port', 'and its port'), required: true },
      text('localaddr', 'address to listen on; by default 127.0.0.1 where host is this one'),
      text('localport', 'and its port; by default any that is free'),
      flag('ipv4', 'for compatibility', true),
      flag('ipv6', 'for compatibility', true),
    ],
    makeUdp,
  ),
  {
    ...chardevType('ringbuf', 'memory, for ringbuf-read', RINGBUF_PROPERTIES, makeRingbuf),
    aliases: ['chardev-memory'],
  },
];
