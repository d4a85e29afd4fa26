/** The guest catalogue as the CLI, the GUI and the cache's own files see it. */
import { z } from 'zod';

/** A catalogue entry. Sizes are bytes. */
export const guestInfo = z.object({
  id: z.string(),
  title: z.string(),
  description: z.string(),
  /** What a fetch downloads, roughly. */
  downloadSize: z.number().int(),
  /** On disk once fetched; null before. */
  size: z.number().int().nullable(),
  fetched: z.boolean(),
  /** Of the fetched guest, e.g. "6.12.94-1 (Debian 13.5)"; null before. */
  version: z.string().nullable(),
  /** ISO 8601; null before. */
  fetchedAt: z.string().nullable(),
  /** What an unfinished download has left, from which the next one goes on. */
  downloaded: z.number().int(),
});
export type GuestInfo = z.infer<typeof guestInfo>;

/** A fetched guest, ready to boot. */
export const guestFiles = z.object({
  id: z.string(),
  /** Host paths: a RISC-V Image and an initrd. */
  kernel: z.string(),
  initrd: z.string(),
  /** The kernel command line it boots well with. */
  append: z.string(),
  version: z.string(),
});
export type GuestFiles = z.infer<typeof guestFiles>;

export const guestProgress = z.object({
  guest: z.string(),
  phase: z.enum(['wait', 'index', 'download', 'build']),
  /** One line for a person. */
  message: z.string(),
  /** Bytes done, of how many, where that is known. */
  done: z.number().optional(),
  total: z.number().optional(),
});
export type GuestProgress = z.infer<typeof guestProgress>;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** guest.json in the cache: which of a guest's folders is the current one, and where it came from. */
export const guestRecord = z.object({
  schema: z.literal(1),
  id: z.string(),
  version: z.string(),
  /** The folder's name, next to guest.json. */
  folder: z.string().regex(/^[0-9a-f]{16}$/),
  /** Hash of how the base is made; another one means that it is to be made anew. */
  recipe: sha256,
  /** Hash of our own part at the end of the initrd; null when it has none. */
  overlay: sha256.nullable(),
  /** Length of the initrd without our own part. */
  baseSize: z.number().int(),
  kernelSize: z.number().int(),
  initrdSize: z.number().int(),
  append: z.string(),
  /** The archive's Release. */
  release: z.object({ version: z.string(), date: z.iso.datetime() }),
  /** Without user name and password. */
  mirror: z.string(),
  packages: z.array(z.object({ name: z.string(), version: z.string(), sha256 })),
  fetchedAt: z.iso.datetime(),
});
export type GuestRecord = z.infer<typeof guestRecord>;
