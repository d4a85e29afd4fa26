/** The app's end of the contract: checks calls, runs handlers, turns whatever is thrown into {kind, message}. */
import { errorLine, RingsideError } from '../../core/errors.ts';
import { commands, events, isCommand, issueLine } from './contract.ts';
import type { CommandName, EventName, EventPayload, Params, Reply, Result } from './contract.ts';

/** One client: an Electron window or a browser tab. */
export interface Session {
  /** Unguessable. */
  readonly id: string;
  readonly host: 'desktop' | 'browser';
  emit<K extends EventName>(name: K, payload: EventPayload<K>): void;
  /** True while what was emitted before has not gone out: do not send more that can wait. */
  readonly congested: boolean;
  onClose(listener: () => void): void;
}

export type Handlers = {
  [K in CommandName]: (params: Params<K>, session: Session) => Result<K> | Promise<Result<K>>;
};

/** What a transport provides for a session. */
export interface SessionLink {
  readonly host: 'desktop' | 'browser';
  send(name: EventName, payload: unknown): void;
  congested(): boolean;
}

/** Calls of one client that may be under way at once. */
const MAX_CALLS = 64;

export class Dispatcher {
  readonly #handlers: Handlers;
  readonly #onBug: (text: string) => void;
  readonly #sessions = new Set<OpenSession>();

  /** @param onBug told of events of our own that are not as the contract says; they are not sent */
  constructor(handlers: Handlers, onBug: (text: string) => void) {
    this.#handlers = handlers;
    this.#onBug = onBug;
  }

  open(link: SessionLink): OpenSession {
    const session = new OpenSession(link, this.#onBug, () => this.#sessions.delete(session));
    this.#sessions.add(session);
    return session;
  }

  /** To every client. */
  broadcast<K extends EventName>(name: K, payload: EventPayload<K>): void {
    for (const session of this.#sessions) session.emit(name, payload);
  }

  /** Never rejects. */
  async call(session: OpenSession, name: unknown, params: unknown): Promise<Reply> {
    if (!isCommand(name)) return failure('unsupported', 'no such command');
    if (session.calls >= MAX_CALLS)
      return failure('bad-state', `${name}: too many calls at once, wait for some to end`);
    session.calls++;
    try {
      return { ok: true, result: await this.#run(name, params, session) };
    } catch (error) {
      if (error instanceof RingsideError) return failure(error.kind, errorLine(error));
      return failure('internal', `${name}: ${errorLine(error)}`);
    } finally {
      session.calls--;
    }
  }

  async #run<K extends CommandName>(name: K, params: unknown, session: Session): Promise<unknown> {
    const checked = commands[name].params.safeParse(params);
    if (!checked.success) throw new RingsideError('bad-option', issueLine(checked.error.issues));
    const result = await this.#handlers[name](checked.data as Params<K>, session);
    const answer = commands[name].result.safeParse(result);
    if (!answer.success)
      throw new RingsideError('internal', `${name}: its result is wrong: ${issueLine(answer.error.issues)}`);
    return answer.data;
  }
}

export class OpenSession implements Session {
  readonly id = globalThis.crypto.randomUUID();
  readonly host: 'desktop' | 'browser';
  /** Calls under way. */
  calls = 0;
  readonly #link: SessionLink;
  readonly #onBug: (text: string) => void;
  readonly #closing: (() => void)[] = [];
  #closed = false;

  constructor(link: SessionLink, onBug: (text: string) => void, onClosed: () => void) {
    this.#link = link;
    this.#onBug = onBug;
    this.host = link.host;
    this.#closing.push(onClosed);
  }

  emit<K extends EventName>(name: K, payload: EventPayload<K>): void {
    if (this.#closed) return;
    const checked = events[name].safeParse(payload);
    // A bug of ours; whoever emits must not fail for it.
    if (checked.success) this.#link.send(name, checked.data);
    else if (name !== 'log') this.#onBug(`event ${name} is not as agreed: ${issueLine(checked.error.issues)}`);
  }

  get congested(): boolean {
    return this.#link.congested();
  }

  /** Called at once when the session has ended already. */
  onClose(listener: () => void): void {
    if (this.#closed) listener();
    else this.#closing.push(listener);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const listener of this.#closing) listener();
  }
}

function failure(kind: RingsideError['kind'], message: string): Reply {
  return { ok: false, error: { kind, message } };
}
