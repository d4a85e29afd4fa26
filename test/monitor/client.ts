/** Clients of the monitor in the tests' own process. */
import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Monitor } from '../../core/monitor/monitor.ts';
import type { MonitorTarget } from '../../core/monitor/target.ts';
import { DoubleTarget } from './double.ts';

/** Two streams, each of which reads what is written to the other. */
export function streamPair(): [Duplex, Duplex] {
  const make = (): Duplex =>
    new Duplex({
      read() {
        this.emit('room');
      },
      write(this: Duplex, chunk: Buffer, _encoding, done) {
        const other = this === left ? right : left;
        if (other.push(chunk)) done();
        else other.once('room', () => done());
      },
      final(this: Duplex, done) {
        (this === left ? right : left).push(null);
        done();
      },
    });
  const left = make();
  const right = make();
  return [left, right];
}

export class TextClient {
  readonly stream: Duplex;
  text = '';

  constructor(stream: Duplex) {
    this.stream = stream;
    stream.on('data', (bytes: Buffer) => (this.text += bytes.toString()));
  }

  send(text: string | Uint8Array): void {
    this.stream.write(text);
  }

  /** Resolves with what has come when the pattern is in it, and forgets that. */
  async until(pattern: RegExp): Promise<string> {
    const limit = Date.now() + 5000;
    for (;;) {
      const match = pattern.exec(this.text);
      if (match !== null) {
        const end = match.index + match[0].length;
        const text = this.text.slice(0, end);
        this.text = this.text.slice(end);
        return text;
      }
      if (Date.now() > limit) throw new Error(`no ${String(pattern)} in ${JSON.stringify(this.text.slice(-2000))}`);
      await sleep(2);
    }
  }

  /** The next line, without its end. */
  async line(): Promise<string> {
    return (await this.until(/\r\n/)).slice(0, -2);
  }

  async json(): Promise<unknown> {
    return JSON.parse(await this.line()) as unknown;
  }
}

export function monitorFor(target: MonitorTarget): Monitor {
  return new Monitor({ target, version: { ringside: '1.2.3' } });
}

/** A client that has negotiated. */
export async function qmpClient(
  target: MonitorTarget,
  { negotiate = true }: { negotiate?: boolean } = {},
): Promise<TextClient> {
  const [ours, theirs] = streamPair();
  monitorFor(target).qmp(theirs);
  const client = new TextClient(ours);
  if (!negotiate) return client;
  await client.line();
  client.send('{"execute": "qmp_capabilities"}\n');
  await client.line();
  return client;
}

/** Executes a command: what it returns, or its error. Events before the answer are left out. */
export async function execute(client: TextClient, command: string, args?: unknown): Promise<unknown> {
  client.send(JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }) }));
  for (;;) {
    const message = (await client.json()) as Record<string, unknown>;
    if ('event' in message) continue;
    return 'return' in message ? message.return : { error: message.error };
  }
}

/** What a line of HMP prints, with \n as line ends. */
export async function hmp(target: MonitorTarget, ...lines: string[]): Promise<string> {
  const client = await qmpClient(target);
  let text = '';
  for (const line of lines) {
    text += (await execute(client, 'human-monitor-command', { 'command-line': line })) as string;
  }
  return text.replaceAll('\r\n', '\n');
}

export { DoubleTarget };
