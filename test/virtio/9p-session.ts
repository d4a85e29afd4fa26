/** A client of virtio-9p, with a folder of its own for each test. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import { createHost } from '../../core/host/node-host.ts';
import * as errno from '../../core/hostfs/errors.ts';
import { openSharedFolder } from '../../core/hostfs/open.ts';
import type { FsdevOptions, OpenSharedFolder } from '../../core/hostfs/open.ts';
import type { SecurityModel } from '../../core/hostfs/ownership.ts';
import { P9Device } from '../../core/virtio/9p/device.ts';
import * as p9 from '../../core/virtio/9p/protocol.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';
import { P9Client, P9Error } from '../harness/p9-client.ts';
import type { Field } from '../harness/p9-client.ts';
import { VirtioBench } from '../harness/virtio-bench.ts';

const base = fs.mkdtempSync(join(tmpdir(), 'ringside-9p-'));
afterAll(() => fs.rmSync(base, { recursive: true, force: true }));

export const xattrsHere = ((): boolean => {
  if (whyNoAddon) return false;
  try {
    openSharedFolder({ path: base, securityModel: 'mapped-xattr' }, createHost(hostSpec)).close();
    return true;
  } catch {
    return false;
  }
})();
export const isRoot = process.getuid?.() === 0;
export const MODELS: SecurityModel[] = [...(xattrsHere ? (['mapped-xattr'] as const) : []), 'mapped-file', 'none'];
if (isRoot) MODELS.push('passthrough');

export const bench = whyNoAddon ? null : new VirtioBench({ host: hostSpec });
afterAll(() => bench?.close());

export const u8 = (value: number): Field => ({ u8: value });
export const u32 = (value: number): Field => ({ u32: value });
export const u64 = (value: number | bigint): Field => ({ u64: value });
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const ROOT = 1;
export const UID = 1000;
export const GID = 1001;

let count = 0;
export let folder = '';
export let opened: OpenSharedFolder;
export let client: P9Client;
export let warnings: string[];

/** A folder to be shared, and beside it a file that is not. */
export function makeFolder(): void {
  folder = join(base, `share${count++}`, 'in');
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(join(folder, '..', 'secret'), 'the secret');
}

/** Shares the folder with a driver that has not said anything yet. */
export async function share(options: Partial<FsdevOptions> = {}): Promise<void> {
  opened = openSharedFolder({ path: folder, securityModel: 'mapped-file', ...options }, createHost(hostSpec));
  warnings = [...opened.warnings];
  const device = new P9Device({
    id: '9p0',
    mountTag: 'work',
    folder: opened.handle,
    warn: (message) => warnings.push(message),
  });
  client = new P9Client(await (await bench!.attach(device)).init(), bench!);
}

export async function session(options: Partial<FsdevOptions> = {}): Promise<void> {
  await share(options);
  await version();
  await client.call(p9.P9_TATTACH, u32(ROOT), u32(p9.P9_NOFID), 'user', '', u32(UID));
}

export const version = async (msize = 64 * 1024): Promise<void> => {
  await client.call(p9.P9_TVERSION, u32(msize), p9.P9_VERSION);
};

export const fails = async (what: Promise<unknown>, number: number): Promise<void> => {
  await expect(what).rejects.toSatisfy(
    (error) => error instanceof P9Error && error.errno === number,
    `an Rlerror with ${number}`,
  );
};

let nextFid = 100;
/** The number of a fid that there is not yet. */
export const newFid = (): number => nextFid++;

export async function walk(...names: string[]): Promise<number> {
  const fid = newFid();
  const reply = await client.call(p9.P9_TWALK, u32(ROOT), u32(fid), { u16: names.length }, ...names);
  if (reply.readUInt16LE(0) < names.length) throw new P9Error(errno.ENOENT);
  return fid;
}
export const clunk = (fid: number) => client.call(p9.P9_TCLUNK, u32(fid));

export async function create(name: string, mode = 0o644, flags = O_RDWR | O_EXCL): Promise<number> {
  const fid = await walk();
  await client.call(p9.P9_TLCREATE, u32(fid), name, u32(flags), u32(mode), u32(GID));
  return fid;
}
export const lopen = (fid: number, flags: number) => client.call(p9.P9_TLOPEN, u32(fid), u32(flags));
export async function write(fid: number, offset: number, data: Buffer): Promise<number> {
  const reply = await client.call(p9.P9_TWRITE, u32(fid), u64(offset), u32(data.length), data);
  return reply.readUInt32LE(0);
}
export async function read(fid: number, offset: number, length: number): Promise<Buffer> {
  const reply = await client.call(p9.P9_TREAD, u32(fid), u64(offset), u32(length));
  expect(reply.readUInt32LE(0)).toBe(reply.length - 4);
  return reply.subarray(4);
}
export async function put(name: string, text: string): Promise<void> {
  const fid = await create(name);
  await write(fid, 0, Buffer.from(text));
  await clunk(fid);
}
export async function getattr(fid: number) {
  const reply = await client.call(p9.P9_TGETATTR, u32(fid), u64(p9.P9_GETATTR_BASIC));
  expect(reply).toHaveLength(153);
  return {
    qidType: reply[8],
    inode: reply.readBigUInt64LE(13),
    mode: reply.readUInt32LE(21),
    uid: reply.readUInt32LE(25),
    gid: reply.readUInt32LE(29),
    links: Number(reply.readBigUInt64LE(33)),
    rdev: reply.readBigUInt64LE(41),
    size: Number(reply.readBigUInt64LE(49)),
    modified: [reply.readBigUInt64LE(89), reply.readBigUInt64LE(97)],
  };
}
export async function stat(...names: string[]) {
  const fid = await walk(...names);
  const attributes = await getattr(fid);
  await clunk(fid);
  return attributes;
}
export async function setattr(
  fid: number,
  valid: number,
  { mode = 0, uid = 0, gid = 0, size = 0, times = [0n, 0n, 0n, 0n] },
) {
  await client.call(p9.P9_TSETATTR, u32(fid), u32(valid), u32(mode), u32(uid), u32(gid), u64(size), ...times.map(u64));
}
export async function list(fid: number, bytes = 4096): Promise<string[]> {
  const names: string[] = [];
  for (let offset = 0n; ;) {
    const reply = await client.call(p9.P9_TREADDIR, u32(fid), u64(offset), u32(bytes));
    const length = reply.readUInt32LE(0);
    expect(length).toBeLessThanOrEqual(bytes);
    if (length === 0) return names.sort();
    for (let at = 4; at < 4 + length;) {
      offset = reply.readBigUInt64LE(at + 13);
      const size = reply.readUInt16LE(at + 22);
      names.push(reply.toString('utf8', at + 24, at + 24 + size));
      at += 24 + size;
    }
  }
}
export async function ls(...names: string[]): Promise<string[]> {
  const fid = await walk(...names);
  await lopen(fid, O_RDONLY);
  const found = await list(fid);
  await clunk(fid);
  return found.filter((name) => name !== '.' && name !== '..');
}
