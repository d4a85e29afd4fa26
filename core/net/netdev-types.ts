/** The kinds of -netdev that need no NAT, with QEMU's options (net/net.c, qapi/net.json). */
import { RingsideError } from '../errors.ts';
import type { PropertySpec, PropertyValues } from '../qom/property.ts';
import { LOOPBACK, isMulticast, parseHostPort, parsePort } from './address.ts';
import type { DgramOptions } from './backends/dgram.ts';
import type { HubPortOptions } from './backends/hub.ts';
import type { StreamAddress, StreamOptions } from './backends/stream.ts';
import type { NetBackendInit } from './messages.ts';
import type { NetdevSpec } from './network.ts';

export const MAX_QUEUE_PAIRS = 64;

export interface NetdevType {
  /** As in -netdev. */
  readonly kind: string;
  /** One line for the help; no full stop. */
  readonly description: string;
  readonly properties: readonly PropertySpec[];
  /** @throws RingsideError 'bad-option' */
  spec(id: string, values: PropertyValues): NetdevSpec;
}

const QUEUES: PropertySpec = {
  name: 'queues',
  kind: 'u16',
  default: 1,
  min: 1,
  max: MAX_QUEUE_PAIRS,
  description: 'queue pairs that a virtio-net device with mq=on has',
};

function text(name: string, description: string): PropertySpec {
  return { name, kind: 'string', default: null, description };
}

function bad(id: string, message: string): RingsideError {
  return new RingsideError('bad-option', `netdev ${id}: ${message}`);
}

function stringOf(values: PropertyValues, name: string): string | null {
  const value = values[name] as string | null;
  return value === '' ? null : value;
}

interface Made {
  readonly backend: NetBackendInit;
  /** Another netdev that is behind this one. */
  readonly uses?: string;
}

/** A type whose `make` says what is behind it. */
function netdevType(
  kind: string,
  description: string,
  properties: readonly PropertySpec[],
  make: (id: string, values: PropertyValues) => Made,
): NetdevType {
  return {
    kind,
    description,
    properties: [...properties, QUEUES],
    spec: (id, values) => ({ id, kind, queues: values['queues'] as number, ...make(id, values) }),
  };
}

const stream = (options: StreamOptions): Made => ({ backend: { type: 'stream', options } });
const dgram = (options: DgramOptions): Made => ({ backend: { type: 'dgram', options } });

// ---- socket -----------------------------------------------------------------------------------------------------------

const SOCKET_MODES = ['listen', 'connect', 'mcast', 'udp'] as const;

function makeSocket(id: string, values: PropertyValues): Made {
  const given = SOCKET_MODES.filter((mode) => stringOf(values, mode) !== null);
  if (given.length !== 1) throw bad(id, 'give exactly one of listen=, connect=, mcast= and udp=.');
  const [mode] = given;
  const address = parseHostPort(stringOf(values, mode)!, mode);
  const localaddr = stringOf(values, 'localaddr');
  if (mode === 'listen' || mode === 'connect') {
    if (localaddr !== null) throw bad(id, `localaddr= goes with mcast= and udp=, not with ${mode}=.`);
    return stream({ server: mode === 'listen', address, reconnect: 0 });
  }
  if (address.port === 0) throw bad(id, `${mode}= needs a port.`);
  if (mode === 'mcast') {
    if (!isMulticast(address.host))
      throw bad(id, `${address.host} is no multicast address (224.0.0.0 to 239.255.255.255).`);
    return dgram({ remote: address, multicast: true, local: localaddr === null ? null : { host: localaddr, port: 0 } });
  }
  if (localaddr === null) throw bad(id, 'udp= needs localaddr=HOST:PORT, where to listen.');
  return dgram({ remote: address, multicast: false, local: parseHostPort(localaddr, 'localaddr') });
}

const SOCKET = netdevType(
  'socket',
  "another VM, Ringside's or QEMU's, over TCP, UDP or a multicast group",
  [
    text('listen', '[HOST]:PORT to wait on for the other; without HOST 127.0.0.1'),
    text('connect', 'HOST:PORT on which the other listens'),
    text('mcast', 'GROUP:PORT of a multicast group that VMs share'),
    text('udp', 'HOST:PORT to which frames are sent, one a datagram'),
    text('localaddr', 'with udp: [HOST]:PORT to listen on; with mcast: address of the interface'),
  ],
  makeSocket,
);

// ---- stream -----------------------------------------------------------------------------------------------------------

const SOCKET_TYPES = ['inet', 'unix'] as const;

function makeStream(id: string, values: PropertyValues): Made {
  const server = values['server'] as boolean;
  const reconnect = values['reconnect'] as number;
  if (server && reconnect > 0) throw bad(id, 'reconnect= is for clients, not with server=on.');
  return stream({ server, address: streamAddress(id, values), reconnect });
}

function streamAddress(id: string, values: PropertyValues): StreamAddress {
  const type = stringOf(values, 'addr.type');
  if (type === 'unix') {
    const path = stringOf(values, 'addr.path');
    if (path === null) throw bad(id, 'addr.type=unix needs addr.path=.');
    return { path: values['addr.abstract'] === true ? `\0${path}` : path };
  }
  if (type !== 'inet') throw bad(id, 'give addr.type=inet or addr.type=unix.');
  const port = stringOf(values, 'addr.port');
  if (port === null) throw bad(id, 'addr.type=inet needs addr.port=.');
  return { host: stringOf(values, 'addr.host') ?? LOOPBACK, port: parsePort(port, 'addr.port') };
}

const STREAM = netdevType(
  'stream',
  "another VM, Ringside's or QEMU's, over TCP or a unix socket",
  [
    { name: 'server', kind: 'bool', default: false, description: 'wait for the other rather than connect to it' },
    {
      name: 'reconnect',
      kind: 'u32',
      default: 0,
      max: 3600,
      unit: 's',
      description: 'seconds after which a lost or refused connection is tried again; 0: never',
    },
    { name: 'addr.type', kind: 'enum', values: SOCKET_TYPES, default: null, description: 'the kind of address' },
    text('addr.host', 'inet: host; by default 127.0.0.1'),
    text('addr.port', 'inet: port'),
    text('addr.path', 'unix: path of the socket'),
    { name: 'addr.abstract', kind: 'bool', default: false, description: 'unix: a name that is in no file system' },
  ],
  makeStream,
);

// ---- dgram ------------------------------------------------------------------------------------------------------------

function makeDgram(id: string, values: PropertyValues): Made {
  const inet = (side: string) => {
    const type = stringOf(values, `${side}.type`);
    const host = stringOf(values, `${side}.host`);
    const port = stringOf(values, `${side}.port`);
    if (type === null && host === null && port === null) return null;
    if (type === 'unix') {
      throw new RingsideError(
        'unsupported',
        `netdev ${id}: ${side}.type=unix: unix datagram sockets are not supported. Use -netdev stream with addr.type=unix.`,
      );
    }
    if (type !== 'inet') throw bad(id, `give ${side}.type=inet.`);
    if (host === null) throw bad(id, `give ${side}.host=.`);
    return { host, port: port === null ? 0 : parsePort(port, `${side}.port`) };
  };
  const remote = inet('remote');
  const local = inet('local');
  if (!remote) throw bad(id, 'give remote.type=inet, remote.host= and remote.port=.');
  if (remote.port === 0) throw bad(id, 'give remote.port=.');
  const multicast = isMulticast(remote.host);
  if (!multicast && (!local || local.port === 0)) {
    throw bad(id, 'give local.type=inet, local.host= and local.port=, where to listen.');
  }
  return dgram({ remote, multicast, local });
}

const DGRAM = netdevType(
  'dgram',
  "another VM, Ringside's or QEMU's, or a multicast group, a frame a UDP datagram",
  [
    { name: 'remote.type', kind: 'enum', values: SOCKET_TYPES, default: null, description: 'the kind of address' },
    text('remote.host', 'host or multicast group to which frames are sent'),
    text('remote.port', 'and its port'),
    { name: 'local.type', kind: 'enum', values: SOCKET_TYPES, default: null, description: 'the kind of address' },
    text('local.host', 'address to listen on; of a group, that of the interface'),
    text('local.port', 'and its port'),
  ],
  makeDgram,
);

// ---- hubport ----------------------------------------------------------------------------------------------------------

const HUBPORT = netdevType(
  'hubport',
  'a port of a hub, which repeats frames to all its other ports',
  [
    { name: 'hubid', kind: 'u32', default: 0, description: 'number of the hub; it is there as soon as it has a port' },
    text('netdev', 'another netdev that is on this port in place of a network card'),
  ],
  (_id, values) => {
    const netdev = stringOf(values, 'netdev');
    const options: HubPortOptions = { hub: values['hubid'] as number, netdev };
    return { backend: { type: 'hubport', options }, ...(netdev === null ? {} : { uses: netdev }) };
  },
);

export const NETDEV_TYPES: readonly NetdevType[] = [SOCKET, STREAM, DGRAM, HUBPORT];
