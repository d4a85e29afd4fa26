/** The board's buses and what sits on them, for "info qtree". */
import type { BusNode, DeviceNode } from '../monitor/target.ts';
import type { QomBus, QomObject } from '../qom/object.ts';
import type { Json } from '../monitor/qmp/json.ts';
import { pciLines } from './monitor-pci.ts';
import { INTX_LINES } from '../pci/intx.ts';
import type { ObjectTree } from '../qom/tree.ts';
import type { SerialPort } from '../virtio/console/device.ts';
import { placesOf } from './monitor-memory.ts';

export function busTree(tree: ObjectTree): BusNode {
  const [system] = tree.buses().filter(({ type }) => type.isA('System'));
  return { ...busNode(system), name: 'main-system-bus' };
}

function busNode(bus: QomBus): BusNode {
  // The newest first, as in QEMU.
  return { name: bus.name, type: bus.type.name, devices: bus.devices.toReversed().map(deviceNode) };
}

/** Lines for interrupts that a device of the board has, by its type, as QEMU's have them. */
const GPIO: Readonly<Record<string, (device: QomObject) => string[]>> = {
  goldfish_rtc: () => [sysbusIrq(1)],
  'serial-mm': () => [sysbusIrq(1)],
  'virtio-mmio': () => [sysbusIrq(1)],
  'gpex-pcihost': () => [sysbusIrq(INTX_LINES)],
  'riscv.sifive.plic': (device) => [
    gpioIn(device.value('num-sources')),
    gpioOut(device.value<string>('hart-config').replaceAll(',', '').length),
  ],
  'riscv.aplic': (device) => [
    ...(device.value<boolean>('mmode') ? [gpioIn(device.value('num-irqs'))] : []),
    ...(device.value<boolean>('msimode') ? [] : [gpioOut(device.value('num-harts'))]),
  ],
  'riscv.imsic': () => [gpioOut(1)],
  'riscv.aclint.mtimer': (device) => [gpioOut(device.value('num-harts'))],
  'riscv.aclint.swi': (device) => [gpioOut(device.value('num-harts'))],
};
const sysbusIrq = (count: number): string => `gpio-out "sysbus-irq" ${count}`;
const gpioIn = (count: number): string => `gpio-in "" ${count}`;
const gpioOut = (count: number): string => `gpio-out "" ${count}`;

function gpioLines(device: QomObject): string[] {
  return device.type.name in GPIO ? GPIO[device.type.name](device) : [];
}

/** What is said of a port of virtio-serial (QEMU: virtser_bus_dev_print()). A port whose output is dropped has no host. */
function portLines(device: QomObject): string[] {
  if (!device.type.isA('virtio-serial-port') || !device.realized) return [];
  const { nr, isConsole, guestOpen } = device.instance as SerialPort;
  const state = (on: boolean): string => (on ? 'on' : 'off');
  const host = isConsole || device.value<string | null>('chardev') !== null;
  return [`port ${nr}, guest ${state(guestOpen)}, host ${state(host)}, throttle off`];
}

function deviceNode(device: QomObject): DeviceNode {
  const properties = [...device.type.ownProperties.values()].map((spec) => ({
    name: spec.name,
    value: device.value(spec.name) as Json,
    kind: spec.kind === 'string' && spec.typeName !== undefined ? ('bare' as const) : spec.kind,
  }));
  const buses = device.buses.map(busNode);
  // The device in a PCI function hangs on a bus of its own, which has no other use.
  const { forward } = device;
  const own = forward === null ? [] : [{ name: 'virtio-bus', type: 'virtio-pci-bus', devices: [deviceNode(forward)] }];
  return {
    driver: device.type.name,
    id: device.id ?? '',
    gpio: gpioLines(device),
    properties,
    busLines: [...pciLines(device), ...portLines(device)],
    mmio: placesOf(device),
    buses: buses.length > 0 ? buses : own,
  };
}
