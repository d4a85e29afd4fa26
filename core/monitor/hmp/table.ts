/** All commands of HMP. */
import { BLOCK_COMMANDS } from './block-commands.ts';
import { CHARDEV_HMP_COMMANDS } from './chardev-commands.ts';
import type { HmpCommand } from './command.ts';
import { DEVICE_COMMANDS, DEVICE_INFO } from './device-commands.ts';
import { INFO_COMMANDS } from './info-commands.ts';
import { INPUT_COMMANDS, INPUT_INFO } from './input-commands.ts';
import { MEMORY_COMMANDS, MEMORY_INFO } from './memory-commands.ts';
import { NETWORK_COMMANDS, NETWORK_INFO } from './network-commands.ts';
import { RUN_COMMANDS } from './run-commands.ts';
import { VIRTIO_INFO } from './virtio-info.ts';

const byName = (a: HmpCommand, b: HmpCommand): number => (a.names[0] < b.names[0] ? -1 : 1);

export const HMP_COMMANDS: readonly HmpCommand[] = [
  ...RUN_COMMANDS,
  ...MEMORY_COMMANDS,
  ...DEVICE_COMMANDS,
  ...NETWORK_COMMANDS,
  ...BLOCK_COMMANDS,
  ...INPUT_COMMANDS,
  ...CHARDEV_HMP_COMMANDS,
].sort(byName);
/** Those behind "info". */
export const HMP_INFO: readonly HmpCommand[] = [
  ...INFO_COMMANDS,
  ...MEMORY_INFO,
  ...DEVICE_INFO,
  ...NETWORK_INFO,
  ...INPUT_INFO,
  ...VIRTIO_INFO,
].sort(byName);

export function findCommand(commands: readonly HmpCommand[], name: string): HmpCommand | undefined {
  return commands.find(({ names }) => names.includes(name));
}
