/** The caller's end of the contract, over any transport. */
import type { ErrorKind } from '../../../core/errors.ts';
import { commands, events, isEvent, issueLine, reply } from '../contract.ts';
import type { BytePort, CommandName, EventName, EventPayload, ParamsInput, Result } from '../contract.ts';

/** What an Electron preload or a WebSocket gives. */
export interface Transport {
  /** Answers with a Reply; rejects when the connection is lost. */
  call(name: CommandName, params: unknown): Promise<unknown>;
  onEvent(listener: (name: string, payload: unknown) => void): void;
  /** Opens the byte stream that a ticket stands for. */
  openStream(ticket: string): Promise<BytePort>;
}

/** An error that the app answered with; the message is one line for a person. */
export class RemoteError extends Error {
  readonly kind: ErrorKind | 'disconnected';

  constructor(kind: ErrorKind | 'disconnected', message: string) {
    super(message);
    this.name = 'RemoteError';
    this.kind = kind;
  }
}

export class Client {
  readonly #transport: Transport;
  readonly #onBug: (text: string) => void;
  readonly #listeners = new Map<EventName, Set<(payload: never) => void>>();

  /** @param onBug told of events that are not as the contract says; they are dropped */
  constructor(transport: Transport, onBug: (text: string) => void) {
    this.#transport = transport;
    this.#onBug = onBug;
    transport.onEvent((name, payload) => this.#deliver(name, payload));
  }

  /**
   * Calls a command. Parameters are checked before they leave, the result before it is believed.
   * @throws RemoteError
   */
  async call<K extends CommandName>(name: K, params: ParamsInput<K>): Promise<Result<K>> {
    const checked = commands[name].params.safeParse(params);
    if (!checked.success) throw new RemoteError('bad-option', issueLine(checked.error.issues));
    const answer = reply.safeParse(await this.#transport.call(name, checked.data));
    if (!answer.success) throw new RemoteError('internal', `${name}: an answer that is not one`);
    if (!answer.data.ok) throw new RemoteError(answer.data.error.kind as ErrorKind, answer.data.error.message);
    const result = commands[name].result.safeParse(answer.data.result);
    if (!result.success) throw new RemoteError('internal', `${name}: ${issueLine(result.error.issues)}`);
    return result.data as Result<K>;
  }

  /** Returns the function that ends the subscription. */
  on<K extends EventName>(name: K, listener: (payload: EventPayload<K>) => void): () => void {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set);
    set.add(listener as (payload: never) => void);
    return () => set.delete(listener as (payload: never) => void);
  }

  /** A byte stream to a console port. */
  async openConsole(id: string, port: string): Promise<BytePort> {
    const { stream } = await this.call('console.attach', { id, port });
    return this.#transport.openStream(stream);
  }

  /** A watched queue's byte stream, for watchQueue() (inspect-client.ts), and what its batches mean. */
  async openQueue(id: string, device: string, queue: number) {
    const { stream, ...meaning } = await this.call('inspect.watch', { id, device, queue });
    return { ...meaning, port: await this.#transport.openStream(stream) };
  }

  /** A capture's byte stream, for watchQueue(), and what it is. */
  async openCapture(file: string) {
    const { stream, info } = await this.call('inspect.openCapture', { file });
    return { info, port: await this.#transport.openStream(stream) };
  }

  /** A byte stream to the HMP monitor of a VM. */
  async openMonitor(id: string): Promise<BytePort> {
    const { stream } = await this.call('monitor.attach', { id });
    return this.#transport.openStream(stream);
  }

  #deliver(name: string, payload: unknown): void {
    if (!isEvent(name)) return;
    const checked = events[name].safeParse(payload);
    if (!checked.success) {
      this.#onBug(`event ${name} is not as agreed: ${issueLine(checked.error.issues)}`);
      return;
    }
    for (const listener of this.#listeners.get(name) ?? []) listener(checked.data as never);
  }
}
