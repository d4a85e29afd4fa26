/** The type memory-backend-file (QEMU: backends/hostmem-file.c): a file as guest memory, for a device that names it. */
import { errorLine, RingsideError } from '../errors.ts';
import type { TypeInfo } from '../qom/object.ts';
import type { PropertySpec } from '../qom/property.ts';
import { readProperty } from '../qom/property-value.ts';
import { regionSpace } from './file-region.ts';

const NAME = 'memory-backend-file';
const SIZE: PropertySpec = { name: 'size', kind: 'size', default: 0n, description: 'bytes, a multiple of 2 MiB' };

export const MEMORY_BACKEND_FILE_TYPE: TypeInfo = {
  name: NAME,
  parent: 'user-creatable',
  description: 'a file as memory, for virtio-pmem',
  properties: [
    {
      name: 'mem-path',
      kind: 'string',
      default: null,
      holds: 'file',
      required: true,
      description: 'host path of the file; made when it is not there',
    },
    SIZE,
    { name: 'share', kind: 'bool', default: false, description: 'what the guest writes goes to the file' },
  ],
  realize(object, { host, regions, warn }) {
    const file = object.value<string | null>('mem-path');
    if (file === null) throw new RingsideError('bad-option', 'mem-path: name the file');
    const size = Number(object.value<bigint>('size'));
    const region = regions.open(host, { file, size, share: object.value<boolean>('share') });
    object.onClose(() => {
      try {
        region.close();
      } catch (error) {
        warn(`"${file}" was not closed cleanly: ${errorLine(error)}. What the guest wrote last may not be in it.`);
      }
    });
    for (const warning of region.warnings) warn(warning);
    object.instance = region;
  },
};

/**
 * Bytes behind RAM that the files among a configuration's objects need.
 *
 * @throws RingsideError 'bad-option' for a size that is none
 */
export function fileRegionSpace(ramSize: number, objects: readonly { type: string; size?: unknown }[]): number {
  const sizes = objects
    .filter(({ type, size }) => type === NAME && size !== undefined)
    .map(({ size }) => Number(readProperty(SIZE, size) as bigint));
  return regionSpace(ramSize, sizes);
}
