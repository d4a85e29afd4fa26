/** Configuration space: as QEMU 7.2's `virt` board shows it, bit by bit; BARs; who is found where. */
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { PCIE_ECAM_PHYS, PCIE_HIGH_MMIO_PHYS, PCIE_MMIO_PHYS, PCIE_PIO_PHYS } from '../../core/machine/virt-map.ts';
import * as pci from '../../core/pci/spec.ts';
import { RngDevice } from '../../core/virtio/rng/device.ts';
import { PciBench } from '../harness/pci-bench.ts';
import { BarSpace, PciAccess } from '../harness/pci-enumerator.ts';
import { QEMU_FUNCTIONS } from './qemu-functions.ts';

const bench = new PciBench();
afterEach(() => bench.clear());
afterAll(() => bench.close());

const rng = (id = 'rng0') => new RngDevice({ id });
const function0 = () => new PciAccess(bench.host, 0, 0);

async function bytes(access: PciAccess): Promise<string[]> {
  const all: number[] = [];
  for (let offset = 0; offset < 256; offset += 4) all.push(await access.read(offset, 4));
  return all.map((word) => word.toString(16).padStart(8, '0'));
}

describe.each(QEMU_FUNCTIONS)('$name', ({ plug, config, writable }) => {
  const find = async (): Promise<PciAccess> => {
    if (!plug) return function0();
    const { function: one } = await bench.plug(rng(), plug);
    return new PciAccess(bench.host, 0, one.devfn);
  };

  it("has QEMU's bytes", async () => {
    const access = await find();
    const words = config.flatMap((line) => line.split(' ').map((byte) => parseInt(byte, 16)));
    const expected = Array.from({ length: 64 }, (_, i) => {
      const word = words.slice(4 * i, 4 * i + 4).reduceRight((value, byte) => value * 256 + byte, 0);
      return word.toString(16).padStart(8, '0');
    });
    expect(await bytes(access)).toEqual(expected);
  });

  it("lets the bits be written that QEMU's does", async () => {
    const access = await find();
    const found: Record<string, string> = {};
    for (let offset = 0; offset < 256; offset += 4) {
      const before = await access.read(offset, 4);
      await access.write(offset, 4, 0xffff_ffff);
      const ones = await access.read(offset, 4);
      await access.write(offset, 4, 0);
      const zeros = await access.read(offset, 4);
      await access.write(offset, 4, before);
      if (ones !== zeros) found[offset.toString(16)] = ((ones ^ zeros) >>> 0).toString(16);
    }
    expect(found).toEqual(writable);
  });

  it('ends after 256 bytes', async () => {
    expect(await (await find()).read(0x100, 4)).toBe(0xffff_ffff);
  });
});

describe('the host bridge', () => {
  it('answers all ones where no function is, and takes writes to nothing', async () => {
    for (const address of [PCIE_ECAM_PHYS + 0x8000, PCIE_ECAM_PHYS + 0x10_0000, PCIE_PIO_PHYS, PCIE_MMIO_PHYS]) {
      expect(await bench.host.read(address, 4)).toBe(0xffff_ffff);
      expect(await bench.host.read(address, 2)).toBe(0xffff);
      expect(await bench.host.read(address, 1)).toBe(0xff);
      await bench.host.write(address, 4, 0);
    }
  });

  it.each([
    ['configuration space', PCIE_ECAM_PHYS, 4, true],
    ['its last byte', PCIE_ECAM_PHYS + 0xfff_ffff, 1, true],
    ['an I/O port', PCIE_PIO_PHYS + 0xfffe, 2, true],
    ['memory', PCIE_MMIO_PHYS + 0x3fff_fffc, 4, true],
    ['high memory', PCIE_HIGH_MMIO_PHYS + 0x3_ffff_fffc, 4, true],
    ['behind high memory', PCIE_HIGH_MMIO_PHYS + 0x4_0000_0000, 4, false],
    ['behind the ports', PCIE_PIO_PHYS + 0x10000, 4, false],
    ['RAM', 0x8000_0000, 4, false],
    ['8 bytes', PCIE_ECAM_PHYS, 8, false],
    ['misaligned', PCIE_ECAM_PHYS + 2, 4, false],
  ])('accepts an access or not: %s', (_what, address, size, accepted) => {
    expect(bench.host.accepts(address, size)).toBe(accepted);
  });
});

describe('slots', () => {
  const at = (slot: number, fn = 0) => ({ address: { slot, function: fn } });

  it('are filled from the first one up, or as told', async () => {
    expect((await bench.plug(rng('a'))).function.devfn).toBe(1 << 3);
    expect((await bench.plug(rng('b'), at(5))).function.devfn).toBe(5 << 3);
    expect((await bench.plug(rng('c'))).function.devfn).toBe(2 << 3);
    await expect(bench.plug(rng('d'), at(5))).rejects.toMatchObject({ kind: 'bad-option', message: /b is there/ });
    await expect(bench.plug(rng('d'), at(0))).rejects.toMatchObject({ message: /the host bridge is there/ });
    await expect(bench.plug(rng('d'), at(32))).rejects.toMatchObject({ message: /use slots 0 to 1f/ });
    await expect(bench.plug(rng('d'), at(1, 8))).rejects.toMatchObject({ message: /functions 0 to 7/ });
  });

  it('have several functions where function 0 says so', async () => {
    await bench.plug(rng('single'), at(3));
    await expect(bench.plug(rng('x'), at(3, 1))).rejects.toMatchObject({ message: /give single multifunction=on/ });
    await bench.plug(rng('multi'), { ...at(4), multifunction: true });
    await bench.plug(rng('second'), at(4, 7));
    const type = await new PciAccess(bench.host, 0, 4 << 3).read(pci.PCI_HEADER_TYPE, 1);
    expect(type).toBe(pci.PCI_HEADER_TYPE_MULTI_FUNCTION);
    expect(await new PciAccess(bench.host, 0, (4 << 3) | 7).present()).toBe(true);
    expect(await new PciAccess(bench.host, 0, (4 << 3) | 6).present()).toBe(false);
  });

  it('are at most 56 for virtio devices, and none stays taken by what could not be plugged', async () => {
    for (let n = 0; n < 28; n++) {
      await bench.plug(rng(`a${n}`), { ...at(n + 1), multifunction: true });
      await bench.plug(rng(`b${n}`), at(n + 1, 1));
    }
    await expect(bench.plug(rng('more'))).rejects.toMatchObject({ kind: 'too-large', message: /at most 56/ });
    const [first] = bench.plugs;
    await bench.unplug(first);
    await bench.plug(rng('more'));
  });
});

describe('BARs', () => {
  it('are sized and placed by writes, and decode as long as the command register says', async () => {
    const { function: one } = await bench.plug(rng(), { legacy: true });
    const access = new PciAccess(bench.host, 0, one.devfn);
    await access.placeBars(new BarSpace());
    expect([...access.bars]).toEqual([
      [0, { kind: 'io', prefetch: false, size: 32, physical: PCIE_PIO_PHYS + 0x1000 }],
      [1, { kind: 'mem32', prefetch: false, size: 4096, physical: PCIE_MMIO_PHYS }],
      [4, { kind: 'mem64', prefetch: true, size: 16384, physical: PCIE_HIGH_MMIO_PHYS }],
    ]);
    // num_queues, and the legacy queue size.
    expect(await access.readBar(4, 0x12, 2)).toBe(1);
    expect(await access.readBar(0, 12, 2)).toBe(1024);
    await access.command(0, pci.PCI_COMMAND_MEMORY);
    expect(await access.readBar(4, 0x12, 2)).toBe(0xffff);
    expect(await access.readBar(1, 0, 4)).toBe(0xffff_ffff);
    expect(await access.readBar(0, 12, 2)).toBe(1024);
    await access.command(pci.PCI_COMMAND_MEMORY, pci.PCI_COMMAND_IO);
    expect(await access.readBar(4, 0x12, 2)).toBe(1);
    expect(await access.readBar(0, 12, 2)).toBe(0xffff);
  });

  it('may be anywhere, also where another one is', async () => {
    const [a, b] = [await bench.plug(rng('a')), await bench.plug(rng('b'))];
    const accesses = [a, b].map((plug) => new PciAccess(bench.host, 0, plug.function.devfn));
    for (const access of accesses) await access.placeBars(new BarSpace());
    expect(await accesses[0].readBar(4, 0x12, 2)).toBe(1);
    expect(a.function.modernPlace).toBe(PCIE_HIGH_MMIO_PHYS);
    // Harts ring the doorbell of the one that decodes.
    expect(b.function.modernPlace).toBeNull();
    // Outside all windows: nobody can reach it.
    await accesses[0].write(0x20, 4, 0x9000_0000);
    await accesses[0].write(0x24, 4, 0);
    expect(a.function.modernPlace).toBeNull();
    expect(b.function.modernPlace).toBe(PCIE_HIGH_MMIO_PHYS);
  });

  it('are where they were at power-on after a reset', async () => {
    const { function: one } = await bench.plug(rng(), { legacy: true });
    const access = new PciAccess(bench.host, 0, one.devfn);
    const before = await bytes(access);
    await access.placeBars(new BarSpace());
    await access.command(pci.PCI_COMMAND_MASTER);
    await access.write(pci.PCI_INTERRUPT_LINE, 1, 33);
    expect(await bytes(access)).not.toEqual(before);
    await bench.host.reset();
    expect(await bytes(access)).toEqual(before);
    expect(one.modernPlace).toBeNull();
  });
});
