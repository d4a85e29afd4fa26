/** How memory regions are made for "info mtree". */
import type { MemoryRegion } from '../monitor/target.ts';
import type { QomObject } from '../qom/object.ts';

/** Bytes of all memory. */
export const WHOLE = 2n ** 64n;

/** A region of device registers, if nothing else is said. */
export function region(name: string, offset: bigint, size: bigint, more: Partial<MemoryRegion> = {}): MemoryRegion {
  return { name, offset, size, priority: 0, kind: 'i/o', owner: '', children: [], ...more };
}

/** As "info mtree -o" has it. */
export function ownerOf(object: QomObject): string {
  const kind = object.type.isA('device') ? 'dev' : 'obj';
  return object.id === null ? `owner:{${kind} path=${object.path}}` : `owner:{${kind} id=${object.id}}`;
}
