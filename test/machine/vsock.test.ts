/** Sockets between Debian and programs of the host, both ways. The guest's program comes to it in a shared folder. */
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, expect, test } from 'vitest';
import type { GuestFiles } from '../../main/guests/index.ts';
import { Running, debianFiles, noAddon, tempFolder } from '../harness/debian.ts';

const debian = await debianFiles();
const folder = tempFolder();
const share = join(folder, 'share');
mkdirSync(share);
const source = fileURLToPath(new URL('../harness/vsock-echo.c', import.meta.url));
const compiled = spawnSync('riscv64-linux-gnu-gcc', ['-static', '-O1', '-o', join(share, 'vsock-echo'), source], {
  encoding: 'utf8',
});
let files: GuestFiles;

beforeEach((context) => {
  if ('reason' in debian) return context.skip(debian.reason);
  if (noAddon !== null) return context.skip(`no folder can be shared: ${noAddon}`);
  if (compiled.error) return context.skip('there is no riscv64-linux-gnu-gcc for the guest program');
  if (compiled.status !== 0) throw new Error(compiled.stderr);
  files = debian.files;
});

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

/** A host program that calls the guest: sends, and gives all that comes until the guest hangs up. */
async function call(path: string, port: number, bytes: Buffer): Promise<{ greeting: string; back: Buffer }> {
  const socket = connect({ path, allowHalfOpen: true });
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  socket.write(`CONNECT ${port}\n`);
  socket.end(bytes);
  await new Promise((resolve, reject) => {
    socket.once('end', resolve);
    socket.once('error', reject);
  });
  const all = Buffer.concat(parts);
  const end = all.indexOf('\n') + 1;
  return { greeting: all.toString('latin1', 0, end), back: all.subarray(end) };
}

test('bytes both ways on connections of both sides', { timeout: 300_000 }, async () => {
  const path = join(folder, 'vm.sock');
  await using running = await Running.boot(files, {
    fsdevs: [{ type: 'local', id: 'share', path: share, security_model: 'none', readonly: true }],
    devices: [
      { driver: 'virtio-9p-device', fsdev: 'share', mount_tag: 'share' },
      { driver: 'virtio-vsock-device', id: 'vsock0', 'guest-cid': 7, socket: path },
    ],
  });
  const { shell } = running;
  await shell.ok('modprobe vmw_vsock_virtio_transport; mount -t 9p -o trans=virtio,version=9p2000.L,ro share /mnt');
  const bytes = randomBytes(3_000_000);

  // The host calls.
  for (let i = 0; i < 3; i++) {
    const serving = await shell.begin('/mnt/vsock-echo listen 6000');
    await shell.until(/listening/);
    const { greeting, back } = await call(path, 6000, bytes);
    expect(greeting).toMatch(/^OK \d+\n$/);
    expect(md5(back)).toBe(md5(bytes));
    expect((await serving.end()).status).toBe(0);
  }
  // Nobody listens there.
  expect(await call(path, 6001, Buffer.alloc(0))).toEqual({ greeting: '', back: Buffer.alloc(0) });

  // The guest calls.
  const echo = createServer({ allowHalfOpen: true }, (socket) => void socket.pipe(socket));
  await new Promise<void>((resolve) => echo.listen(`${path}_5000`, resolve));
  const sum = await shell.ok('head -c 2000000 /dev/urandom > /tmp/random; md5sum < /tmp/random');
  expect(await shell.ok('/mnt/vsock-echo connect 2 5000 < /tmp/random | md5sum')).toBe(sum);
  const four = 'for i in 1 2 3 4; do (/mnt/vsock-echo connect 2 5000 < /tmp/random | md5sum) & done; wait';
  const sums = (await shell.ok(four)).split('\n').filter((line) => line.endsWith('-'));
  expect(sums).toEqual([sum, sum, sum, sum]);
  echo.close();
  expect((await shell.run('/mnt/vsock-echo connect 2 5001 < /dev/null')).text).toMatch(/Connection reset/);
  expect(running.messages).toEqual([]);
  await running.shutDown();
});
