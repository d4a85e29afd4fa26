/** The monitor of a machine: any number of clients, QMP or HMP, on byte streams. */
import type { Duplex } from 'node:stream';
import type { CommandContext, CommandLineOption, QmpCommand, VersionInfo } from './commands/command.ts';
import { QMP_COMMANDS } from './commands/table.ts';
import { EVENT_PERIOD } from './events.ts';
import type { EventName } from './events.ts';
import { HmpInterpreter } from './hmp/interpreter.ts';
import { HmpSession } from './hmp/session.ts';
import { MonitorSession } from './monitor-session.ts';
import { stringifyJson } from './qmp/json.ts';
import type { Json } from './qmp/json.ts';
import { answer, QmpSession } from './qmp/session.ts';
import type { MonitorTarget } from './target.ts';
import { MonitorTraffic } from './traffic.ts';
import type { TrafficKind } from './traffic.ts';

export interface MonitorOptions {
  target: MonitorTarget;
  version: VersionInfo;
  /** For query-command-line-options. */
  commandLine?: readonly CommandLineOption[];
}

export interface QmpOptions {
  pretty?: boolean;
}

/** Characters that a command may print through human-monitor-command. */
const HMP_TEXT_LIMIT = 16 * 2 ** 20;

/** Monitor.execute() among the clients. */
const OWN_CLIENT = 0;

export class Monitor {
  /** What goes to and fro. */
  readonly traffic = new MonitorTraffic();
  readonly #context: CommandContext;
  readonly #commands: ReadonlyMap<string, QmpCommand>;
  readonly #streams = new Set<Duplex>();
  readonly #qmp = new Set<QmpSession>();
  /** Events that wait for their second to end: the last of each kind and subject. */
  readonly #held = new Map<string, { timer: NodeJS.Timeout; event: Json | null }>();
  #clients = OWN_CLIENT;

  constructor({ target, version, commandLine = [] }: MonitorOptions) {
    this.#commands = new Map(QMP_COMMANDS.map((command) => [command.name, command]));
    this.#context = {
      target,
      version,
      commandLine,
      commands: QMP_COMMANDS,
      runHmp: (line, cpu) => this.#runHmp(line, cpu),
    };
    target.trace.onLine((line) => this.traffic.add('trace', null, line));
    this.traffic.subscribe(({ kind, client, text }) => {
      if (kind === 'command') target.trace.emit('handle_qmp_command', `mon ${client} req: ${text}`);
      if (kind === 'line') target.trace.emit('handle_hmp_command', `mon ${client} cmdline: ${text}`);
      if (kind === 'event') target.trace.emit('monitor_protocol_event_emit', `event=${text}`);
    });
    target.onEvent((name, data) => this.#event(name, data as Json));
  }

  /** Serves a client of QMP until the stream ends. */
  qmp(stream: Duplex, { pretty = false }: QmpOptions = {}): void {
    const trace = this.#adopt(stream, 'qmp');
    const session = new QmpSession({ stream, context: this.#context, commands: this.#commands, pretty, trace });
    this.#qmp.add(session);
    stream.once('close', () => this.#qmp.delete(session));
  }

  /**
   * Serves a client of HMP until the stream ends.
   *
   * @returns shows the prompt anew, for a terminal that something else has written on
   */
  hmp(stream: Duplex): () => void {
    const trace = this.#adopt(stream, 'hmp');
    const session = new HmpSession({ stream, context: this.#context, onLine: (line) => trace('line', line) });
    return () => session.show();
  }

  /** A client of HMP in this process. */
  session(): MonitorSession {
    return new MonitorSession((stream) => this.hmp(stream));
  }

  /** Executes a request of QMP, as if of a client that has negotiated: what it is answered. */
  async execute(request: Json): Promise<Json> {
    this.traffic.add('command', OWN_CLIENT, stringifyJson(request));
    const reply = await answer(request, { context: this.#context, commands: this.#commands, negotiated: true });
    this.traffic.add('error' in reply ? 'error' : 'reply', OWN_CLIENT, stringifyJson(reply));
    return reply;
  }

  /** Ends all clients once they have what they were sent. */
  close(): void {
    for (const { timer } of this.#held.values()) clearTimeout(timer);
    this.#held.clear();
    for (const stream of this.#streams) stream.end();
  }

  /** @returns for what this client says and is told */
  #adopt(stream: Duplex, mode: 'qmp' | 'hmp'): (kind: TrafficKind, text: string) => void {
    const client = ++this.#clients;
    this.traffic.add('connect', client, mode);
    stream.once('close', () => this.traffic.add('disconnect', client, mode));
    this.#streams.add(stream);
    // A client that goes away is no error of ours.
    stream.on('error', () => stream.destroy());
    stream.on('end', () => stream.end());
    stream.once('close', () => this.#streams.delete(stream));
    return (kind, text) => this.traffic.add(kind, client, text);
  }

  async #runHmp(line: string, cpu: number): Promise<string> {
    let text = '';
    const { target } = this.#context;
    const index = target.cpus.some((candidate) => candidate.index === cpu) ? cpu : 0;
    const interpreter = new HmpInterpreter(this.#context, { cpu: index, format: null, history: [] });
    await interpreter.execute(line, (part) => {
      if (text.length < HMP_TEXT_LIMIT) text += part.replaceAll('\n', '\r\n');
    });
    return text;
  }

  #event(name: EventName, data: Json): void {
    const now = Date.now();
    const hasData = typeof data === 'object' && data !== null && Object.keys(data).length > 0;
    const event: Json = {
      timestamp: { seconds: Math.floor(now / 1000), microseconds: (now % 1000) * 1000 },
      event: name,
      ...(hasData ? { data } : {}),
    };
    const period = EVENT_PERIOD[name];
    if (period === undefined) return this.#broadcast(event);
    const subject = `${name} ${hasData && 'id' in data ? String((data as { id: Json }).id) : ''}`;
    const held = this.#held.get(subject);
    if (held !== undefined) {
      held.event = event;
      return;
    }
    this.#broadcast(event);
    this.#hold(subject, period);
  }

  #hold(subject: string, period: number): void {
    const timer = setTimeout(() => {
      const event = this.#held.get(subject)?.event ?? null;
      this.#held.delete(subject);
      if (event === null) return;
      this.#broadcast(event);
      this.#hold(subject, period);
    }, period);
    timer.unref();
    this.#held.set(subject, { timer, event: null });
  }

  #broadcast(event: Json): void {
    this.traffic.add('event', null, stringifyJson(event));
    for (const session of this.#qmp) session.event(event);
  }
}
