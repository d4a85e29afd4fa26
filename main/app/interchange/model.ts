/** What importers and exporters of VM descriptions have in common. They are pure: text and settings, no files. */
import type { VmSettingsDraft } from '../../ipc/contract.ts';

/** What a VM boots, catalogue guests resolved to their files. */
export interface BootFiles {
  readonly kernel?: string | undefined;
  readonly initrd?: string | undefined;
  readonly append: string;
}

export interface Exported {
  readonly text: string;
  /** What the form cannot say, and what is to be done by hand; one line each. */
  readonly notes: string[];
}

export interface Imported {
  readonly settings: VmSettingsDraft;
  /** What was not taken over, and what should be looked at; one line each. */
  readonly notes: string[];
}

/** Text that is longer is no description of a VM. */
export const MAX_TEXT = 1024 * 1024;

/** A word as a POSIX shell reads it back. */
export function shellQuote(word: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** An id made of `base` and a number that is not in `taken`; it is added to them. */
export function freeId(base: string, taken: Set<string>): string {
  let number = 0;
  while (taken.has(`${base}${number}`)) number++;
  taken.add(`${base}${number}`);
  return `${base}${number}`;
}
