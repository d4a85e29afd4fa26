/** What format an image has, and how one that cannot be attached becomes one that can. */
import type { FileStatus } from '../../main/ipc/contract.ts';

/** A word as a POSIX shell reads it back. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

const QCOW = 'QCOW';

export interface Conversion {
  /** What the file is. */
  format: string;
  /** The command line that makes a raw image of it, and that image. */
  command: string;
  raw: string;
}

/** The format that a disk is given: by what the image begins with, so that no guest gets to see another one's metadata. */
export function formatOf(status: FileStatus): 'raw' | 'qcow2' {
  return status.looksLike?.name === QCOW ? 'qcow2' : 'raw';
}

/** null for what can be attached as it is. */
export function conversion(status: FileStatus | null): Conversion | null {
  if (status?.looksLike?.kind !== 'image' || status.looksLike.name === QCOW) return null;
  const { path } = status;
  const raw = `${path.replace(/\.(qcow2?|vmdk|vhdx?|vdi|img)$/i, '')}.raw`;
  return { format: status.looksLike.name, command: `qemu-img convert -O raw ${quoted(path)} ${quoted(raw)}`, raw };
}
