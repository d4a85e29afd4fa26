import { expect } from 'vitest';
import type { Work } from './work.ts';

const MIBS = 8;
const LIMIT = 120_000;

/** Two cards of one guest, in network namespaces of their own, on a socket network: pings, and TCP both ways. */
export const net: Work = {
  name: 'two network cards on a socket network: pings, transfers both ways',
  config({ device }) {
    const address = { 'addr.type': 'unix', 'addr.path': `ringside-work-${process.pid}`, 'addr.abstract': true };
    return {
      netdevs: [
        { type: 'stream', id: 'n0', ...address, server: true },
        { type: 'stream', id: 'n1', ...address },
      ],
      devices: [
        device('virtio-net', 'nic0', { netdev: 'n0', mac: '52:54:00:00:00:0a' }),
        device('virtio-net', 'nic1', { netdev: 'n1', mac: '52:54:00:00:00:0b' }),
      ],
    };
  },
  async work({ shell }) {
    // The guest's own attempts at DHCP would take the addresses away again.
    await shell.run('killall udhcpc');
    const card = (mac: string) => shell.ok(`basename $(dirname $(grep -l ${mac} /sys/class/net/eth*/address))`);
    const [here, there] = [await card('52:54:00:00:00:0a'), await card('52:54:00:00:00:0b')];
    await shell.ok('(unshare -n sleep 100000 & echo $! >/tmp/namespace); n=$(cat /tmp/namespace)');
    const other = '[ "$(readlink /proc/$n/ns/net)" != "$(readlink /proc/self/ns/net)" ]';
    await shell.ok(`until ${other}; do usleep 1000; done; ip link set ${there} netns $n`);
    const sides = [
      { enter: '', name: here, address: '10.0.0.1' },
      { enter: 'nsenter -t $n -n ', name: there, address: '10.0.0.2' },
    ];
    for (const { enter, name, address } of sides) {
      await shell.ok(`${enter}ip addr flush dev ${name}; ${enter}ip addr add ${address}/24 dev ${name}`);
      await shell.ok(`${enter}ip link set ${name} up`);
    }
    await shell.ok('until ping -c 1 -W 1 10.0.0.2; do sleep 1; done', LIMIT);
    expect(await shell.ok('ping -c 3 -A 10.0.0.2')).toMatch(/3 packets transmitted, 3 packets received/);
    expect(await shell.ok('nsenter -t $n -n ping -c 2 -A -s 8000 10.0.0.1')).toMatch(/2 packets received/);
    await shell.ok(`dd if=/dev/urandom of=/tmp/sent bs=1M count=${MIBS}; mkfifo /tmp/silent`);
    for (const [from, to] of [sides, [...sides].reverse()]) {
      const listen = `(${to.enter}nc -l -p 4000 <>/tmp/silent >/tmp/got & l=$!; `;
      const ready = `until ${to.enter}netstat -ltn | grep -q ':4000 '; do usleep 10000; done; `;
      await shell.ok(`${listen}${ready}${from.enter}nc ${to.address} 4000 </tmp/sent; wait $l)`, LIMIT);
      await shell.ok('cmp /tmp/sent /tmp/got');
    }
    expect(await shell.ok(`cat /sys/class/net/${here}/statistics/rx_errors; rm /tmp/sent /tmp/got`)).toBe('0');
    await shell.ok('kill $n');
  },
};
