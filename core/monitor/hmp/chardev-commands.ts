/** HMP: character devices. */
import { MonitorError } from '../errors.ts';
import type { MonitorTarget } from '../target.ts';
import { takes } from './command.ts';
import type { HmpCommand } from './command.ts';
import { parseOptions } from './options.ts';

const labels = (target: MonitorTarget): string[] => target.chardevs.map(({ label }) => label);

/** `socket,id=c0,path=...`, in the keys of -chardev. */
function readBackend(args: string): { type: string; id: string | undefined; data: Record<string, string> } {
  const { backend, id, ...data } = parseOptions(args, 'backend');
  if (backend === undefined) throw new MonitorError("Parameter 'backend' is missing");
  return { type: backend, id, data };
}

function redirected({ pty }: { pty?: string }, id: string): string {
  return pty === undefined ? '' : `char device redirected to ${pty} (label ${id})\n`;
}

export const CHARDEV_HMP_COMMANDS: readonly HmpCommand[] = [
  {
    names: ['chardev-add'],
    args: [takes('args', 'rest')],
    params: 'args',
    help: 'add chardev',
    async run({ target, print }, { args }) {
      const { type, id, data } = readBackend(args as string);
      if (id === undefined) throw new MonitorError("Parameter 'id' is missing");
      print(redirected(await target.addChardev(id, { type, data }), id));
    },
  },
  {
    names: ['chardev-change'],
    args: [takes('id', 'string'), takes('args', 'rest')],
    params: 'id args',
    help: 'change chardev',
    async run({ target, print }, { id, args }) {
      const { type, data } = readBackend(args as string);
      print(redirected(await target.changeChardev(id as string, { type, data }), id as string));
    },
    complete: (target, _word, before) => (before.length === 0 ? labels(target) : []),
  },
  {
    names: ['chardev-remove'],
    args: [takes('id', 'string')],
    params: 'id',
    help: 'remove chardev',
    async run({ qmp }, { id }) {
      await qmp('chardev-remove', { id: id as string });
    },
    complete: labels,
  },
  {
    names: ['chardev-send-break'],
    args: [takes('id', 'string')],
    params: 'id',
    help: 'send a break on chardev',
    async run({ qmp }, { id }) {
      await qmp('chardev-send-break', { id: id as string });
    },
    complete: labels,
  },
  {
    names: ['ringbuf_write'],
    args: [takes('device', 'string'), takes('data', 'string')],
    params: 'device data',
    help: 'Write to a ring buffer character device',
    async run({ qmp }, { device, data }) {
      await qmp('ringbuf-write', { device: device as string, data: data as string });
    },
    complete: labels,
  },
  {
    names: ['ringbuf_read'],
    args: [takes('device', 'string'), takes('size', 'int')],
    params: 'device size',
    help: 'Read from a ring buffer character device',
    async run({ qmp, print }, { device, size }) {
      const text = (await qmp('ringbuf-read', { device: device as string, size: size as bigint })) as string;
      print(`${escaped(text)}\n`);
    },
    complete: labels,
  },
];

/** As QEMU prints it: control characters but for line ends and tabs are written as \ooo. */
function escaped(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replaceAll(/[\\\x00-\x08\x0b-\x1f\x7f]/g, (character) =>
    character === '\\' ? '\\\\' : `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`,
  );
}
