/** What -drive makes: an open image, which one device at a time may have. */
import { errorLine } from '../errors.ts';
import type { TypeInfo } from '../qom/object.ts';
import type { DiskOptions, OpenDisk } from './options.ts';
import { openDisk } from './open.ts';

/** What a device gets of its drive. */
export interface Drive extends OpenDisk {
  /** For a device that has none of its own. */
  readonly serial: string | null;
  /** For a device that leaves it to its drive (werror=auto). */
  readonly werror: 'report' | 'stop' | 'enospc' | 'ignore';
  readonly rerror: 'report' | 'stop' | 'ignore';
}

export const DRIVE_TYPE: TypeInfo = {
  name: 'drive',
  parent: 'object',
  description: 'a disk image',
  properties: [
    {
      name: 'file',
      kind: 'string',
      default: null,
      holds: 'file',
      required: true,
      description: 'host path of the image',
    },
    {
      name: 'format',
      kind: 'enum',
      values: ['raw', 'qcow2', 'auto'],
      default: 'raw',
      description: 'image format; auto: as the file says, never raw',
    },
    {
      name: 'backing',
      kind: 'enum',
      values: ['refuse', 'trust'],
      default: 'refuse',
      description: 'whether files are opened because the image names them (backing file, data file)',
    },
    {
      name: 'locking',
      kind: 'enum',
      values: ['auto', 'on', 'off'],
      default: 'auto',
      description: 'whether other programs are kept off the image; on: refuse where they cannot be',
    },
    { name: 'readonly', kind: 'bool', default: false, description: 'the guest cannot write' },
    { name: 'serial', kind: 'string', default: null, maxBytes: 20, description: 'serial number that the guest sees' },
    {
      name: 'werror',
      kind: 'enum',
      values: ['report', 'stop', 'enospc', 'ignore'],
      default: 'enospc',
      description: 'what a failed write does',
    },
    {
      name: 'rerror',
      kind: 'enum',
      values: ['report', 'stop', 'ignore'],
      default: 'report',
      description: 'what a failed read does',
    },
    {
      name: 'discard',
      kind: 'enum',
      values: ['unmap', 'ignore'],
      default: 'unmap',
      description: 'whether guest discards punch holes in the file',
    },
  ],
  realize(object, { host, warn }) {
    const opened = openDisk({
      file: object.value<string>('file'),
      format: object.value<NonNullable<DiskOptions['format']>>('format'),
      backing: object.value<NonNullable<DiskOptions['backing']>>('backing'),
      locking: object.value<NonNullable<DiskOptions['locking']>>('locking'),
      readonly: object.value<boolean>('readonly'),
      discard: object.value<string>('discard') as 'unmap' | 'ignore',
      host,
    });
    object.onClose(() => {
      try {
        opened.disk.close();
      } catch (error) {
        // Closed all the same; some file systems report here what they could not write.
        warn(`"${opened.disk.file}" was not closed cleanly: ${errorLine(error)}.`);
      }
    });
    for (const warning of opened.warnings) warn(warning);
    object.instance = {
      ...opened,
      serial: object.value<string | null>('serial'),
      werror: object.value<Drive['werror']>('werror'),
      rerror: object.value<Drive['rerror']>('rerror'),
    } satisfies Drive;
  },
};
