/** The browser server, as seen by those who should not get in, and by those who should. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { hostAllowed } from '../../main/serve/auth.ts';
import { serveApp } from '../../main/serve/server.ts';
import type { RunningServer } from '../../main/serve/server.ts';
import { settings, TestApp, until } from './doubles/app.ts';

let app: TestApp;
let renderer: string;
let server: RunningServer;
let origin: string;

beforeAll(async () => {
  app = await TestApp.create();
  renderer = await mkdtemp(path.join(tmpdir(), 'ringside-renderer-'));
  await mkdir(path.join(renderer, 'assets'));
  await writeFile(path.join(renderer, 'index.html'), '<!doctype html><title>Ringside</title>');
  await writeFile(path.join(renderer, 'assets', 'app-abc123.js'), 'export {};');
  await writeFile(path.join(renderer, 'notes.secret'), 'not for the web');
  await writeFile(path.join(app.home, 'private.js'), 'secret');
  await symlink(path.join(app.home, 'private.js'), path.join(renderer, 'assets', 'link.js'));
  server = await serveApp({ app: app.app, renderer });
  origin = `http://127.0.0.1:${server.port}`;
});
afterAll(async () => {
  await server.close();
  await app.close();
  await rm(renderer, { recursive: true, force: true });
});

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

/** A request with exactly these headers and this path: fetch would tidy both up. */
function send(
  target: string,
  {
    method = 'GET',
    headers = {},
    body = '',
  }: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port: server.port, method, path: target, headers }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

const signIn = (token: unknown, headers: Record<string, string> = { origin }) =>
  send('/sign-in', { method: 'POST', headers, body: JSON.stringify({ token }) });

/** A browser that is signed in: where its sockets are, and its cookie. */
async function browser(): Promise<{ session: string; cookie: string }> {
  const answer = await signIn(server.token);
  const { session } = JSON.parse(answer.body) as { session: string };
  return { session, cookie: String(answer.headers['set-cookie']).split(';')[0] };
}

/** What becomes of a WebSocket: its first message, or the status it was refused with. */
function socket(
  target: string,
  headers: Record<string, string>,
): Promise<{ ws?: WebSocket; first?: unknown; refused?: number }> {
  return new Promise((resolve) => {
    const ws = new WebSocket(`ws://127.0.0.1:${server.port}${target}`, { headers });
    ws.on('unexpected-response', (_, response) => resolve({ refused: response.statusCode }));
    ws.on('message', (data, binary) => resolve({ ws, first: binary ? data : JSON.parse(String(data)) }));
    ws.on('error', () => resolve({ refused: 0 }));
  });
}

describe('what anybody gets', () => {
  test('the page, with every header that fences it in', async () => {
    const { status, headers, body } = await send('/');
    expect([status, body]).toEqual([200, '<!doctype html><title>Ringside</title>']);
    const policy = String(headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).toContain("require-trusted-types-for 'script'");
    expect(policy).toContain(`connect-src 'self' ws://127.0.0.1:${server.port};`);
    expect(policy.replace("style-src-attr 'unsafe-inline'", '')).not.toContain('unsafe');
    expect(headers).toMatchObject({
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
      'cross-origin-resource-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
      'content-type': 'text/html; charset=utf-8',
    });
    expect(headers['access-control-allow-origin']).toBeUndefined();
    expect((await send('/assets/app-abc123.js')).headers['cache-control']).toContain('immutable');
    expect((await send('/', { method: 'HEAD' })).body).toBe('');
  });

  test.each([
    '/../../../../etc/passwd',
    '/..%2f..%2f..%2fetc%2fpasswd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/assets/../../private.js',
    '/assets/..%5c..%5cprivate.js',
    '//etc/passwd',
    '/etc/passwd',
    '/%00',
    '/%',
    '/notes.secret',
    '/assets/link.js',
    '/assets/',
    '/assets',
    '/index.html/',
    '/vms',
    '/__proto__',
  ])('nothing else: %s', async (target) => {
    const { status, body } = await send(target);
    expect(status).toBe(404);
    expect(body).toBe('There is nothing here.\n');
  });

  test.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])('nothing is done by %s', async (method) => {
    expect((await send('/', { method })).status).toBe(405);
  });

  test('a request that is none is answered or dropped, and the server goes on', async () => {
    const answer = await new Promise<string>((resolve) => {
      const raw = connect(server.port, '127.0.0.1', () => raw.write('GARBAGE\r\n\r\n'));
      let text = '';
      raw.on('data', (data) => (text += data.toString()));
      raw.on('close', () => resolve(text));
      raw.on('error', () => resolve(text));
    });
    expect(answer).toContain('400');
    expect((await send('/')).status).toBe(200);
  });
});

describe('a page of somebody else’s', () => {
  test.each([
    'evil.example',
    `evil.example:8080`,
    '127.0.0.1',
    '127.0.0.1:1',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'a b',
  ])('whose name was bound to our address gets nothing: Host: %s', async (host) => {
    const answer = await send('/', { headers: { host } });
    expect([400, 403]).toContain(answer.status);
    expect(answer.body).not.toContain('Ringside</title>');
  });

  test('the addresses that are ours', () => {
    expect(hostAllowed('127.0.0.1:8000', 8000, [])).toBe(true);
    expect(hostAllowed('localhost:8000', 8000, [])).toBe(true);
    expect(hostAllowed('[::1]:8000', 8000, [])).toBe(true);
    expect(hostAllowed('localhost', 80, [])).toBe(true);
    expect(hostAllowed('box.lan:8000', 8000, [])).toBe(false);
    expect(hostAllowed('box.lan:8000', 8000, ['box.lan'])).toBe(true);
    expect(hostAllowed('user@127.0.0.1:8000', 8000, [])).toBe(false);
    expect(hostAllowed('127.0.0.1:8000/x', 8000, [])).toBe(false);
    expect(hostAllowed('', 8000, [])).toBe(false);
    expect(hostAllowed(undefined, 8000, [])).toBe(false);
  });

  test.each([undefined, 'null', 'http://evil.example', 'https://127.0.0.1', 'http://127.0.0.1:1', 'http://localhost'])(
    'cannot sign in, though it knew the token: Origin: %s',
    async (from) => {
      const headers: Record<string, string> = from === undefined ? {} : { origin: from };
      expect((await signIn(server.token, headers)).status).toBe(403);
    },
  );

  test('cannot open a socket with our cookie', async () => {
    const { session, cookie } = await browser();
    const target = `/session/${session}/control`;
    expect(await socket(target, { cookie, origin: 'http://evil.example' })).toEqual({ refused: 403 });
    expect(await socket(target, { cookie, origin: `http://localhost:${server.port}` })).toEqual({ refused: 403 });
    expect(await socket(target, { cookie })).toEqual({ refused: 403 });
    expect(await socket(target, { cookie, origin, host: 'evil.example' })).toEqual({ refused: 403 });
    const good = await socket(target, { cookie, origin });
    expect(good.first).toEqual({ session: expect.any(String) });
    good.ws?.close();
  });
});

describe('signing in', () => {
  // Ends the slowing down after wrong tokens.
  beforeEach(() => signIn(server.token));

  test('the token is traded for a cookie that scripts do not see, that stays here, and that no other port is sent', async () => {
    const { status, headers, body } = await signIn(server.token);
    expect(status).toBe(200);
    const { session } = JSON.parse(body) as { session: string };
    const cookie = String(headers['set-cookie']);
    expect(cookie).toMatch(
      new RegExp(`^ringside-${server.port}=[\\w-]{32}; Path=/session/${session}; HttpOnly; SameSite=Strict$`),
    );
    expect(cookie).not.toContain(server.token);
    expect(server.url).toBe(`${origin}/#token=${server.token}`);
  });

  test('a link with the token in its query is traded at once', async () => {
    const good = await send(`/?token=${server.token}`);
    expect(good.status).toBe(303);
    expect(String(good.headers.location)).toMatch(/^\/#session=[\w-]+$/);
    expect(String(good.headers['set-cookie'])).toContain('HttpOnly; SameSite=Strict');
    expect((await send('/?token=wrong')).status).toBe(401);
  });

  test.each(['', 'wrong', null, 7, {}, ['x'], 'x'.repeat(2000)])('anything else is refused: %j', async (token) => {
    expect((await signIn(token)).status).toBe(401);
  });

  test.each(['', '{', 'null', '[]', 'x'.repeat(100_000)])('a body that is none is refused: %.10s', async (body) => {
    expect((await send('/sign-in', { method: 'POST', headers: { origin }, body })).status).toBe(401);
  });

  test('only by POST', async () => {
    expect((await send(`/sign-in?token=${server.token}`, { headers: { origin } })).status).toBe(405);
  });

  test('guessing is slow', async () => {
    for (let attempt = 0; attempt < 6; attempt++) await signIn('guess');
    const before = Date.now();
    await signIn('guess');
    expect(Date.now() - before).toBeGreaterThan(900);
    expect((await signIn(server.token)).status).toBe(200);
  });
});

describe('sockets', () => {
  let session: string;
  let cookie: string;
  beforeEach(async () => {
    ({ session, cookie } = await browser());
  });

  test('need the cookie of their own session', async () => {
    const other = await browser();
    const target = `/session/${session}/control`;
    for (const wrong of ['', 'ringside=x', `ringside-${server.port}=`, other.cookie, `${cookie}x`]) {
      expect(await socket(target, { origin, cookie: wrong }), wrong).toEqual({ refused: 401 });
    }
    expect(await socket(`/session/${other.session}/control`, { origin, cookie })).toEqual({ refused: 401 });
    expect(await socket('/session/__proto__/control', { origin, cookie })).toEqual({ refused: 401 });
    expect((await send(`/session/${session}/check`)).status).toBe(401);
    expect((await send(`/session/${session}/check`, { headers: { cookie } })).status).toBe(204);
  });

  test.each([
    '/',
    '/control',
    '/session/',
    '/session//control',
    '/session/SESSION/other',
    '/session/SESSION/stream/a/b',
    '/session/SESSION/stream',
  ])('are at their own paths only: %s', async (target) => {
    const { refused } = await socket(target.replace('SESSION', session), { origin, cookie });
    expect([401, 404]).toContain(refused);
  });

  const control = async () => {
    const { ws, first } = await socket(`/session/${session}/control`, { origin, cookie });
    const messages: Record<string, unknown>[] = [];
    ws!.on('message', (data) => messages.push(JSON.parse(String(data)) as Record<string, unknown>));
    return { ws: ws!, id: (first as { session: string }).session, messages };
  };

  test('carry the contract', async () => {
    const { ws, messages } = await control();
    ws.send(JSON.stringify({ id: 7, name: 'vm.create', params: { settings: settings({ name: 'over the wire' }) } }));
    await until(() => messages.length === 2);
    expect(messages).toContainEqual({ event: 'vm.changed', payload: expect.objectContaining({ state: 'stopped' }) });
    expect(messages).toContainEqual({
      id: 7,
      reply: { ok: true, result: expect.objectContaining({ state: 'stopped' }) },
    });
    ws.send(JSON.stringify({ id: 8, name: 'vm.start', params: { id: '../../etc' } }));
    await until(() => messages.length === 3);
    expect(messages[2]).toMatchObject({ id: 8, reply: { ok: false, error: { kind: 'bad-option' } } });
    ws.close();
  });

  test.each([
    ['what is not JSON', 'hello'],
    ['what is not a call', '{"name":"app.info"}'],
    ['bytes', Buffer.from('{}')],
    ['more than any call needs', JSON.stringify({ id: 1, name: 'app.info', params: 'x'.repeat(300_000) })],
  ])('are closed on %s', async (_, message) => {
    const { ws } = await control();
    const closed = new Promise<number>((resolve) => ws.on('close', resolve));
    ws.on('error', () => {});
    ws.send(message);
    expect([1002, 1006, 1009]).toContain(await closed);
    expect((await send('/')).status).toBe(200);
  });

  test('carry console bytes as binary frames, by a ticket that works once and for its connection only', async () => {
    const { ws, id, messages } = await control();
    const vm = app.app.vms().find(({ settings: { name } }) => name === 'over the wire')!;
    const attach = async (call: number) => {
      ws.send(JSON.stringify({ id: call, name: 'console.attach', params: { id: vm.id, port: 'serial0' } }));
      const answer = await until(() => messages.find((message) => message.id === call));
      return (answer.reply as { result: { stream: string } }).result.stream;
    };
    ws.send(JSON.stringify({ id: 1, name: 'vm.start', params: { id: vm.id } }));
    await until(() => messages.some((message) => message.id === 1));
    const ticket = await attach(2);
    const other = await control();
    expect(await socket(`/session/${session}/stream/${other.id}/${ticket}`, { origin, cookie })).toEqual({
      refused: 404,
    });
    expect(await socket(`/session/${session}/stream/${id}/${ticket}`, { origin })).toEqual({ refused: 401 });
    const stream = await socket(`/session/${session}/stream/${id}/${ticket}`, { origin, cookie });
    expect(Buffer.isBuffer(stream.first)).toBe(true);
    expect(await socket(`/session/${session}/stream/${id}/${ticket}`, { origin, cookie })).toEqual({ refused: 404 });
    // Text has no place there, nor do frames that are too long.
    const closed = new Promise<number>((resolve) => stream.ws!.on('close', resolve));
    stream.ws!.send('text');
    expect(await closed).toBe(1002);
    const long = await socket(`/session/${session}/stream/${id}/${await attach(3)}`, { origin, cookie });
    const tooLong = new Promise<number>((resolve) => long.ws!.on('close', resolve));
    long.ws!.on('error', () => {});
    long.ws!.send(Buffer.alloc(64 * 1024));
    expect([1006, 1009]).toContain(await tooLong);
    // With its control connection, every stream of it ends.
    const last = await socket(`/session/${session}/stream/${id}/${await attach(4)}`, { origin, cookie });
    const ended = new Promise((resolve) => last.ws!.on('close', resolve));
    ws.close();
    await ended;
    other.ws.close();
  });
});

test('a port that is taken, an address that is not ours, a renderer that is not built', async () => {
  await expect(serveApp({ app: app.app, renderer, port: server.port })).rejects.toMatchObject({ kind: 'in-use' });
  await expect(serveApp({ app: app.app, renderer, host: '203.0.113.1' })).rejects.toMatchObject({ kind: 'bad-option' });
  await expect(serveApp({ app: app.app, renderer: path.join(renderer, 'none') })).rejects.toMatchObject({
    kind: 'not-found',
    message: 'the user interface is not built: run npm run setup',
  });
});

test('it listens on the loopback address unless told otherwise', async () => {
  const all = await serveApp({ app: app.app, renderer, host: '0.0.0.0' });
  expect(all.url).toContain('http://127.0.0.1:');
  await all.close();
  expect(server.url.startsWith('http://127.0.0.1:')).toBe(true);
});
