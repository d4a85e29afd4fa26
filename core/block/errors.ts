/**
 * What goes wrong with an image: when it is opened (RingsideError, for a person), and when a guest uses it (DiskError).
 */
import type { ErrorKind } from '../errors.ts';
import { errorLine, RingsideError } from '../errors.ts';
import { isHostError } from '../host/host.ts';

export type DiskOperation = 'read' | 'write' | 'flush' | 'discard' | 'write zeroes to' | 'resize';

/** A request that failed. `code` is the errno name, on which virtio-blk decides what `werror` and `rerror` say. */
export class DiskError extends Error {
  readonly code: string;
  readonly operation: DiskOperation;

  constructor(operation: DiskOperation, file: string, code: string, detail: string, cause?: unknown) {
    super(`cannot ${operation} "${file}": ${detail}`, { cause });
    this.name = 'DiskError';
    this.code = code;
    this.operation = operation;
  }

  /** The host is full, or the user's share of it: with room made, the same request can succeed (werror=enospc). */
  get outOfSpace(): boolean {
    return this.code === 'ENOSPC' || this.code === 'EDQUOT';
  }
}

const DETAILS: Record<string, string> = {
  ENOSPC: 'the host has no space left (ENOSPC). Free some, then resume.',
  EDQUOT: 'the disk quota on the host is used up (EDQUOT). Free some space, then resume.',
  EFBIG: 'the file would be larger than the host allows (EFBIG; see ulimit -f).',
  EIO: 'the host reports an I/O error (EIO). See its kernel log.',
};

/** The DiskError for something the host threw. Anything else is a bug of ours, and thrown on. */
export function diskError(operation: DiskOperation, file: string, error: unknown): DiskError {
  if (!isHostError(error)) throw error;
  return new DiskError(operation, file, error.code, DETAILS[error.code] ?? `${errorLine(error)}.`, error);
}

const OPEN_ERRORS: Record<string, [ErrorKind, string]> = {
  ENOENT: ['not-found', 'does not exist. Check the path.'],
  ENOTDIR: ['not-found', 'does not exist: a part of its path is not a directory. Check the path.'],
  ELOOP: ['not-found', 'is a symbolic link that leads to itself. Check the path.'],
  ENAMETOOLONG: ['not-found', 'is too long a name. Check the path.'],
  EISDIR: ['not-a-file', 'is a directory, not a disk image. Choose a file.'],
  EROFS: ['permission', 'is on a read-only file system. Attach it read-only, or copy it elsewhere.'],
  ETXTBSY: ['in-use', 'is a program that is running. Choose another file.'],
  EBUSY: [
    'in-use',
    'is in use by the host (a mounted file system, perhaps). Unmount it first, or attach it read-only.',
  ],
};

/** The RingsideError for a failure to open the image. Anything but the host's own errors is returned as it is. */
export function openError(file: string, readonly: boolean, error: unknown): unknown {
  if (error instanceof TypeError && (error as NodeJS.ErrnoException).code === 'ERR_INVALID_ARG_VALUE') {
    const message = 'The path of a disk image must be text without NUL characters.';
    return new RingsideError('bad-option', message, { cause: error });
  }
  if (error instanceof DiskError)
    return new RingsideError('bad-image', `"${file}" cannot be used: ${error.message}`, { cause: error });
  if (!isHostError(error)) return error;
  const code = error.code;
  if (code === 'EACCES' || code === 'EPERM') {
    const what = readonly ? 'read' : 'written';
    const remedy = readonly ? 'Change its permissions.' : 'Change its permissions, or attach it read-only.';
    return new RingsideError('permission', `"${file}" may not be ${what} by you. ${remedy}`, { cause: error });
  }
  const known = OPEN_ERRORS[code];
  if (known) return new RingsideError(known[0], `"${file}" ${known[1]}`, { cause: error });
  return new RingsideError('io', `"${file}" cannot be opened: ${errorLine(error)}.`, { cause: error });
}
