import { createHash, randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { expect } from 'vitest';
import { noPrograms } from '../../harness/guest-programs.ts';
import type { Board, Work } from './work.ts';

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');
const socketPath = ({ folder }: Board) => join(folder, 'vm.sock');

/** A host program that calls the guest: sends, and gives all that comes until the guest hangs up. */
async function call(path: string, port: number, bytes: Buffer): Promise<{ greeting: string; back: Buffer }> {
  const socket = connect({ path, allowHalfOpen: true });
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  socket.write(`CONNECT ${port}\n`);
  // Even a write of no bytes fails when the other side has hung up meanwhile.
  if (bytes.length > 0) socket.write(bytes);
  socket.end();
  await new Promise((resolve, reject) => {
    socket.once('end', resolve);
    socket.once('error', reject);
  });
  const all = Buffer.concat(parts);
  const end = all.indexOf('\n') + 1;
  return { greeting: all.toString('latin1', 0, end), back: all.subarray(end) };
}

/** Bytes both ways on connections of both sides. */
export const vsock: Work = {
  name: 'sockets to programs of the host: echoes of both sides',
  skip: noPrograms,
  config: (board) => ({
    devices: [board.device('virtio-vsock', 'vsock0', { 'guest-cid': 7, socket: socketPath(board) })],
  }),
  async work({ shell }, board) {
    const path = socketPath(board);
    await shell.ok('modprobe vmw_vsock_virtio_transport');
    const bytes = randomBytes(3_000_000);

    // The host calls.
    for (let i = 0; i < 3; i++) {
      const serving = await shell.begin('/programs/vsock-echo listen 6000');
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
    expect(await shell.ok('/programs/vsock-echo connect 2 5000 < /tmp/random | md5sum')).toBe(sum);
    const four = 'for i in 1 2 3 4; do (/programs/vsock-echo connect 2 5000 < /tmp/random | md5sum) & done; wait';
    const sums = (await shell.ok(four)).split('\n').filter((line) => line.endsWith('-'));
    expect(sums).toEqual([sum, sum, sum, sum]);
    await new Promise((resolve) => echo.close(resolve));
    expect((await shell.run('/programs/vsock-echo connect 2 5001 < /dev/null')).text).toMatch(/Connection reset/);
  },
};
