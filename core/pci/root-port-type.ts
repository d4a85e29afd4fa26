/** The type pcie-root-port (QEMU: hw/pci-bridge/gen_pcie_root_port.c). */
import { RingsideError } from '../errors.ts';
import { QomBus } from '../qom/object.ts';
import type { HotplugHandler, PluggedDevice, QomObject, TypeInfo } from '../qom/object.ts';
import type { PropertySpec } from '../qom/property.ts';
import { parsePciAddress, pciAddressText } from './address.ts';
import type { PciPortBus } from './port-bus.ts';
import { NOTHING_RESERVED, PcieRootPort } from './root-port.ts';

/** Physical Slot Number has 13 bits. */
const SLOT_MAX = 0x1fff;
const SIZE_32_MAX = 0xffff_ffffn;

const reserve = (name: string, description: string): PropertySpec => ({
  name,
  kind: 'size',
  default: NOTHING_RESERVED.io,
  description: `${description} that firmware is asked to keep free behind it`,
});

export const ROOT_PORT_TYPE: TypeInfo = {
  name: 'pcie-root-port',
  parent: 'pci-device',
  category: 'bridge',
  description: 'PCI Express Root Port',
  properties: [
    { name: 'chassis', kind: 'u8', default: 0, description: 'chassis number; with `slot` it is unique' },
    { name: 'slot', kind: 'u16', default: 0, max: SLOT_MAX, description: 'physical slot number' },
    { name: 'port', kind: 'u8', default: 0, description: 'port number' },
    { name: 'hotplug', kind: 'bool', default: true, description: 'devices come and go while the machine runs' },
    {
      name: 'bus-reserve',
      kind: 'u32',
      default: NOTHING_RESERVED.bus,
      description: 'bus numbers that firmware is asked to keep free behind it',
    },
    reserve('io-reserve', 'I/O ports'),
    reserve('mem-reserve', 'bytes of memory below 4 GiB'),
    reserve('pref32-reserve', 'bytes of prefetchable memory below 4 GiB'),
    reserve('pref64-reserve', 'bytes of prefetchable memory'),
  ],
  realize(object) {
    const on = object.bus!.instance as PciPortBus;
    const name = object.id ?? object.name;
    if (on.bus.bridge) {
      throw new RingsideError(
        'bad-option',
        `a root port belongs on the root bus: give ${name} bus=${on.host.root.name}`,
      );
    }
    const reserved = {
      bus: object.value<number>('bus-reserve'),
      io: BigInt(object.value<bigint>('io-reserve')),
      mem32: size32(object, 'mem-reserve'),
      pref32: size32(object, 'pref32-reserve'),
      pref64: BigInt(object.value<bigint>('pref64-reserve')),
    };
    const place = { chassis: object.value<number>('chassis'), slot: object.value<number>('slot') };
    const multifunction = object.value<boolean>('multifunction');
    const intx = on.host.ports.take(name, place);
    object.onClose(() => on.host.ports.release(intx));
    const devfn = on.bus.reserve(name, parsePciAddress(object.value<string | null>('addr')), multifunction);
    const handler = new SlotHotplug();
    const port = new PcieRootPort({
      name,
      parent: on.bus,
      busName: object.id ?? freeBusName(object),
      port: object.value<number>('port'),
      slot: place.slot,
      hotplug: object.value<boolean>('hotplug'),
      multifunction,
      reserved,
      sink: on.sink,
      intx,
      onEject: () => handler.ejected(),
      onKept: () => handler.kept(),
    });
    handler.port = port;
    on.bus.add(port, devfn);
    object.assign('addr', pciAddressText(port));
    object.onClose(() => {
      port.retire();
      on.bus.remove(port);
    });
    const type = object.type.related('PCIE');
    const bus = new QomBus(type, { implementation: on.behind(port.bus), hotplug: handler });
    object.addChild(port.bus.name, bus);
    object.onClose(() => bus.remove());
    object.instance = port;
  },
};

/** @throws RingsideError 'bad-option' for what has no 32 bits */
function size32(object: QomObject, name: string): bigint {
  const size = BigInt(object.value<bigint>(name));
  if (size <= SIZE_32_MAX || size === NOTHING_RESERVED.mem32) return size;
  throw new RingsideError('bad-option', `${name}: "${size}" is 4 GiB or more`);
}

/** Of a port without an id: pcie.N, N from 1. */
function freeBusName(object: QomObject): string {
  const taken = new Set(object.bus!.devices.flatMap(({ buses }) => buses.map(({ name }) => name)));
  let n = 1;
  while (taken.has(`pcie.${n}`)) n++;
  return `pcie.${n}`;
}

/** Cards of the slot as the object model has them. All functions of a card come out together. */
class SlotHotplug implements HotplugHandler {
  port!: PcieRootPort;
  readonly #plugged = new Map<QomObject, PluggedDevice>();

  check(device: QomObject): void {
    const { slotRegisters, hotplug, name } = this.port;
    if (device.hotplugged && !hotplug) {
      throw new RingsideError('unsupported', `Hot-plug failed: unsupported by the port device '${name}'`);
    }
    if (slotRegisters.locked) throw locked();
  }

  plugged(device: QomObject, plugged: PluggedDevice): void {
    this.#plugged.set(device, plugged);
    this.port.slotRegisters.follow(device.hotplugged);
    this.port.host?.mappingChanged();
  }

  unplugRequest(device: QomObject): void {
    const { slotRegisters, hotplug, name, occupied } = this.port;
    if (!hotplug) {
      throw new RingsideError('unsupported', `Hot-unplug failed: unsupported by the port device '${name}'`);
    }
    if (slotRegisters.locked) throw locked();
    if (slotRegisters.busy) {
      throw new RingsideError('bad-state', 'Hot-unplug failed: guest is busy (power indicator blinking)');
    }
    // A driver does not look at a card without function 0, nor at one without power.
    if (!occupied) this.#plugged.get(device)?.remove();
    else if (!slotRegisters.powered) this.ejected();
    else slotRegisters.pressAttentionButton();
  }

  unplugged(device: QomObject): void {
    this.#plugged.delete(device);
    this.port.slotRegisters.follow(true);
  }

  ejected(): void {
    for (const { remove } of this.#plugged.values()) remove();
  }

  kept(): void {
    for (const { kept } of this.#plugged.values()) kept();
  }
}

function locked(): RingsideError {
  return new RingsideError('bad-state', 'slot is electromechanically locked: Device or resource busy');
}
