/** Names for new files. */
import { app } from '../../lib/state/app.svelte.ts';

/** @returns a path in the captures folder that is free, e.g. ".../debian-drive0-requestq-2.rsq" */
export async function freeName(parts: readonly string[], extension: string): Promise<string> {
  const folder = app.info?.captures ?? '';
  const separator = folder.includes('\\') ? '\\' : '/';
  const base = parts
    .map((part) =>
      part
        .trim()
        .replace(/[^\p{L}\p{N}._]+/gu, '-')
        .replace(/^[-.]+|-+$/g, '')
        .toLowerCase(),
    )
    .filter((part) => part !== '')
    .join('-');
  for (let number = 1; ; number++) {
    const path = `${folder}${separator}${base}${number === 1 ? '' : `-${number}`}${extension}`;
    const status = await app.client.call('files.stat', { path }).catch(() => null);
    if (status === null || status.type === 'absent') return path;
  }
}
