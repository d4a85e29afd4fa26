import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import type { BalloonDevice } from '../../../core/virtio/balloon/device.ts';
import { MIB, noAddon } from '../../harness/debian.ts';
import { until } from '../../harness/virtio-bench.ts';
import { deviceOf } from './work.ts';
import type { Work } from './work.ts';

const LIMIT = 60_000;
/** MiB of this process's memory that are shared, guest RAM among them. */
const shared = () => Number(/^RssShmem:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024;

/** To half of the memory and back, statistics, hints of free pages, and their return to the host. */
export const balloon: Work = {
  name: 'a balloon: to half and back, statistics, free pages',
  config: ({ device }) => ({
    devices: [device('virtio-balloon', 'balloon0', { 'free-page-reporting': true, 'free-page-hint': true })],
  }),
  async work(running) {
    const { shell, machine } = running;
    const kib = async (field: string): Promise<number> =>
      Number(await shell.ok(`awk '/^${field}:/ { print $2 }' /proc/meminfo`));
    const device = deviceOf<BalloonDevice>(running, 'balloon0');
    const told: number[] = [];
    device.onActual = (bytes) => told.push(bytes);
    const object = machine.qom.get('/machine/peripheral/balloon0');
    object.set('guest-stats-polling-interval', 1);
    await shell.ok('sync; echo 3 > /proc/sys/vm/drop_caches');
    const before = await kib('MemFree');
    device.setTarget(256 * MIB);
    await until(() => device.actual === 256 * MIB, 'the balloon to be full', LIMIT);
    expect(await kib('MemFree')).toBeLessThan(before - 200 * 1024);
    const { lastUpdate } = device.guestStats;
    await until(() => device.guestStats.lastUpdate > lastUpdate + 1, 'statistics', LIMIT);
    const { stats } = device.guestStats;
    expect(Number(stats['stat-total-memory']) / 1024).toBe(await kib('MemTotal'));
    expect(Number(stats['stat-free-memory']) / MIB).toBeLessThan(before / 1024 - 200);
    expect(object.get('guest-stats')).toMatchObject({ stats: { 'stat-total-memory': stats['stat-total-memory'] } });
    device.setTarget(512 * MIB);
    await until(() => device.actual === 512 * MIB, 'the balloon to be empty', LIMIT);
    expect(await kib('MemFree')).toBeGreaterThan(before - 80 * 1024);
    expect(told.length).toBeGreaterThan(2);
    // What it has back it can use.
    await shell.ok('dd if=/dev/urandom of=/tmp/fill bs=1M count=160');
    const full = shared();
    await shell.ok('rm /tmp/fill');
    expect(await device.hintFreePages()).toBeGreaterThan(100 * MIB);
    object.set('guest-stats-polling-interval', 0);
    // Without the addon pages cannot be given back. Linux reports two seconds after they were freed, a part at a time.
    if (noAddon === null) await until(() => shared() < full - 120, 'free pages to be reported', LIMIT);
  },
};
