/** The outer archive of a .deb: the `ar` format (deb(5)). */
import type { FileHandle } from 'node:fs/promises';
import { badArchive } from './limits.ts';

const MAGIC = '!<arch>\n';
const HEADER_SIZE = 60;
const NAME = { at: 0, size: 16 };
const SIZE = { at: 48, size: 10 };
const END = { at: 58, text: '`\n' };
/** A .deb has three members; a few more are allowed for by deb(5). */
const MAX_MEMBERS = 16;

export interface ArMember {
  /** Without the trailing slash and blanks that `ar` pads with. */
  readonly name: string;
  /** Byte offset of the data in the file. */
  readonly offset: number;
  readonly size: number;
}

/**
 * Lists the members of an ar file.
 * @throws RingsideError 'bad-image' when it is not one or a member runs past its end.
 */
export async function readAr(file: FileHandle): Promise<ArMember[]> {
  const { size: fileSize } = await file.stat();
  const magic = Buffer.alloc(MAGIC.length);
  await file.read(magic, 0, magic.length, 0);
  if (magic.toString('latin1') !== MAGIC) throw badArchive('not a Debian package (no ar header)');
  const members: ArMember[] = [];
  const header = Buffer.alloc(HEADER_SIZE);
  let offset = MAGIC.length;
  while (offset < fileSize) {
    if (members.length === MAX_MEMBERS) throw badArchive('a Debian package with too many members');
    const { bytesRead } = await file.read(header, 0, HEADER_SIZE, offset);
    const text = header.toString('latin1');
    if (bytesRead !== HEADER_SIZE || text.slice(END.at) !== END.text) throw badArchive('a damaged ar header');
    const sizeText = text.slice(SIZE.at, SIZE.at + SIZE.size).trim();
    const size = Number(sizeText);
    offset += HEADER_SIZE;
    if (!/^\d+$/.test(sizeText) || offset + size > fileSize) throw badArchive('an ar member runs past the end');
    const name = text
      .slice(NAME.at, NAME.at + NAME.size)
      .trimEnd()
      .replace(/\/$/, '');
    members.push({ name, offset, size });
    // Members start at even offsets.
    offset += size + (size % 2);
  }
  return members;
}
