/** Where entropy comes from: -object rng-builtin and rng-random (QEMU: backends/rng-builtin.c, rng-random.c). */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';

import { errorLine, RingsideError } from '../../errors.ts';
import { isHostError } from '../../host/host.ts';
import type { TypeInfo } from '../../qom/object.ts';

/** Structured-clonable: the worker reads it. A descriptor is open while the object is there, and does not block. */
export type RngSource = { readonly kind: 'builtin' } | { readonly kind: 'file'; readonly fd: number };

export const BUILTIN_RNG: RngSource = { kind: 'builtin' };

export const RNG_SOURCE_TYPES: readonly TypeInfo[] = [
  { name: 'rng-backend', parent: 'user-creatable', abstract: true, shared: true },
  {
    name: 'rng-builtin',
    parent: 'rng-backend',
    description: 'the random number generator of this process',
    realize(object) {
      object.instance = BUILTIN_RNG;
    },
  },
  {
    name: 'rng-random',
    parent: 'rng-backend',
    description: 'a file or device of the host',
    properties: [
      { name: 'filename', kind: 'string', default: '/dev/urandom', holds: 'file', description: 'path of what is read' },
    ],
    realize(object) {
      const fd = openSource(object.value<string>('filename'));
      object.onClose(() => closeSync(fd));
      object.instance = { kind: 'file', fd } satisfies RngSource;
    },
  },
];

/** @throws RingsideError 'not-found', 'permission', 'not-a-file' */
function openSource(file: string): number {
  let fd: number;
  try {
    // Non-blocking, or a FIFO would hold the control thread until somebody writes to it.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    if (!isHostError(error)) throw error;
    const kind = error.code === 'ENOENT' ? 'not-found' : error.code === 'EACCES' ? 'permission' : 'io';
    throw new RingsideError(kind, `"${file}" cannot be read: ${errorLine(error)}. Choose another filename.`, {
      cause: error,
    });
  }
  const info = fstatSync(fd);
  if (info.isFile() || info.isCharacterDevice() || info.isFIFO()) return fd;
  closeSync(fd);
  throw new RingsideError(
    'not-a-file',
    `"${file}" is not a file or device with random bytes. Choose another filename.`,
  );
}
