/** The device fuzzer's board with virtio-mmio. */
import { VIRTIO_PHYS, VIRTIO_SLOT_SIZE } from '../../core/machine/virt-map.ts';
import { ringFeatureBits } from '../../core/virtio/queue/ring-features.ts';
import * as reg from '../../core/virtio/spec/mmio.ts';
import { MmioTransport } from '../../core/virtio/transport/mmio.ts';
import { MockDriver } from '../harness/mock-driver.ts';
import type { Board } from '../harness/mock-driver.ts';
import { VALUES } from './wild-board.ts';
import type { WildBoard, WildBoardOptions } from './wild-board.ts';

export async function wildMmio(options: WildBoardOptions): Promise<WildBoard> {
  const { board, server, random, device, bystander, legacy, ring } = options;
  const { memory, allocator, irq } = board;
  const transports = [device, bystander].map(
    (plugged, slot) =>
      new MmioTransport({
        memory,
        slot,
        base: VIRTIO_PHYS + slot * VIRTIO_SLOT_SIZE,
        irq: 1 + slot,
        legacy: slot === 0 && legacy,
        ringFeatures: ringFeatureBits(ring),
        device: plugged,
        server,
        sink: irq,
        note: () => {},
        event: () => {},
      }),
  );
  for (const transport of transports) await transport.plug();
  const slotOf = (address: number) => Math.floor((address - VIRTIO_PHYS) / VIRTIO_SLOT_SIZE);
  const bus = {
    read: (address: number, size: number) => transports[slotOf(address)].read(address % VIRTIO_SLOT_SIZE, size),
    write: (address: number, size: number, value: number) =>
      transports[slotOf(address)].write(address % VIRTIO_SLOT_SIZE, size, value),
  };
  const [driver, calm] = [0, 1].map((slot) => new MockDriver({ bus, allocator, irq } as unknown as Board, slot));
  return {
    transport: transports[0],
    driver,
    calmTransport: transports[1],
    calm,
    notify: (queue) => driver.write(reg.MMIO_QUEUE_NOTIFY, queue),
    async access() {
      const size = random.oneIn(6) ? random.of([1, 2]) : 4;
      const offset = random.below(reg.MMIO_CONFIG / size) * size;
      await driver.write(offset, random.oneIn(2) ? random.of(VALUES) : random.next(), size);
      await driver.read(offset, size);
    },
    restore: () => Promise.resolve(),
    async close() {
      for (const transport of transports) await transport.unplug();
    },
  };
}
