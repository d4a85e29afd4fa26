/**
 * Byte streams beside the control channel. A command hands its caller a ticket; the transport brings the ticket back with
 * a BytePort. A ticket works once, for its own session, for half a minute.
 */
import { randomBytes } from 'node:crypto';
import type { BytePort } from '../ipc/contract.ts';
import type { Session } from '../ipc/dispatcher.ts';

const TICKET_MS = 30_000;
/** Tickets and open streams of one session. */
const MAX_STREAMS = 64;

type Accept = (port: BytePort) => void;

export class Streams {
  readonly #tickets = new Map<string, { session: string; accept: Accept; timer: NodeJS.Timeout }>();
  readonly #open = new Map<string, Set<BytePort>>();

  /** null when the session has too many streams already. */
  offer(session: Pick<Session, 'id' | 'onClose'>, accept: Accept): string | null {
    let ports = this.#open.get(session.id);
    if (ports === undefined) {
      this.#open.set(session.id, (ports = new Set()));
      session.onClose(() => this.#end(session.id));
    }
    const waiting = [...this.#tickets.values()].filter((ticket) => ticket.session === session.id).length;
    if (ports.size + waiting >= MAX_STREAMS) return null;
    const ticket = randomBytes(18).toString('base64url');
    const timer = setTimeout(() => this.#tickets.delete(ticket), TICKET_MS);
    timer.unref();
    this.#tickets.set(ticket, { session: session.id, accept, timer });
    return ticket;
  }

  /** False, and nothing is done with the port, when the ticket is not this session's or no longer good. */
  redeem(sessionId: string, ticket: string, port: BytePort): boolean {
    const offer = this.#tickets.get(ticket);
    if (offer === undefined || offer.session !== sessionId) return false;
    this.#tickets.delete(ticket);
    clearTimeout(offer.timer);
    const ports = this.#open.get(sessionId);
    ports?.add(port);
    port.onClose(() => ports?.delete(port));
    offer.accept(port);
    return true;
  }

  /** Whether a ticket is good, without using it. */
  valid(sessionId: string, ticket: string): boolean {
    return this.#tickets.get(ticket)?.session === sessionId;
  }

  #end(sessionId: string): void {
    for (const [ticket, offer] of this.#tickets) {
      if (offer.session !== sessionId) continue;
      clearTimeout(offer.timer);
      this.#tickets.delete(ticket);
    }
    for (const port of [...(this.#open.get(sessionId) ?? [])]) port.close();
    this.#open.delete(sessionId);
  }
}
