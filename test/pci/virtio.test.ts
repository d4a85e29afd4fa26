/** The virtio-pci transport, driven register by register (virtio 1.3, section 4.1), and through all its interfaces. */
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';

import * as pci from '../../core/pci/spec.ts';
import { BlkDevice } from '../../core/virtio/blk/device.ts';
import { RngDevice } from '../../core/virtio/rng/device.ts';
import { VIRTIO_BLK_S_OK } from '../../core/virtio/spec/blk.ts';
import {
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
  hasFeature,
} from '../../core/virtio/spec/features.ts';
import { ISR_CONFIG_CHANGE, ISR_USED_BUFFER } from '../../core/virtio/spec/mmio.ts';
import * as reg from '../../core/virtio/spec/pci.ts';
import { STATUS_DEVICE_NEEDS_RESET, STATUS_DRIVER_OK } from '../../core/virtio/spec/status.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { FakeDisk } from '../harness/fake-disk.ts';
import { PciBench } from '../harness/pci-bench.ts';
import type { PciFunctionOptions } from '../harness/pci-bench.ts';
import { CONFIG_VECTOR, MSI_ADDRESS, MSI_DATA, PciMockDriver } from '../harness/pci-mock-driver.ts';
import type { PciDriverOptions } from '../harness/pci-mock-driver.ts';
import { until } from '../harness/virtio-bench.ts';

const bench = new PciBench();
let disk: FakeDisk;
beforeEach(() => {
  disk = FakeDisk.create();
});
afterEach(async () => {
  disk.openGate();
  await bench.clear();
});
afterAll(() => bench.close());

const blk = () => new BlkDevice({ id: 'drive0', disk });
const rng = () => new RngDevice({ id: 'rng0' });
const random = async (driver: PciMockDriver): Promise<void> => {
  const address = bench.allocator.alloc(64);
  const { length } = await driver.submit(driver.queues[0], [{ address, length: 64, writable: true }]);
  expect(length).toBe(64);
  expect(bench.memory.read(address, 64)).not.toEqual(new Uint8Array(64));
};

describe.each<[string, PciFunctionOptions, PciDriverOptions]>([
  ['modern, INTx', {}, { interrupts: 'intx' }],
  ['modern, MSI-X', {}, { interrupts: 'msix' }],
  ['transitional driven as modern, INTx', { legacy: true }, { interrupts: 'intx' }],
  ['transitional driven as legacy, INTx', { legacy: true }, { interface: 'legacy', interrupts: 'intx' }],
  ['transitional driven as legacy, MSI-X', { legacy: true }, { interface: 'legacy', interrupts: 'msix' }],
  ['legacy only, INTx', { modern: false, legacy: true }, { interface: 'legacy' }],
  ['legacy only, no MSI-X', { modern: false, legacy: true, vectors: 0 }, { interface: 'legacy' }],
  ['doorbells by the control thread', { legacy: true, ioeventfd: false }, {}],
  ['packed', { ring: { packed: true, notificationData: true } }, { interrupts: 'msix' }],
])('%s', (_name, options, how) => {
  it('writes, reads back and flushes a disk, and interrupts', async () => {
    const driver = await (await bench.attach(blk(), options, how)).init();
    const requests = new BlkDriver(driver, bench.allocator);
    const data = Uint8Array.from({ length: 4096 }, (_, i) => i * 7);
    expect((await requests.write(8, data)).status).toBe(VIRTIO_BLK_S_OK);
    const read = await requests.read(8, 8);
    expect(read.status).toBe(VIRTIO_BLK_S_OK);
    expect(Buffer.compare(read.data, data)).toBe(0);
    let bits = 0;
    const end = performance.now() + 5000;
    while (!(bits & ISR_USED_BUFFER) && performance.now() < end) bits |= await driver.handleInterrupt();
    expect(bits).toBe(ISR_USED_BUFFER);
    expect(bench.notes).toEqual([]);
  });

  it('starts anew after a reset', async () => {
    const driver = await (await bench.attach(rng(), options, how)).init();
    await random(driver);
    await driver.reset();
    expect(await driver.status()).toBe(0);
    await driver.init();
    await random(driver);
    expect(bench.notes).toEqual([]);
  });
});

describe('the common configuration', () => {
  it('shows features by the interface', async () => {
    const driver = await bench.attach(rng(), { legacy: true });
    const modern = await driver.readFeatures(2);
    expect(hasFeature(modern, VIRTIO_F_VERSION_1)).toBe(true);
    expect(hasFeature(modern, VIRTIO_F_RING_RESET)).toBe(true);
    expect(hasFeature(modern, VIRTIO_F_ANY_LAYOUT)).toBe(false);
    expect(hasFeature(modern, VIRTIO_F_RING_PACKED)).toBe(false);
    const legacy = BigInt(await driver.readLegacy(reg.LEGACY_DEVICE_FEATURES, 4));
    expect(hasFeature(legacy, VIRTIO_F_ANY_LAYOUT)).toBe(true);
    expect(hasFeature(await driver.readFeatures(3), 64)).toBe(false);
  });

  it('has a queue of the largest size until the driver makes it smaller; none behind the last', async () => {
    const driver = await bench.attach(rng());
    expect(await driver.readCommon(reg.COMMON_NUM_QUEUES)).toBe(1);
    expect(await driver.readCommon(reg.COMMON_QUEUE_SIZE)).toBe(1024);
    await driver.writeCommon(reg.COMMON_QUEUE_SIZE, 64);
    expect(await driver.readCommon(reg.COMMON_QUEUE_SIZE)).toBe(64);
    for (const base of [reg.COMMON_QUEUE_DESC, reg.COMMON_QUEUE_DRIVER, reg.COMMON_QUEUE_DEVICE]) {
      await driver.writeCommon(base, 0x89ab_cde0);
      await driver.writeCommon(base + 4, 0x123);
      expect([await driver.readCommon(base), await driver.readCommon(base + 4)]).toEqual([0x89ab_cde0, 0x123]);
    }
    await driver.writeCommon(reg.COMMON_QUEUE_SELECT, 1);
    expect(await driver.readCommon(reg.COMMON_QUEUE_SELECT)).toBe(1);
    expect(await driver.readCommon(reg.COMMON_QUEUE_SIZE)).toBe(0);
    expect(await driver.readCommon(reg.COMMON_QUEUE_MSIX_VECTOR)).toBe(reg.VIRTIO_MSI_NO_VECTOR);
    expect(bench.notes).toEqual([]);
    await driver.writeCommon(reg.COMMON_QUEUE_ENABLE, 1);
    expect(bench.notes).toHaveLength(1);
  });

  it('takes each register by its width only, and notes what is not to be', async () => {
    const driver = await bench.attach(rng());
    expect(await driver.readCommon(reg.COMMON_QUEUE_SIZE, 4)).toBe(0);
    await driver.writeCommon(reg.COMMON_DEVICE_STATUS, 1, 4);
    expect(await driver.status()).toBe(0);
    await driver.writeCommon(reg.COMMON_NUM_QUEUES, 5);
    await driver.writeCommon(reg.COMMON_QUEUE_ENABLE, 0);
    await driver.writeCommon(reg.COMMON_QUEUE_RESET, 1);
    expect(bench.notes).toHaveLength(5);
    // Behind the structure there is nothing.
    expect(await driver.readCommon(0x40, 4)).toBe(0);
  });

  it('gives vectors that there are, and none for others', async () => {
    const driver = await bench.attach(rng(), { vectors: 2 });
    for (const offset of [reg.COMMON_CONFIG_MSIX_VECTOR, reg.COMMON_QUEUE_MSIX_VECTOR]) {
      expect(await driver.readCommon(offset)).toBe(reg.VIRTIO_MSI_NO_VECTOR);
      await driver.writeCommon(offset, 1);
      expect(await driver.readCommon(offset)).toBe(1);
      await driver.writeCommon(offset, 2);
      expect(await driver.readCommon(offset)).toBe(reg.VIRTIO_MSI_NO_VECTOR);
      await driver.writeCommon(offset, 0);
    }
    await driver.reset();
    expect(await driver.readCommon(reg.COMMON_CONFIG_MSIX_VECTOR)).toBe(reg.VIRTIO_MSI_NO_VECTOR);
    expect(await driver.readCommon(reg.COMMON_QUEUE_MSIX_VECTOR)).toBe(reg.VIRTIO_MSI_NO_VECTOR);
  });

  it('resets one queue', async () => {
    const driver = await (await bench.attach(rng())).init({ features: [VIRTIO_F_RING_RESET] });
    await random(driver);
    await driver.writeCommon(reg.COMMON_QUEUE_SELECT, 0);
    await driver.writeCommon(reg.COMMON_QUEUE_RESET, 1);
    expect(await driver.readCommon(reg.COMMON_QUEUE_RESET)).toBe(0);
    expect(await driver.readCommon(reg.COMMON_QUEUE_ENABLE)).toBe(0);
    driver.queues = [await driver.setUpQueue(0, 8)];
    await random(driver);
    expect(bench.notes).toEqual([]);
  });

  it('changes its generation with the configuration, and tells the driver', async () => {
    const device = blk();
    const driver = await (await bench.attach(device)).init();
    const before = await driver.readCommon(reg.COMMON_CONFIG_GENERATION);
    device.host!.configChanged();
    expect(await driver.readCommon(reg.COMMON_CONFIG_GENERATION)).toBe((before + 1) & 0xff);
    expect(bench.irq.level(driver.irq)).toBe(1);
    expect(await driver.handleInterrupt()).toBe(ISR_CONFIG_CHANGE);
    expect(bench.irq.level(driver.irq)).toBe(0);
  });

  it('says when the device needs a reset', async () => {
    const driver = await (await bench.attach(rng())).init();
    driver.queues[0].add([{ address: bench.allocator.alloc(16), length: 16 }]);
    await driver.notify(0);
    await until(() => bench.snapshot()[0].error !== null);
    expect(await driver.status()).toBe(0xf | STATUS_DEVICE_NEEDS_RESET);
  });
});

describe('a transitional device', () => {
  it('serves the interface that is written first until it is reset', async () => {
    const driver = await (await bench.attach(rng(), { legacy: true }, { interface: 'legacy' })).init();
    expect(bench.snapshot()[0].transport).toMatchObject({ name: 'virtio-pci', version: 0 });
    const { access, slot, irq } = driver;
    const other = await new PciMockDriver(bench, access, slot, irq, { interface: 'modern' }).probe();
    await other.writeCommon(reg.COMMON_DRIVER_FEATURE, 1);
    await other.writeStatus(0);
    expect(bench.notes).toHaveLength(2);
    expect(bench.notes[0]).toMatch(/uses the other \(1\.3\.1\)/);
    await random(driver);
    await driver.reset();
    await other.init();
    expect(bench.snapshot()[0].transport).toMatchObject({ version: 1 });
    await random(other);
  });

  it('has its configuration behind the vectors while MSI-X is enabled', async () => {
    const driver = await bench.attach(blk(), { legacy: true }, { interface: 'legacy', interrupts: 'msix' });
    const sectors = disk.size / 512;
    expect(await driver.readLegacy(reg.LEGACY_HEADER_MSIX, 4)).toBe(sectors);
    const at = await driver.access.capability(pci.PCI_CAP_ID_MSIX);
    await driver.access.write(at + pci.PCI_MSIX_FLAGS, 2, 0);
    expect(await driver.readLegacy(reg.LEGACY_HEADER, 4)).toBe(sectors);
  });

  it('becomes bus master by itself for drivers that forget it', async () => {
    const driver = await bench.attach(rng(), { legacy: true }, { interface: 'legacy' });
    await driver.access.command(0, pci.PCI_COMMAND_MASTER);
    await driver.init();
    await random(driver);
  });
});

describe('bus mastering', () => {
  it('off stops the queues, on lets them go on', async () => {
    const driver = await (await bench.attach(rng())).init();
    await random(driver);
    await driver.access.command(0, pci.PCI_COMMAND_MASTER);
    const address = bench.allocator.alloc(64);
    driver.queues[0].add([{ address, length: 64, writable: true }]);
    await driver.notify(0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(driver.queues[0].takeUsed()).toBeNull();
    await driver.access.command(pci.PCI_COMMAND_MASTER);
    expect((await driver.used(driver.queues[0])).length).toBe(64);
  });
});

describe('INTx', () => {
  it('is the line of the slot, and goes with ISR status', async () => {
    for (let slot = 1; slot <= 5; slot++) {
      const driver = await (await bench.attach(rng(), { address: { slot, function: 0 } })).init();
      expect(driver.irq).toBe(32 + (slot % 4));
      await random(driver);
      await until(() => bench.irq.level(driver.irq) === 1);
      expect((await driver.access.read(pci.PCI_STATUS, 2)) & pci.PCI_STATUS_INTERRUPT).not.toBe(0);
      expect(await driver.handleInterrupt()).toBe(ISR_USED_BUFFER);
      expect(bench.irq.level(driver.irq)).toBe(0);
      expect((await driver.access.read(pci.PCI_STATUS, 2)) & pci.PCI_STATUS_INTERRUPT).toBe(0);
    }
  });

  it('is shared: low when all functions on it are', async () => {
    const drivers = [];
    for (const slot of [1, 5]) drivers.push(await bench.attach(rng(), { address: { slot, function: 0 } }));
    for (const driver of drivers) await random(await driver.init());
    await until(() => bench.snapshot().every(({ interruptStatus }) => interruptStatus !== 0));
    await drivers[0].handleInterrupt();
    expect(bench.irq.level(33)).toBe(1);
    await drivers[1].handleInterrupt();
    expect(bench.irq.level(33)).toBe(0);
  });

  it('can be disabled in the command register', async () => {
    const driver = await (await bench.attach(rng())).init();
    await driver.access.command(pci.PCI_COMMAND_INTX_DISABLE);
    await random(driver);
    await until(() => bench.snapshot()[0].interruptStatus !== 0);
    expect(bench.irq.level(driver.irq)).toBe(0);
    await driver.access.command(0, pci.PCI_COMMAND_INTX_DISABLE);
    expect(bench.irq.level(driver.irq)).toBe(1);
    await bench.unplug([...bench.plugs][0]);
    expect(bench.irq.level(driver.irq)).toBe(0);
  });
});

describe('MSI-X', () => {
  const attach = async (vectors = 2) => (await bench.attach(rng(), { vectors }, { interrupts: 'msix' })).init();
  const control = (vector: number) => vector * pci.MSIX_ENTRY_SIZE + pci.MSIX_ENTRY_CONTROL;
  const PBA = 2048;

  it('sends the message of the vector that the queue has', async () => {
    const driver = await attach();
    await random(driver);
    let messages = bench.irq.takeMessages();
    await until(() => (messages = [...messages, ...bench.irq.takeMessages()]).length > 0);
    expect(messages).toEqual([{ address: MSI_ADDRESS, data: MSI_DATA + 1 }]);
    expect(bench.irq.level(driver.irq)).toBe(0);
    // ISR status is for INTx.
    expect(await driver.readIsr()).toBe(0);
  });

  it('sends that of configuration changes too', async () => {
    await attach();
    [...bench.plugs][0].function.transport.configChanged();
    expect(bench.irq.takeMessages()).toEqual([{ address: MSI_ADDRESS, data: MSI_DATA + CONFIG_VECTOR }]);
  });

  it('keeps a masked vector pending, and sends it when it is unmasked', async () => {
    const driver = await attach();
    await driver.access.writeBar(1, control(1), 4, 1);
    await random(driver);
    const pending = async () => (await driver.access.readBar(1, PBA, 4)) & 2;
    while (!(await pending())) await new Promise(setImmediate);
    expect(bench.irq.takeMessages()).toEqual([]);
    await driver.access.writeBar(1, control(1) - 4, 4, 0x777);
    await driver.access.writeBar(1, control(1), 4, 0);
    expect(await pending()).toBe(0);
    expect(bench.irq.takeMessages()).toEqual([{ address: MSI_ADDRESS, data: 0x777 }]);
  });

  it('does so for the whole function', async () => {
    const driver = await attach();
    const at = (await driver.access.capability(pci.PCI_CAP_ID_MSIX)) + pci.PCI_MSIX_FLAGS;
    await driver.access.write(at, 2, pci.PCI_MSIX_FLAGS_ENABLE | pci.PCI_MSIX_FLAGS_MASKALL);
    await random(driver);
    while ((await driver.access.readBar(1, PBA, 4)) === 0) await new Promise(setImmediate);
    expect(bench.irq.takeMessages()).toEqual([]);
    await driver.access.write(at, 2, pci.PCI_MSIX_FLAGS_ENABLE);
    expect(bench.irq.takeMessages()).toEqual([{ address: MSI_ADDRESS, data: MSI_DATA + 1 }]);
    expect(await driver.access.readBar(1, PBA, 4)).toBe(0);
  });

  it('sends nothing for no vector, and nothing while the function is no bus master', async () => {
    const driver = await attach();
    await driver.writeCommon(reg.COMMON_QUEUE_SELECT, 0);
    await driver.writeCommon(reg.COMMON_QUEUE_MSIX_VECTOR, reg.VIRTIO_MSI_NO_VECTOR);
    await random(driver);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const [{ function: one }] = bench.plugs;
    await driver.access.command(0, pci.PCI_COMMAND_MASTER);
    one.transport.configChanged();
    expect(bench.irq.takeMessages()).toEqual([]);
  });

  it('has as large a table as there are vectors, masked at first, and takes only whole words', async () => {
    const { function: one } = await bench.plug(rng(), { vectors: 200 });
    const driver = await bench.driver([...bench.plugs][0]);
    expect(driver.access.bars.get(1)!.size).toBe(8192);
    const at = await driver.access.capability(pci.PCI_CAP_ID_MSIX);
    expect((await driver.access.read(at + pci.PCI_MSIX_FLAGS, 2)) & 0x7ff).toBe(199);
    expect(await driver.access.readBar(1, control(199), 4)).toBe(1);
    await driver.access.writeBar(1, 199 * 16, 4, 0xfee0_0000);
    await driver.access.writeBar(1, 199 * 16, 1, 0xff);
    expect(await driver.access.readBar(1, 199 * 16, 4)).toBe(0xfee0_0000);
    await driver.access.writeBar(1, 4096, 4, 0xffff_ffff);
    expect(await driver.access.readBar(1, 4096, 4)).toBe(0);
    expect(await driver.access.readBar(1, 200 * 16, 4)).toBe(0);
    expect(one.vectors).toBe(200);
  });
});

describe('the configuration access capability', () => {
  it('reaches the registers without BARs (4.1.4.9)', async () => {
    const driver = await bench.attach(rng());
    const { access } = driver;
    await access.command(0, pci.PCI_COMMAND_MEMORY);
    const at = await access.capability(
      pci.PCI_CAP_ID_VNDR,
      async (where) => (await access.read(where + reg.PCI_VIRTIO_CAP_TYPE, 1)) === reg.VIRTIO_PCI_CAP_PCI_CFG,
    );
    const aim = async (offset: number, length: number, bar = 4) => {
      await access.write(at + reg.PCI_VIRTIO_CAP_BAR, 1, bar);
      await access.write(at + reg.PCI_VIRTIO_CAP_OFFSET, 4, offset);
      await access.write(at + reg.PCI_VIRTIO_CAP_LENGTH, 4, length);
    };
    const data = at + reg.PCI_VIRTIO_CFG_DATA;
    await aim(reg.COMMON_NUM_QUEUES, 2);
    expect(await access.read(data, 2)).toBe(1);
    await aim(reg.COMMON_DEVICE_STATUS, 1);
    await access.write(data, 1, 3);
    expect(await access.read(data, 1)).toBe(3);
    expect(bench.snapshot()[0].status).toBe(3);
    for (const [offset, length, bar] of [
      [0x4000, 4, 4],
      [1, 2, 4],
      [0, 8, 4],
      [0, 4, 1],
    ]) {
      await aim(offset, length, bar);
      await access.write(data, 4, 0x5a5a_5a5a);
      expect(await access.read(data, 4)).toBe(0x5a5a_5a5a);
    }
  });
});

describe('notification data', () => {
  it('is taken from a 32-bit notification', async () => {
    const driver = await bench.attach(rng(), { ring: { notificationData: true } });
    await driver.init();
    expect(hasFeature(driver.features, VIRTIO_F_NOTIFICATION_DATA)).toBe(true);
    for (let n = 0; n < 40; n++) await random(driver);
    expect(bench.notes).toEqual([]);
  });
});

describe('unplugging', () => {
  it('stops the queues, and leaves nothing on the bus', async () => {
    const driver = await (await bench.attach(blk())).init();
    const requests = new BlkDriver(driver, bench.allocator);
    expect((await requests.read(0, 1)).status).toBe(VIRTIO_BLK_S_OK);
    await bench.unplug([...bench.plugs][0]);
    expect(await driver.access.present()).toBe(false);
    expect(await driver.readCommon(reg.COMMON_DEVICE_STATUS)).toBe(0xff);
    const again = await (await bench.attach(blk())).init();
    expect(await again.status()).toBe(0xb | STATUS_DRIVER_OK);
  });
});
