import { expect } from 'vitest';

import { NetDevice } from '../../../core/virtio/net/device.ts';
import {
  NET_CTRL_RX,
  NET_CTRL_RX_PROMISC,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_MRG_RXBUF,
  NET_OK,
} from '../../../core/virtio/spec/net.ts';
import { MAC_A, MAC_B, plainFrame } from '../../harness/frames.ts';
import { NetDriver } from '../../harness/net-driver.ts';
import { NetWire } from '../../harness/net-wire.ts';
import { until } from '../../harness/virtio-bench.ts';
import type { Exercise } from './exercise.ts';

/** Frames both ways, and commands. */
export const net: Exercise = {
  base: 'virtio-net',
  make(bench) {
    const wire = new NetWire(() => bench.iothread.wake());
    const features = [VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_CTRL_RX];
    return {
      device: new NetDevice({ id: 'net0', mac: MAC_A, rings: wire.rings, features }),
      async work(driver) {
        const net = new NetDriver(bench, driver);
        await until(() => wire.toNic.isOpen);
        for (let i = 0; i < 20; i++) {
          await net.post(1, 1600);
          const frame = plainFrame(MAC_A, 60 + i, i);
          expect(wire.send(frame)).toBe(true);
          expect(Buffer.compare((await net.receive()).bytes, frame)).toBe(0);
          await net.transmit(plainFrame(MAC_B, 100 + i, i));
          expect(Buffer.compare((await wire.next()).data, plainFrame(MAC_B, 100 + i, i))).toBe(0);
          await net.sent();
          expect(await net.command(NET_CTRL_RX, NET_CTRL_RX_PROMISC, [i & 1])).toBe(NET_OK);
        }
      },
    };
  },
};
