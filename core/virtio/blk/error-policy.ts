/** What is done about an I/O error of the host: QEMU's werror and rerror. */

export type WritePolicy = 'report' | 'stop' | 'enospc' | 'ignore';
export type ReadPolicy = 'report' | 'stop' | 'ignore';
export type ErrorAction = 'report' | 'stop' | 'ignore';

/** 'enospc' stops when the host is out of space, which a person can mend, and reports everything else. */
export function errorAction(policy: WritePolicy, outOfSpace: boolean): ErrorAction {
  if (policy !== 'enospc') return policy;
  return outOfSpace ? 'stop' : 'report';
}
