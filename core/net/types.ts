/** The types netdev-KIND, which -netdev makes. */
import type { TypeInfo } from '../qom/object.ts';
import { NETDEV_TYPES } from './netdev-types.ts';
import type { Netdev } from './network.ts';

export const NETDEV_QOM_TYPES: readonly TypeInfo[] = NETDEV_TYPES.map(({ kind, description, properties, spec }) => ({
  name: `netdev-${kind}`,
  parent: 'netdev',
  description,
  properties,
  async realize(object, { network }) {
    const netdev: Netdev = await network.add(spec(object.id!, object.values));
    object.onClose(() => netdev.close());
    object.instance = netdev;
  },
}));
