/**
 * Image locks, those of QEMU (block/file-posix.c, raw_apply_lock_bytes and raw_check_lock_bytes), so that QEMU's
 * programs and we refuse one another what would corrupt an image.
 *
 * Whoever opens an image says which permissions it uses and which it shares, i.e. lets others use. For each permission
 * it uses it holds a shared lock on byte 100 + bit, for each that it does not share one on byte 200 + bit. It then
 * looks whether anybody else holds 100 + bit of what it does not share, or 200 + bit of what it uses.
 *
 * Without the addon there are no such locks to be had. Then at least images in use in this process are refused, and on
 * Linux those locked by others (/proc/locks); others are not kept off, and the lock's state says so.
 */
import { RingsideError } from '../errors.ts';
import type { FileInfo, Host } from '../host/host.ts';
import { isHostError } from '../host/host.ts';
import type { LockState } from './disk.ts';

/** BLK_PERM_*: bits. */
export const PERM_CONSISTENT_READ = 1;
export const PERM_WRITE = 2;
export const PERM_WRITE_UNCHANGED = 4;
export const PERM_RESIZE = 8;
const PERM_ALL = PERM_CONSISTENT_READ | PERM_WRITE | PERM_WRITE_UNCHANGED | PERM_RESIZE;
const PERM_BITS = 4;

/** RAW_LOCK_PERM_BASE, RAW_LOCK_SHARED_BASE */
const LOCK_PERM_BASE = 100;
const LOCK_SHARED_BASE = 200;

/** What one user of an image uses and what it does not let others use. */
interface Claim {
  readonly used: number;
  readonly unshared: number;
}

export type Locking = 'auto' | 'on' | 'off';

export interface ImageLock {
  readonly state: LockState;
  /** To be called when the file is closed, which by itself gives up the file's locks. */
  release(): void;
}

/** A device's claim: nobody else may change the image, and when the device writes nobody else may rely on it. */
export function deviceClaim(readonly: boolean): Claim {
  const shared = PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED;
  return { used: PERM_CONSISTENT_READ | (readonly ? 0 : PERM_WRITE), unshared: PERM_ALL & ~shared };
}

/**
 * Locks the image open on `fd`.
 *
 * @param locking 'auto': as well as can be had here; 'on': refuse when it cannot be had; 'off': not at all
 * @throws RingsideError 'in-use', or with 'on' 'unsupported'
 */
export function lockImage(
  host: Host,
  fd: number,
  info: FileInfo,
  file: string,
  readonly: boolean,
  locking: Locking,
): ImageLock {
  if (locking === 'off') return { state: { locked: false, reason: 'locking is off' }, release: () => undefined };
  const claim = deviceClaim(readonly);
  let reason;
  if (host.fileLocks.available) {
    try {
      if (lockBytes(host, fd, claim)) return { state: { locked: true }, release: () => undefined };
      throw inUse(file, readonly);
    } catch (error) {
      if (!isHostError(error)) throw error;
      reason = `its file system has no locks (${error.code})`;
    }
  } else {
    reason = host.fileLocks.reason;
  }
  if (locking === 'on') {
    const remedy = 'Use locking=auto to do without, and take care that nothing else uses it.';
    const message = `"${file}" cannot be locked: ${reason}. ${remedy}`;
    throw new RingsideError('unsupported', message);
  }
  return { state: { locked: false, reason }, release: registerClaim(host, info, claim, file, readonly) };
}

/** Whether the locks were had. When not, some may be held: the caller closes the file. */
function lockBytes(host: Host, fd: number, claim: Claim): boolean {
  // All are taken before any is looked for, so that of two who come at once at least one sees the other.
  for (const start of claimBytes(claim.used, claim.unshared)) {
    if (!host.lock(fd, start, 1, false)) return false;
  }
  for (const start of claimBytes(claim.unshared, claim.used)) {
    if (!host.testLock(fd, start, 1, true)) return false;
  }
  return true;
}

function* claimBytes(perm: number, shared: number): Generator<number> {
  for (let bit = 0; bit < PERM_BITS; bit++) {
    if (perm & (1 << bit)) yield LOCK_PERM_BASE + bit;
    if (shared & (1 << bit)) yield LOCK_SHARED_BASE + bit;
  }
}

/** Images in use in this process without locks, by device and inode. */
const claims = new Map<string, Set<Claim>>();

function registerClaim(host: Host, info: FileInfo, claim: Claim, file: string, readonly: boolean): () => void {
  const key = `${info.device}:${info.inode}`;
  const here = claims.get(key) ?? new Set();
  for (const other of [...here, ...locksOfOthers(host, info)]) {
    if (other.used & claim.unshared || other.unshared & claim.used) throw inUse(file, readonly);
  }
  claims.set(key, here.add(claim));
  return () => {
    here.delete(claim);
    if (here.size === 0) claims.delete(key);
  };
}

function locksOfOthers(host: Host, info: FileInfo): Claim[] {
  return host.listLocks(info).map(({ start, end }) => {
    const covered = (base: number) => {
      let bits = 0;
      for (let bit = 0; bit < PERM_BITS; bit++) if (start <= base + bit && base + bit <= end) bits |= 1 << bit;
      return bits;
    };
    return { used: covered(LOCK_PERM_BASE), unshared: covered(LOCK_SHARED_BASE) };
  });
}

function inUse(file: string, readonly: boolean): RingsideError {
  const what = readonly
    ? 'is being written to by another VM or program. Stop that one first.'
    : 'is in use by another VM or program, or twice by this VM. Stop the other one, or attach it read-only in both.';
  return new RingsideError('in-use', `"${file}" ${what}`);
}
