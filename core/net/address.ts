/** Where back ends listen and connect: "host:port" as QEMU's older options have it, and node errors in our words. */
import { isIPv4, isIPv6 } from 'node:net';

import { RingsideError } from '../errors.ts';
import type { ErrorKind } from '../errors.ts';

/** Nobody else reaches what listens, unless the user says so. */
export const LOOPBACK = '127.0.0.1';

export interface InetAddress {
  readonly host: string;
  /** 0: any that is free, where one listens. */
  readonly port: number;
}

/**
 * "host:port", "[v6]:port", ":port".
 *
 * @throws RingsideError 'bad-option'
 */
export function parseHostPort(text: string, option: string): InetAddress {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  if (!match) throw new RingsideError('bad-option', `${option}=${text} is not HOST:PORT.`);
  return { host: match[1] || match[2] || LOOPBACK, port: parsePort(match[3], option) };
}

/** @throws RingsideError 'bad-option' */
export function parsePort(text: string, option: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : NaN;
  if (!(port <= 65535)) throw new RingsideError('bad-option', `${option}=${text} is not a port, 0 to 65535.`);
  return port;
}

export function isMulticast(host: string): boolean {
  if (isIPv4(host)) {
    const first = Number(host.split('.')[0]);
    return first >= 224 && first <= 239;
  }
  return isIPv6(host) && /^ff/i.test(host);
}

export function showAddress(host: string | undefined, port: number | undefined): string {
  return host?.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

const KINDS: Readonly<Record<string, ErrorKind>> = {
  EADDRINUSE: 'in-use',
  EACCES: 'permission',
  EPERM: 'permission',
  ENOENT: 'not-found',
};

/** What a system call of a back end ended with. @param what e.g. "net0 cannot listen on 127.0.0.1:1234" */
export function networkError(what: string, error: unknown): RingsideError {
  const code = (error as Partial<NodeJS.ErrnoException>).code ?? '';
  const kind = Object.hasOwn(KINDS, code) ? KINDS[code] : 'network';
  const reasons: Readonly<Record<string, string>> = {
    EADDRINUSE: 'somebody listens there already. Choose another, or end that program',
    ECONNREFUSED: 'nobody listens there. Start the other side first',
    EACCES: 'it is not allowed',
    ENOENT: 'there is no such socket, or no such host',
    ENOTFOUND: 'there is no such host',
    EADDRNOTAVAIL: 'this host does not have that address',
  };
  const why = Object.hasOwn(reasons, code) ? reasons[code] : error instanceof Error ? error.message : String(error);
  return new RingsideError(kind, `${what}: ${why}.`, { cause: error });
}
