/** Errors of folder operations, by Linux's numbers: what 9P2000.L's Rlerror carries. */

export const EPERM = 1;
export const ENOENT = 2;
export const EIO = 5;
export const ENXIO = 6;
export const EBADF = 9;
export const ENOMEM = 12;
export const EEXIST = 17;
export const EXDEV = 18;
export const ENODEV = 19;
export const ENOTDIR = 20;
export const EISDIR = 21;
export const EINVAL = 22;
export const EMFILE = 24;
export const ENOSPC = 28;
export const EROFS = 30;
export const ERANGE = 34;
export const ENAMETOOLONG = 36;
export const ENOTEMPTY = 39;
export const ELOOP = 40;
export const ENODATA = 61;
export const EPROTO = 71;
export const EMSGSIZE = 90;
export const EOPNOTSUPP = 95;

export class LinuxError extends Error {
  readonly errno: number;

  /** @param errno positive */
  constructor(errno: number) {
    super(`errno ${errno}`);
    this.name = 'LinuxError';
    this.errno = errno;
  }
}

/** The result of a call that gives -errno when it fails. */
export function checked(result: number): number {
  if (result < 0) throw new LinuxError(-result);
  return result;
}
