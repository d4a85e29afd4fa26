/** Debian's kernel to a shell prompt, under the built-in SBI and under OpenSBI, with one hart and with two. */
import { existsSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { Running, debianConfig, debianFiles } from '../harness/debian.ts';

/** Of Debian's package opensbi. */
const OPENSBI = '/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin';
const BOOT_MS = 150_000;
const VERBOSE = 'loglevel=7';

const debian = await debianFiles();

beforeEach((context) => {
  if ('reason' in debian) context.skip(debian.reason);
});

function boot(config: Parameters<typeof debianConfig>[1]): Promise<Running> {
  if ('reason' in debian) throw new Error(debian.reason);
  return Running.create(debianConfig(debian.files, { append: VERBOSE, ...config }));
}

const FIRMWARE = [
  { name: 'the built-in SBI', bios: 'default', banner: null },
  { name: 'OpenSBI', bios: OPENSBI, banner: /OpenSBI v\d/ },
];

describe.each(FIRMWARE)('under $name', ({ bios, banner }) => {
  beforeEach((context) => {
    if (bios !== 'default' && !existsSync(bios)) context.skip(`${bios} is not installed (Debian package opensbi)`);
  });

  test.each([1, 2])('-smp %i boots to a shell and powers off', { timeout: BOOT_MS }, async (harts) => {
    await using guest = await boot({ bios, harts });
    const { machine, shell } = guest;
    const began = performance.now();
    await machine.start();
    const log = await shell.until(/Run \/init/, BOOT_MS);
    console.log(`Run /init after ${((performance.now() - began) / 1000).toFixed(2)} s`);
    await shell.ready();
    console.log(`prompt after ${((performance.now() - began) / 1000).toFixed(2)} s`);
    if (banner) expect(log).toMatch(banner);
    else expect(log).not.toContain('OpenSBI');
    expect(log).toContain(`Brought up 1 node, ${harts} CPU`);

    expect(await shell.ok('nproc')).toBe(String(harts));
    expect(await shell.ok('dmesg | grep -ciE "BUG:|Oops|Call Trace|WARNING:" || true')).toBe('0');
    // The board's own devices.
    expect(await shell.ok('cat /proc/interrupts')).toMatch(/SiFive PLIC.*ttyS0/);
    expect(await shell.ok('cat /sys/class/rtc/rtc0/name')).toContain('goldfish_rtc');

    expect(await guest.shutDown()).toEqual({ reason: 'guest-poweroff', code: 0 });
    expect(machine.state).toBe('shutdown');
    expect(guest.messages).toEqual([]);
  });
});

describe('a reset that the guest asks for', () => {
  test('boots it anew', { timeout: 2 * BOOT_MS }, async () => {
    await using guest = await boot({ harts: 2, append: 'quiet' });
    const { machine, shell } = guest;
    await machine.start();
    await shell.ready();
    // Memory of this boot.
    await shell.ok('touch /run/was-here');
    await shell.write('reboot -f\n');
    await shell.until(/Restarting system/);
    await shell.ready();
    expect(await shell.ok('ls /run; nproc')).toMatch(/^(?!.*was-here)[^]*\b2$/);
    expect(machine.state).toBe('running');
    expect(guest.messages).toEqual([]);
    // Its clock began anew as well.
    expect(Number((await shell.ok('cat /proc/uptime')).split('.')[0])).toBeLessThan(
      machine.snapshot().uptime / 1000 + 1,
    );
  });

  test('ends it with noReboot', { timeout: BOOT_MS }, async () => {
    await using guest = await boot({ noReboot: true, append: 'quiet' });
    await guest.machine.start();
    await guest.shell.ready();
    await guest.shell.write('reboot -f\n');
    expect(await guest.exit).toEqual({ reason: 'guest-reset', code: 0 });
    expect(guest.machine.state).toBe('shutdown');
  });
});
