/** `-virtfs`: a shared folder in one option, as QEMU spells it. It stands for an -fsdev and a virtio-9p device. */
import type { BackendConfig } from '../../../core/api/machine.ts';
import { RingsideError } from '../../../core/errors.ts';
import { type DeviceOption, parseBackend, parseDevice } from './qdev.ts';
import { type KeyTable, badOption, splitList, text } from './syntax.ts';

/** For the help only: the others are those of -fsdev. */
export const VIRTFS_KEYS: KeyTable = {
  mount_tag: text('TAG', 'the name by which the guest mounts it'),
  id: text('ID', 'name of the -fsdev that is made; by default the tag'),
};

const ID = /^[A-Za-z][\w.-]*$/;
const quoted = (value: string): string => value.replaceAll(',', ',,');

/**
 * @param count of those that were before it
 * @throws RingsideError bad-option
 */
export function parseVirtfs(value: string, count: number): { fsdev: BackendConfig; device: DeviceOption } {
  const entries = splitList(value);
  const take = (key: string): string | undefined => {
    const at = entries.findIndex((entry) => entry.key === key);
    return at < 0 ? undefined : entries.splice(at, 1)[0].value;
  };
  const tag = take('mount_tag');
  const wanted = take('id');
  if (tag === undefined || tag === '') throw badOption('-virtfs', 'what does the guest call it? Give mount_tag=TAG');
  // A tag may be anything, an id may not.
  const id = wanted ?? (ID.test(tag) ? tag : `virtfs${count}`);
  const [driver, ...rest] = entries.map((entry) =>
    entry.value === undefined ? entry.key : `${entry.key}=${quoted(entry.value)}`,
  );
  try {
    const fsdev = parseBackend('-fsdev', [driver ?? '', `id=${quoted(id)}`, ...rest].join(','));
    const device = parseDevice(`virtio-9p-pci,fsdev=${quoted(id)},mount_tag=${quoted(tag)}`);
    return { fsdev, device };
  } catch (error) {
    if (!(error instanceof RingsideError)) throw error;
    throw badOption('-virtfs', error.message.replace(/^-(fsdev|device)[^:]*: /, ''));
  }
}
