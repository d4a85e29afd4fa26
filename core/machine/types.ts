/** All types of objects that a machine can have. */
import { DRIVE_TYPE } from '../block/drive-type.ts';
import { PROGRAM_CHARDEV_TYPE } from '../chardev/program-type.ts';
import { CHARDEV_TYPES } from '../chardev/types.ts';
import { FSDEV_LOCAL_TYPE } from '../hostfs/fsdev-type.ts';
import { MEMORY_BACKEND_FILE_TYPE } from '../memory/file-region-type.ts';
import { NETDEV_QOM_TYPES } from '../net/types.ts';
import { PCI_BASE_TYPES } from '../pci/base-types.ts';
import { ROOT_PORT_TYPE } from '../pci/root-port-type.ts';
import { BASE_TYPES } from '../qom/base-types.ts';
import type { TypeInfo } from '../qom/object.ts';
import { TypeRegistry } from '../qom/registry.ts';
import { SERIAL_BUS_TYPES } from '../virtio/console/type.ts';
import { CRYPTODEV_BUILTIN_TYPE } from '../virtio/crypto/cryptodev-type.ts';
import { VIRTIO_DEVICE_TYPES } from '../virtio/device-types.ts';
import { VIRTIO_BASE_TYPES, virtioTypes } from '../virtio/proxy.ts';
import { RNG_SOURCE_TYPES } from '../virtio/rng/source.ts';
import { IOTHREAD_TYPE } from '../worker/iothread-type.ts';
import { BOARD_TYPES } from './board-types.ts';

/** What -object, -drive, -chardev, -netdev and -fsdev make. Those of -chardev are called chardev-TYPE, and so on. */
const BACKEND_TYPES: readonly TypeInfo[] = [
  CRYPTODEV_BUILTIN_TYPE,
  DRIVE_TYPE,
  PROGRAM_CHARDEV_TYPE,
  ...CHARDEV_TYPES,
  FSDEV_LOCAL_TYPE,
  IOTHREAD_TYPE,
  ...RNG_SOURCE_TYPES,
  MEMORY_BACKEND_FILE_TYPE,
  ...NETDEV_QOM_TYPES,
];

let registry: TypeRegistry | null = null;

export function machineTypes(): TypeRegistry {
  registry ??= new TypeRegistry().register(
    ...BASE_TYPES,
    ...PCI_BASE_TYPES,
    ROOT_PORT_TYPE,
    ...VIRTIO_BASE_TYPES,
    ...BOARD_TYPES,
    ...SERIAL_BUS_TYPES,
    ...BACKEND_TYPES,
    ...VIRTIO_DEVICE_TYPES.flatMap(virtioTypes),
  );
  return registry;
}
