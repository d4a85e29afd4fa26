/** Pause, resume, reset, power off and dispose, whatever the guest is doing and in whatever order they come. */
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { beforeEach, describe, expect, test } from 'vitest';
import { Machine } from '../../core/machine/machine.ts';
import type { GuestFiles } from '../../main/guests/index.ts';
import { MIB, Running, debianConfig, debianFiles, host, noAddon, tempFolder } from '../harness/debian.ts';
import { ConsoleEnd } from '../harness/guest-shell.ts';
import { busyProgram, kernelFile } from './programs.ts';

const BOOT_MS = 120_000;

const debian = await debianFiles();
const folder = tempFolder();

function newDisk(name: string, size: number): string {
  const file = join(folder, name);
  writeFileSync(file, '');
  truncateSync(file, size);
  return file;
}

const COUNTING = kernelFile(folder, 'counting', busyProgram('counting'));
const ASKING = kernelFile(folder, 'asking', busyProgram('asking'));

let disks = 0;

/** Two harts that never rest, and a disk. */
function bare(kernel = COUNTING): Promise<Machine> {
  const drives = [{ id: 'disk0', file: newDisk(`bare${++disks}.raw`, 16 * MIB) }];
  return Machine.create({ memory: 32 * MIB, harts: 2, bios: 'none', kernel, drives }, { host });
}

const instret = (machine: Machine): number[] => machine.snapshot().harts.map((hart) => hart.instret);
const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0);

/** Two harts burn, two processes write to the disk. */
const LOAD =
  '(while :; do :; done) & (while :; do :; done) & ' +
  '(while :; do dd if=/dev/zero of=/dev/vda bs=64k count=512 conv=fsync 2>/dev/null; done) & ' +
  '(while :; do dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null; done) & true';

/** Pauses a running machine so many times; how long each took, ms, sorted. */
async function pauses(machine: Machine, times: number): Promise<number[]> {
  const took: number[] = [];
  for (let i = 0; i < times; i++) {
    await sleep(20);
    const before = performance.now();
    await machine.pause();
    took.push(performance.now() - before);
    expect(machine.state).toBe('paused');
    const [at, uptime] = [instret(machine), machine.snapshot().uptime];
    await sleep(2);
    expect(instret(machine)).toEqual(at);
    expect(machine.snapshot().uptime).toBe(uptime);
    await machine.resume();
  }
  return took.sort((a, b) => a - b);
}

describe('a busy Debian guest', () => {
  let files: GuestFiles;
  beforeEach((context) => {
    if ('reason' in debian) return context.skip(debian.reason);
    files = debian.files;
  });

  function boot(name: string, harts = 2): Promise<Running> {
    return Running.boot(files, { harts, drives: [{ id: 'disk0', file: newDisk(name, 64 * MIB) }] });
  }

  test('pauses at once, and its clock with it; resets; is powered off', { timeout: 4 * BOOT_MS }, async () => {
    await using guest = await boot('busy.raw');
    const { machine, shell } = guest;
    await shell.ok(LOAD);

    // A host with other things to do may be late now and then, but not each time.
    for (let round = 1; ; round++) {
      const took = await pauses(machine, 50);
      const [p50, p90, max] = [took[25], took[45], took[49]];
      console.log(`pause: p50 ${p50.toFixed(2)} ms, p90 ${p90.toFixed(2)} ms, max ${max.toFixed(2)} ms`);
      expect(p50).toBeLessThan(10);
      if (p90 < 10) break;
      expect(round).toBeLessThan(4);
    }

    const uptime = async (): Promise<number> => Number((await shell.ok('cat /proc/uptime')).split(' ')[0]);
    const before = await uptime();
    const began = performance.now();
    await machine.pause();
    await sleep(4000);
    await machine.resume();
    const guestTime = (await uptime()) - before;
    const hostTime = (performance.now() - began) / 1000;
    console.log(`a pause of 4 s: ${hostTime.toFixed(2)} s for the host, ${guestTime.toFixed(2)} s for the guest`);
    expect(guestTime).toBeLessThan(hostTime - 3.9);
    expect(guestTime).toBeGreaterThanOrEqual(0);
    expect(await shell.ok('dmesg | grep -ciE "stall|lockup|unstable|BUG:|Oops" || true')).toBe('0');

    await machine.reset();
    expect(machine.state).toBe('running');
    shell.skip();
    await shell.ready();
    expect(await shell.ok('nproc')).toBe('2');
    await shell.ok(LOAD);
    await sleep(300);
    const ended = performance.now();
    expect(await machine.powerOff()).toEqual({ reason: 'host-quit', code: 0 });
    console.log(`power off while busy: ${(performance.now() - ended).toFixed(0)} ms`);
    expect(await guest.exit).toEqual({ reason: 'host-quit', code: 0 });
    expect(machine.state).toBe('shutdown');
    expect(guest.messages).toEqual([]);
  });

  test('is not disturbed by another one in the same process', { timeout: 2 * BOOT_MS }, async () => {
    const [a, b] = await Promise.all([boot('a.raw', 1), boot('b.raw', 1)]);
    try {
      const random =
        'dd if=/dev/urandom of=/dev/vda bs=64k count=64 2>/dev/null && head -c 4194304 /dev/vda | sha256sum';
      const sums = await Promise.all([a.shell.ok(random), b.shell.ok(random)]);
      expect(sums[0]).not.toBe(sums[1]);
      await a.machine.pause();
      expect(await b.shell.ok('echo still here')).toBe('still here');
      await b.machine.dispose();
      await a.machine.resume();
      // What it reads now comes from the disk.
      expect(await a.shell.ok('echo 3 >/proc/sys/vm/drop_caches; head -c 4194304 /dev/vda | sha256sum')).toBe(sums[0]);
      expect(await a.shutDown()).toEqual({ reason: 'guest-poweroff', code: 0 });
    } finally {
      await Promise.all([a.machine.dispose(), b.machine.dispose()]);
    }
  });

  test('has as many harts as a machine can have', { timeout: 2 * BOOT_MS }, async () => {
    await using guest = await Running.boot(files, { harts: 8 });
    expect(await guest.shell.ok('nproc')).toBe('8');
    expect(await guest.shutDown()).toEqual({ reason: 'guest-poweroff', code: 0 });
  });
});

describe('operations in quick succession', () => {
  test('a pause right behind a start or a resume finds the harts wherever they are', async () => {
    const machine = await bare();
    for (let i = 0; i < 300; i++) {
      const resumed = i === 0 ? machine.start() : machine.resume();
      if (i % 3 === 1) await resumed;
      if (i % 3 === 2) await sleep(1);
      await machine.pause();
      expect(machine.state).toBe('paused');
    }
    const before = sum(instret(machine));
    await machine.resume();
    await sleep(50);
    await machine.pause();
    expect(sum(instret(machine))).toBeGreaterThan(before);
    await machine.dispose();
  });

  test('they are done one after the other', async () => {
    const machine = await bare();
    const states: string[] = [];
    machine.on('state', (state) => states.push(state));
    await Promise.all([
      machine.start(),
      machine.pause(),
      machine.reset(),
      machine.resume(),
      machine.reset(),
      machine.pause(),
    ]);
    expect(states).toEqual(['running', 'paused', 'running', 'paused']);
    expect(await Promise.all([machine.powerOff(), machine.powerOff()])).toEqual(
      Array.from({ length: 2 }, () => ({ reason: 'host-quit', code: 0 })),
    );
  });

  test('what does not fit the state is refused and changes nothing', async () => {
    const machine = await bare();
    await expect(machine.pause()).rejects.toMatchObject({
      kind: 'bad-state',
      message: 'cannot pause a VM that is created.',
    });
    await machine.start();
    await expect(machine.start()).rejects.toMatchObject({ kind: 'bad-state' });
    await machine.resume();
    await machine.pause();
    await machine.pause();
    await machine.dispose();
    for (const operation of ['start', 'pause', 'resume', 'reset'] as const) {
      await expect(machine[operation]()).rejects.toMatchObject({
        kind: 'bad-state',
        message: expect.stringMatching(/ended/),
      });
    }
    expect(machine.state).toBe('shutdown');
    expect(await machine.powerOff()).toEqual({ reason: 'host-quit', code: 0 });
  });

  test('a guest that is resumed goes on at once', async () => {
    const machine = await bare();
    const serial = new ConsoleEnd(machine.chardevs.get('serial0')!);
    await machine.start();
    await serial.until(/\.\.\./);
    await machine.pause();
    serial.skip();
    await machine.resume();
    await serial.until(/\.\.\./, 5000);
    await machine.dispose();
  });
});

/** What may be going on when a machine is ended; what it gives is not waited for before. */
const SITUATIONS: Record<string, (machine: Machine) => Promise<unknown>[]> = {
  created: () => [],
  starting: (machine) => [machine.start()],
  'starting, pause and resume behind it': (machine) => [machine.start(), machine.pause(), machine.resume()],
  resetting: (machine) => [machine.start(), machine.reset(), machine.reset()],
};
const SETTLED: Record<string, (machine: Machine) => Promise<Promise<unknown>[]>> = {
  running: async (machine) => {
    await machine.start();
    await sleep(20);
    return [];
  },
  pausing: async (machine) => {
    await machine.start();
    await sleep(20);
    return [machine.pause()];
  },
  paused: async (machine) => {
    await machine.start();
    await machine.pause();
    return [];
  },
  resuming: async (machine) => {
    await machine.start();
    await machine.pause();
    return [machine.resume()];
  },
  'resetting while running': async (machine) => {
    await machine.start();
    await sleep(20);
    return [machine.reset(), machine.pause()];
  },
  'powered off': async (machine) => {
    await machine.start();
    await machine.powerOff();
    return [];
  },
  'being powered off': async (machine) => {
    await machine.start();
    return [machine.powerOff()];
  },
};

describe.each([
  ['dispose', (machine: Machine) => machine.dispose()],
  ['powerOff', (machine: Machine) => machine.powerOff()],
] as const)('%s', (_name, end) => {
  const cases = [
    ...Object.entries(SITUATIONS).map(([name, prepare]) => [name, async (m: Machine) => prepare(m)] as const),
    ...Object.entries(SETTLED),
  ];

  test.each(cases)('of a machine that is %s', async (_situation, prepare) => {
    // How far what is going on has got, in turns of the microtask queue.
    for (const [kernel, turns] of [
      [COUNTING, 0],
      [ASKING, 1],
      [ASKING, 5],
    ] as const) {
      const machine = await bare(kernel);
      const going = (await prepare(machine)).map((work) => work.catch((error: unknown) => error));
      for (let i = 0; i < turns; i++) await Promise.resolve();
      const began = performance.now();
      await end(machine);
      expect(performance.now() - began).toBeLessThan(1500);
      expect(machine.state).toBe('shutdown');
      expect(machine.exit).toEqual({ reason: 'host-quit', code: 0 });
      // What was going on is done, or has failed because of the end; and none of it brings the machine back.
      for (const error of await Promise.all(going)) {
        if (!(error instanceof Error)) continue;
        expect(error).toMatchObject({ kind: 'bad-state', message: expect.stringMatching(/ended/) });
      }
      expect(machine.state).toBe('shutdown');
    }
  });
});

const fds = (): string[] => readdirSync('/proc/self/fd');
const threads = (): string[] =>
  readdirSync('/proc/self/task').map((id) => readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim());

/** Bytes of memory that the process has, garbage collected. */
async function memory(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let i = 0; i < 3; i++) {
    collect();
    await sleep(20);
  }
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024;
}

describe.runIf(process.platform === 'linux')('what a machine leaves behind', () => {
  test('nothing: files, threads, memory', { timeout: 120_000 }, async () => {
    const cycle = async (n: number): Promise<void> => {
      const machine = await bare(n % 2 === 0 ? COUNTING : ASKING);
      if (n % 5 !== 0) await machine.start();
      await sleep(10);
      await machine.dispose();
    };
    for (let i = 0; i < 3; i++) await cycle(i);
    const [fdsBefore, threadsBefore, memoryBefore] = [fds(), threads(), await memory()];
    let most = 0;
    for (let i = 0; i < 30; i++) {
      await cycle(i);
      most = Math.max(most, process.memoryUsage.rss());
    }
    const memoryAfter = await memory();
    const mib = (bytes: number): string => `${(bytes / MIB).toFixed(0)} MiB`;
    console.log(`30 machines: ${mib(memoryBefore)} before, ${mib(most)} at most, ${mib(memoryAfter)} after`);
    expect(fds().length).toBe(fdsBefore.length);
    expect(threads().sort()).toEqual(threadsBefore.sort());
    expect(memoryAfter - memoryBefore).toBeLessThan(32 * MIB);
    expect(most - memoryBefore).toBeLessThan(512 * MIB);
  });

  test('nothing of a guest that has used all of its memory', { timeout: 2 * BOOT_MS }, async (context) => {
    if ('reason' in debian) return context.skip(debian.reason);
    // Then it is the garbage collector that gives memory back, when it likes.
    if (noAddon !== null) return context.skip(noAddon);
    const before = await memory();
    const machine = await Machine.create(debianConfig(debian.files), { host });
    const serial = new ConsoleEnd(machine.chardevs.get('serial0')!);
    await machine.start();
    await serial.until(/root@ringside/, BOOT_MS);
    await serial.write('dd if=/dev/zero of=/tmp/fill bs=1M count=200; echo do""ne\n');
    await serial.until(/done/);
    const during = process.memoryUsage.rss();
    await machine.dispose();
    const after = process.memoryUsage.rss();
    console.log(`rss: ${before >> 20} MiB before, ${during >> 20} during, ${after >> 20} after dispose`);
    expect(after - before).toBeLessThan(64 * MIB);
  });
});
