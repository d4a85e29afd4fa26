/**
 * The device fuzzer's board with PCI. The driver gone mad has the whole function in its hands: configuration space, BARs
 * wherever it likes, MSI-X table and pending bits, the configuration access capability, all registers.
 */
import { expect } from 'vitest';

import {
  PCIE_ECAM_PHYS,
  PCIE_ECAM_SIZE,
  PCIE_HIGH_MMIO_PHYS,
  PCIE_HIGH_MMIO_SIZE,
  PCIE_MMIO_PHYS,
  PCIE_MMIO_SIZE,
  PCIE_PIO_PHYS,
  PCIE_PIO_SIZE,
} from '../../core/machine/virt-map.ts';
import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import { PciHost } from '../../core/pci/host.ts';
import * as pci from '../../core/pci/spec.ts';
import { VirtioOnPci, VirtioPciSlots } from '../../core/virtio/pci-bus.ts';
import type { VirtioPciPlug } from '../../core/virtio/pci-bus.ts';
import { ringFeatureBits } from '../../core/virtio/queue/ring-features.ts';
import * as reg from '../../core/virtio/spec/pci.ts';
import {
  LEGACY_QUEUE_NOTIFY,
  PCI_MODERN_BAR_SIZE,
  PCI_NOTIFY_MULTIPLIER,
  PCI_NOTIFY_OFFSET,
} from '../../core/virtio/transport/pci-layout.ts';
import { BarSpace, PciAccess } from '../harness/pci-enumerator.ts';
import { PciMockDriver } from '../harness/pci-mock-driver.ts';
import { VALUES } from './wild-board.ts';
import type { WildBoard, WildBoardOptions } from './wild-board.ts';

const PCI_CLASS_OTHERS = 0x00ff;
const MSIX_BAR = 1;
/** Registers that a driver has reason to write, besides the capabilities. */
const HEADER = [
  pci.PCI_COMMAND,
  pci.PCI_STATUS,
  pci.PCI_CACHE_LINE_SIZE,
  pci.PCI_INTERRUPT_LINE,
  pci.PCI_BRIDGE_CONTROL,
];
const CAPABILITIES = 0x40;
const WINDOWS = [
  [PCIE_PIO_PHYS, PCIE_PIO_SIZE],
  [PCIE_MMIO_PHYS, PCIE_MMIO_SIZE],
  [PCIE_HIGH_MMIO_PHYS, PCIE_HIGH_MMIO_SIZE],
  [PCIE_ECAM_PHYS, PCIE_ECAM_SIZE],
];

export async function wildPci(options: WildBoardOptions): Promise<WildBoard> {
  const { board, server, random, device, bystander, legacy, ring } = options;
  const { memory, irq } = board;
  const host = new PciHost();
  const slots = new VirtioPciSlots({ memory, host, sink: irq });
  const bus = new VirtioOnPci(host.root, slots);
  // Where two decode an address it is the first one's.
  const plugs: VirtioPciPlug[] = [];
  for (const [i, plugged] of [bystander, device].entries()) {
    plugs.push(
      await bus.plugVirtio(
        plugged,
        { ringFeatures: ringFeatureBits(ring), server, note: () => {}, event: () => {} },
        {
          id: `${i}`,
          modern: i === 0 || !legacy || random.oneIn(2),
          legacy: i === 1 && legacy,
          vectors: random.oneIn(3) ? 0 : plugged.queues.length + 1,
          address: null,
          multifunction: false,
          ioeventfd: random.oneIn(2),
          pciClass: PCI_CLASS_OTHERS,
          transitionalId: reg.PCI_TRANSITIONAL_IDS[plugged.virtioId] ?? null,
        },
      ),
    );
  }
  const [calmPlug, plug] = plugs;
  const space = new BarSpace();
  const makeDriver = async ({ function: { devfn, transport, vectors } }: typeof plug, speaksLegacy: boolean) => {
    const access = new PciAccess(host, 0, devfn);
    await access.placeBars(space);
    return new PciMockDriver(board, access, transport.slot, transport.irq, {
      interface: speaksLegacy ? 'legacy' : 'modern',
      interrupts: vectors > 0 && random.oneIn(2) ? 'msix' : 'intx',
    }).probe();
  };
  const calm = await makeDriver(calmPlug, false);
  const driver = await makeDriver(plug, legacy);
  const { access } = driver;
  const placed = new Map(access.bars);
  const calmBars = [...calm.access.bars.values()];
  const value = (size = 4) => (random.oneIn(2) ? random.of(VALUES) : random.next()) % 2 ** (8 * size);
  const sizeOf = () => random.of([1, 2, 4, 4, 4]);
  /** A driver that writes to the bystander's registers would be its driver. */
  const isCalms = (at: number, size: number): boolean =>
    Math.floor((at - PCIE_ECAM_PHYS) / 4096) === calmPlug.function.devfn ||
    calmBars.some(({ physical, size: length }) => at + size > physical && at < physical + length);

  /** Where a BAR may be put: over the bystander's, over RAM, over its own others, at the ends of the windows, or anywhere. */
  const wildAddress = (): number => {
    const choice = random.below(6);
    if (choice === 0) return random.of(calmBars).physical;
    if (choice === 1) return RAM_BASE + random.below(memory.ramSize);
    if (choice === 2) return random.of([...placed.values()]).physical;
    if (choice === 3) {
      const [base, size] = random.of(WINDOWS);
      return base + size - random.below(3) * 4096;
    }
    return choice === 4 ? random.of(VALUES) : random.next();
  };

  const configWrite = async (): Promise<void> => {
    const choice = random.below(8);
    if (choice < 3) {
      const bar = pci.PCI_BASE_ADDRESS_0 + 4 * random.below(6);
      const address = wildAddress();
      await access.write(bar, 4, random.oneIn(4) ? value() : address % 2 ** 32);
      if (random.oneIn(2)) await access.write(bar + 4, 4, Math.floor(address / 2 ** 32));
    } else if (choice < 5) {
      const size = random.of([1, 2]);
      await access.write(random.of(HEADER), size, value(size));
    } else {
      const size = sizeOf();
      const offset = CAPABILITIES + random.below((pci.PCI_CONFIG_SPACE_SIZE - CAPABILITIES) / size) * size;
      await access.write(offset, size, value(size));
    }
  };

  const accessCapability = await access.capability(
    pci.PCI_CAP_ID_VNDR,
    async (at) => (await access.read(at + reg.PCI_VIRTIO_CAP_TYPE, 1)) === reg.VIRTIO_PCI_CAP_PCI_CFG,
  );
  /** Section 4.1.4.9, with any bar, offset and length; now and then in parts. */
  const aimedAccess = async (): Promise<void> => {
    if (accessCapability === 0) return;
    await access.write(accessCapability + reg.PCI_VIRTIO_CAP_BAR, 1, random.oneIn(4) ? value(1) : 4);
    const offset = random.oneIn(4) ? value() : random.below(PCI_MODERN_BAR_SIZE + 8);
    await access.write(accessCapability + reg.PCI_VIRTIO_CAP_OFFSET, 4, offset);
    await access.write(accessCapability + reg.PCI_VIRTIO_CAP_LENGTH, 4, random.oneIn(4) ? value() : sizeOf());
    const size = sizeOf();
    const data = accessCapability + reg.PCI_VIRTIO_CFG_DATA;
    if (random.oneIn(2)) await access.write(data, size, value(size));
    expect(await access.read(data, size)).toBeLessThan(2 ** (8 * size));
  };

  /** A register of a BAR, where the function has it now or was given it first. */
  const barAccess = async (index: number, offset: number, size: number): Promise<void> => {
    const place = plug.function.bars.find((bar) => bar.index === index);
    const base =
      place?.address === undefined ? null : PciHost.physical(place.kind === 'io' ? 'io' : 'mem', place.address ?? -1);
    const at = (base ?? placed.get(index)?.physical ?? PCIE_MMIO_PHYS) + offset;
    if (!host.accepts(at, size) || isCalms(at, size)) return;
    await host.write(at, size, value(size));
    expect(await host.read(at, size), `offset ${offset} of BAR ${index}`).toBeLessThan(2 ** (8 * size));
  };

  const register = (): Promise<void> => {
    const size = sizeOf();
    const within = (bytes: number) => random.below(bytes / size) * size;
    switch (random.below(4)) {
      case 0:
        return barAccess(MSIX_BAR, within(4096), size);
      case 1:
        return barAccess(0, within(64), size);
      case 2: {
        // Common configuration, each register by its width mostly.
        const offset = random.below(reg.COMMON_SIZE);
        const width = reg.COMMON_WIDTH[offset] ?? size;
        return barAccess(4, offset, random.oneIn(6) ? size : width);
      }
      default:
        return barAccess(4, within(PCI_MODERN_BAR_SIZE), size);
    }
  };

  const anywhere = async (): Promise<void> => {
    const [base, bytes] = random.of(WINDOWS);
    const size = sizeOf();
    const at = base + (random.oneIn(2) ? random.below(65536) : Math.floor((random.next() / 2 ** 32) * bytes));
    if (!host.accepts(at, size)) return;
    expect(await host.read(at, size)).toBeLessThan(2 ** (8 * size));
    if (!isCalms(at, size)) await host.write(at, size, value(size));
  };

  return {
    transport: plug.transport,
    driver,
    calmTransport: calmPlug.transport,
    calm,
    async notify(queue) {
      if (legacy) return driver.writeLegacy(LEGACY_QUEUE_NOTIFY, 2, queue & 0xffff);
      const bar = placed.get(4)!;
      const offset = PCI_NOTIFY_OFFSET + (queue % 1024) * PCI_NOTIFY_MULTIPLIER;
      await host.write(bar.physical + offset, 2, queue & 0xffff);
    },
    async access() {
      switch (random.below(4)) {
        case 0:
          return configWrite();
        case 1:
          return aimedAccess();
        case 2:
          return anywhere();
        default:
          return register();
      }
    },
    async restore() {
      // Bus reset, and firmware's work: the same places again.
      await plug.reset();
      for (const [index, { kind, physical }] of placed) {
        const offset = pci.PCI_BASE_ADDRESS_0 + 4 * index;
        const address = kind === 'io' ? physical - PCIE_PIO_PHYS : physical;
        await access.write(offset, 4, address % 2 ** 32);
        if (kind === 'mem64') await access.write(offset + 4, 4, Math.floor(address / 2 ** 32));
      }
      await access.command(pci.PCI_COMMAND_IO | pci.PCI_COMMAND_MEMORY);
      await driver.probe();
    },
    async close() {
      for (const { unplug } of plugs) await unplug();
    },
  };
}
