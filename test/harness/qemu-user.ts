/**
 * QEMU's user-mode emulation of riscv64, as new as can be had: Debian trixie's, which is a static program that runs anywhere,
 * from the cache or from a Debian mirror (signature and SHA-256 checked); else the one that is installed.
 */
import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { decompress } from '../../main/guests/archive/decompress.ts';
import { readDeb } from '../../main/guests/archive/deb.ts';
import { defaultCacheDir } from '../../main/guests/cache.ts';
import { openArchive } from '../../main/guests/debian/archive.ts';
import { mirrorCandidates } from '../../main/guests/debian/mirror.ts';
import { readPackages, requirePackage } from '../../main/guests/debian/packages.ts';
import { withLock } from '../../main/guests/lock.ts';
import { downloadFile } from '../../main/guests/net/download.ts';
import { createReadStream } from 'node:fs';

const PACKAGE = 'qemu-user';
const PROGRAM = 'qemu-riscv64';
/** Debian's names of Node's architectures. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
const GIB = 2 ** 30;

/** Extensions of the instruction table that QEMU 7.2 does not know. */
const SINCE_8 = ['zicond', 'zfa'];

export interface QemuUser {
  path: string;
  /** Major version. */
  version: number;
  /** Value of -cpu: exactly the extensions named below, so that anything else is an illegal instruction. */
  cpu: string;
  /** Extensions of the instruction table that it can run in user mode. */
  extensions: string[];
}

const COMMON = ['i', 'm', 'a', 'f', 'd', 'c', 'zicsr', 'zifencei', 'zba', 'zbb', 'zbc', 'zbs', 'zicboz'];

function majorVersion(path: string): number | null {
  const { status, stdout } = spawnSync(path, ['-version'], { encoding: 'utf8' });
  const version = status === 0 ? /version (\d+)/.exec(stdout)?.[1] : undefined;
  return version === undefined ? null : Number(version);
}

function describe(path: string): QemuUser | null {
  const version = majorVersion(path);
  if (version === null) return null;
  const extensions = version >= 9 ? [...COMMON, ...SINCE_8] : COMMON.filter((e) => e !== 'zicboz');
  // rv64i is a hart with nothing but I; 7.2 has only rv64, from which what we do not have is taken away.
  const cpu =
    version >= 9
      ? ['rv64i', ...extensions.filter((e) => e !== 'i')].join(',').replaceAll(/,(\w+)/g, ',$1=on')
      : 'rv64,v=off,h=off';
  return { path, version, cpu, extensions };
}

async function download(architecture: string, folder: string, target: string): Promise<void> {
  let last: unknown = new Error('no mirror');
  for (const mirror of await mirrorCandidates()) {
    try {
      const { release } = await openArchive(mirror, {});
      const index = `main/binary-${architecture}/Packages.xz`;
      const file = release.files.get(index);
      if (file === undefined) throw new Error(`the mirror has no ${index}`);
      const packages = join(folder, 'Packages.xz');
      await downloadFile({ urls: [`${mirror}/dists/trixie/${index}`], ...file }, packages);
      const wanted = requirePackage(
        await readPackages(decompress(createReadStream(packages), 'xz', index), (n) => n === PACKAGE),
        PACKAGE,
      );
      const deb = join(folder, 'package.deb');
      await downloadFile({ urls: [`${mirror}/${wanted.filename}`], size: wanted.size, sha256: wanted.sha256 }, deb);
      for await (const { data } of readDeb(deb, ({ name }) => name === `usr/bin/${PROGRAM}`, {
        total: 2 * GIB,
        entry: GIB,
      })) {
        const temporary = join(folder, PROGRAM);
        await writeFile(temporary, data);
        await chmod(temporary, 0o755);
        await rename(temporary, target);
        return;
      }
      throw new Error(`${PACKAGE} has no ${PROGRAM}`);
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

async function fromDebian(): Promise<string | null> {
  const architecture = ARCHITECTURES[process.arch];
  if (process.platform !== 'linux' || architecture === undefined) return null;
  const tools = join(defaultCacheDir(), 'test-tools');
  const target = join(tools, `${PROGRAM}-trixie-${architecture}`);
  if (existsSync(target)) return target;
  await mkdir(tools, { recursive: true });
  await withLock(`${target}.lock`, async () => {
    if (existsSync(target)) return;
    const folder = await mkdtemp(join(tools, 'new-'));
    try {
      await download(architecture, folder, target);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
  return target;
}

let found: Promise<QemuUser | null> | null = null;

/** The emulator, or null when there is none and none can be had. RINGSIDE_QEMU_USER names another one. */
export function findQemuUser(): Promise<QemuUser | null> {
  found ??= (async () => {
    const chosen = process.env['RINGSIDE_QEMU_USER'];
    if (chosen) return describe(chosen);
    try {
      const path = await fromDebian();
      const qemu = path === null ? null : describe(path);
      if (qemu !== null) return qemu;
    } catch (error) {
      process.stderr.write(`no ${PROGRAM} from Debian (${(error as Error).message}); looking for an installed one\n`);
    }
    return describe(PROGRAM);
  })();
  return found;
}
