/** What PCI devices and buses have in common, as types. */
import type { TypeInfo } from '../qom/object.ts';

export const PCI_BASE_TYPES: readonly TypeInfo[] = [
  { name: 'PCI', parent: 'bus', internal: true },
  { name: 'PCIE', parent: 'PCI', internal: true },
  {
    name: 'pci-device',
    parent: 'device',
    abstract: true,
    bus: 'PCI',
    properties: [
      {
        name: 'addr',
        kind: 'string',
        default: null,
        typeName: 'int32',
        description: 'slot and optional function number, hexadecimal, e.g. 06.0 or 06; without it the first free slot',
      },
      {
        name: 'multifunction',
        kind: 'bool',
        default: false,
        description: 'other functions of the slot may be there (on function 0)',
      },
    ],
  },
];
