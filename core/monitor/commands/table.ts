/** All commands of QMP: the one table that the dispatcher, the schema and docs/monitor.md go by. */
import { BACKEND_COMMANDS } from './backends.ts';
import { BLOCK_COMMANDS } from './block.ts';
import { BLOCKSTATS_COMMANDS } from './blockstats.ts';
import { CHARDEV_COMMANDS } from './chardev.ts';
import type { QmpCommand } from './command.ts';
import { INPUT_COMMANDS } from './input.ts';
import { INTERRUPT_COMMANDS } from './interrupts.ts';
import { INTROSPECTION_COMMANDS } from './introspect.ts';
import { JIT_COMMANDS } from './jit.ts';
import { MACHINE_COMMANDS } from './machine.ts';
import { NETWORK_COMMANDS } from './network.ts';
import { PCI_COMMANDS } from './pci.ts';
import { PROBE_COMMANDS } from './probes.ts';
import { QOM_COMMANDS } from './qom.ts';
import { VIRTIO_COMMANDS } from './virtio.ts';

export const QMP_COMMANDS: readonly QmpCommand[] = [
  ...INTROSPECTION_COMMANDS,
  ...MACHINE_COMMANDS,
  ...QOM_COMMANDS,
  ...BACKEND_COMMANDS,
  ...BLOCKSTATS_COMMANDS,
  ...BLOCK_COMMANDS,
  ...INPUT_COMMANDS,
  ...CHARDEV_COMMANDS,
  ...INTERRUPT_COMMANDS,
  ...JIT_COMMANDS,
  ...NETWORK_COMMANDS,
  ...PCI_COMMANDS,
  ...PROBE_COMMANDS,
  ...VIRTIO_COMMANDS,
];
