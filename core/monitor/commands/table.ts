/** All commands of QMP: the one table that the dispatcher, the schema and docs/monitor.md go by. */
import { BACKEND_COMMANDS } from './backends.ts';
import { BLOCK_COMMANDS } from './block.ts';
import type { QmpCommand } from './command.ts';
import { INTERRUPT_COMMANDS } from './interrupts.ts';
import { INTROSPECTION_COMMANDS } from './introspect.ts';
import { MACHINE_COMMANDS } from './machine.ts';
import { NETWORK_COMMANDS } from './network.ts';
import { PCI_COMMANDS } from './pci.ts';
import { QOM_COMMANDS } from './qom.ts';
import { VIRTIO_COMMANDS } from './virtio.ts';

export const QMP_COMMANDS: readonly QmpCommand[] = [
  ...INTROSPECTION_COMMANDS,
  ...MACHINE_COMMANDS,
  ...QOM_COMMANDS,
  ...BACKEND_COMMANDS,
  ...BLOCK_COMMANDS,
  ...INTERRUPT_COMMANDS,
  ...NETWORK_COMMANDS,
  ...PCI_COMMANDS,
  ...VIRTIO_COMMANDS,
];
