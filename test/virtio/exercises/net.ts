import { expect } from 'vitest';

import { NetDevice } from '../../../core/virtio/net/device.ts';
import { hasFeature } from '../../../core/virtio/spec/features.ts';
import * as spec from '../../../core/virtio/spec/net.ts';
import { MAC_A, MAC_B, plainFrame } from '../../harness/frames.ts';
import { NetDriver } from '../../harness/net-driver.ts';
import { NetWire } from '../../harness/net-wire.ts';
import { until } from '../../harness/virtio-bench.ts';
import type { Exercise } from './exercise.ts';

const FEATURES = spec.NET_FEATURES.map(({ bit }) => bit).filter((bit) => bit !== spec.VIRTIO_NET_F_HASH_REPORT);
const PAIRS = 2;

/** Frames both ways on each pair, in one buffer and in several; commands. */
export const net: Exercise = {
  base: 'virtio-net',
  make(bench) {
    const wire = new NetWire(() => bench.iothread.wake());
    return {
      device: new NetDevice({ id: 'net0', mac: MAC_A, rings: wire.rings, features: FEATURES, queuePairs: PAIRS }),
      async work(mock) {
        await until(() => wire.toNic.isOpen);
        // Frames of whoever had the device before.
        while (wire.take() !== null);
        const driver = new NetDriver(bench, mock);
        const steers = hasFeature(mock.features, spec.VIRTIO_NET_F_RSS);
        const pairs = await driver.command(spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_VQ_PAIRS_SET, [PAIRS, 0]);
        expect(pairs).toBe(spec.NET_OK);
        expect(await driver.command(spec.NET_CTRL_RX, spec.NET_CTRL_RX_PROMISC, [1])).toBe(spec.NET_OK);
        for (let i = 0; i < 12; i++) {
          for (let tx = 0; tx < PAIRS; tx++) {
            await driver.transmit(plainFrame(MAC_B, 100 + i, i), {}, tx);
            await driver.sent(tx);
            expect((await wire.next()).data).toEqual(plainFrame(MAC_B, 100 + i, i));
          }
          // With RSS what is of no flow goes to the pair that the driver says, without it to the first.
          const pair = steers ? i % PAIRS : 0;
          if (steers) {
            const config = [0xff, 1, 0, 0, 0, 0, pair, 0, pair, 0, PAIRS, 0, 0];
            expect(await driver.command(spec.NET_CTRL_MQ, spec.NET_CTRL_MQ_RSS_CONFIG, config)).toBe(spec.NET_OK);
          }
          for (const [length, buffers] of [
            [60 + i, 1],
            [700 + i, 3],
          ]) {
            await driver.post(buffers, 300, pair);
            wire.send(plainFrame(MAC_A, length, i));
            const received = await driver.receive(pair);
            expect(received.bytes).toEqual(plainFrame(MAC_A, length, i));
            expect(received.buffers).toBe(buffers);
          }
        }
      },
    };
  },
};
