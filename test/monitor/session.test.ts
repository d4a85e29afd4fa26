/** HMP and QMP inside the app's own process: what the Monitor page is made of. */
import { describe, expect, it } from 'vitest';
import type { MonitorSession } from '../../core/monitor/monitor-session.ts';
import type { TrafficEntry } from '../../core/monitor/traffic.ts';
import { DoubleTarget, monitorFor, streamPair, TextClient } from './client.ts';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** What a session shows, until a pattern is in it. */
function screen(session: MonitorSession): (pattern: RegExp) => Promise<string> {
  let text = '';
  let look = (): void => {};
  session.onData((bytes) => {
    text += new TextDecoder().decode(bytes);
    look();
  });
  return (pattern) =>
    new Promise((resolve) => {
      look = () => {
        const match = pattern.exec(text);
        if (match === null) return;
        const end = match.index + match[0].length;
        resolve(text.slice(0, end));
        text = text.slice(end);
      };
      look();
    });
}

describe('a session', () => {
  it('shows banner and prompt to who listens late, executes lines and completes words', async () => {
    const session = monitorFor(new DoubleTarget()).session();
    await new Promise((resolve) => setImmediate(resolve));
    const shown = screen(session);
    expect(await shown(/\(qemu\) /)).toMatch(/^QEMU 7\.2\.0 monitor/);
    expect(session.write(encode('info stat\t\r'))).toBe(11);
    expect(await shown(/\n\(qemu\) /)).toContain('info status \r\nVM status: paused (prelaunch)\r\n(qemu) ');
  });

  it('takes no more than somebody can type ahead, says when there is room, and loses nothing', async () => {
    const session = monitorFor(new DoubleTarget()).session();
    const shown = screen(session);
    let rest = encode(`${`# ${'x'.repeat(2000)}\r`.repeat(100)}info name\r`);
    const room = (): void => {
      rest = rest.subarray(session.write(rest));
    };
    session.onRoom(room);
    room();
    expect(rest.length).toBeGreaterThan(0);
    await shown(/double\r\n/);
    expect(rest.length).toBe(0);
  });

  it('takes and shows nothing once it is closed', async () => {
    const session = monitorFor(new DoubleTarget()).session();
    await screen(session)(/\(qemu\) /);
    session.close();
    let more = 0;
    session.onData((bytes) => (more += bytes.length));
    expect(session.write(encode('info name\r'))).toBe(10);
    await new Promise((resolve) => setImmediate(resolve));
    expect(more).toBe(0);
  });
});

describe('the log of what is said', () => {
  const brief = ({ kind, client, text }: TrafficEntry): unknown => [kind, client, text];

  it('has clients, commands, answers and events in their order', async () => {
    const monitor = monitorFor(new DoubleTarget());
    const [ours, theirs] = streamPair();
    monitor.qmp(theirs);
    const client = new TextClient(ours);
    await client.line();
    client.send('{"execute": "qmp_capabilities"}{"execute": "cont"}{"execute": "x", "id": 1}');
    for (let i = 0; i < 4; i++) await client.line();
    const closed = new Promise((resolve) => theirs.once('close', resolve));
    ours.end();
    await closed;
    const entries = monitor.traffic.entries;
    expect(entries.map(brief)).toEqual([
      ['connect', 1, 'qmp'],
      ['command', 1, '{"execute": "qmp_capabilities"}'],
      ['reply', 1, '{"return": {}}'],
      ['command', 1, '{"execute": "cont"}'],
      ['event', null, expect.stringContaining('"event": "RESUME"') as string],
      ['reply', 1, '{"return": {}}'],
      ['command', 1, '{"execute": "x", "id": 1}'],
      ['error', 1, expect.stringContaining('CommandNotFound') as string],
      ['disconnect', 1, 'qmp'],
    ]);
    expect(entries.map(({ number }) => number)).toEqual(entries.map((_, index) => index + 1));
  });

  it('has what the app itself executes, and tells subscribers until they have had enough', async () => {
    const monitor = monitorFor(new DoubleTarget());
    const seen: unknown[] = [];
    const end = monitor.traffic.subscribe((entry) => seen.push(brief(entry)));
    expect(await monitor.execute({ execute: 'query-name' })).toEqual({ return: { name: 'double' } });
    expect(await monitor.execute({ execute: 'nope' })).toMatchObject({ error: { class: 'CommandNotFound' } });
    end();
    await monitor.execute({ execute: 'query-kvm' });
    expect(seen).toEqual([
      ['command', 0, '{"execute": "query-name"}'],
      ['reply', 0, '{"return": {"name": "double"}}'],
      ['command', 0, '{"execute": "nope"}'],
      ['error', 0, expect.stringContaining('"CommandNotFound"') as string],
    ]);
  });

  it('is bounded, message by message and as a whole', async () => {
    const monitor = monitorFor(new DoubleTarget());
    await monitor.execute({ execute: 'query-name', id: 'x'.repeat(100_000) });
    const [command] = monitor.traffic.entries;
    expect(command.text.length + command.cut).toBeGreaterThan(100_000);
    expect(command.text.length).toBeLessThan(100_000);
    for (let i = 0; i < 600; i++) await monitor.execute({ execute: 'query-name' });
    expect(monitor.traffic.entries).toHaveLength(1000);
  });
});
