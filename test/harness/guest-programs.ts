/** Programs of ours for the debian guest, compiled when there is a compiler, on a disk that is a cpio archive. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeCpio } from '../../main/guests/archive/cpio.ts';
import type { GuestShell } from './guest-shell.ts';

const COMPILER = 'riscv64-linux-gnu-gcc';
const SOURCES = ['vsock-echo.c', 'alg-encrypt.c'];
export const PROGRAMS_SERIAL = 'programs';

/** Why there are none; null when there are. */
export const noPrograms = spawnSync(COMPILER, ['--version']).error === undefined ? null : `there is no ${COMPILER}`;

/** The image of the disk, in `folder`. Its serial number is to be PROGRAMS_SERIAL. */
export function programsImage(folder: string): string {
  const built = mkdtempSync(join(tmpdir(), 'ringside-programs-'));
  const entries = SOURCES.map((source) => {
    const program = join(built, basename(source, '.c'));
    const path = fileURLToPath(new URL(source, import.meta.url));
    const { status, stderr } = spawnSync(COMPILER, ['-static', '-O1', '-s', '-Wall', '-o', program, path]);
    if (status !== 0) throw new Error(`${source} does not compile:\n${stderr.toString()}`);
    return { type: 'file', name: basename(program), data: readFileSync(program), mode: 0o755 } as const;
  });
  rmSync(built, { recursive: true });
  const file = join(folder, 'programs.cpio');
  writeFileSync(file, writeCpio(entries));
  return file;
}

/** Puts the programs into /programs of the guest. */
export async function unpackPrograms(shell: GuestShell): Promise<void> {
  const disk = `/dev/$(basename $(dirname $(grep -l '^${PROGRAMS_SERIAL}$' /sys/block/vd*/serial)))`;
  await shell.ok(`mkdir -p /programs && cd /programs && cpio -i < ${disk}; cd /`);
}
