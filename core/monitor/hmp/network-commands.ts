/** HMP: the network. */
import { ANNOUNCE_USUAL } from '../commands/network.ts';
import type { NetClient, NetworkState } from '../network-target.ts';
import { takes } from './command.ts';
import type { HmpCommand } from './command.ts';
import { optionsCommand } from './options.ts';

const clientText = ({ name, type, info }: NetClient): string => `${name}: index=0,type=${type},${info}\n`;

function networkText({ hubs, clients }: NetworkState): string {
  let text = '';
  for (const { id, ports } of hubs) {
    text += `hub ${id}\n`;
    for (const { name, peer } of ports) text += ` \\ ${name}${peer === null ? '\n' : `: ${clientText(peer)}`}`;
  }
  for (const { client, peer } of clients) {
    text += clientText(client);
    if (peer !== null) text += ` \\ ${clientText(peer)}`;
  }
  return text;
}

export const NETWORK_COMMANDS: readonly HmpCommand[] = [
  {
    ...optionsCommand(
      'netdev_add',
      'netdev_add',
      'type',
      '[user|socket|stream|dgram|hubport|...],id=str[,prop=value][,...]',
      'add host network device',
    ),
    complete: ({ qom }) =>
      qom
        .types()
        .filter(({ name, abstract }) => name.startsWith('netdev-') && !abstract)
        .map(({ name }) => name.slice('netdev-'.length)),
  },
  {
    names: ['netdev_del'],
    args: [takes('id', 'string')],
    params: 'id',
    help: 'remove host network device',
    async run({ qmp }, { id }) {
      await qmp('netdev_del', { id: id as string });
    },
    complete: ({ network }) => network.netdevs,
  },
  {
    names: ['set_link'],
    args: [takes('name', 'string'), takes('up', 'bool')],
    params: 'name on|off',
    help: 'change the link status of a network adapter',
    async run({ qmp }, { name, up }) {
      await qmp('set_link', { name: name as string, up: up as boolean });
    },
    complete: ({ network }, _word, before) =>
      before.length === 0 ? [...network.nics, ...network.netdevs] : ['on', 'off'],
  },
  {
    names: ['announce_self'],
    args: [takes('interfaces', 'string', true), takes('id', 'string', true)],
    params: '[interfaces] [id]',
    help: 'Trigger GARP/RARP announcements',
    async run({ qmp }, { interfaces, id }) {
      await qmp('announce-self', {
        ...ANNOUNCE_USUAL,
        ...(interfaces === undefined ? {} : { interfaces: (interfaces as string).split(',') }),
        ...(id === undefined ? {} : { id: id as string }),
      });
    },
    complete: ({ network }) => network.nics,
  },
];

export const NETWORK_INFO: readonly HmpCommand[] = [
  {
    names: ['network'],
    args: [],
    params: '',
    help: 'show the network state',
    async run({ target, print }) {
      print(networkText(await target.network.state()));
    },
  },
];
