/** Balloon, input and persistent memory under Debian's drivers, each doing what it is for. */
import { readFileSync, statSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BalloonDevice } from '../../core/virtio/balloon/device.ts';
import type { InputDevice } from '../../core/virtio/input/device.ts';
import { virtioInstance } from '../../core/virtio/proxy.ts';
import * as ev from '../../core/virtio/spec/input.ts';
import { MIB, Running, debianFiles, noAddon, tempFolder } from '../harness/debian.ts';
import { until } from '../harness/virtio-bench.ts';

const BOOT_MS = 180_000;
const KEY_A = 30;

const debian = await debianFiles();
const folder = tempFolder();

describe.skipIf('reason' in debian)(
  `small devices under Debian${'reason' in debian ? ` (skipped: ${debian.reason})` : ''}`,
  () => {
    const file = join(folder, 'pmem.img');
    let running: Running;
    const device = <T>(id: string): T => {
      const object = running.machine.qom.get(`/machine/peripheral/${id}`);
      return virtioInstance(object)!.device as unknown as T;
    };
    const kib = async (field: string): Promise<number> =>
      Number(await running.shell.ok(`awk '/^${field}:/ { print $2 }' /proc/meminfo`));

    beforeAll(async () => {
      if ('reason' in debian) return;
      running = await Running.boot(debian.files, {
        memory: 512 * MIB,
        rng: false,
        objects: [{ type: 'memory-backend-file', id: 'mem0', 'mem-path': file, size: '64M', share: true }],
        devices: [
          { driver: 'virtio-balloon-device', id: 'balloon0', 'free-page-reporting': true, 'free-page-hint': true },
          { driver: 'virtio-keyboard-device', id: 'kbd0', serial: 'key-7' },
          { driver: 'virtio-tablet-device', id: 'tablet0' },
          { driver: 'virtio-pmem-device', id: 'pmem0', memdev: 'mem0' },
        ],
      });
    }, BOOT_MS);
    afterAll(async () => {
      await running?.machine.dispose();
    });

    test('the balloon takes half of the memory and gives it back, and tells how the guest fares', async () => {
      const balloon = device<BalloonDevice>('balloon0');
      const told: number[] = [];
      balloon.onActual = (bytes) => told.push(bytes);
      const object = running.machine.qom.get('/machine/peripheral/balloon0');
      object.set('guest-stats-polling-interval', 1);
      const before = await kib('MemFree');
      balloon.setTarget(256 * MIB);
      await until(() => balloon.actual === 256 * MIB, 'the balloon to be full', 60_000);
      expect(await kib('MemFree')).toBeLessThan(before - 200 * 1024);
      const { lastUpdate } = balloon.guestStats;
      await until(() => balloon.guestStats.lastUpdate > lastUpdate + 1, 'statistics');
      const { stats } = balloon.guestStats;
      expect(Number(stats['stat-total-memory']) / 1024).toBe(await kib('MemTotal'));
      expect(Number(stats['stat-free-memory']) / MIB).toBeLessThan(before / 1024 - 200);
      expect(object.get('guest-stats')).toMatchObject({ stats: { 'stat-total-memory': stats['stat-total-memory'] } });
      balloon.setTarget(512 * MIB);
      await until(() => balloon.actual === 512 * MIB, 'the balloon to be empty', 60_000);
      expect(await kib('MemFree')).toBeGreaterThan(before - 80 * 1024);
      expect(told.length).toBeGreaterThan(2);
      // What it has back it can use.
      await running.shell.ok('dd if=/dev/zero of=/tmp/fill bs=1M count=200 && rm /tmp/fill');
      expect(await balloon.hintFreePages()).toBeGreaterThan(100 * MIB);
      object.set('guest-stats-polling-interval', 0);
    }, 120_000);

    test.skipIf(noAddon !== null)(
      'free pages go back to the host by themselves',
      async () => {
        const rss = () => Number(/^RssShmem:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024;
        await running.shell.ok('dd if=/dev/urandom of=/tmp/fill bs=1M count=200');
        const full = rss();
        await running.shell.ok('rm /tmp/fill');
        // Linux reports two seconds after pages were freed, a part at a time.
        await until(() => rss() < full - 150, 'free pages to be reported', 60_000);
      },
      120_000,
    );

    test('keys and pointer come to evdev', async () => {
      const { shell } = running;
      const names = await shell.ok('cat /sys/class/input/event*/device/name');
      expect(names.split('\n').sort()).toEqual(['QEMU Virtio Keyboard', 'QEMU Virtio Tablet']);
      const find = (name: string) =>
        shell.ok(`basename $(dirname $(dirname $(grep -l "${name}" /sys/class/input/event*/device/name)))`);
      const [keyboard, tablet] = [await find('Keyboard'), await find('Tablet')];
      expect(await shell.ok(`cat /sys/class/input/${keyboard}/device/uniq`)).toBe('key-7');
      /** Type, code and value of the next events of a device, while `act` goes on. */
      const events = async (from: string, count: number, act: () => void): Promise<number[][]> => {
        const reading = await shell.begin(
          `dd if=/dev/input/${from} bs=24 count=${count} 2>/dev/null | od -A n -v -t u2 -w24`,
        );
        // It must be open before anything happens.
        await new Promise((resolve) => setTimeout(resolve, 1000));
        act();
        const { text } = await reading.end();
        return text.split('\n').map((line) => line.trim().split(/\s+/).map(Number).slice(8, 11));
      };
      expect(await events(keyboard, 4, () => device<InputDevice>('kbd0').press(KEY_A))).toEqual([
        [ev.EV_KEY, KEY_A, 1],
        [ev.EV_SYN, 0, 0],
        [ev.EV_KEY, KEY_A, 0],
        [ev.EV_SYN, 0, 0],
      ]);
      const move = () =>
        device<InputDevice>('tablet0').send([
          { type: ev.EV_ABS, code: ev.ABS_X, value: 1234 },
          { type: ev.EV_ABS, code: ev.ABS_Y, value: 0x7fff },
          { type: ev.EV_KEY, code: ev.BTN_LEFT, value: 1 },
        ]);
      expect(await events(tablet, 4, move)).toEqual([
        [ev.EV_ABS, ev.ABS_X, 1234],
        [ev.EV_ABS, ev.ABS_Y, 0x7fff],
        [ev.EV_KEY, ev.BTN_LEFT, 1],
        [ev.EV_SYN, 0, 0],
      ]);
      // A LED is switched by an event written to the device: a timeval, then type, code and value.
      const led = `\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\x11\\0\\x01\\0\\x01\\0\\0\\0`;
      await shell.ok(`printf '${led}' >/dev/input/${keyboard}`);
      await until(() => device<InputDevice>('kbd0').leds.has(ev.LED_CAPSL), 'the LED');
    }, 60_000);

    test('persistent memory holds a file system, and the host has what the guest wrote', async () => {
      const { shell } = running;
      expect(Number(await shell.ok('cat /sys/class/block/pmem0/size'))).toBe((64 * MIB) / 512);
      await shell.ok('mkfs.ext4 -q -b 4096 /dev/pmem0 && mkdir -p /mnt/p && mount -t ext4 /dev/pmem0 /mnt/p');
      await shell.ok('dd if=/dev/urandom of=/mnt/p/data bs=1M count=20 && sync');
      await shell.ok('umount /mnt/p && e2fsck -fn /dev/pmem0');
      const sum = await shell.ok("sha256sum /dev/pmem0 | cut -d' ' -f1");
      await shell.ok('blockdev --flushbufs /dev/pmem0; sync');
      const bytes = readFileSync(file);
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(sum);
      expect(bytes.readUInt16LE(1024 + 56)).toBe(0xef53);
      expect(statSync(file).size).toBe(64 * MIB);
    }, 120_000);
  },
);
