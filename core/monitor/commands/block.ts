/** Disks that come and go (qapi/block-core.json). */
import { MonitorError } from '../errors.ts';
import { bool, object, oneOf, optional, str } from '../schema.ts';
import type { Json } from '../qmp/json.ts';
import { action } from './command.ts';

const file = object('BlockdevOptionsFile', { driver: oneOf('BlockdevFileDriver', ['file']), filename: str });

export const BLOCK_COMMANDS = [
  action('blockdev-add', {
    help: 'opens an image, for a device that is added; it stays when the device goes',
    args: object('BlockdevOptions', {
      driver: oneOf('BlockdevDriver', ['raw', 'qcow2', 'file']),
      'node-name': str,
      file: optional(file),
      filename: optional(str),
      'read-only': optional(bool),
      discard: optional(oneOf('BlockdevDiscardOptions', ['ignore', 'unmap'])),
    }),
    async run({ target }, args) {
      const nested = args.driver !== 'file';
      const path = nested ? args.file?.filename : args.filename;
      if (path === undefined) throw new MonitorError(`Parameter '${nested ? 'file' : 'filename'}' is missing`);
      const properties: Record<string, Json> = { file: path, format: nested ? args.driver : 'raw' };
      if (args['read-only'] !== undefined) properties['readonly'] = args['read-only'];
      if (args.discard !== undefined) properties['discard'] = args.discard;
      await target.addDrive(args['node-name'], properties, { withDevice: false });
    },
  }),
  action('blockdev-del', {
    help: 'closes an image that no device uses',
    args: object('blockdev-del-arg', { 'node-name': str }),
    run: ({ target }, { 'node-name': id }) => target.removeDrive(id),
  }),
];
