/** HMP: disks that come and go. */
import { MonitorError } from '../errors.ts';
import { flag, takes } from './command.ts';
import type { HmpCommand } from './command.ts';
import { parseOptions } from './options.ts';

export const BLOCK_COMMANDS: readonly HmpCommand[] = [
  {
    names: ['drive_add'],
    args: [flag('node', 'n'), takes('address', 'string'), takes('options', 'options')],
    params: '[-n] [[<domain>:]<bus>:]<slot>\n[file=file][,if=none][,id=str][,format=raw][,readonly=on|off]...',
    help: 'add drive, for a device that is added',
    // The address is QEMU's, for what it could once do without device_add; it is not used.
    async run({ target, print }, { options }) {
      const { if: bus = 'none', id, ...properties } = parseOptions(options as string, 'file');
      if (bus !== 'none') throw new MonitorError(`Can't hot-add drive to type ${bus}`);
      if (id === undefined) throw new MonitorError("Parameter 'id' is missing");
      if (properties['file'] === undefined) throw new MonitorError("Parameter 'file' is missing");
      await target.addDrive(id, properties, { withDevice: true });
      print('OK\n');
    },
  },
  {
    names: ['drive_del'],
    args: [takes('id', 'block')],
    params: 'device',
    help: 'remove host block device that no guest device uses',
    run: ({ target }, { id }) => target.removeDrive(id as string),
    complete: (target) => target.blocks.map(({ device }) => device),
  },
];
