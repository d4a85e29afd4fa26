/** Files that are opened with the app: by double click, dropped on its icon, or named on its command line. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { hostPath } from '../ipc/contract.ts';

/** What electron-builder.yml registers, and what else is an image by its name. */
const EXTENSIONS: ReadonlySet<string> = new Set(['.qcow2', '.ringside', '.raw', '.img']);
/** More at once is a slip of the hand. */
const MOST = 16;

/**
 * The files among a command line's arguments, absolute. Chromium adds switches of its own, and there is the app's own
 * folder when it is not packaged: only what is there and is called like an image or a VM counts.
 */
export function filesAmong(argv: readonly string[], directory: string): string[] {
  return argv
    .filter((argument) => !argument.startsWith('-') && EXTENSIONS.has(path.extname(argument).toLowerCase()))
    .map((argument) => path.resolve(directory, argument))
    .filter((file) => existsSync(file))
    .slice(0, MOST);
}

const handedOver = z.object({ files: z.array(hostPath.refine((file) => path.isAbsolute(file))).max(MOST) });

/** What a second instance hands to the first; whatever else arrives there is none. */
export function filesHandedOver(data: unknown): string[] {
  const checked = handedOver.safeParse(data);
  return checked.success ? checked.data.files : [];
}
