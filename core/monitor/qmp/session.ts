/**
 * One client of QMP (docs/interop/qmp-spec.txt of QEMU): greeting, negotiation of capabilities, commands one after the other
 * with their ids, events with their times.
 */
import { whyAbsent } from '../absent.ts';
import type { Duplex } from 'node:stream';
import type { CommandContext, QmpCommand } from '../commands/command.ts';
import { QEMU_VERSION } from '../commands/machine.ts';
import { describeError, MonitorError } from '../errors.ts';
import { MonitorOutput } from '../output.ts';
import { JsonStream } from './json-stream.ts';
import type { StreamItem } from './json-stream.ts';
import { prettyJson, stringifyJson } from './json.ts';
import type { Json } from './json.ts';

/** Requests that wait for their turn before no more is read. */
const QUEUE = 8;
const MEMBERS = ['execute', 'arguments', 'id', 'control'];

export interface QmpSessionOptions {
  stream: Duplex;
  context: CommandContext;
  commands: ReadonlyMap<string, QmpCommand>;
  /** On several lines with indentation (-mon pretty=on). */
  pretty: boolean;
  /** Told of what is asked and answered. */
  trace?: (kind: 'command' | 'reply' | 'error', text: string) => void;
}

type Reply = { [key: string]: Json };

export interface Answering {
  readonly context: CommandContext;
  readonly commands: ReadonlyMap<string, QmpCommand>;
  readonly negotiated: boolean;
}

/** What a request is answered: `return` or `error`, with its `id`. */
export async function answer(request: Json, how: Answering): Promise<Reply> {
  let id: Json | undefined;
  try {
    if (typeof request !== 'object' || request === null || Array.isArray(request)) {
      throw new MonitorError('QMP input must be a JSON object');
    }
    id = request['id'];
    const value = await execute(request, how);
    return { return: value, ...(id === undefined ? {} : { id }) };
  } catch (error) {
    return { error: { ...describeError(error) }, ...(id === undefined ? {} : { id }) };
  }
}

async function execute(request: Reply, { context, commands, negotiated }: Answering): Promise<Json> {
  for (const member of Object.keys(request)) {
    if (!MEMBERS.includes(member)) throw new MonitorError(`QMP input member '${member}' is unexpected`);
  }
  const { execute: name, arguments: args = {} } = request;
  if (name === undefined) throw new MonitorError("QMP input lacks member 'execute'");
  if (typeof name !== 'string') throw new MonitorError("QMP input member 'execute' must be a string");
  if (typeof args !== 'object' || args === null || Array.isArray(args)) {
    throw new MonitorError("QMP input member 'arguments' must be an object");
  }
  const command = commands.get(name);
  if (command?.negotiates === true && negotiated) {
    throw new MonitorError('Capabilities negotiation is already complete, command ignored', 'CommandNotFound');
  }
  if (command?.negotiates !== true && !negotiated) {
    throw new MonitorError("Expecting capabilities negotiation with 'qmp_capabilities'", 'CommandNotFound');
  }
  if (command === undefined) {
    const why = whyAbsent(name);
    const reason = why === null ? '' : `: ${why}`;
    throw new MonitorError(`The command ${name} has not been found${reason}`, 'CommandNotFound');
  }
  return command.run(context, args);
}

export class QmpSession {
  readonly #options: QmpSessionOptions;
  readonly #output: MonitorOutput;
  readonly #input = new JsonStream();
  readonly #queue: StreamItem[] = [];
  #working = false;
  #negotiated = false;

  constructor(options: QmpSessionOptions) {
    this.#options = options;
    const { stream, context } = options;
    this.#output = new MonitorOutput(stream);
    this.#send({
      QMP: {
        version: { qemu: { ...QEMU_VERSION }, package: `Ringside ${context.version.ringside}` },
        capabilities: [],
      },
    });
    stream.on('data', (bytes: Uint8Array) => {
      // A piece may hold many requests; all of it is looked at, but it is no bigger than what a socket hands over.
      for (const item of this.#input.feed(bytes)) this.#queue.push(item);
      if (this.#queue.length >= QUEUE) stream.pause();
      if (!this.#working) void this.#work();
    });
  }

  /** Events go to clients that have negotiated. */
  event(event: Json): void {
    if (this.#negotiated) this.#send(event);
  }

  async #work(): Promise<void> {
    const { stream } = this.#options;
    this.#working = true;
    for (let item = this.#queue.shift(); item !== undefined; item = this.#queue.shift()) {
      this.#send(await this.#answer(item));
      await this.#output.ready();
      if (stream.destroyed) this.#queue.length = 0;
      else if (this.#queue.length < QUEUE) stream.resume();
    }
    this.#working = false;
  }

  async #answer(item: StreamItem): Promise<Reply> {
    if ('error' in item) return { error: { ...describeError(new MonitorError(item.error)) } };
    const request = item.value;
    const { context, commands, trace } = this.#options;
    trace?.('command', stringifyJson(request));
    const negotiated = this.#negotiated;
    const reply = await answer(request, { context, commands, negotiated });
    // Before that only what negotiates succeeds.
    if (!negotiated && !('error' in reply)) this.#negotiated = true;
    trace?.('error' in reply ? 'error' : 'reply', stringifyJson(reply));
    return reply;
  }

  #send(message: Json): void {
    const text = this.#options.pretty ? prettyJson(message) : stringifyJson(message);
    this.#output.write(`${text}\r\n`);
  }
}
