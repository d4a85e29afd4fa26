/** The types that all others are derived from. */
import type { TypeInfo } from './object.ts';

export const BASE_TYPES: readonly TypeInfo[] = [
  { name: 'object', parent: null, abstract: true },
  { name: 'container', parent: 'object', internal: true },
  { name: 'device', parent: 'object', abstract: true },
  { name: 'bus', parent: 'object', abstract: true },
  { name: 'sys-bus-device', parent: 'device', abstract: true, bus: 'System' },
  { name: 'System', parent: 'bus', internal: true },
  /** What -object makes. */
  { name: 'user-creatable', parent: 'object', abstract: true },
  /** What -drive, -chardev, -netdev and -fsdev make: types of the names drive, chardev-X, netdev-X, fsdev-X. */
  { name: 'chardev', parent: 'object', abstract: true },
  { name: 'netdev', parent: 'object', abstract: true },
  { name: 'fsdev', parent: 'object', abstract: true },
];
