/** A folder of the host in the guest: trees both ways, owners, links that lead nowhere. */
import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { createHost } from '../../../core/host/node-host.ts';
import { openSharedFolder } from '../../../core/hostfs/open.ts';
import { host, noAddon } from '../../harness/debian.ts';
import type { Board, Work } from './work.ts';

const xattrs = ((): boolean => {
  if (noAddon !== null) return false;
  const path = fs.mkdtempSync(join(tmpdir(), 'ringside-xattr-'));
  try {
    openSharedFolder({ path, securityModel: 'mapped-xattr' }, createHost(host)).close();
    return true;
  } catch {
    return false;
  } finally {
    fs.rmdirSync(path);
  }
})();

/** Files of all sorts of sizes and names, some folders deep. */
function makeTree(root: string): void {
  for (let i = 0; i < 40; i++) {
    const folder = join(root, ...['a', 'b b', 'ç'].slice(0, i % 4));
    fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(join(folder, `file ${i}`), randomBytes([0, 1, 4096, 4097, 100_000, 700_001][i % 6]));
  }
}

/** md5sum's lines, as the guest's busybox has them, by name. */
function sums(root: string, at = '.'): string[] {
  return fs
    .readdirSync(join(root, at), { withFileTypes: true })
    .flatMap(({ name }) => {
      const path = `${at}/${name}`;
      if (name === '.virtfs_metadata') return [];
      if (fs.statSync(join(root, path)).isDirectory()) return sums(root, path);
      return [
        `${createHash('md5')
          .update(fs.readFileSync(join(root, path)))
          .digest('hex')}  ${path}`,
      ];
    })
    .sort();
}

const guestSums = (folder: string) => `cd '${folder}' && find . -type f -exec md5sum {} + | sort; cd /`;

const pathOf = ({ folder }: Board, model: string): string => join(folder, model, 'shared');

function share(model: 'mapped-xattr' | 'mapped-file' | 'none'): Work {
  const mapped = model !== 'none';
  return {
    name: `a folder shared with security_model=${model}: trees both ways, owners, modes, links, renames`,
    skip: noAddon ?? (model === 'mapped-xattr' && !xattrs ? 'the file system has no extended attributes' : null),
    config(board) {
      const path = pathOf(board, model);
      fs.mkdirSync(path, { recursive: true });
      fs.writeFileSync(join(path, '..', 'secret'), 'the secret of the host');
      makeTree(join(path, 'in'));
      fs.symlinkSync('../secret', join(path, 'hole'));
      return {
        fsdevs: [{ type: 'local', id: model, path, security_model: model }],
        devices: [board.device('virtio-9p', `fs-${model}`, { fsdev: model, mount_tag: model })],
      };
    },
    async work({ shell }, board) {
      const folder = pathOf(board, model);
      const mount = `mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 ${model} /mnt`;
      // Of a share before.
      await shell.ok('rm -rf /tmp/copy /secret');
      await shell.ok(mount);

      // In, and out again.
      const seen = Buffer.from(await shell.ok(guestSums('/mnt/in')), 'latin1').toString();
      expect(seen.split('\n').sort()).toEqual(sums(join(folder, 'in')));
      await shell.ok('cp -a /mnt/in /tmp/copy && cp -a /tmp/copy /mnt/out && sync');
      expect(sums(join(folder, 'out'))).toEqual(sums(join(folder, 'in')));

      // What the guest makes of owners and modes it finds again.
      await shell.ok('cd /mnt && mkdir d && echo x > d/f && chmod 2750 d && chmod 4711 d/f && mkfifo d/p && cd /');
      // A change of owner takes the set-user-id bit away.
      if (mapped) await shell.ok('chown 12:34 /mnt/d/f && chmod 4711 /mnt/d/f && mknod /mnt/d/n c 1 3');
      await shell.ok(`umount /mnt && ${mount}`);
      expect(await shell.ok("stat -c '%a %F' /mnt/d /mnt/d/p")).toBe('2750 directory\n644 fifo');
      expect(await shell.ok("stat -c '%a %u %g' /mnt/d/f")).toBe(mapped ? '4711 12 34' : '4711 0 0');
      if (mapped) {
        expect(await shell.ok("stat -c '%F %t %T' /mnt/d/n")).toBe('character special file 1 3');
        expect(fs.statSync(join(folder, 'd', 'f')).mode & 0o7777).toBe(0o600);
      }

      // Links lead about the guest's own tree.
      const hostname = fs.readFileSync('/etc/hostname', 'utf8').trim();
      await shell.ok('echo of-the-guest > /etc/hostname; ln -s /etc/hostname /mnt/link; ln -s .. /mnt/up');
      expect(await shell.ok('cat /mnt/link')).toBe('of-the-guest');
      expect(hostname).not.toBe('of-the-guest');
      expect(await shell.ok('readlink /mnt/link; readlink /mnt/hole')).toBe('/etc/hostname\n../secret');
      expect((await shell.run('cat /mnt/hole')).status).not.toBe(0);
      await shell.ok('echo broken > /mnt/hole');
      expect(await shell.ok('cat /secret')).toBe('broken');
      expect(await shell.ok('cat /mnt/up/secret')).toBe('broken');
      expect(fs.readFileSync(join(folder, '..', 'secret'), 'utf8')).toBe('the secret of the host');

      // Renames, of folders too; files that are open without a name; appending; sparse files.
      await shell.ok('cd /mnt && mv out moved && mv "moved/a/b b" bb && mv d/f in/a && cd /');
      expect(fs.existsSync(join(folder, 'bb', 'ç'))).toBe(true);
      expect(await shell.ok('exec 3<>/mnt/gone; echo still >&3; rm /mnt/gone; echo $?; exec 3>&-')).toBe('0');
      await shell.ok('for i in 1 2 3; do echo $i >> /mnt/log; done');
      expect(fs.readFileSync(join(folder, 'log'), 'utf8')).toBe('1\n2\n3\n');
      await shell.ok('truncate -s 5G /mnt/sparse && echo end | dd of=/mnt/sparse bs=1 seek=5368709120 conv=notrunc');
      expect(fs.statSync(join(folder, 'sparse')).size).toBe(5 * 2 ** 30 + 4);
      await shell.ok('rm -rf /mnt/moved /mnt/bb /mnt/sparse');
      expect(fs.existsSync(join(folder, 'moved'))).toBe(false);
      expect(Number(await shell.ok("stat -f -c '%S' /mnt"))).toBeGreaterThan(0);

      // Many at once.
      await shell.ok(
        'cd /mnt && for n in 1 2 3 4; do (for i in $(seq 50); do echo $n-$i > m$n-$i; done) & done; wait; cd /',
      );
      expect(fs.readdirSync(folder).filter((name) => /^m\d-\d+$/.test(name))).toHaveLength(200);
      await shell.ok('umount /mnt');
    },
  };
}

export const shares = [share('mapped-xattr'), share('mapped-file'), share('none')];
