/**
 * Ten million operations of drivers gone mad: nothing crashes, hangs, or touches what is not guest RAM, and another device
 * goes on. `node test/fuzz/main.ts SECONDS [SEED]` goes on for longer with other seeds.
 */
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { GuestMemory } from '../../core/memory/guest-memory.ts';
import { TRANSPORTS, fuzzDevice } from '../fuzz/devices.ts';
import { Guards } from '../fuzz/guards.ts';
import { fuzzHotplug } from '../fuzz/hotplug.ts';
import { fuzzQueues } from '../fuzz/queues.ts';
import { makeGuest } from '../harness/guest.ts';
import { PciBench } from '../harness/pci-bench.ts';
import { VirtioBench } from '../harness/virtio-bench.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';
import { EXERCISES } from './exercises/index.ts';

/** Of the long run: seconds for each part, and where it begins. */
const SECONDS = Number(process.env['RINGSIDE_FUZZ_SECONDS'] ?? 0);
const SEED = Number(process.env['RINGSIDE_FUZZ_SEED'] ?? 20_261_121);
const QUEUE_OPERATIONS = 4_800_000;
/** Of each type on each transport. */
const DEVICE_OPERATIONS = 25_000;
/** Of root ports: a card that comes or goes takes a turn of a real I/O worker. */
const SLOT_OPERATIONS = 20_000;
const TIMEOUT = 300_000 + SECONDS * 2000;

/** Once, or with seed after seed while there is time. */
async function again(run: (seed: number) => void | Promise<void>): Promise<void> {
  const end = performance.now() + SECONDS * 1000;
  let seed = SEED;
  do {
    try {
      await run(seed);
    } catch (error) {
      throw new Error(`with RINGSIDE_FUZZ_SEED=${seed}`, { cause: error });
    }
    seed++;
  } while (performance.now() < end);
}

describe('queues', () => {
  // Without what is behind its RAM.
  const memory = new GuestMemory({ memory: makeGuest(1, undefined, 1).memory, ramSize: 2 ** 20 });
  const guards = new Guards(memory);

  it.each([
    { format: 'split', packed: false, least: 10 },
    { format: 'packed', packed: true, least: 8 },
  ])('$format', { timeout: TIMEOUT }, ({ packed, least }) =>
    again((seed) => {
      const { operations, taken, faults } = fuzzQueues(memory, seed, QUEUE_OPERATIONS, packed);
      expect(operations).toBe(QUEUE_OPERATIONS);
      // Else it says little.
      expect(taken).toBeGreaterThan(operations / 200);
      expect(faults.size, [...faults.keys()].join()).toBeGreaterThanOrEqual(least);
      expect(guards.count).toBe(2);
      expect(guards.intact).toBe(true);
    }),
  );
});

describe('slots', () => {
  const bench = new PciBench({ mib: 2, regionMib: 4, ...(whyNoAddon ? {} : { host: hostSpec }) });
  const guards = new Guards(bench.memory);
  afterAll(() => bench.close());

  it('of root ports, while cards come, work and go', { timeout: TIMEOUT }, () =>
    again(async (seed) => {
      const { added, deleted, requests, answered } = await fuzzHotplug(bench, seed, SLOT_OPERATIONS);
      // Else it says little.
      expect(added).toBeGreaterThan(SLOT_OPERATIONS / 200);
      expect(deleted).toBeGreaterThan(SLOT_OPERATIONS / 400);
      expect([requests > 0, answered > 0]).toEqual([true, true]);
      expect(guards.intact).toBe(true);
    }),
  );
});

describe('devices', () => {
  const bench = new VirtioBench({ mib: 2, regionMib: 4, ...(whyNoAddon ? {} : { host: hostSpec }) });
  const guards = new Guards(bench.memory);
  afterEach(() => bench.clear());
  afterAll(() => bench.close());

  describe.each(Object.keys(TRANSPORTS) as (keyof typeof TRANSPORTS)[])('over %s', (transport) => {
    it.each(EXERCISES.filter(({ addon }) => !addon || !whyNoAddon))('$base', { timeout: TIMEOUT }, (exercise) =>
      again(async (seed) => {
        const { offences } = await fuzzDevice({ bench, exercise, transport, seed, operations: DEVICE_OPERATIONS });
        expect(offences).toBeGreaterThan(10);
        expect(guards.intact).toBe(true);
        expect(bench.crashes).toEqual([]);
      }),
    );
  });
});
