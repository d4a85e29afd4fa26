/** Rows guest-...: the disk as the Debian guest sees it, requests and bytes a second of a program in it (guest/blk.c). */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { benchNumbers, runBoard } from '../lib/emulators.ts';
import type { Figure } from '../lib/report.ts';
import { type Context, compile, initrdWith, interleaved } from '../lib/suite.ts';

const MIB = 2 ** 20;
const DISK_MIB = 256;
/** Seconds a row. */
const DURATION = 1;
const ENDED = 'bench ended=';

const ROWS = [
  { name: 'guest-4k-qd1', unit: 'IOPS' },
  { name: 'guest-4k-qd32', unit: 'IOPS' },
  { name: 'guest-randwrite-4k-qd1', unit: 'IOPS' },
  { name: 'guest-randwrite-4k-qd32', unit: 'IOPS' },
  { name: 'guest-1m-qd4', unit: 'MiB/s' },
  { name: 'guest-read-1m-qd1', unit: 'MiB/s' },
  { name: 'guest-write-1m-qd1', unit: 'MiB/s' },
  { name: 'guest-mmio-4k-qd1', unit: 'IOPS' },
  { name: 'guest-mmio-4k-qd32', unit: 'IOPS' },
];
export const BLK_GUEST_ROWS = ROWS.map(({ name }) => name);

/** The disks of a board: one on PCI with an iothread, and one on virtio-mmio, for which QEMU's TCG has none. */
const DEVICES = ['virtio-blk-pci,iothread=io0,serial=pci', 'virtio-blk-device,serial=mmio'];

/** @param folder where the images are */
export async function blkGuest(context: Context, rows: ReadonlySet<string>, folder: string): Promise<Figure[]> {
  const wanted = ROWS.filter(({ name }) => rows.has(name));
  if (wanted.length === 0) return [];
  const { kernel, initrd: base, append } = await context.guest();
  const program = path.join(context.scratch, 'blk');
  compile(['-O2', '-static', '-pthread', fileURLToPath(new URL('../guest/blk.c', import.meta.url)), '-o', program]);
  const initrd = initrdWith(context, base, [
    { type: 'file', name: 'bench-blk', data: readFileSync(program), mode: 0o755 },
  ]);
  const disks = DEVICES.map((device, i) => {
    const file = path.join(folder, `guest${i}.raw`);
    writeFileSync(file, Buffer.alloc(DISK_MIB * MIB, 0x5a));
    return { file, device };
  });
  const names = wanted.map(({ name }) => name);
  const board = {
    memory: 1024,
    bios: 'default' as const,
    kernel,
    initrd,
    append: `${append} ringside.exec="/bench-blk ${DURATION} ${names.join(' ')}"`,
    objects: ['iothread,id=io0'],
    disks,
  };
  const figures = wanted.map((row): Figure => ({ ...row, better: 'more', ours: [], peer: [] }));
  await interleaved(context, 'blk', async (emulator) => {
    const { output } = await runBoard(emulator, board, [ENDED], 300);
    const numbers = benchNumbers(output);
    for (const figure of figures) {
      const number = numbers.get(figure.name);
      if (number === undefined)
        throw new Error(`${emulator.name}: no figure for ${figure.name}:\n${output.slice(-2000)}`);
      figure[emulator.name].push(number);
    }
  });
  return figures;
}
