/** Two Debian guests, one listening and one connecting, on a network of two. */
import { describe, expect, it } from 'vitest';

import { Running, debianFiles } from '../harness/debian.ts';

const debian = await debianFiles();
const skip = 'reason' in debian ? debian.reason : null;
const MINUTES = 60_000;
const BYTES = 16 << 20;

async function bootOn(netdev: Record<string, string | boolean>, mac: string): Promise<Running> {
  if (!('files' in debian)) throw new Error(debian.reason);
  return Running.boot(debian.files, {
    memory: 512 << 20,
    netdevs: [{ type: 'stream', id: 'net0', ...netdev }],
    devices: [{ driver: 'virtio-net-device', netdev: 'net0', mac }],
  });
}

describe.skipIf(skip !== null)(`two guests on a socket network${skip === null ? '' : ` (${skip})`}`, () => {
  it('ping each other and move 16 MiB both ways', { timeout: 8 * MINUTES }, async () => {
    const path = `ringside-net-${process.pid}`;
    const address = { 'addr.type': 'unix', 'addr.path': path, 'addr.abstract': true };
    await using a = await bootOn({ ...address, server: true }, '52:54:00:00:00:0a');
    await using b = await bootOn(address, '52:54:00:00:00:0b');
    // The guest's own attempts at DHCP would take the address away again.
    await a.shell.run('killall udhcpc; ip addr flush dev eth0; ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up');
    await b.shell.run('killall udhcpc; ip addr flush dev eth0; ip addr add 10.0.0.2/24 dev eth0; ip link set eth0 up');
    expect(await b.shell.ok('ping -c 3 10.0.0.1')).toMatch(/3 packets transmitted, 3 packets received/);
    expect(await a.shell.ok('ping -c 2 -s 8000 10.0.0.2')).toMatch(/2 packets transmitted, 2 packets received/);

    for (const [from, to, address] of [
      [a, b, '10.0.0.2'],
      [b, a, '10.0.0.1'],
    ] as const) {
      await from.shell.ok(`dd if=/dev/urandom of=/tmp/sent bs=1M count=${BYTES >> 20}`);
      const receiving = await to.shell.begin('nc -l -p 4000 >/tmp/got');
      await from.shell.ok(`sleep 1; nc ${address} 4000 </tmp/sent`, 3 * MINUTES);
      await receiving.end(3 * MINUTES);
      const sum = (text: string): string => text.split(' ')[0];
      expect(sum(await to.shell.ok('sha256sum /tmp/got'))).toBe(sum(await from.shell.ok('sha256sum /tmp/sent')));
      expect(await to.shell.ok('wc -c </tmp/got')).toBe(String(BYTES));
    }
    expect(await a.shell.ok('cat /sys/class/net/eth0/statistics/rx_errors')).toBe('0');
  });
});
