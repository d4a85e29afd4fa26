/** virtio-9p: a folder of the host by 9P2000.L, and nothing but it. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHost } from '../../core/host/node-host.ts';
import * as errno from '../../core/hostfs/errors.ts';
import { S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from '../../core/hostfs/file-stat.ts';
import { openSharedFolder } from '../../core/hostfs/open.ts';
import type { FsdevOptions } from '../../core/hostfs/open.ts';
import { P9Device } from '../../core/virtio/9p/device.ts';
import * as p9 from '../../core/virtio/9p/protocol.ts';
import { hostSpec, whyNoAddon } from '../native/addon.ts';
import { P9Error, encode } from '../harness/p9-client.ts';
import type { Field } from '../harness/p9-client.ts';
import { until } from '../harness/virtio-bench.ts';
import {
  newFid,
  xattrsHere,
  isRoot,
  MODELS,
  bench,
  u8,
  u32,
  u64,
  O_RDONLY,
  O_WRONLY,
  O_RDWR,
  O_TRUNC,
  ROOT,
  UID,
  GID,
  folder,
  opened,
  client,
  makeFolder,
  share,
  session,
  version,
  fails,
  walk,
  clunk,
  create,
  lopen,
  write,
  read,
  put,
  getattr,
  stat,
  setattr,
  list,
  ls,
} from './9p-session.ts';

describe.skipIf(whyNoAddon)(`virtio-9p${whyNoAddon ? ` (skipped: ${whyNoAddon})` : ''}`, () => {
  beforeEach(makeFolder);
  afterEach(async () => {
    await bench!.clear();
    opened.close();
  });

  it('shows its mount tag', async () => {
    await share();
    const { driver } = client;
    expect(driver.offered & 1n).toBe(1n);
    expect(await driver.readConfig(0, 2)).toBe(4);
    const tag = [];
    for (let i = 0; i < 4; i++) tag.push(await driver.readConfig(2 + i, 1));
    expect(String.fromCharCode(...tag)).toBe('work');
  });

  it('agrees on 9P2000.L and on a message size', async () => {
    await share();
    const agree = async (msize: number, name: string) => {
      const reply = await client.call(p9.P9_TVERSION, u32(msize), name);
      return [reply.readUInt32LE(0), reply.toString('utf8', 6)];
    };
    expect(await agree(8192, '9P2000.L')).toEqual([8192, '9P2000.L']);
    expect(await agree(2 ** 32 - 1, '9P2000.L')).toEqual([p9.P9_MSIZE_MAX, '9P2000.L']);
    expect(await agree(8192, '9P2000.u')).toEqual([8192, 'unknown']);
    await fails(client.call(p9.P9_TATTACH, u32(1), u32(p9.P9_NOFID), '', '', u32(0)), errno.EPROTO);
    await fails(agree(4095, '9P2000.L'), errno.EMSGSIZE);
    await version();
    await fails(client.call(p9.P9_TAUTH, u32(1), '', '', u32(0)), errno.EOPNOTSUPP);
  });

  it('forgets all fids with a new session, and with a reset', async () => {
    await session();
    await walk();
    await version();
    await fails(client.call(p9.P9_TGETATTR, u32(ROOT), u64(0)), errno.EBADF);
    await client.call(p9.P9_TATTACH, u32(ROOT), u32(p9.P9_NOFID), '', '', u32(0));
    const fid = await create('held');
    await write(fid, 0, Buffer.from('x'));
    const openFiles = () => fs.readdirSync('/proc/self/fd').filter((fd) => points(fd).includes(folder)).length;
    const points = (fd: string) => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return '';
      }
    };
    expect(openFiles()).toBe(2);
    await client.driver.init();
    expect(openFiles()).toBe(1);
    await version();
    await fails(client.call(p9.P9_TCLUNK, u32(fid)), errno.EBADF);
  });

  describe.each(MODELS)('security_model=%s', (securityModel) => {
    const mapped = securityModel.startsWith('mapped');
    // Without root, none leaves the owner as it is.
    const keepsOwner = securityModel !== 'none' || isRoot;
    beforeEach(() => session({ securityModel }));

    it('brings bytes both ways', async () => {
      const data = Buffer.from(Array.from({ length: 60_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
      const fid = await create('data');
      for (let at = 0; at < data.length; at += 20_000) {
        expect(await write(fid, at, data.subarray(at, at + 20_000))).toBe(20_000);
      }
      await client.call(p9.P9_TFSYNC, u32(fid), u32(0));
      expect(fs.readFileSync(join(folder, 'data'))).toEqual(data);
      expect(await read(fid, 0, 60_000)).toEqual(data);
      expect(await read(fid, 59_990, 100)).toEqual(data.subarray(59_990));
      expect(await read(fid, 70_000, 100)).toHaveLength(0);
      await clunk(fid);
    });

    it('keeps the owner and the mode that the guest gives', async () => {
      await clunk(await create('file', 0o4751));
      const fid = await walk();
      await client.call(p9.P9_TMKDIR, u32(fid), 'dir', u32(0o2755), u32(GID));
      const file = await stat('file');
      const dir = await stat('dir');
      expect(file.mode.toString(8)).toBe((S_IFREG | 0o4751).toString(8));
      expect(dir.mode.toString(8)).toBe((S_IFDIR | 0o2755).toString(8));
      if (keepsOwner) expect([file.uid, file.gid, dir.uid, dir.gid]).toEqual([UID, GID, UID, GID]);
      const onHost = fs.statSync(join(folder, 'file'));
      if (mapped) {
        expect([onHost.mode & 0o7777, onHost.uid]).toEqual([0o600, process.getuid!()]);
        expect(fs.statSync(join(folder, 'dir')).mode & 0o7777).toBe(0o700);
      } else {
        expect(onHost.mode & 0o7777).toBe(0o4751);
      }
      const at = await walk('file');
      await setattr(at, p9.P9_SETATTR_MODE, { mode: 0o600 });
      expect((await getattr(at)).mode).toBe(S_IFREG | 0o600);
      if (!keepsOwner) return;
      await setattr(at, p9.P9_SETATTR_UID | p9.P9_SETATTR_GID, { uid: 7, gid: 8 });
      const changed = await getattr(at);
      expect([changed.uid, changed.gid, changed.mode & 0o7777]).toEqual([7, 8, 0o600]);
    });

    it('sets size and times to the nanosecond', async () => {
      await put('file', '0123456789');
      const fid = await walk('file');
      await setattr(fid, p9.P9_SETATTR_SIZE, { size: 4 });
      expect(fs.readFileSync(join(folder, 'file'), 'utf8')).toBe('0123');
      const times = [1_000_000_001n, 123_456_789n, 1_000_000_002n, 987_654_321n];
      const valid = p9.P9_SETATTR_ATIME | p9.P9_SETATTR_MTIME | p9.P9_SETATTR_ATIME_SET | p9.P9_SETATTR_MTIME_SET;
      await setattr(fid, valid, { times });
      const host = fs.statSync(join(folder, 'file'), { bigint: true });
      expect([host.atimeNs, host.mtimeNs]).toEqual([1_000_000_001_123_456_789n, 1_000_000_002_987_654_321n]);
      expect((await getattr(fid)).modified).toEqual([1_000_000_002n, 987_654_321n]);
      // Only the access time, to now.
      await setattr(fid, p9.P9_SETATTR_ATIME, {});
      const later = fs.statSync(join(folder, 'file'), { bigint: true });
      expect(later.mtimeNs).toBe(host.mtimeNs);
      expect(Number(later.atimeMs)).toBeGreaterThan(Date.now() - 60_000);
      await fails(setattr(fid, valid, { times: [0n, 1_000_000_000n, 0n, 0n] }), errno.EINVAL);
    });

    it('lists folders, however many calls it takes', async () => {
      const names = Array.from({ length: 300 }, (_, i) => `file-${i}-${'x'.repeat(i % 50)}`).sort();
      for (const name of names) fs.writeFileSync(join(folder, name), '');
      expect(await ls()).toEqual(names);
      const fid = await walk();
      await lopen(fid, O_RDONLY);
      expect(await list(fid, 200)).toEqual(['.', '..', ...names].sort());
      // Too small for one entry.
      expect((await client.call(p9.P9_TREADDIR, u32(fid), u64(0), u32(10))).readUInt32LE(0)).toBe(0);
    });

    it('makes, moves and removes names', async () => {
      const root = await walk();
      await client.call(p9.P9_TMKDIR, u32(root), 'a', u32(0o755), u32(GID));
      const a = await walk('a');
      await client.call(p9.P9_TMKDIR, u32(a), 'b', u32(0o755), u32(GID));
      await put('file', 'text');
      const file = await walk('file');
      await client.call(p9.P9_TLINK, u32(a), u32(file), 'linked');
      expect((await stat('a', 'linked')).links).toBe(2);
      expect((await stat('a', 'linked')).mode & S_IFMT).toBe(S_IFREG);
      // Whoever holds a name keeps it when a folder above is renamed.
      const linked = await walk('a', 'linked');
      await client.call(p9.P9_TRENAMEAT, u32(root), 'a', u32(root), 'z');
      await lopen(linked, O_RDONLY);
      expect((await read(linked, 0, 10)).toString()).toBe('text');
      expect(await ls('z')).toEqual(['b', 'linked']);
      // Over a file that is there; by fid.
      await put('other', 'OTHER');
      const other = await walk('other');
      await client.call(p9.P9_TRENAME, u32(other), u32(root), 'file');
      expect(fs.readFileSync(join(folder, 'file'), 'utf8')).toBe('OTHER');
      await fails(getattr(file), errno.ENOENT);
      expect((await getattr(other)).size).toBe(5);
      // A folder that is not empty, then one that is.
      await fails(client.call(p9.P9_TUNLINKAT, u32(root), 'z', u32(p9.P9_AT_REMOVEDIR)), errno.ENOTEMPTY);
      await fails(client.call(p9.P9_TUNLINKAT, u32(root), 'z', u32(0)), errno.EISDIR);
      await client.call(p9.P9_TUNLINKAT, u32(a), 'linked', u32(0));
      await client.call(p9.P9_TUNLINKAT, u32(a), 'b', u32(p9.P9_AT_REMOVEDIR));
      await client.call(p9.P9_TREMOVE, u32(a));
      expect(await ls()).toEqual(['file']);
      await fails(clunk(a), errno.EBADF);
      // A file that is open lives on without a name.
      await client.call(p9.P9_TUNLINKAT, u32(root), 'file', u32(0));
      expect((await read(linked, 0, 4)).toString()).toBe('text');
      expect((await getattr(linked)).links).toBe(0);
      expect(fs.readdirSync(folder).filter((name) => name !== '.virtfs_metadata')).toEqual([]);
    });

    it('gives a name that is made anew the owner of the new file', async () => {
      await clunk(await create('a', 0o700));
      await clunk(await create('b', 0o640));
      const root = await walk();
      await client.call(p9.P9_TRENAMEAT, u32(root), 'b', u32(root), 'a');
      expect((await stat('a')).mode & 0o7777).toBe(0o640);
      await client.call(p9.P9_TUNLINKAT, u32(root), 'a', u32(0));
      fs.writeFileSync(join(folder, 'a'), '', { mode: 0o604 });
      fs.chmodSync(join(folder, 'a'), 0o604);
      expect((await stat('a')).mode & 0o7777).toBe(0o604);
    });

    it('keeps links and special files', async () => {
      const root = await walk();
      await client.call(p9.P9_TSYMLINK, u32(root), 'link', '../../etc/passwd', u32(GID));
      const link = await walk('link');
      const attributes = await getattr(link);
      expect(attributes.mode & S_IFMT).toBe(S_IFLNK);
      expect(attributes.qidType).toBe(p9.P9_QTSYMLINK);
      expect((await client.call(p9.P9_TREADLINK, u32(link))).toString('utf8', 2)).toBe('../../etc/passwd');
      expect(fs.lstatSync(join(folder, 'link')).isSymbolicLink()).toBe(!mapped);
      await client.call(p9.P9_TMKNOD, u32(root), 'pipe', u32(S_IFIFO | 0o600), u32(0), u32(0), u32(GID));
      expect((await stat('pipe')).mode).toBe(S_IFIFO | 0o600);
      if (!mapped) {
        // Nobody can make the device wait for a writer that never comes.
        await fails(lopen(await walk('pipe'), O_RDONLY), errno.ENXIO);
        return;
      }
      await client.call(p9.P9_TMKNOD, u32(root), 'tty', u32(S_IFCHR | 0o620), u32(4), u32(300), u32(GID));
      const tty = await stat('tty');
      expect([tty.mode, tty.rdev]).toEqual([S_IFCHR | 0o620, (1n << 20n) | (4n << 8n) | 44n]);
      expect(fs.lstatSync(join(folder, 'tty')).isFile()).toBe(true);
    });

    it.skipIf(!xattrsHere)('keeps extended attributes', async () => {
      await put('file', '');
      const set = async (name: string, value: string, flags = 0) => {
        const fid = await walk('file');
        await client.call(p9.P9_TXATTRCREATE, u32(fid), name, u64(value.length), u32(flags));
        if (value.length > 0) await write(fid, 0, Buffer.from(value));
        await clunk(fid);
      };
      const get = async (name: string) => {
        const fid = newFid();
        const size = await client.call(p9.P9_TXATTRWALK, u32(await walk('file')), u32(fid), name);
        const value = await read(fid, 0, Number(size.readBigUInt64LE(0)) + 10);
        await clunk(fid);
        return value.toString();
      };
      await set('user.color', 'blue');
      await set('user.shape', 'x'.repeat(2000));
      expect(await get('user.color')).toBe('blue');
      expect(await get('user.shape')).toBe('x'.repeat(2000));
      expect((await get('')).split('\0').sort()).toEqual(['', 'user.color', 'user.shape']);
      await fails(set('user.color', 'red', 1), errno.EEXIST);
      await set('user.color', '');
      await fails(get('user.color'), errno.ENODATA);
      await fails(set('user.virtfs.uid', '0000'), errno.ENODATA);
      await fails(get('user.virtfs.mode'), errno.ENODATA);
      await fails(set('security.capability', 'x'), errno.EOPNOTSUPP);
      await fails(set('trusted.x', 'x'), errno.EOPNOTSUPP);
      // More and less than was said.
      const fid = await walk('file');
      await client.call(p9.P9_TXATTRCREATE, u32(fid), 'user.x', u64(4), u32(0));
      await fails(write(fid, 0, Buffer.from('12345')), errno.ENOSPC);
      await fails(clunk(fid), errno.EINVAL);
      await fails(
        client.call(p9.P9_TXATTRCREATE, u32(await walk('file')), 'user.x', u64(2n ** 40n), u32(0)),
        errno.ERANGE,
      );
    });

    it('never leaves the folder', async () => {
      const outside = join(folder, '..');
      fs.symlinkSync('..', join(folder, 'up'));
      fs.symlinkSync('../secret', join(folder, 'leak'));
      fs.symlinkSync('/proc/self/root', join(folder, 'magic'));
      fs.mkdirSync(join(folder, 'dir'));
      fs.symlinkSync('../..', join(folder, 'dir', 'up'));
      // The parent of the shared folder is itself.
      expect((await stat('..', '..', '..')).inode).toBe((await stat()).inode);
      expect((await stat('dir', '..', '..')).inode).toBe((await stat()).inode);
      // Through links, by opening them, by names that are more than one.
      for (const path of [
        ['up', 'secret'],
        ['magic', 'etc'],
        ['dir', 'up', 'secret'],
      ]) {
        await expect(walk(...path)).rejects.toBeInstanceOf(P9Error);
      }
      for (const name of ['leak', 'magic', 'up']) {
        const fid = await walk(name);
        await fails(lopen(fid, O_RDONLY), errno.ELOOP);
        await fails(setattr(fid, p9.P9_SETATTR_SIZE, { size: 0 }), errno.ELOOP);
      }
      for (const name of ['../secret', '/etc/passwd', 'dir/..', '', 'a\0b']) await fails(walk(name), errno.ENOENT);
      await fails(walk('n'.repeat(256)), errno.ENAMETOOLONG);
      const root = await walk();
      for (const name of ['..', '.', '../x', '/x', '']) {
        await expect(create(name)).rejects.toBeInstanceOf(P9Error);
        await expect(client.call(p9.P9_TMKDIR, u32(root), name, u32(0o755), u32(0))).rejects.toBeInstanceOf(P9Error);
        await expect(client.call(p9.P9_TSYMLINK, u32(root), name, 'x', u32(0))).rejects.toBeInstanceOf(P9Error);
        await expect(client.call(p9.P9_TUNLINKAT, u32(root), name, u32(0x200))).rejects.toBeInstanceOf(P9Error);
        await expect(client.call(p9.P9_TRENAMEAT, u32(root), 'dir', u32(root), name)).rejects.toBeInstanceOf(P9Error);
        await expect(client.call(p9.P9_TLINK, u32(root), u32(await walk('dir')), name)).rejects.toBeInstanceOf(P9Error);
      }
      // Creation through links: over one, and into the folder that one leads to.
      await fails(create('leak', 0o644, O_WRONLY | O_TRUNC), errno.ELOOP);
      const up = await walk('up');
      await expect(client.call(p9.P9_TLCREATE, u32(up), 'x', u32(O_WRONLY), u32(0o644), u32(0))).rejects.toBeInstanceOf(
        P9Error,
      );
      await expect(client.call(p9.P9_TRENAMEAT, u32(root), 'dir', u32(up), 'dir')).rejects.toBeInstanceOf(P9Error);
      // A folder that becomes a link while the guest holds it.
      const dir = await walk('dir');
      fs.renameSync(join(folder, 'dir'), join(folder, 'dir2'));
      fs.symlinkSync('..', join(folder, 'dir'));
      await expect(lopen(dir, O_RDONLY)).rejects.toBeInstanceOf(P9Error);
      expect((await getattr(dir)).mode & S_IFMT).toBe(S_IFLNK);
      expect(fs.readdirSync(outside).sort()).toEqual(['in', 'secret']);
      expect(fs.readFileSync(join(outside, 'secret'), 'utf8')).toBe('the secret');
    });
  });

  it('changes nothing when it is read-only', async () => {
    fs.writeFileSync(join(folder, 'file'), 'text');
    await session({ readonly: true });
    const root = await walk();
    const file = await walk('file');
    for (const [type, ...fields] of [
      [p9.P9_TLCREATE, u32(await walk()), 'new', u32(O_WRONLY), u32(0o644), u32(0)],
      [p9.P9_TLOPEN, u32(file), u32(O_RDWR)],
      [p9.P9_TLOPEN, u32(file), u32(O_TRUNC)],
      [p9.P9_TMKDIR, u32(root), 'new', u32(0o755), u32(0)],
      [p9.P9_TSYMLINK, u32(root), 'new', 'x', u32(0)],
      [p9.P9_TMKNOD, u32(root), 'new', u32(S_IFIFO), u32(0), u32(0), u32(0)],
      [p9.P9_TLINK, u32(root), u32(file), 'new'],
      [p9.P9_TRENAMEAT, u32(root), 'file', u32(root), 'new'],
      [p9.P9_TUNLINKAT, u32(root), 'file', u32(0)],
      [p9.P9_TXATTRCREATE, u32(file), 'user.x', u64(1), u32(0)],
    ] as [number, ...Field[]][]) {
      await fails(client.call(type, ...fields), errno.EROFS);
    }
    await fails(setattr(file, p9.P9_SETATTR_MODE, { mode: 0o777 }), errno.EROFS);
    await fails(setattr(file, p9.P9_SETATTR_SIZE, { size: 0 }), errno.EROFS);
    await fails(setattr(file, p9.P9_SETATTR_MTIME, {}), errno.EROFS);
    await lopen(file, O_RDONLY);
    await fails(write(file, 0, Buffer.from('x')), errno.EROFS);
    expect((await read(file, 0, 10)).toString()).toBe('text');
  });

  it('keeps the metadata of mapped-file to itself', async () => {
    await session({ securityModel: 'mapped-file', fmode: 0o640, dmode: 0o750 });
    await clunk(await create('file', 0o711));
    expect(fs.readFileSync(join(folder, '.virtfs_metadata', 'file'), 'utf8')).toBe(
      `virtfs.uid=${UID}\nvirtfs.gid=${GID}\nvirtfs.mode=${S_IFREG | 0o711}\n`,
    );
    expect(await ls()).toEqual(['file']);
    await fails(walk('.virtfs_metadata'), errno.ENOENT);
    await fails(create('.virtfs_metadata_root'), errno.ENOENT);
    const root = await walk();
    await setattr(root, p9.P9_SETATTR_UID, { uid: 5 });
    expect((await getattr(root)).uid).toBe(5);
    expect(fs.readFileSync(join(folder, '.virtfs_metadata_root'), 'utf8')).toBe('virtfs.uid=5\n');
    // Metadata that somebody made a link or garbage of.
    fs.rmSync(join(folder, '.virtfs_metadata', 'file'));
    fs.symlinkSync('../../secret', join(folder, '.virtfs_metadata', 'file'));
    expect((await stat('file')).uid).toBe(process.getuid!());
    fs.rmSync(join(folder, '.virtfs_metadata', 'file'));
    fs.writeFileSync(join(folder, '.virtfs_metadata', 'file'), 'virtfs.uid=99999999999999999999\nvirtfs.mode=x\n');
    expect((await stat('file')).uid).toBe(process.getuid!());
  });

  it('survives a hostile client', async () => {
    await session();
    const root = await walk();
    // Fids: unknown, in use, reserved, open twice, moved while open.
    await fails(getattr(9999), errno.EBADF);
    await fails(client.call(p9.P9_TWALK, u32(ROOT), u32(root), { u16: 0 }), errno.EINVAL);
    await fails(client.call(p9.P9_TWALK, u32(ROOT), u32(p9.P9_NOFID), { u16: 0 }), errno.EINVAL);
    await fails(client.call(p9.P9_TATTACH, u32(ROOT), u32(p9.P9_NOFID), '', '', u32(0)), errno.EINVAL);
    const file = await create('file');
    await fails(lopen(file, O_RDONLY), errno.EINVAL);
    await fails(client.call(p9.P9_TWALK, u32(file), u32(file), { u16: 0 }), errno.EINVAL);
    await fails(client.call(p9.P9_TREADDIR, u32(file), u64(0), u32(100)), errno.ENOTDIR);
    await fails(read(root, 0, 10), errno.EBADF);
    await fails(write(root, 0, Buffer.from('x')), errno.EBADF);
    // Counts and offsets.
    await fails(client.call(p9.P9_TWRITE, u32(file), u64(0), u32(0xffff_ffff), Buffer.from('abc')), errno.EINVAL);
    await fails(read(file, 2 ** 53, 10).then(), errno.EINVAL);
    await fails(client.call(p9.P9_TREAD, u32(file), u64(2n ** 64n - 1n), u32(10)), errno.EINVAL);
    await write(file, 0, Buffer.from('abc'));
    expect((await read(file, 0, 0xffff_ffff)).toString()).toBe('abc');
    await fails(
      client.call(p9.P9_TWALK, u32(ROOT), u32(77), { u16: 17 }, ...Array<string>(17).fill('.')),
      errno.EINVAL,
    );
    await fails(client.call(p9.P9_TWALK, u32(ROOT), u32(77), { u16: 0xffff }), errno.EINVAL);
    await fails(client.call(p9.P9_TSETATTR, u32(root), u32(0xffff_ffff), Buffer.alloc(60)), errno.EINVAL);
    // Messages that end too early, that say more than they are, of no known type, too large.
    await fails(client.call(p9.P9_TGETATTR, u32(ROOT)), errno.EINVAL);
    await fails(client.call(p9.P9_TLCREATE, u32(root), { u16: 60_000 }), errno.EINVAL);
    await fails(client.call(200), errno.EOPNOTSUPP);
    await fails(client.call(p9.P9_TSYMLINK, u32(root), 'x', 'y'.repeat(40_000), u32(0)), errno.EMSGSIZE);
    const lie = await client.raw(encode([{ u32: 5000 }, u8(p9.P9_TCLUNK), { u16: 5 }, u32(ROOT)]));
    expect([lie[4], lie.readUInt32LE(7)]).toEqual([p9.P9_RLERROR, errno.EPROTO]);
    // Garbage of any sort is answered.
    let seed = 1;
    const random = () => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) >>> 8;
    for (let i = 0; i < 2000; i++) {
      const body = Buffer.from(
        Array.from({ length: random() % 60 }, () => (random() % 3 ? random() % 4 : random() & 0xff)),
      );
      const type = (random() % 62) * 2;
      if (type === p9.P9_TVERSION) continue;
      const reply = await client.raw(Buffer.concat([encode([{ u32: body.length + 7 }, u8(type), { u16: i }]), body]));
      expect(reply.readUInt16LE(5)).toBe(i);
    }
    expect(fs.readdirSync(join(folder, '..')).sort()).toEqual(['in', 'secret']);
    expect(bench!.crashes).toEqual([]);
    expect(bench!.bus.snapshot()[0].error).toBeNull();
  });

  it('takes no more fids, open files and attributes than it has room for', async () => {
    await session();
    fs.writeFileSync(join(folder, 'file'), '');
    const open = [];
    for (let i = 0; i < 1024; i++) open.push(await walk('file').then(async (fid) => (await lopen(fid, O_RDONLY), fid)));
    await fails(
      walk('file').then((fid) => lopen(fid, O_RDONLY)),
      errno.EMFILE,
    );
    await clunk(open[0]);
    await lopen(await walk('file'), O_RDONLY);
    for (let i = 0; i < 64; i++) {
      await client.call(p9.P9_TXATTRCREATE, u32(await walk('file')), 'user.x', u64(10), u32(0));
    }
    await fails(client.call(p9.P9_TXATTRCREATE, u32(await walk('file')), 'user.x', u64(10), u32(0)), errno.ENOMEM);
  });

  it('needs a reset for buffers that no message fits into', async () => {
    await session();
    const { driver } = client;
    const address = bench!.allocator.alloc(64);
    driver.queues[0].add([
      { address, length: 6 },
      { address: address + 32, length: 32, writable: true },
    ]);
    await driver.notify(0);
    await until(() => bench!.bus.snapshot()[0].error !== null);
    expect(bench!.bus.snapshot()[0].error).toMatch(/6 bytes are no 9P message/);
    await driver.init();
    bench!.memory.write(address, encode([{ u32: 11 }, u8(p9.P9_TCLUNK), { u16: 1 }, u32(3)]));
    driver.queues[0].add([
      { address, length: 11 },
      { address: address + 32, length: 10, writable: true },
    ]);
    await driver.notify(0);
    await until(() => bench!.bus.snapshot()[0].error !== null);
    expect(bench!.bus.snapshot()[0].error).toMatch(/no room for the 9P reply, 11 bytes into 10/);
    await driver.init();
    await version();
  });

  it('says what is wrong with an fsdev', async () => {
    await session();
    const host = createHost(hostSpec);
    const open = (options: Partial<FsdevOptions>) =>
      openSharedFolder({ path: folder, securityModel: 'none', ...options }, host);
    fs.writeFileSync(join(folder, 'file'), '');
    expect(() => open({ path: join(folder, 'gone') })).toThrow(expect.objectContaining({ kind: 'not-found' }));
    expect(() => open({ path: join(folder, 'file') })).toThrow(expect.objectContaining({ kind: 'bad-option' }));
    expect(() => open({ fmode: 0o600 })).toThrow(/fmode is for the mapped/);
    expect(() => open({ securityModel: 'mapped-file', dmode: 0o1777 })).toThrow(/dmode must be 0 to 0777/);
    const bare = createHost({ addon: { reason: 'not built' } });
    expect(() => openSharedFolder({ path: folder, securityModel: 'none' }, bare)).toThrow(/not built/);
    for (const mountTag of ['', 'x'.repeat(33), 'a\0']) {
      expect(() => new P9Device({ id: '9p1', mountTag, folder: opened.handle })).toThrow(/mount_tag of 9p1/);
    }
  });
});
