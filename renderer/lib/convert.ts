/** How an image of another format becomes a raw one. */
import type { FileStatus } from '../../main/ipc/contract.ts';

/** A word as a POSIX shell reads it back. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

export interface Conversion {
  /** What the file is. */
  format: string;
  /** The command line that makes a raw image of it, and that image. */
  command: string;
  raw: string;
}

/** null for what can be attached as it is. */
export function conversion(status: FileStatus | null): Conversion | null {
  if (status?.looksLike?.kind !== 'image') return null;
  const { path } = status;
  const raw = `${path.replace(/\.(qcow2?|vmdk|vhdx?|vdi|img)$/i, '')}.raw`;
  return { format: status.looksLike.name, command: `qemu-img convert -O raw ${quoted(path)} ${quoted(raw)}`, raw };
}
