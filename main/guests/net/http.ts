/** HTTP GET for mirrors: redirects, proxies, an idle limit and errors that say what to do. */
import { execFile } from 'node:child_process';
import http from 'node:http';
import https from 'node:https';
import { promisify } from 'node:util';
import { RingsideError } from '../../../core/errors.ts';

const MAX_REDIRECTS = 5;
/** A connection that brings nothing for so long is given up (and resumed by the caller). */
const IDLE_MS = 30_000;

export interface HttpResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: http.IncomingMessage;
}

/** The URL as it may be shown and stored: without a user name and password. */
export function shownUrl(url: string): string {
  try {
    const parsed = new URL(url);
    parsed.username = '';
    parsed.password = '';
    return parsed.href;
  } catch {
    return url;
  }
}

/**
 * Sends one GET and returns once the response's head is there; the caller must read or destroy the body.
 * @throws RingsideError 'network'; an AbortError when `signal` fires.
 */
export async function httpGet(
  url: string,
  options: { headers?: Record<string, string>; signal?: AbortSignal; idleMs?: number } = {},
): Promise<HttpResponse> {
  let target = url;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const response = await requestOnce(target, options);
    const { location } = response.headers;
    if (response.status < 300 || response.status > 399 || location === undefined) return response;
    response.body.destroy();
    const next = URL.canParse(location, target) ? new URL(location, target) : null;
    const secure = target.startsWith('https:');
    if (next === null || !(next.protocol === 'https:' || (next.protocol === 'http:' && !secure))) {
      throw new RingsideError('network', `${shownUrl(target)} redirects to an address that is not allowed`);
    }
    target = next.href;
  }
  throw new RingsideError('network', `${shownUrl(url)} redirects too often; use another mirror`);
}

async function requestOnce(
  url: string,
  options: { headers?: Record<string, string>; signal?: AbortSignal; idleMs?: number },
): Promise<HttpResponse> {
  const agents = await sharedAgents();
  const secure = url.startsWith('https:');
  return new Promise((resolve, reject) => {
    const request = (secure ? https : http).get(
      url,
      {
        agent: secure ? agents.https : agents.http,
        headers: { 'user-agent': 'ringside', accept: '*/*', ...options.headers },
        signal: options.signal,
        timeout: options.idleMs ?? IDLE_MS,
      },
      (body) => resolve({ status: body.statusCode ?? 0, headers: body.headers, body }),
    );
    request.on('timeout', () => request.destroy(new Error('no answer in time')));
    request.on('error', (error) => reject(options.signal?.aborted ? error : networkError(url, error)));
  });
}

/** Wraps what went wrong on the way to `url`. */
export function networkError(url: string, cause: unknown): RingsideError {
  if (cause instanceof RingsideError) return cause;
  const { code, message } = cause as { code?: string; message?: string };
  const host = URL.canParse(url) ? new URL(url).host : url;
  const why =
    code === 'ENOTFOUND' || code === 'EAI_AGAIN'
      ? `the name ${host} is not known; check the network, or choose another mirror with --mirror`
      : code === 'ECONNREFUSED'
        ? `${host} refuses connections; choose another mirror with --mirror`
        : `${host}: ${message === undefined || message === '' ? (code ?? 'connection failed') : message}; try again, or choose another mirror with --mirror`;
  return new RingsideError('network', `cannot download ${shownUrl(url)}: ${why}`, { cause });
}

interface Agents {
  readonly http: http.Agent;
  readonly https: https.Agent;
}

let agents: Promise<Agents> | undefined;

/** Agents that go through the proxy that curl (by the environment) or apt (by its configuration) would use. */
function sharedAgents(): Promise<Agents> {
  agents ??= proxyEnvironment(process.env).then((proxyEnv) => ({
    http: new http.Agent({ keepAlive: true, proxyEnv }),
    https: new https.Agent({ keepAlive: true, proxyEnv }),
  }));
  return agents;
}

const PROXY_VARIABLES = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'];

/**
 * The proxy variables of the environment; where it names no proxy, the one that apt is configured with.
 * @param aptConfig gives the lines of `apt-config dump`, or rejects where there is no apt
 */
export async function proxyEnvironment(
  env: NodeJS.ProcessEnv,
  aptConfig: () => Promise<string> = aptConfigDump,
): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of PROXY_VARIABLES) {
    const value = env[name];
    if (value !== undefined && value !== '') found[name] = value;
  }
  if (Object.keys(found).some((name) => !/^no_proxy$/i.test(name))) return found;
  const dump = await aptConfig().catch(() => '');
  for (const [, scheme, value] of dump.matchAll(/^Acquire::(https?)::Proxy "([^"]+)";$/gim)) {
    if (/^https?:\/\//.test(value)) found[`${scheme.toLowerCase()}_proxy`] = value;
  }
  return found;
}

async function aptConfigDump(): Promise<string> {
  const { stdout } = await promisify(execFile)('apt-config', ['dump'], { timeout: 5_000 });
  return stdout;
}
