/**
 * Who may talk to the server. A token (in the address that the command prints) is traded once for a session: an HttpOnly
 * SameSite=Strict cookie whose Path is unguessable. Cookies do not know ports, so without that path any other program
 * that serves on this host would be sent ours.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

const MAX_SESSIONS = 64;
/** Wrong tokens in a row after which each further one is answered late. */
const FREE_FAILURES = 5;
const FAILURE_DELAY_MS = 1000;

export const SESSION_PATH = '/session/';

export function newToken(): string {
  return randomBytes(24).toString('base64url');
}

function same(a: string, b: string): boolean {
  // Hashed, so that lengths are equal and nothing is learnt of them.
  return timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest());
}

export class Auth {
  readonly #token: string;
  readonly #cookieName: string;
  /** By path part; the value is the cookie's. */
  readonly #sessions = new Map<string, string>();
  #failures = 0;

  constructor(token: string, port: number) {
    this.#token = token;
    this.#cookieName = `ringside-${port}`;
  }

  /** A session for who knows the token: its id (part of its path) and the Set-Cookie header; null for the wrong one. */
  async signIn(token: unknown): Promise<{ session: string; cookie: string } | null> {
    if (typeof token !== 'string' || !same(token, this.#token)) {
      this.#failures++;
      if (this.#failures > FREE_FAILURES) await new Promise((resolve) => setTimeout(resolve, FAILURE_DELAY_MS));
      return null;
    }
    this.#failures = 0;
    const session = randomBytes(18).toString('base64url');
    const secret = randomBytes(24).toString('base64url');
    this.#sessions.set(session, secret);
    // The oldest goes; a person has few browsers.
    for (const id of this.#sessions.keys()) {
      if (this.#sessions.size <= MAX_SESSIONS) break;
      this.#sessions.delete(id);
    }
    const cookie = `${this.#cookieName}=${secret}; Path=${SESSION_PATH}${session}; HttpOnly; SameSite=Strict`;
    return { session, cookie };
  }

  /** Whether a request carries the cookie of the session that its path names. */
  allows(session: string, cookieHeader: string | undefined): boolean {
    const secret = this.#sessions.get(session);
    if (secret === undefined) return false;
    const given = cookies(cookieHeader ?? '').get(this.#cookieName);
    return given !== undefined && same(given, secret);
  }
}

function cookies(header: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const part of header.split(';')) {
    const at = part.indexOf('=');
    if (at > 0) found.set(part.slice(0, at).trim(), part.slice(at + 1).trim());
  }
  return found;
}

/**
 * Whether the Host header is one of ours. A page of a stranger whose name was re-bound to this address (DNS rebinding)
 * sends the stranger's name; addresses cannot be re-bound.
 */
export function hostAllowed(host: string | undefined, port: number, names: readonly string[]): boolean {
  if (host === undefined) return false;
  let url: URL;
  try {
    url = new URL(`http://${host}`);
  } catch {
    return false;
  }
  if (url.host !== host.toLowerCase() && `${url.hostname}:80` !== host.toLowerCase()) return false;
  if (Number(url.port || 80) !== port) return false;
  const name = url.hostname.replace(/^\[|\]$/g, '');
  return isIP(name) !== 0 || name === 'localhost' || names.includes(name);
}

/** Whether a request that acts comes from our own page: browsers send Origin with every WebSocket and every POST. */
export function originAllowed(request: Pick<IncomingMessage, 'headers'>): boolean {
  const { origin, host } = request.headers;
  return origin !== undefined && host !== undefined && origin === `http://${host}`;
}
