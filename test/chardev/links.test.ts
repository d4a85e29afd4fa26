/** What can be at the host's end of a character device, without a guest. */
import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { FileSink } from '../../core/chardev/file-sink.ts';
import { LINK_BACKLOG } from '../../core/chardev/host-link.ts';
import type { HostLink } from '../../core/chardev/host-link.ts';
import { PipeLink } from '../../core/chardev/links/pipe.ts';
import { FileLink, NullLink, RingbufLink } from '../../core/chardev/links/simple.ts';
import { ConnectingLink, ListeningLink } from '../../core/chardev/links/socket.ts';
import type { ConnectingOptions, ListeningOptions } from '../../core/chardev/links/socket.ts';
import { UdpLink } from '../../core/chardev/links/udp.ts';
import { Client, DoubleUser, bytes, until } from './link-user.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringside-links-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;
const path = (name = 'it'): string => join(folder, `${files++}-${name}`);

const links: HostLink[] = [];
function kept<T extends HostLink>(link: T): T {
  links.push(link);
  return link;
}
afterEach(async () => {
  await Promise.all(links.splice(0).map((link) => link.close()));
});

const never = (message: string): never => expect.unreachable(message);

describe('null', () => {
  it('takes everything and says nothing', () => {
    const link = kept(new NullLink());
    const user = new DoubleUser(link);
    expect(link.write(new Uint8Array(1 << 20))).toBe(true);
    expect({ open: user.open, text: user.text, filename: link.filename }).toEqual({
      open: true,
      text: '',
      filename: 'null',
    });
  });
});

describe('file', () => {
  const file = (where: string, append = false, inputPath: string | null = null) =>
    kept(new FileLink({ path: where, append, inputPath, onError: never }));

  it('has what was written in it when it is closed', async () => {
    const where = path();
    const link = file(where);
    for (let i = 0; i < 100; i++) link.write(bytes(`line ${i}\n`));
    await link.close();
    expect(readFileSync(where, 'utf8').split('\n')).toHaveLength(101);
  });

  it('goes on with it, or begins anew', async () => {
    const where = path();
    for (const [text, append] of [
      ['one', false],
      ['two', true],
      ['three', false],
      ['four', true],
    ] as const) {
      const link = file(where, append);
      link.write(bytes(text));
      await link.close();
    }
    expect(readFileSync(where, 'utf8')).toBe('threefour');
  });

  it('gives the bytes of another as input, as fast as they are wanted', async () => {
    const input = path();
    writeFileSync(input, 'x'.repeat(300_000));
    const link = file(path(), false, input);
    const user = new DoubleUser(link);
    user.onData = () => link.hold();
    for (let parts = 1; user.text.length < 300_000; parts++) {
      await until(() => user.parts === parts);
      link.release();
    }
    expect(user.parts).toBeGreaterThan(1);
    expect(user.text).toHaveLength(300_000);
  });

  it.each([
    ['no/such/folder', 'not-found'],
    ['.', 'not-a-file'],
  ])('%s cannot be one', (where, kind) => {
    expect(() => file(join(folder, where))).toThrow(expect.objectContaining({ kind }));
  });

  it('is not a FIFO, which might never open', () => {
    const fifo = path('fifo');
    execFileSync('mkfifo', [fifo]);
    const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    expect(() => file(fifo)).toThrow(/is a FIFO: -chardev pipe is for those/);
    closeSync(reader);
    expect(() => file(fifo)).toThrow(expect.objectContaining({ kind: 'not-a-file' }));
  });

  it('says once that it is full, and takes no harm', async () => {
    const said: string[] = [];
    const link = kept(
      new FileLink({ path: '/dev/full', append: false, inputPath: null, onError: (message) => said.push(message) }),
    );
    for (let i = 0; i < 20; i++) link.write(bytes('text'));
    await until(() => said.length > 0);
    link.write(bytes('more'));
    await link.close();
    expect(said).toEqual([expect.stringMatching(/^\/dev\/full cannot be written any more, what follows is lost: /)]);
  });
});

describe('a logfile', () => {
  it('gets what is written to the link, also while nobody is there', async () => {
    const where = path();
    const link = kept(await ListeningLink.listen(listening(path())));
    link.log = FileSink.open(where, false, never);
    link.write(bytes('unseen'));
    await link.close();
    expect(readFileSync(where, 'utf8')).toBe('unseen');
  });
});

describe('ringbuf', () => {
  it('keeps the last bytes', () => {
    const link = kept(new RingbufLink(8));
    link.write(bytes('hello'));
    expect(Buffer.from(link.take(3)).toString()).toBe('hel');
    link.put(bytes(' world'));
    expect(Buffer.from(link.take(100)).toString()).toBe('lo world');
    expect(link.take(100)).toHaveLength(0);
    link.write(bytes('a long text that does not fit'));
    expect(Buffer.from(link.take(100)).toString()).toBe(' not fit');
  });
});

describe('pipe', () => {
  it('is two, one for each way', async () => {
    const where = path('pipe');
    execFileSync('mkfifo', [`${where}.in`, `${where}.out`]);
    const link = kept(new PipeLink(where));
    const user = new DoubleUser(link);
    link.write(bytes('to the host'));
    const reader = openSync(`${where}.out`, 'r');
    const buffer = Buffer.alloc(100);
    const { readSync } = await import('node:fs');
    expect(buffer.toString('latin1', 0, readSync(reader, buffer))).toBe('to the host');
    const writer = openSync(`${where}.in`, 'w');
    writeSync(writer, 'to the guest');
    await until(() => user.text === 'to the guest');
    closeSync(reader);
    closeSync(writer);
    expect(user.open).toBe(true);
  });

  it('says how to make them', () => {
    expect(() => new PipeLink(path())).toThrow(/there is no pipe .*: make it with "mkfifo/);
    const where = path();
    writeFileSync(where, '');
    expect(() => new PipeLink(where)).toThrow(/is no pipe/);
  });
});

function listening(where: string | number, more: Partial<ListeningOptions> = {}): ListeningOptions {
  const endpoint =
    typeof where === 'string'
      ? { kind: 'unix' as const, path: where }
      : { kind: 'tcp' as const, host: '127.0.0.1', port: where };
  return { endpoint, telnet: false, noDelay: true, waits: false, ...more };
}

describe('a listening socket', () => {
  it('has one client at a time; the next one waits for its turn', async () => {
    const where = path();
    const link = kept(await ListeningLink.listen(listening(where)));
    const user = new DoubleUser(link);
    expect(link.filename).toBe(`disconnected:unix:${where},server=on`);
    const first = await Client.connect(where);
    await until(() => user.open === true);
    expect(link.filename).toBe(`unix:${where},server=on`);
    const second = await Client.connect(where);
    second.socket.write('second');
    first.socket.write('first,');
    await until(() => user.text === 'first,');
    link.write(bytes('hello'));
    await until(() => first.text === 'hello');
    first.socket.end();
    await until(() => user.text === 'first,second');
    link.write(bytes('you'));
    await until(() => second.text === 'you');
    expect(first.text).toBe('hello');
    second.socket.destroy();
    await until(() => user.open === false);
  });

  it('drops what is written while nobody is there', async () => {
    const where = path();
    const link = kept(await ListeningLink.listen(listening(where)));
    new DoubleUser(link);
    for (let i = 0; i < 100; i++) expect(link.write(new Uint8Array(1 << 16))).toBe(true);
    const client = await Client.connect(where);
    await until(() => link.open);
    link.write(bytes('seen'));
    await until(() => client.text === 'seen');
  });

  it('says when a client does not read, and when it does again', async () => {
    const where = path();
    const link = kept(await ListeningLink.listen(listening(where)));
    const user = new DoubleUser(link);
    const client = await Client.connect(where);
    client.socket.pause();
    await until(() => link.open);
    let sent = 0;
    while (link.write(new Uint8Array(1 << 16))) {
      sent++;
      await new Promise(setImmediate);
    }
    // What the host's kernel takes, and what is kept.
    expect(sent << 16).toBeLessThan(LINK_BACKLOG + (16 << 20));
    expect(user.drains).toBe(0);
    client.socket.resume();
    await until(() => user.drains === 1);
    await until(() => client.text.length === (sent + 1) << 16);
  });

  it('a client that does not read is no reason to wait at the end', async () => {
    const where = path();
    const link = await ListeningLink.listen(listening(where));
    new DoubleUser(link);
    const client = await Client.connect(where);
    client.socket.pause();
    await until(() => link.open);
    while (link.write(new Uint8Array(1 << 16))) await new Promise(setImmediate);
    await link.close();
    expect(existsSync(where)).toBe(false);
    client.socket.destroy();
  });

  it('keeps what comes while it is not wanted, within bounds, and gives it in order', async () => {
    const where = path();
    const link = kept(await ListeningLink.listen(listening(where)));
    const client = await Client.connect(where);
    client.socket.write('early,');
    await until(() => link.open);
    const user = new DoubleUser(link);
    await until(() => user.text === 'early,');
    link.hold();
    client.socket.write('held,');
    client.socket.end('last');
    // It is noticed that the client has gone, although nobody reads.
    await until(() => user.open === false);
    expect(user.text).toBe('early,');
    const next = await Client.connect(where);
    next.socket.write(',next');
    link.release();
    await until(() => user.text === 'early,held,last,next');
  });

  it('is on TCP too, and says where', async () => {
    const link = kept(await ListeningLink.listen(listening(0)));
    const { port } = link;
    new DoubleUser(link);
    expect(link.filename).toBe(`disconnected:tcp:127.0.0.1:${port},server=on`);
    const client = await Client.connect(port!);
    await until(() => link.open);
    const { localPort } = client.socket;
    expect(link.filename).toBe(`tcp:127.0.0.1:${port},server=on <-> 127.0.0.1:${localPort}`);
  });

  it('gives monitors a stream for each client, also for those who have come before', async () => {
    const where = path();
    const link = kept(await ListeningLink.listen(listening(where)));
    const clients = [await Client.connect(where), await Client.connect(where)];
    clients[0].socket.write('0');
    clients[1].socket.write('1');
    await until(() => link.open);
    link.streams((stream) => stream.on('data', (text) => stream.write(`heard ${text}`)).on('end', () => stream.end()));
    clients.push(await Client.connect(where));
    clients[2].socket.write('2');
    for (const [at, client] of clients.entries()) await until(() => client.text === `heard ${at}`);
    for (const { socket } of clients) socket.destroy();
    await until(() => !link.open);
  });

  it('gives a client of a monitor his answer, although he has nothing more to say', async () => {
    const where = path();
    const link = kept(await ListeningLink.listen(listening(where)));
    link.streams((stream) => {
      let said = '';
      stream.on('data', (text) => (said += text)).on('end', () => stream.end(`${said}!`));
    });
    const client = await Client.connect(where);
    client.socket.end('bye');
    await until(() => client.closed);
    expect(client.text).toBe('bye!');
  });

  it('with telnet: echo is ours, commands are no input, and break is one', async () => {
    const link = kept(await ListeningLink.listen(listening(0, { telnet: true })));
    const user = new DoubleUser(link);
    expect(link.filename).toMatch(/^disconnected:telnet:127\.0\.0\.1:\d+,server=on$/);
    const client = await Client.connect(link.port!);
    await until(() => client.text === '\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00');
    client.socket.write(Buffer.from('a\xff\xfd\x01b\xff\xf3c\xff\xffd\xff\xfa\x1f\x00\xff\xf0e', 'latin1'));
    await until(() => user.text === 'abc\xffde');
    expect(user.breaks).toBe(1);
    client.text = '';
    link.write(bytes('1\xff2'));
    await until(() => client.text === '1\xff\xff2');
  });

  it('may be waited for', async () => {
    const where = path();
    const link = kept(await ListeningLink.listen(listening(where, { waits: true })));
    expect(link.waits).toBe(true);
    const waiting = link.whenOpen();
    const client = await Client.connect(where);
    await waiting;
    client.socket.destroy();
  });
});

describe('a socket that connects', () => {
  const connecting = (where: string | number, more: Partial<ConnectingOptions> = {}): ConnectingOptions => ({
    endpoint:
      typeof where === 'string' ? { kind: 'unix', path: where } : { kind: 'tcp', host: '127.0.0.1', port: where },
    telnet: false,
    noDelay: true,
    reconnect: 0,
    warn: never,
    ...more,
  });

  /** A server, its clients, and what they have said. */
  async function serve(where: string | number) {
    const clients: Socket[] = [];
    let text = '';
    const server = createServer((socket) => {
      clients.push(socket);
      socket.on('data', (data) => (text += data.toString())).on('error', () => {});
    });
    if (typeof where === 'string') server.listen(where);
    else server.listen(where, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address() as AddressInfo | string;
    return {
      clients,
      text: () => text,
      port: typeof address === 'string' ? 0 : address.port,
      async close(): Promise<void> {
        for (const client of clients) client.destroy();
        server.close();
        await once(server, 'close');
      },
    };
  }

  it('speaks with the server', async () => {
    const server = await serve(0);
    const link = kept(await ConnectingLink.connect(connecting(server.port)));
    const user = new DoubleUser(link);
    expect(user.open).toBe(true);
    expect(link.filename).toMatch(new RegExp(`^tcp:127\\.0\\.0\\.1:\\d+ <-> 127\\.0\\.0\\.1:${server.port}$`));
    link.write(bytes('hello'));
    await until(() => server.text() === 'hello');
    server.clients[0].write('you');
    await until(() => user.text === 'you');
    await server.close();
    await until(() => user.open === false);
    expect(link.filename).toBe(`disconnected:tcp:127.0.0.1:${server.port}`);
  });

  it('says that nobody is there', async () => {
    await expect(ConnectingLink.connect(connecting(path()))).rejects.toMatchObject({
      kind: 'not-found',
      message: /^cannot connect to .*: there is no such socket/,
    });
  });

  it('tries again until somebody is there, and when he is gone', async () => {
    const where = path();
    const said: string[] = [];
    const link = kept(
      await ConnectingLink.connect(connecting(where, { reconnect: 5, warn: (message) => said.push(message) })),
    );
    const user = new DoubleUser(link);
    await until(() => said.length === 1);
    expect(said[0]).toMatch(/^cannot connect to .*\. It is tried again every 0\.005 s\.$/);
    for (let round = 0; round < 3; round++) {
      const server = await serve(where);
      await until(() => user.open === true);
      link.write(bytes('again'));
      await until(() => server.text() === 'again');
      await server.close();
      await until(() => user.open === false);
    }
  });
});

describe('udp', () => {
  it('sends to one address, and hears only that', async () => {
    const peer = createSocket('udp4');
    peer.bind(0, '127.0.0.1');
    await once(peer, 'listening');
    const remote = { host: '127.0.0.1', port: peer.address().port };
    const link = kept(await UdpLink.open({ remote, local: { host: '127.0.0.1', port: 0 } }));
    const user = new DoubleUser(link);
    expect({ filename: link.filename, open: user.open }).toEqual({ filename: 'udp', open: true });
    let heard = '';
    peer.on('message', (message) => (heard += message.toString()));
    // Datagrams may be lost.
    const sending = setInterval(() => link.write(bytes('x')), 5);
    await until(() => heard.length > 0);
    clearInterval(sending);
    const answering = setInterval(() => peer.send('y', link.port, '127.0.0.1'), 5);
    await until(() => user.text.length > 0);
    clearInterval(answering);
    expect(user.text).toMatch(/^y+$/);
    peer.close();
  });

  it('says that its port is taken', async () => {
    const other = createSocket('udp4');
    other.bind(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address();
    const options = { remote: { host: '127.0.0.1', port: 9 }, local: { host: '127.0.0.1', port } };
    await expect(UdpLink.open(options)).rejects.toMatchObject({ kind: 'in-use' });
    other.close();
  });
});
