/** virtio-pmem (virtio 1.3, section 5.19), and files as guest memory. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { createHost } from '../../core/host/node-host.ts';
import { createMachineMemory, RAM_SIZE_MAX } from '../../core/memory/create.ts';
import { FileRegions, regionSpace } from '../../core/memory/file-region.ts';
import type { FileRegion, FileRegionOptions } from '../../core/memory/file-region.ts';
import { RAM_BASE } from '../../core/memory/guest-memory.ts';
import { PmemDevice } from '../../core/virtio/pmem/device.ts';
import { PMEM_CONFIG_SIZE, PMEM_CONFIG_START } from '../../core/virtio/spec/pmem.ts';
import { CONTROL_BASE, CTL_RAM_SIZE } from '../../core/worker/layout.ts';
import { HOST } from '../harness/guest.ts';
import { VirtioBench, until } from '../harness/virtio-bench.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';

const MIB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'ringside-pmem-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;

/** A file of 4 MiB that has its offset in every KiB. */
function makeFile(): string {
  const bytes = new Uint32Array(MIB);
  for (let i = 0; i < bytes.length; i += 256) bytes[i] = i;
  const file = join(folder, `file${files++}`);
  writeFileSync(file, bytes);
  return file;
}

const hosts = [
  ['without the addon', HOST, null],
  ['with the addon', hostSpec, whyNoAddon],
] as const;

describe.each(hosts)('a file as guest memory, %s', (_name, spec, why) => {
  if (why) return it.skip(why, () => {});
  const host = createHost(spec);
  // 15 MiB of RAM: the first region begins behind a gap.
  const memory = createMachineMemory({
    ramSize: 15 * MIB,
    regionSpace: regionSpace(15 * MIB, [4 * MIB, 4 * MIB]),
    host,
  });
  const { guest, regions } = memory;
  const bench = new VirtioBench({ host: spec, regionMib: 8 });
  const benchRegions = new FileRegions(bench.memory);
  const open: FileRegion[] = [];
  const make = (options: Partial<FileRegionOptions> & { file: string }, from = regions) => {
    const region = from.open(host, { size: 4 * MIB, share: true, ...options });
    open.push(region);
    return region;
  };
  afterEach(async () => {
    await bench.clear();
    for (const region of open.splice(0)) region.close();
  });
  afterAll(async () => {
    await bench.close();
    memory.close();
  });

  it('is behind RAM, where the guest reads the file; and its writes are in the file when it is closed', () => {
    const file = makeFile();
    const region = make({ file });
    expect(region.address).toBe(RAM_BASE + 16 * MIB);
    expect(guest.ramSize).toBe(15 * MIB);
    expect(guest.size).toBe(24 * MIB);
    expect(new DataView(guest.memory.buffer).getUint32(CONTROL_BASE + CTL_RAM_SIZE, true)).toBe(24 * MIB);
    expect(guest.readU32(region.address + 3 * MIB)).toBe((3 * MIB) / 4);
    guest.writeU32(region.address + 3 * MIB, 0xdead_beef);
    guest.writeU8(region.address + 4 * MIB - 1, 0x77);
    expect(guest.contains(region.address, 4 * MIB)).toBe(true);
    region.close();
    region.close();
    const bytes = readFileSync(file);
    expect(bytes.readUInt32LE(3 * MIB)).toBe(0xdead_beef);
    expect(bytes[4 * MIB - 1]).toBe(0x77);
    expect(bytes.readUInt32LE(2 * MIB)).toBe((2 * MIB) / 4);
    expect(guest.readU32(region.address + 3 * MIB)).toBe(0);
  });

  it('does not change when it is private', () => {
    const file = makeFile();
    const before = readFileSync(file);
    const region = make({ file, share: false });
    expect(guest.readU32(region.address + MIB)).toBe(MIB / 4);
    guest.fill(region.address, region.size, 0xee);
    region.close();
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(guest.readU32(region.address)).toBe(0);
  });

  it('is made when it is not there, as long as asked for, and sparse', () => {
    const file = join(folder, `new${files++}`);
    const region = make({ file });
    expect(statSync(file).size).toBe(4 * MIB);
    guest.writeU32(region.address, 1);
    region.close();
    expect(statSync(file).blocks * 512).toBeLessThanOrEqual(256 * 1024);
  });

  it('has as much room as was kept, given back when it is closed', () => {
    const [a, b] = [make({ file: makeFile() }), make({ file: makeFile() })];
    expect(b.address).toBe(a.address + a.size);
    expect(() => make({ file: makeFile() })).toThrow(/no room for 4 MiB/);
    a.close();
    expect(make({ file: makeFile(), size: 2 * MIB }).address).toBe(a.address);
    expect(make({ file: makeFile(), size: 2 * MIB }).address).toBe(a.address + 2 * MIB);
  });

  it('is locked', () => {
    const file = makeFile();
    const region = make({ file });
    expect(() => make({ file })).toThrow(expect.objectContaining({ kind: 'in-use' }));
    region.close();
    make({ file }).close();
    // Readers do not mind one another.
    make({ file, share: false });
    make({ file, share: false });
  });

  it('is refused when it is too short, no file, or of an odd size', () => {
    const short = join(folder, 'short');
    writeFileSync(short, 'x');
    expect(() => make({ file: short })).toThrow(/has 1 bytes, which is less than size=4194304/);
    mkdirSync(join(folder, 'dir'), { recursive: true });
    expect(() => make({ file: join(folder, 'dir') })).toThrow(expect.objectContaining({ kind: 'not-a-file' }));
    expect(() => make({ file: join(folder, 'no', 'where') })).toThrow(expect.objectContaining({ kind: 'not-found' }));
    for (const size of [0, -1, MIB, 2 * MIB + 1, NaN]) {
      expect(() => make({ file: short, size })).toThrow(/multiple of 2 MiB/);
    }
  });

  it('is flushed by virtio-pmem', async () => {
    const file = makeFile();
    const region = make({ file }, benchRegions);
    const driver = await (await bench.attach(new PmemDevice({ id: 'pmem0', region }))).init();
    expect(await driver.readConfig(PMEM_CONFIG_START, 4)).toBe(region.address);
    expect(await driver.readConfig(PMEM_CONFIG_START + 4, 4)).toBe(0);
    expect(await driver.readConfig(PMEM_CONFIG_SIZE, 4)).toBe(4 * MIB);
    for (const value of [1, 2]) {
      bench.memory.writeU32(region.address + 4096, value);
      expect(await request(0)).toBe(0);
      expect(readFileSync(file).readUInt32LE(4096)).toBe(value);
    }
    expect(await request(1)).toBe(1);
    expect(await request(0xffff_ffff)).toBe(1);

    async function request(type: number): Promise<number> {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(type);
      const answer = bench.allocator.alloc(4);
      const { length } = await driver.submit(driver.queues[0], [
        { address: bench.allocator.put(bytes), length: 4 },
        { address: answer, length: 4, writable: true },
      ]);
      expect(length).toBe(4);
      return bench.memory.readU32(answer);
    }
  });

  it.each([
    ['a short request', 3, 4],
    ['no room for the answer', 4, 3],
    ['no answer at all', 4, 0],
  ])('virtio-pmem breaks for %s', async (_what, readable, writable) => {
    const region = make({ file: makeFile() }, benchRegions);
    const driver = await (await bench.attach(new PmemDevice({ id: 'pmem0', region }))).init();
    driver.queues[0].add([
      { address: bench.allocator.alloc(4), length: readable },
      ...(writable ? [{ address: bench.allocator.alloc(4), length: writable, writable: true }] : []),
    ]);
    await driver.notify(0);
    await until(() => bench.bus.snapshot()[0].error !== null);
    expect(bench.bus.snapshot()[0].error).toMatch(/4 bytes and 4 for the answer/);
    await driver.init();
  });
});

describe('a file as guest memory that fails', () => {
  it('is told to the guest and the user, and closed all the same', async () => {
    const bench = new VirtioBench({ regionMib: 4 });
    const regions = new FileRegions(bench.memory);
    const host = createHost(HOST);
    const region = regions.open(host, { file: makeFile(), size: 4 * MIB, share: true });
    const warnings: string[] = [];
    // A descriptor that the worker cannot use.
    const broken = Object.assign(Object.create(region) as FileRegion, {
      handle: { ...region.handle, fd: 2 ** 31 - 1 },
    });
    const device = new PmemDevice({ id: 'pmem0', region: broken, warn: (message) => warnings.push(message) });
    const driver = await (await bench.attach(device)).init();
    const answer = bench.allocator.alloc(4);
    for (let i = 0; i < 5; i++) {
      await driver.submit(driver.queues[0], [
        { address: bench.allocator.alloc(4), length: 4 },
        { address: answer, length: 4, writable: true },
      ]);
      expect(bench.memory.readU32(answer)).toBe(1);
    }
    await until(() => warnings.length > 0);
    expect(warnings).toEqual([expect.stringMatching(/^"[^"]*" could not be flushed: EBADF/)]);
    await bench.close();
    region.close();
  });

  it('that somebody has made shorter is written whole again', () => {
    const memory = createMachineMemory({ ramSize: 2 * MIB, regionSpace: 4 * MIB, host: createHost(HOST) });
    const file = makeFile();
    const region = memory.regions.open(createHost(HOST), { file, size: 4 * MIB, share: true });
    truncateSync(file, 100_000);
    region.close();
    expect(readFileSync(file).readUInt32LE(3 * MIB)).toBe((3 * MIB) / 4);
  });

  it('needs room in linear memory', () => {
    expect(regionSpace(15 * MIB, [])).toBe(0);
    expect(regionSpace(15 * MIB, [2 * MIB, 4 * MIB])).toBe(7 * MIB);
    const host = createHost(HOST);
    expect(() => createMachineMemory({ ramSize: RAM_SIZE_MAX - MIB, regionSpace: 2 * MIB, host })).toThrow(
      expect.objectContaining({ kind: 'too-large', message: expect.stringMatching(/at most 3776 MiB/) }),
    );
  });
});
