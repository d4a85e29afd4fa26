/** HMP: info about the machine and what is behind its devices. */
import { blockNodes } from '../commands/backends.ts';
import { blockStatsText } from '../commands/blockstats.ts';
import { interruptCounts } from '../commands/interrupts.ts';
import { jitText } from '../commands/jit.ts';
import { QEMU_VERSION } from '../commands/machine.ts';
import { pciBuses, pciClass } from '../commands/pci.ts';
import { findObject } from '../commands/qom.ts';
import { MonitorError } from '../errors.ts';
import { flatViews, memoryTree } from '../memory-tree.ts';
import type {
  BlockInfo,
  BusNode,
  DeviceNode,
  InterruptController,
  MemoryBackendInfo,
  MemoryDeviceInfo,
  PciDeviceInfo,
  QomObject,
} from '../target.ts';
import { flag, takes } from './command.ts';
import type { HmpCommand, HmpContext } from './command.ts';
import { completePath } from './device-commands.ts';

function info(name: string, help: string, text: (context: HmpContext) => string): HmpCommand {
  return {
    names: [name],
    args: [],
    params: '',
    help,
    run(context) {
      context.print(text(context));
    },
  };
}

const hex16 = (value: bigint): string => BigInt.asUintN(64, value).toString(16).padStart(16, '0');
const hex4 = (value: number): string => value.toString(16).padStart(4, '0');

/** e.g. "64 MiB". */
function bytesText(value: number | bigint): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
  let amount = Number(value);
  let unit = 0;
  while (amount >= 1000 && unit < units.length - 1) {
    amount /= 1024;
    unit++;
  }
  return `${Number(amount.toPrecision(3))} ${units[unit]}`;
}

function blockText(block: BlockInfo, verbose: boolean): string {
  const { device, nodeName, file, format, qdev, cache, virtualSize, actualSize } = block;
  let text = `${device} (${nodeName}): ${file} (${format}${block.readonly ? ', read-only' : ''})\n`;
  if (qdev !== null) text += `    Attached to:      ${qdev}\n`;
  if (block.ioStatus !== 'ok') text += `    I/O status:       ${block.ioStatus}\n`;
  const modes = [
    cache.writeback ? 'writeback' : 'writethrough',
    ...(cache.direct ? ['direct'] : []),
    ...(cache.noFlush ? ['ignore flushes'] : []),
  ];
  text += `    Cache mode:       ${modes.join(', ')}\n`;
  if (!verbose) return text;
  text += `\nImages:\nimage: ${file}\nfile format: ${format}\n`;
  text += `virtual size: ${bytesText(virtualSize)} (${virtualSize} bytes)\ndisk size: ${bytesText(actualSize)}\n`;
  return text;
}

function nodeText({ 'node-name': name, file, drv, ro }: ReturnType<typeof blockNodes>[number]): string {
  return `${name ?? ''}: ${file} (${drv}${ro ? ', read-only' : ''})\n    Cache mode:       writeback\n`;
}

function qtree(bus: BusNode, depth: number): string {
  const indent = '  '.repeat(depth);
  let text = `${indent}bus: ${bus.name}\n${indent}  type ${bus.type}\n`;
  for (const device of bus.devices) text += qtreeDevice(device, depth + 1);
  return text;
}

function qtreeDevice(device: DeviceNode, depth: number): string {
  const indent = '  '.repeat(depth);
  const inner = `${indent}  `;
  let text = `${indent}dev: ${device.driver}, id "${device.id}"\n`;
  for (const line of device.gpio) text += `${inner}${line}\n`;
  for (const { name, value, kind } of device.properties) text += `${inner}${name} = ${propertyText(value, kind)}\n`;
  for (const line of device.busLines) text += `${inner}${line}\n`;
  for (const { address, size } of device.mmio) text += `${inner}mmio ${hex16(address)}/${hex16(size)}\n`;
  for (const bus of device.buses) text += qtree(bus, depth + 1);
  return text;
}

function propertyText(value: DeviceNode['properties'][number]['value'], kind: string): string {
  if (value === null) return '""';
  if (typeof value === 'string') return kind === 'bare' ? value : `"${value}"`;
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number' || typeof value === 'bigint') {
    return kind === 'size'
      ? `${value} (${bytesText(value)})`
      : `${value} (0x${BigInt.asUintN(64, BigInt(value)).toString(16)})`;
  }
  return Array.isArray(value) ? `[${value.map((item) => propertyText(item, kind)).join(', ')}]` : '{}';
}

/** Lines that "info qom-tree" prints at most. */
const TREE_LINES = 20_000;

function qomTree(root: QomObject): string {
  const lines: string[] = [];
  const walk = (object: QomObject, label: string, depth: number): void => {
    if (lines.length >= TREE_LINES) return;
    lines.push(`${'  '.repeat(depth)}/${label} (${object.type})\n`);
    for (const { name, object: child } of object.children) walk(child, name, depth + 1);
  };
  walk(root, root.path === '/' ? '' : root.path.slice(1).split('/').at(-1)!, 0);
  return lines.join('');
}

function pciText(device: PciDeviceInfo): string {
  const description = pciClass(device.classCode) ?? `Class ${String(device.classCode).padStart(4, '0')}`;
  let text = `  Bus ${String(device.bus).padStart(2)}, device ${String(device.slot).padStart(3)}, function ${device.function}:\n`;
  text += `    ${description}: PCI device ${hex4(device.vendor)}:${hex4(device.device)}\n`;
  if (device.subsystemVendor !== null && device.subsystem !== null) {
    text += `      PCI subsystem ${hex4(device.subsystemVendor)}:${hex4(device.subsystem)}\n`;
  }
  if (device.irqPin > 0) text += `      IRQ ${device.irq ?? 0}, pin ${String.fromCharCode(0x40 + device.irqPin)}\n`;
  const { bridge } = device;
  if (bridge !== null) {
    const span = ({ base, limit }: { base: bigint; limit: bigint }, width: number): string =>
      `[0x${base.toString(16).padStart(width, '0')}, 0x${limit.toString(16).padStart(width, '0')}]`;
    text += `      BUS ${bridge.primary}.\n      secondary bus ${bridge.secondary}.\n`;
    text += `      subordinate bus ${bridge.subordinate}.\n`;
    text += `      IO range ${span(bridge.io, 4)}\n      memory range ${span(bridge.memory, 8)}\n`;
    text += `      prefetchable memory range ${span(bridge.prefetchable, 8)}\n`;
  }
  for (const { bar, type, address, size, prefetch, mem64 } of device.regions) {
    text += `      BAR${bar}: `;
    const end = BigInt.asUintN(64, address + size - 1n);
    if (type === 'io') {
      text += `I/O at 0x${address.toString(16).padStart(4, '0')} [0x${end.toString(16).padStart(4, '0')}].\n`;
    } else {
      text += `${mem64 ? 64 : 32} bit${prefetch ? ' prefetchable' : ''} memory at `;
      text += `0x${address.toString(16).padStart(8, '0')} [0x${end.toString(16).padStart(8, '0')}].\n`;
    }
  }
  text += `      id "${device.qdevId}"\n`;
  for (const behind of bridge?.devices ?? []) text += pciText(behind);
  return text;
}

/** QEMU's headings, in its order. */
const CATEGORIES: readonly [string, string][] = [
  ['bridge', 'Controller/Bridge/Hub'],
  ['storage', 'Storage'],
  ['network', 'Network'],
  ['input', 'Input'],
  ['display', 'Display'],
  ['sound', 'Sound'],
  ['misc', 'Misc'],
];

function deviceModels({ target }: HmpContext): string {
  const devices = target.qom.types().filter(({ device, abstract }) => device !== null && !abstract);
  const known = new Set(CATEGORIES.map(([key]) => key));
  const sections: string[] = [];
  for (const [key, heading] of [...CATEGORIES, ['', 'Uncategorized'] as const]) {
    const lines = devices
      .filter(({ device }) => (key === '' ? !known.has(device!.category) : device!.category === key))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ name, description, device }) => {
        const bus = device!.bus === null ? '' : `, bus ${device!.bus}`;
        const text = description === null ? '' : `, desc "${description}"`;
        return `name "${name}"${bus}${text}${device!.userCreatable ? '' : ', no-user'}\n`;
      });
    if (lines.length > 0) sections.push(`${heading} devices:\n${lines.join('')}`);
  }
  return sections.join('\n');
}

function memoryBackendText({ id, size, share }: MemoryBackendInfo): string {
  return (
    `memory backend: ${id}\n  size:  ${size}\n  merge: true\n  dump: true\n  prealloc: false\n  share: ${share}\n` +
    '  reserve: true\n  policy: default\n  host nodes: \n\n'
  );
}

function memoryDeviceText({ id, address, size, memdev }: MemoryDeviceInfo): string {
  return (
    `Memory device [virtio-pmem]: "${id ?? ''}"\n  memaddr: 0x${address.toString(16)}\n  size: ${size}\n` +
    `  memdev: ${memdev}\n`
  );
}

function controllerText({ name, inputs }: InterruptController): string {
  const rows = inputs.map(({ number, level, pending, claimed, priority, enabledFor, from }) => {
    const words = [
      ...(level === null ? [] : [`level ${Number(level)}`]),
      `pending ${Number(pending)}`,
      ...(level === null ? [] : [`claimed ${Number(claimed)}`]),
      ...(priority === null ? [] : [`priority ${priority}`]),
    ];
    const to = enabledFor.length === 0 ? 'disabled' : `to ${enabledFor.join(', ')}`;
    return `${String(number).padStart(3)}: ${words.join(' ')} ${to}${from.length === 0 ? '' : ` (${from.join(', ')})`}\n`;
  });
  return `${name}:\n${rows.join('')}`;
}

export const INFO_COMMANDS: readonly HmpCommand[] = [
  {
    names: ['block'],
    args: [flag('nodes', 'n'), flag('verbose', 'v'), takes('device', 'block', true)],
    params: '[-n] [-v] [device]',
    help: 'show info of one block device or all block devices (-n: show named nodes; -v: show details)',
    run({ target, print }, { nodes, verbose, device }) {
      if (nodes === true) return print(blockNodes(target).map(nodeText).join('\n'));
      const blocks = target.blocks.filter((block) => device === undefined || block.device === device);
      if (device !== undefined && blocks.length === 0) throw new MonitorError(`Device '${device as string}' not found`);
      print(blocks.map((block) => blockText(block, verbose === true)).join('\n'));
    },
    complete: (target) => target.blocks.map(({ device }) => device),
  },
  info('blockstats', 'show block device statistics', ({ target }) => target.blocks.map(blockStatsText).join('')),
  info('chardev', 'show the character devices', ({ target }) =>
    target.chardevs.map(({ label, filename }) => `${label}: filename=${filename}\n`).join(''),
  ),
  info('cpus', 'show infos for each CPU', ({ target, state }) =>
    target.cpus
      .map(({ index, threadId }) => `${index === state.cpu ? '*' : ' '} CPU #${index}: thread_id=${threadId}\n`)
      .join(''),
  ),
  info('history', 'show the command line history', ({ state }) =>
    state.history.map((line, index) => `${index}: '${line}'\n`).join(''),
  ),
  info('iothreads', 'show iothreads', ({ target }) =>
    target.iothreads
      .map(
        ({ id, threadId, tuning: { pollMaxNs, pollGrow, pollShrink, maxBatch } }) =>
          `${id}:\n  thread_id=${threadId}\n  poll-max-ns=${pollMaxNs}\n  poll-grow=${pollGrow}\n` +
          `  poll-shrink=${pollShrink}\n  aio-max-batch=${maxBatch}\n`,
      )
      .join(''),
  ),
  info('irq', 'show the interrupts statistics (if available)', ({ target }) => interruptCounts(target)),
  info('pic', 'show PIC state', ({ target }) => target.interrupts.map(controllerText).join('')),
  info('jit', 'show dynamic compiler info', ({ target }) => jitText(target)),
  info('kvm', 'show KVM information', () => 'kvm support: not compiled\n'),
  info('memdev', 'show memory backends', ({ target }) => target.memoryBackends.map(memoryBackendText).join('')),
  info('memory-devices', 'show memory devices', ({ target }) => target.memoryDevices.map(memoryDeviceText).join('')),
  info(
    'memory_size_summary',
    'show the amount of initially allocated and present hotpluggable (if enabled) memory in bytes.',
    ({ target }) => `base memory: ${target.ramSize}\n`,
  ),
  {
    names: ['mtree'],
    args: [flag('flatview', 'f'), flag('dispatch_tree', 'd'), flag('owner', 'o'), flag('disabled', 'D')],
    params: '[-f][-d][-o][-D]',
    help: 'show memory tree (-f: dump flat view for address spaces;-d: dump dispatch tree, valid with -f only);-o: dump region owners/parents;-D: dump disabled regions',
    run({ target, print }, { flatview, owner, disabled }) {
      const owners = owner === true;
      if (flatview === true) print(flatViews(target.addressSpaces, owners));
      else print(memoryTree(target.addressSpaces, { owners, disabled: disabled === true }));
    },
  },
  info('name', 'show the current VM name', ({ target }) => (target.name === null ? '' : `${target.name}\n`)),
  info('pci', 'show PCI info', ({ target }) => {
    if (target.pci === null) return 'PCI devices not supported\n';
    return pciBuses(target)
      .flatMap(({ devices }) => devices)
      .map(pciText)
      .join('');
  }),
  info('qdm', 'show qdev device model list', deviceModels),
  {
    names: ['qom-tree'],
    args: [takes('path', 'string', true)],
    params: '[path]',
    help: 'show QOM composition tree',
    run({ target, print }, { path }) {
      print(qomTree(findObject(target, (path as string | undefined) ?? '/machine')));
    },
    complete: (target, word) => completePath(target, word),
  },
  info('qtree', 'show device tree', ({ target }) => qtree(target.busTree, 0)),
  info('roms', 'show roms', ({ target }) =>
    target.roms
      .map(
        ({ name, address, size, memory }) =>
          `addr=${hex16(address)} size=0x${size.toString(16).padStart(6, '0')} mem=${memory} name="${name}"\n`,
      )
      .join(''),
  ),
  info('status', 'show the current VM status (running|paused)', ({ target: { runState } }) => {
    const shown = runState === 'running' ? 'running' : 'paused';
    const why = runState === 'running' || runState === 'paused' ? '' : ` (${runState})`;
    return `VM status: ${shown}${why}\n`;
  }),
  info('uuid', 'show the current VM UUID', () => '00000000-0000-0000-0000-000000000000\n'),
  info('version', 'show the version of QEMU', ({ version }) => {
    const { major, minor, micro } = QEMU_VERSION;
    return `${major}.${minor}.${micro} (Ringside ${version.ringside})\n`;
  }),
];
