/**
 * One client of QMP (docs/interop/qmp-spec.txt of QEMU): greeting, negotiation of capabilities, commands one after the other
 * with their ids, events with their times.
 */
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
  /** Something that was asked for, for the trace. */
  onRequest?: (request: Json) => void;
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

  async #answer(item: StreamItem): Promise<Json> {
    let id: Json | undefined;
    try {
      if ('error' in item) throw new MonitorError(item.error);
      const request = item.value;
      this.#options.onRequest?.(request);
      if (typeof request !== 'object' || request === null || Array.isArray(request)) {
        throw new MonitorError('QMP input must be a JSON object');
      }
      id = request['id'];
      const value = await this.#execute(request);
      return { return: value, ...(id === undefined ? {} : { id }) };
    } catch (error) {
      return { error: { ...describeError(error) }, ...(id === undefined ? {} : { id }) };
    }
  }

  async #execute(request: { [key: string]: Json }): Promise<Json> {
    for (const member of Object.keys(request)) {
      if (!MEMBERS.includes(member)) throw new MonitorError(`QMP input member '${member}' is unexpected`);
    }
    const { execute, arguments: args = {} } = request;
    if (execute === undefined) throw new MonitorError("QMP input lacks member 'execute'");
    if (typeof execute !== 'string') throw new MonitorError("QMP input member 'execute' must be a string");
    if (typeof args !== 'object' || args === null || Array.isArray(args)) {
      throw new MonitorError("QMP input member 'arguments' must be an object");
    }
    const command = this.#options.commands.get(execute);
    if (command?.negotiates === true && this.#negotiated) {
      const message = 'Capabilities negotiation is already complete, command ignored';
      throw new MonitorError(message, 'CommandNotFound');
    }
    if (command?.negotiates !== true && !this.#negotiated) {
      const message = "Expecting capabilities negotiation with 'qmp_capabilities'";
      throw new MonitorError(message, 'CommandNotFound');
    }
    if (command === undefined) {
      throw new MonitorError(`The command ${execute} has not been found`, 'CommandNotFound');
    }
    const value = await command.run(this.#options.context, args);
    if (command.negotiates === true) this.#negotiated = true;
    return value;
  }

  #send(message: Json): void {
    const text = this.#options.pretty ? prettyJson(message) : stringifyJson(message);
    this.#output.write(`${text}\r\n`);
  }
}
