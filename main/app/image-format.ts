/** What image files look like by their first bytes. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { HINT_BYTES, looksLike } from '../../core/block/format-hint.ts';
import type { LooksLike } from '../../core/block/format-hint.ts';
import { RingsideError } from '../../core/errors.ts';

/** null when nothing speaks against a raw image, or when the file cannot be read. */
export async function imageFormat(file: string): Promise<LooksLike | null> {
  const head = Buffer.alloc(HINT_BYTES);
  try {
    // Non-blocking: opening a named pipe would wait for its writer.
    const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      const { bytesRead } = await handle.read(head, 0, HINT_BYTES, 0);
      return looksLike(head.subarray(0, bytesRead));
    } finally {
      await handle.close();
    }
  } catch {
    return null;
  }
}

/**
 * Refuses images of other formats as raw disks: the guest would see, and overwrite, their metadata.
 * @throws RingsideError 'bad-image'
 */
export async function refuseOtherFormats(
  drives: readonly { readonly file: string; readonly format: string }[],
): Promise<void> {
  for (const { file, format } of drives) {
    if (format !== 'raw') continue;
    const found = await imageFormat(file);
    if (found?.kind !== 'image') continue;
    throw new RingsideError(
      'bad-image',
      found.name === 'QCOW'
        ? `${file} is a QCOW image, and this disk is said to be raw: set its format to qcow2, ` +
            `or make a raw one with "qemu-img convert -O raw", and choose that`
        : `${file} is a ${found.name} image, which cannot be attached: ` +
            `make one that can with "qemu-img convert -O raw", and choose that`,
    );
  }
}
