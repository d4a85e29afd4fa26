/** What is behind a machine's devices, as the monitor shows it: disks, character devices, I/O threads, memory. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import type { Drive } from '../block/drive-type.ts';
import type { FileRegion } from '../memory/file-region.ts';
import type { BlockInfo, ChardevInfo, IoThreadInfo, MemoryBackendInfo, MemoryDeviceInfo } from '../monitor/target.ts';
import type { QomObject } from '../qom/object.ts';
import type { ObjectTree } from '../qom/tree.ts';
import { BlkDevice } from '../virtio/blk/device.ts';
import { PmemDevice } from '../virtio/pmem/device.ts';
import { PMEM_CONFIG_SIZE, PMEM_CONFIG_START } from '../virtio/spec/pmem.ts';
import type { SerialPort } from '../virtio/console/device.ts';
import type { Chardevs } from './chardevs.ts';
import { virtioInstance } from '../virtio/proxy.ts';
import type { IoThreadHandle } from '../worker/iothread-handle.ts';

function backends(tree: ObjectTree, kind: 'object' | 'drive'): QomObject[] {
  const container = tree.find(`/${kind}s`);
  return container === null ? [] : [...container.children.values()].filter(({ realized }) => realized);
}

/** Numbers of block nodes, which they keep as long as they are there: that of the format, and before it that of the file. */
const nodes = new WeakMap<object, number>();
const counts = new WeakMap<ObjectTree, number>();

function nodeNumber(tree: ObjectTree, object: QomObject): number {
  let number = nodes.get(object);
  if (number === undefined) {
    number = counts.get(tree) ?? 0;
    counts.set(tree, number + 2);
    nodes.set(object, number);
  }
  return number;
}

/** A drive, and what its device is called in messages; null without. */
export interface UsedBlock extends BlockInfo {
  readonly user: string | null;
}

/** @param ioStatus of devices with errors, by what they are called in messages */
export function blockInfos(tree: ObjectTree, ioStatus: ReadonlyMap<string, BlockInfo['ioStatus']>): UsedBlock[] {
  const users = new Map<string, QomObject>();
  for (const object of tree.root.walk()) {
    if (!object.type.isA('virtio-device') || !object.type.properties.has('drive')) continue;
    const drive = object.value<string | null>('drive');
    if (drive !== null) users.set(drive, object);
  }
  return backends(tree, 'drive').map((object) => {
    const { disk } = object.instance as Drive;
    const user = users.get(object.id!);
    const qdev = user === undefined ? null : (user.id ?? user.path);
    const number = nodeNumber(tree, object);
    const device = user === undefined ? null : (virtioInstance(user)?.device ?? null);
    return {
      user: device?.id ?? null,
      device: object.id!,
      nodeName: `#block${number + 1}`,
      fileNode: `#block${number}`,
      file: disk.file,
      format: object.value<string>('format'),
      virtualSize: disk.size,
      actualSize: allocated(disk.file),
      readonly: disk.readonly,
      qdev,
      ioStatus: ioStatus.get(device?.id ?? '') ?? 'ok',
      cache: { writeback: true, direct: false, noFlush: false },
      statistics: device instanceof BlkDevice ? device.statistics : null,
    };
  });
}

/** Bytes that a file takes on its disk; 0 when that cannot be told. */
function allocated(file: string): number {
  try {
    return statSync(file).blocks * 512;
  } catch {
    return 0;
  }
}

export function chardevInfos(tree: ObjectTree, chardevs: ReturnType<Chardevs['list']>): ChardevInfo[] {
  const ports = new Map<string, SerialPort>();
  for (const object of tree.root.walk()) {
    if (!object.type.isA('virtio-serial-port') || !object.realized) continue;
    const chardev = object.value<string | null>('chardev');
    if (chardev !== null) ports.set(chardev, object.instance as SerialPort);
  }
  return chardevs.map(({ id, filename, user }) => {
    const port = ports.get(id);
    // Consoles are open as soon as they are there, and so are the UART and monitors.
    const frontendOpen = port === undefined ? user !== null : port.isConsole || port.guestOpen;
    return { label: id, filename, frontendOpen };
  });
}

export function ioThreadInfos(tree: ObjectTree): IoThreadInfo[] {
  const threads = threadIds();
  return backends(tree, 'object')
    .filter(({ type }) => type.isA('iothread'))
    .map(({ id, instance }) => {
      const { index, tuning } = instance as IoThreadHandle;
      return { id: id!, threadId: threads.get(`iothread${index}`) ?? process.pid, tuning };
    });
}

export function memoryBackendInfos(tree: ObjectTree): MemoryBackendInfo[] {
  return backends(tree, 'object')
    .filter(({ type }) => type.isA('memory-backend-file'))
    .map((object) => ({
      id: object.id!,
      size: (object.instance as FileRegion).size,
      share: object.value<boolean>('share'),
    }));
}

export function memoryDeviceInfos(tree: ObjectTree): MemoryDeviceInfo[] {
  const found: MemoryDeviceInfo[] = [];
  for (const object of tree.root.walk()) {
    const device = object.type.isA('virtio-pmem-device') ? virtioInstance(object)?.device : undefined;
    if (!(device instanceof PmemDevice)) continue;
    const owner = object.id === null ? object.parent : object;
    found.push({
      id: owner?.id ?? null,
      address: device.config.get(PMEM_CONFIG_START),
      size: device.config.get(PMEM_CONFIG_SIZE),
      memdev: `/objects/${object.value<string>('memdev')}`,
    });
  }
  return found;
}

/** The host's numbers of this process's threads, by name; empty where the host does not tell. */
export function threadIds(): Map<string, number> {
  const found = new Map<string, number>();
  try {
    for (const thread of readdirSync('/proc/self/task')) {
      found.set(readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trim(), Number(thread));
    }
  } catch {
    // Threads come and go, and not every host has this folder.
  }
  return found;
}
