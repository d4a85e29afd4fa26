/** The type virtio-vsock (QEMU's vhost-vsock, with the host's side in unix sockets). */
import { RingsideError } from '../../errors.ts';
import type { VirtioDeviceType } from '../device-type.ts';
import { VIRTIO_ID_VSOCK } from '../spec/device-ids.ts';
import { VSOCK_CID_MAX, VSOCK_CID_MIN } from '../spec/vsock.ts';
import { VsockDevice } from './device.ts';
import { SocketService } from './socket-service.ts';

export const VSOCK_TYPE: VirtioDeviceType = {
  base: 'virtio-vsock',
  virtioId: VIRTIO_ID_VSOCK,
  description: 'sockets between the guest and programs of the host',
  category: 'misc',
  pciClass: 0x0780,
  transitionalId: null,
  vectors: (queues) => queues + 1,
  properties: [
    {
      name: 'guest-cid',
      kind: 'u64',
      default: VSOCK_CID_MIN,
      min: VSOCK_CID_MIN,
      max: VSOCK_CID_MAX,
      description: "the guest's address",
    },
    {
      name: 'socket',
      kind: 'string',
      default: null,
      holds: 'socket',
      required: true,
      description: 'path of the unix socket for programs of the host',
    },
  ],
  async create(id, values, context) {
    const path = values['socket'] as string | null;
    if (!path) throw new RingsideError('bad-option', 'socket=PATH is needed: where programs of the host connect');
    const service = await SocketService.start(id, path, context.memory.memory);
    context.onClose(() => service.close());
    const device = new VsockDevice({ id, guestCid: BigInt(values['guest-cid'] as bigint), shared: service.shared });
    service.onLost = (reason) => {
      context.warn(`its socket worker has crashed: ${reason}. Connections of the host are refused.`);
      device.socketsLost();
    };
    return device;
  },
};
