import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { expect } from 'vitest';
import { Client } from '../../chardev/link-user.ts';
import { ConsoleEnd } from '../../harness/guest-shell.ts';
import { until } from '../../harness/virtio-bench.ts';
import type { Work } from './work.ts';

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');
const LIMIT = 60_000;
const PORTS = [
  { id: 'p1', name: 'org.ringside.one' },
  { id: 'p2', name: 'org.ringside.two' },
];
/** A port that is on a socket of the host. */
const AGENT = { id: 'agent', name: 'org.ringside.zagent' };
const socketOf = ({ folder }: { folder: string }): string => join(folder, 'agent.sock');

/** Bytes both ways on several at once, who is there and who is not; a console. */
export const ports: Work = {
  name: 'named ports and a console',
  config: ({ device, folder }) => ({
    chardevs: [
      ...PORTS.map(({ id }) => ({ type: 'program', id })),
      { type: 'program', id: 'c1' },
      { type: 'socket', id: AGENT.id, path: socketOf({ folder }), server: true },
    ],
    devices: [
      device('virtio-serial', 'vs0', { max_ports: 8 }),
      ...[...PORTS, AGENT].map(({ id, name }) => ({ driver: 'virtserialport', id, bus: 'vs0.0', chardev: id, name })),
      { driver: 'virtconsole', bus: 'vs0.0', chardev: 'c1' },
    ],
  }),
  async work({ shell, machine }, { folder }) {
    const names = [...PORTS, AGENT].map(({ name }) => name);
    expect(await shell.ok('cd /dev/virtio-ports && ls -1 && cd /')).toBe(names.join('\n'));
    const events: unknown[] = [];
    machine.monitor().onEvent((name, data) => name === 'VSERPORT_CHANGE' && events.push(data));
    for (const { id, name } of PORTS) {
      const console = machine.chardevs.get(id)!;
      const opened: boolean[] = [];
      console.onGuestOpen((open) => opened.push(open));
      const end = new ConsoleEnd(console);
      const bytes = randomBytes(300_000);
      // To the guest.
      const reading = await shell.begin(`head -c 300000 /dev/virtio-ports/${name} | md5sum`);
      await end.write(bytes);
      expect((await reading.end()).text).toBe(`${md5(bytes)}  -`);
      // From the guest.
      const sum = await shell.ok('head -c 300000 /dev/urandom > /tmp/random; md5sum < /tmp/random');
      const writing = await shell.begin(`cat /tmp/random > /dev/virtio-ports/${name}`);
      const got = await end.bytes(300_000);
      expect((await writing.end()).status).toBe(0);
      expect(sum).toBe(`${md5(got)}  -`);
      await until(() => events.length === 4, 'the port to be closed', LIMIT);
      expect(opened).toEqual([true, false, true, false]);
      expect(events.splice(0)).toEqual(opened.map((open) => ({ id, open })));
      expect(console.guestOpen).toBe(false);
    }

    // Both ways on both at once.
    const [one, two] = PORTS.map(({ id }) => new ConsoleEnd(machine.chardevs.get(id)!));
    const echo = PORTS.map(({ name }) => `(exec 3<>/dev/virtio-ports/${name}; head -c 100000 <&3 >&3) &`).join(' ');
    const echoing = await shell.begin(`${echo} wait`);
    const sent = [randomBytes(100_000), randomBytes(100_000)];
    const [, , ...back] = await Promise.all([
      one.write(sent[0]),
      two.write(sent[1]),
      one.bytes(100_000),
      two.bytes(100_000),
    ]);
    await echoing.end();
    expect(back.map(md5)).toEqual(sent.map(md5));

    // A guest that reads where nobody is gets the end.
    machine.chardevs.get('p1')!.setConnected(false);
    expect(await shell.ok(`timeout 20 cat /dev/virtio-ports/${PORTS[0].name} | wc -c`)).toBe('0');

    // On a socket: the guest sees that nobody is there, and loses nothing to somebody who is slow.
    const agent = `/dev/virtio-ports/${AGENT.name}`;
    expect(await shell.ok(`timeout 20 cat ${agent} | wc -c`)).toBe('0');
    const client = await Client.connect(socketOf({ folder }));
    const serving = await shell.begin(`(exec 3<>${agent}; head -c 100000 <&3 >/tmp/heard; cat /tmp/random >&3)`);
    client.socket.pause();
    const said = randomBytes(100_000);
    client.socket.write(said);
    await until(() => machine.characterDevices().some(({ id, open }) => id === AGENT.id && open), 'a client', LIMIT);
    client.socket.resume();
    await until(() => client.text.length === 300_000, 'all of it', LIMIT);
    expect((await serving.end()).status).toBe(0);
    expect(await shell.ok('md5sum < /tmp/heard')).toBe(`${md5(said)}  -`);
    expect(await shell.ok('md5sum < /tmp/random')).toBe(`${md5(Buffer.from(client.text, 'latin1'))}  -`);
    client.socket.destroy();

    const terminal = new ConsoleEnd(machine.chardevs.get('c1')!);
    await shell.ok('echo hello from the guest > /dev/hvc0');
    await terminal.until(/hello from the guest/);
  },
};
