/** Serial port, virtio-console and the random device of a Debian guest: every byte arrives, however slow one side is. */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { MIB, Running, debianFiles } from '../harness/debian.ts';
import { ConsoleEnd } from '../harness/guest-shell.ts';
import type { GuestShell } from '../harness/guest-shell.ts';

const BOOT_MS = 120_000;
const TRANSFER_MS = 60_000;

const debian = await debianFiles();
let guest: Running;
let shell: GuestShell;
let hvc: ConsoleEnd;

beforeAll(async () => {
  if ('reason' in debian) return;
  guest = await Running.boot(debian.files, { harts: 2 });
  ({ shell } = guest);
  hvc = new ConsoleEnd(guest.machine.chardevs.get('console0')!);
  // The kernel forgets the settings when the last one closes it.
  await shell.ok('exec 7<>/dev/hvc0; stty raw -echo <&7');
  await shell.ok(`dd if=/dev/urandom of=/tmp/out bs=1M count=1; touch /tmp/in`);
}, BOOT_MS);
afterAll(async () => {
  if ('reason' in debian) return;
  expect(guest.messages).toEqual([]);
  expect(await guest.shutDown()).toEqual({ reason: 'guest-poweroff', code: 0 });
  await guest.machine.dispose();
}, BOOT_MS);

beforeEach((context) => {
  if ('reason' in debian) context.skip(debian.reason);
});

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const sumInGuest = async (file: string): Promise<string> => (await shell.ok(`sha256sum <${file}`)).split(' ')[0];

/** Bytes of all values, control characters too, in no order. */
function noise(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0, x = seed; i < length; i++) bytes[i] = (x = (Math.imul(x, 1664525) + 1013904223) >>> 0) >>> 24;
  return bytes;
}

/** The bytes are those of /tmp/out in the guest; if not, where the guest has said something of its own is shown. */
async function expectOut(received: Uint8Array): Promise<void> {
  const text = Buffer.from(received).toString('latin1');
  const said = /\[ *\d+\.\d{6}\] [ -~]{10,}/.exec(text);
  const why = said ? `the kernel said at byte ${said.index}: ${said[0]}` : 'other bytes, and no message among them';
  expect(sha256(received), why).toBe(await sumInGuest('/tmp/out'));
}

const rate = (began: number): string => `${(1000 / (performance.now() - began)).toFixed(1)} MiB/s`;

/** Holds the output back again and again, now for a moment, now for long. */
async function beSlow(name: string, done: Promise<unknown>): Promise<void> {
  const port = guest.machine.chardevs.get(name)!;
  let over = false;
  void done.finally(() => (over = true));
  for (let i = 0; !over; i++) {
    port.pause();
    await sleep(i % 10 === 0 ? 200 : 5);
    port.resume();
    await sleep(2);
  }
}

describe('the virtio console', () => {
  test('takes 1 MiB', { timeout: TRANSFER_MS }, async () => {
    const sent = noise(MIB, 1);
    const reading = await shell.begin(`head -c ${MIB} /dev/hvc0 >/tmp/in`);
    const began = performance.now();
    await hvc.write(sent);
    expect((await reading.end()).status).toBe(0);
    console.log(`to hvc0: ${rate(began)}`);
    expect(await sumInGuest('/tmp/in')).toBe(sha256(sent));
  });

  test('takes it from a host that is quicker than the guest reads', { timeout: TRANSFER_MS }, async () => {
    const sent = noise(MIB, 2);
    const writing = hvc.write(sent);
    await sleep(500);
    await shell.ok(
      `dd if=/dev/hvc0 of=/tmp/in bs=1000 count=100 iflag=fullblock; sleep 1; head -c ${MIB - 100_000} /dev/hvc0 >>/tmp/in`,
    );
    await writing;
    expect(await sumInGuest('/tmp/in')).toBe(sha256(sent));
  });

  test('gives 1 MiB', { timeout: TRANSFER_MS }, async () => {
    const writing = await shell.begin('cat /tmp/out >/dev/hvc0');
    const began = performance.now();
    const received = await hvc.bytes(MIB);
    console.log(`from hvc0: ${rate(began)}`);
    await writing.end();
    await expectOut(received);
  });

  test('waits for a slow reader and loses nothing', { timeout: TRANSFER_MS }, async () => {
    const writing = await shell.begin('cat /tmp/out >/dev/hvc0');
    const receiving = hvc.bytes(MIB);
    await beSlow('console0', receiving);
    await writing.end();
    await expectOut(await receiving);
  });

  test('carries both ways at once', { timeout: TRANSFER_MS }, async () => {
    const sent = noise(MIB, 3);
    const copying = await shell.begin(`cat /tmp/out >/dev/hvc0 & head -c ${MIB} /dev/hvc0 >/tmp/in; wait`);
    const [received] = await Promise.all([hvc.bytes(MIB), hvc.write(sent)]);
    await copying.end();
    await expectOut(received);
    expect(await sumInGuest('/tmp/in')).toBe(sha256(sent));
  });
});

describe('the serial port', () => {
  const RAW = 'stty raw -echo; printf READY-%s GO';

  test('takes 1 MiB', { timeout: TRANSFER_MS }, async () => {
    const sent = noise(MIB, 4);
    const reading = await shell.begin(`${RAW}; head -c ${MIB} >/tmp/in; stty sane`);
    await shell.until(/READY-GO/);
    const began = performance.now();
    await shell.write(sent);
    expect((await reading.end()).status).toBe(0);
    console.log(`to ttyS0: ${rate(began)}`);
    expect(await sumInGuest('/tmp/in')).toBe(sha256(sent));
  });

  test('gives 1 MiB', { timeout: TRANSFER_MS }, async () => {
    const writing = await shell.begin(`${RAW}; cat /tmp/out; stty sane`);
    await shell.until(/READY-GO/);
    const began = performance.now();
    const received = await shell.bytes(MIB);
    console.log(`from ttyS0: ${rate(began)}`);
    await writing.end();
    await expectOut(received);
  });

  test('waits for a slow reader and loses nothing', { timeout: TRANSFER_MS }, async () => {
    const writing = await shell.begin(`${RAW}; cat /tmp/out; stty sane`);
    await shell.until(/READY-GO/);
    const receiving = shell.bytes(MIB);
    await beSlow('serial0', receiving);
    await writing.end();
    await expectOut(await receiving);
  });
});

describe('the random device', () => {
  test('is the source of /dev/hwrng, and no two reads are alike', async () => {
    expect(await shell.ok('cat /sys/class/misc/hw_random/rng_current')).toMatch(/virtio_rng/);
    const reads = 'dd if=/dev/hwrng bs=4096 count=1 iflag=fullblock 2>/dev/null | sha256sum';
    const sums = (await shell.ok(Array.from({ length: 4 }, () => reads).join('; '))).split('\n');
    expect(sums.length).toBe(4);
    expect(new Set(sums).size).toBe(4);
    // All byte values come, none of them too often.
    const counts = await shell.ok(
      'head -c 16384 /dev/hwrng | od -An -v -tu1 -w1 | sort -n | uniq -c | sort -n | sed -n "1p;\\$p"',
    );
    const [least, most] = counts.split('\n').map((line) => Number(line.trim().split(/\s+/)[0]));
    expect(least).toBeGreaterThan(20);
    expect(most).toBeLessThan(130);
  });
});
