/** What the operating system says about a file, as an error for people. */
import { errorLine, RingsideError } from '../../core/errors.ts';
import type { ErrorKind } from '../../core/errors.ts';

const KNOWN: Record<string, [ErrorKind, string]> = {
  ENOENT: ['not-found', 'there is no such file or directory'],
  ENOTDIR: ['not-found', 'a part of the path is not a directory'],
  EISDIR: ['not-a-file', 'this is a directory, choose a file'],
  EACCES: ['permission', 'you may not access this: check its permissions'],
  EPERM: ['permission', 'you may not access this: check its permissions'],
  EROFS: ['permission', 'this file system is read-only, choose another folder'],
  EEXIST: ['bad-option', 'it exists already: choose another name'],
  ENOSPC: ['no-space', 'no space left: free some, or choose another disk'],
  EDQUOT: ['no-space', 'your disk quota is used up: free some space'],
  EFBIG: ['too-large', 'the file system cannot hold a file of this size'],
  ENAMETOOLONG: ['bad-option', 'the name is too long'],
  ELOOP: ['bad-option', 'its symbolic links go in a circle'],
  EMFILE: ['io', 'too many open files: close something and try again'],
};

/** @param file what the message begins with */
export function fileError(error: unknown, file: string): RingsideError {
  if (error instanceof RingsideError) return error;
  const code = (error as NodeJS.ErrnoException | null)?.code;
  const known = code === undefined ? undefined : KNOWN[code];
  if (known !== undefined) return new RingsideError(known[0], `${file}: ${known[1]}`, { cause: error });
  return new RingsideError('io', `${file}: ${errorLine(error)}`, { cause: error });
}
