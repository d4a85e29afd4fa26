/** The network (qapi/net.json). */
import { MonitorError } from '../errors.ts';
import { bool, i64, list, object, oneOf, openObject, optional, str } from '../schema.ts';
import { action, query } from './command.ts';
import { propertiesOf } from './qom.ts';

const rxState = oneOf('RxState', ['normal', 'none', 'all']);

/** Ranges of QEMU's migration parameters of the same names, and their defaults. */
const ANNOUNCE = {
  initial: { min: 0, max: 100_000, usual: 50 },
  max: { min: 0, max: 100_000, usual: 550 },
  rounds: { min: 1, max: 1000, usual: 5 },
  step: { min: 0, max: 10_000, usual: 100 },
} as const;
type AnnounceTime = keyof typeof ANNOUNCE;

function announceValue(name: AnnounceTime, value: number | bigint): number {
  const { min, max } = ANNOUNCE[name];
  if (value >= min && value <= max) return Number(value);
  throw new MonitorError(`Parameter '${name}' expects a value between ${min} and ${max}`);
}

export const NETWORK_COMMANDS = [
  action('netdev_add', {
    help: 'adds a network back end, with the properties of -netdev',
    args: openObject('netdev_add-arg', { type: str, id: str }),
    run: ({ target }, args) => target.addNetdev(args.type, args.id, propertiesOf(args, 'type', 'id')),
  }),
  action('netdev_del', {
    help: 'removes a network back end',
    args: object('netdev_del-arg', { id: str }),
    run: ({ target }, { id }) => target.removeNetdev(id),
  }),
  action('set_link', {
    help: 'plugs the cable of a network card, or of what it is connected to, in or out',
    args: object('set_link-arg', { name: str, up: bool }),
    run: ({ target }, { name, up }) => target.network.setLink(name, up),
  }),
  query('query-rx-filter', {
    help: "network cards' filters, as their drivers have set them",
    args: object('query-rx-filter-arg', { name: optional(str) }),
    returns: list(
      object('RxFilterInfo', {
        name: str,
        promiscuous: bool,
        multicast: rxState,
        unicast: rxState,
        vlan: rxState,
        'broadcast-allowed': bool,
        'multicast-overflow': bool,
        'unicast-overflow': bool,
        'main-mac': str,
        'vlan-table': list(i64),
        'unicast-table': list(str),
        'multicast-table': list(str),
      }),
    ),
    async run({ target }, { name = null }) {
      const found = await target.network.rxFilters(name);
      return found.map(({ name: nic, filter }) => ({
        ...filter,
        name: nic,
        'vlan-table': [...filter['vlan-table']],
        'unicast-table': [...filter['unicast-table']],
        'multicast-table': [...filter['multicast-table']],
      }));
    },
  }),
  action('announce-self', {
    help: 'has guests announce themselves on their networks (VIRTIO_NET_F_GUEST_ANNOUNCE)',
    args: object('AnnounceParameters', {
      initial: i64,
      max: i64,
      rounds: i64,
      step: i64,
      interfaces: optional(list(str)),
      id: optional(str),
    }),
    run: ({ target }, { initial, max, rounds, step, interfaces = null, id = '' }) =>
      target.network.announce({
        initial: announceValue('initial', initial),
        max: announceValue('max', max),
        rounds: announceValue('rounds', rounds),
        step: announceValue('step', step),
        interfaces,
        id,
      }),
  }),
];

/** What HMP's announce_self does without being told. */
export const ANNOUNCE_USUAL = Object.fromEntries(
  (Object.keys(ANNOUNCE) as AnnounceTime[]).map((name) => [name, ANNOUNCE[name].usual]),
);
