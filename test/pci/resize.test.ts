/** A disk that becomes larger while its driver uses it: capacity, configuration interrupt, and the new sectors. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { createHost } from '../../core/host/node-host.ts';
import { liveParts } from '../../core/machine/live-parts.ts';
import { resizeDrive } from '../../core/machine/resize-drive.ts';
import { BLK_CONFIG_CAPACITY, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from '../../core/virtio/spec/blk.ts';
import { BlkDriver } from '../harness/blk-driver.ts';
import { HOST } from '../harness/guest.ts';
import { HotBoard } from '../harness/hot-board.ts';
import { PciBench } from '../harness/pci-bench.ts';

const MIB = 2 ** 20;
const SECTORS = MIB / 512;
/** VIRTIO_PCI_ISR_CONFIG (virtio 1.3, section 4.1.4.5). */
const ISR_CONFIG = 2;

const folder = mkdtempSync(join(tmpdir(), 'ringside-resize-'));
const bench = new PciBench();
let board: HotBoard;
let image: string;
let images = 0;
beforeEach(async () => {
  board = await HotBoard.create(bench);
  image = join(folder, `disk${images++}.img`);
  writeFileSync(image, new Uint8Array(MIB).fill(0x5a));
});
afterEach(() => board.close());
afterAll(async () => {
  await bench.close();
  rmSync(folder, { recursive: true, force: true });
});

const resize = (size: number, id = 'd0') => board.run(() => resizeDrive(board.model.tree, createHost(HOST), id, size));
async function plug(properties: Record<string, unknown> = {}) {
  await board.model.addBackend('drive', 'drive', 'd0', { file: image, ...properties }, { withDevice: true });
  await board.plug({ driver: 'virtio-blk-pci', id: 'disk', properties: { drive: 'd0', 'disable-legacy': 'on' } });
  const driver = await (await board.cardDriver('disk', {}, 0)).init();
  return { driver, disk: new BlkDriver(driver, bench.allocator) };
}

it('the driver is told, and reads and writes what is new', async () => {
  const { driver, disk } = await plug();
  const capacity = async () =>
    (await driver.readConfig(BLK_CONFIG_CAPACITY, 4)) + 2 ** 32 * (await driver.readConfig(BLK_CONFIG_CAPACITY + 4, 4));
  expect(await capacity()).toBe(SECTORS);
  expect((await disk.read(SECTORS, 8)).status).toBe(VIRTIO_BLK_S_IOERR);
  await driver.readIsr();

  await resize(4 * MIB);
  expect((await driver.readIsr()) & ISR_CONFIG).toBe(ISR_CONFIG);
  expect(await capacity()).toBe(4 * SECTORS);
  expect(statSync(image).size).toBe(4 * MIB);
  expect(liveParts(board.model.tree).devices.find(({ id }) => id === 'disk')?.disk).toMatchObject({ size: 4 * MIB });
  const { status, data } = await disk.read(SECTORS, 8);
  expect(status).toBe(VIRTIO_BLK_S_OK);
  expect(data).toEqual(new Uint8Array(4096));
  expect((await disk.write(4 * SECTORS - 8, new Uint8Array(4096).fill(7))).status).toBe(VIRTIO_BLK_S_OK);
  expect((await disk.flush()).status).toBe(VIRTIO_BLK_S_OK);
  expect(readFileSync(image).subarray(-4096)).toEqual(Buffer.alloc(4096, 7));
  // A driver that begins anew finds it so.
  await driver.reset();
  const again = new BlkDriver(await (await board.cardDriver('disk', {}, 0)).init(), bench.allocator);
  expect((await again.read(4 * SECTORS - 8, 8)).data).toEqual(new Uint8Array(4096).fill(7));
});

it('is refused where something would be lost, or cannot be', async () => {
  await plug();
  await expect(resize(MIB)).rejects.toThrow('only ever made larger');
  await expect(resize(MIB / 2)).rejects.toThrow('only ever made larger');
  await expect(resize(2 * MIB + 1)).rejects.toThrow('multiple of 512');
  await expect(resize(2 * MIB, 'none')).rejects.toThrow('there is no drive "none"');
  expect(statSync(image).size).toBe(MIB);
});

it('a disk that is read-only here stays as it is', async () => {
  await plug({ readonly: true });
  await expect(resize(2 * MIB)).rejects.toThrow('read-only');
});
