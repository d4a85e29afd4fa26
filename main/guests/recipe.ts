/** What a catalogue entry is: which packages it needs and how they become a kernel and an initrd. */
import type { DebianPackage } from './debian/packages.ts';

export interface BuildContext {
  /** Path of a downloaded package by its role. */
  readonly debs: ReadonlyMap<string, string>;
  readonly signal?: AbortSignal;
  readonly onProgress: (message: string, done?: number, total?: number) => void;
}

export interface BuiltGuest {
  readonly kernel: Uint8Array;
  /** The initrd without our own part. */
  readonly base: Uint8Array;
}

export interface GuestRecipe {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  /** Bytes, roughly: what the catalogue shows before a mirror has been asked. */
  readonly downloadSize: number;
  readonly append: string;
  /** Whatever the base depends on besides the packages: it is made anew when this changes. */
  readonly inputs: unknown;
  /** Which packages of the index `select` looks at. */
  wants(name: string): boolean;
  /** The packages by role, the one that gives the guest its version first. */
  select(packages: ReadonlyMap<string, DebianPackage>): Map<string, DebianPackage>;
  build(context: BuildContext): Promise<BuiltGuest>;
  /** Our own part, which comes after the base in the initrd. */
  readonly overlay?: () => Uint8Array;
}
