/** A guest that hammers the whole board: the process, its other machines and the control of this one are not impressed. */
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Machine } from '../../core/machine/machine.ts';
import { MIB, host, tempFolder } from '../harness/debian.ts';
import { ConsoleEnd } from '../harness/guest-shell.ts';
import { hostileProgram } from './hostile-program.ts';
import { busyProgram, kernelFile } from './programs.ts';

const RAM = 32 * MIB;
const SEEDS = process.env['RINGSIDE_SEED'] ? [Number(process.env['RINGSIDE_SEED'])] : [1, 2, 3];
const SECONDS = 2;

const folder = tempFolder();

function image(name: string): string {
  const file = join(folder, name);
  writeFileSync(file, '');
  truncateSync(file, 4 * MIB);
  return file;
}

const mmio = (machine: Machine): number => machine.snapshot().harts.reduce((sum, hart) => sum + hart.mmio, 0);

/** The longest of some runs, ms. */
async function longest(times: number, operation: () => Promise<unknown>): Promise<number> {
  let most = 0;
  for (let i = 0; i < times; i++) {
    const began = performance.now();
    await operation();
    most = Math.max(most, performance.now() - began);
  }
  return most;
}

describe.each(SEEDS)('random accesses, seed %i', (seed) => {
  test.each([
    { version: 'modern', config: {} },
    { version: 'legacy', config: { forceLegacy: true } },
  ])('to a board with $version devices', { timeout: 60_000 }, async ({ version, config }) => {
    const name = `${version}${seed}`;
    const kernel = kernelFile(folder, name, hostileProgram(seed, RAM));
    const drives = [{ id: 'disk0', file: image(`${name}.raw`) }];
    const hostile = await Machine.create({ memory: RAM, harts: 2, bios: 'none', kernel, drives, ...config }, { host });
    const messages: string[] = [];
    hostile.on('message', (text) => messages.push(text));
    let bytes = 0;
    for (const console of hostile.chardevs.values()) console.onData((chunk) => (bytes += chunk.length));

    const counting = kernelFile(folder, `counting${name}`, busyProgram('counting'));
    const other = await Machine.create({ memory: RAM, bios: 'none', kernel: counting }, { host });
    const dots = new ConsoleEnd(other.chardevs.get('serial0')!);
    /** Types of devices that have done what it asked for. */
    const served = new Set<string>();
    const delay = monitorEventLoopDelay({ resolution: 5 });
    try {
      await Promise.all([hostile.start(), other.start()]);
      delay.enable();
      for (let second = 0; second < SECONDS; second++) {
        const before = mmio(hostile);
        for (let i = 0; i < 50; i++) {
          await sleep(20);
          for (const { type, queues } of hostile.snapshot().virtio) {
            if (queues.some(({ counters }) => counters.used > 0)) served.add(type);
          }
        }
        expect(hostile.state).toBe('running');
        expect(mmio(hostile)).toBeGreaterThan(before + 1000);
      }
      delay.disable();
      const late = { p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 };
      const pause = await longest(10, async () => {
        await hostile.pause();
        await hostile.resume();
        await sleep(20);
      });
      const reset = await longest(5, async () => {
        await hostile.reset();
        await sleep(20);
      });
      dots.skip();
      await dots.until(/\.\.\./, 5000);
      console.log(
        `${mmio(hostile)} accesses, ${bytes} bytes printed, ${messages.length} messages; event loop late by ` +
          `${late.p99.toFixed(1)} ms (p99), ${late.max.toFixed(1)} ms (max); pause ${(pause - 20).toFixed(1)} ms, reset ` +
          `${(reset - 20).toFixed(1)} ms at most`,
      );
      expect([...served].sort()).toEqual(['virtio-blk', 'virtio-console', 'virtio-rng']);
      expect(late.p99).toBeLessThan(250);
      expect(pause).toBeLessThan(500);
      expect(reset).toBeLessThan(500);
      // A few a second, however often the guest breaks the rules.
      expect(messages.length).toBeLessThan(300);
      expect(messages.filter((text) => /[\r\n]|internal|crashed/.test(text))).toEqual([]);
      // It can be looked at, paused and running.
      expect(hostile.snapshot().virtio.length).toBe(3);
      const began = performance.now();
      expect(await hostile.powerOff()).toEqual({ reason: 'host-quit', code: 0 });
      expect(performance.now() - began).toBeLessThan(1000);
      dots.skip();
      await dots.until(/\.\.\./, 5000);
      expect(other.state).toBe('running');
    } finally {
      await Promise.all([hostile.dispose(), other.dispose()]);
    }
  });
});
