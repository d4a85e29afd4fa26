/**
 * What it costs to watch a queue: the same program in the same guest, by turns with nobody watching its disk's queue and with
 * somebody who takes every batch and puts it on the wire. Nobody watching is what the blk suite measures too.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Machine } from '../../../core/machine/machine.ts';
import type { QueueWatchHandle } from '../../../core/inspect/inspector.ts';
import { encodeBatch } from '../../../main/ipc/contract/inspect-frames.ts';
import { nativeHostSpec } from '../../../native/index.ts';
import type { Figure } from '../lib/report.ts';
import { type Context, compile, initrdWith } from '../lib/suite.ts';

const MIB = 2 ** 20;
const DISK_MIB = 256;
/** Seconds of each turn. */
const DURATION = 1;
/** Turns of each kind for a sample: one pair says little. Even, so that each kind comes first as often as the other. */
const PAIRS = 4;
const LIMIT_MS = 600_000;

const ROWS = [
  { name: 'guest-4k-qd1', label: '4k-qd1' },
  { name: 'guest-4k-qd32', label: '4k-qd32' },
];
const DEVICE = 'disk0';

export async function inspect(context: Context): Promise<Figure[]> {
  const { kernel, initrd: base, append } = await context.guest();
  const program = path.join(context.scratch, 'blk');
  compile(['-O2', '-static', '-pthread', fileURLToPath(new URL('../guest/blk.c', import.meta.url)), '-o', program]);
  const initrd = initrdWith(context, base, [
    { type: 'file', name: 'bench-blk', data: readFileSync(program), mode: 0o755 },
  ]);
  const file = path.join(context.scratch, 'inspect.raw');
  writeFileSync(file, Buffer.alloc(DISK_MIB * MIB, 0x5a));
  const figures: Figure[] = [];
  for (const { name, label } of ROWS) {
    const figure = (kind: string, unit: string, better: Figure['better']): Figure => ({
      name: `inspect-${kind}-${label}`,
      unit,
      better,
      ours: [],
      peer: [],
    });
    const [off, on, cost] = [figure('off', 'IOPS', 'more'), figure('on', 'IOPS', 'more'), figure('cost', '%', 'less')];
    const turns = 2 * PAIRS * context.samples;
    context.progress(`inspect: ${label}`);
    const rates = await run({
      kernel,
      initrd,
      append: `${append} ringside.exec="/bench-blk ${DURATION} ${Array(turns).fill(name).join(' ')}"`,
      file,
      name,
    });
    if (rates.length !== turns) throw new Error(`inspect: ${rates.length} of ${turns} figures of ${name}`);
    for (let i = 0; i < turns; i += 2) {
      const [without, watched] = isWatched(i) ? [rates[i + 1], rates[i]] : [rates[i], rates[i + 1]];
      off.ours.push(without);
      on.ours.push(watched);
      cost.ours.push(100 * (1 - watched / without));
    }
    figures.push(off, on, cost);
  }
  return figures;
}

/** Off, on, on, off: what becomes faster or slower by itself touches both alike. */
function isWatched(turn: number): boolean {
  return turn % 4 === 1 || turn % 4 === 2;
}

interface Run {
  kernel: string;
  initrd: string;
  append: string;
  file: string;
  /** Of the row in the guest's program. */
  name: string;
}

/** The rates of all turns; see isWatched. */
async function run({ kernel, initrd, append, file, name }: Run): Promise<number[]> {
  const machine = await Machine.create(
    {
      memory: 1024 * MIB,
      kernel,
      initrd,
      append,
      objects: [{ type: 'iothread', id: 'io0' }],
      drives: [{ id: 'drive0', if: 'none', file }],
      devices: [{ driver: 'virtio-blk-pci', id: DEVICE, drive: 'drive0', iothread: 'io0', serial: 'pci' }],
      console: false,
      rng: false,
    },
    { host: nativeHostSpec() },
  );
  try {
    const rates: number[] = [];
    let handle: QueueWatchHandle | null = null;
    let text = '';
    let watching = Promise.resolve();
    const toggle = async (): Promise<void> => {
      if (!isWatched(rates.length)) {
        handle?.close();
        handle = null;
      } else
        handle ??= await machine.inspector.watch(DEVICE, 0, {
          batch: (batch) => void encodeBatch(batch),
          ended: () => {},
        });
    };
    const exit = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${name}: not done in time:\n${text.slice(-2000)}`)), LIMIT_MS);
      machine.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
    });
    const line = new RegExp(`^bench ${name}=([0-9.]+)\r*$`, 'gm');
    machine.chardevs.get('serial0')!.onData((bytes) => {
      text += Buffer.from(bytes).toString('latin1');
      const found = [...text.matchAll(line)];
      while (rates.length < found.length) {
        // The next turn warms up first.
        rates.push(Number(found[rates.length][1]));
        watching = watching.then(toggle);
      }
    });
    await machine.start();
    await exit;
    await watching;
    return rates;
  } finally {
    await machine.dispose();
  }
}
