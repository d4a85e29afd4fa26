/** Interrupt controllers for "info irq" and "info pic": wires and messages, how often they have come, and who sends them. */
import type { AiaKind, MachineSnapshot } from '../api/machine.ts';
import { imsicIdentities } from '../irqchip/wired-view.ts';
import type { MessageIdentity } from '../irqchip/wired-view.ts';
import type { InterruptController, InterruptInput } from '../monitor/target.ts';
import { MSIX_ENTRY_ADDRESS, MSIX_ENTRY_CONTROL, MSIX_ENTRY_DATA, MSIX_ENTRY_SIZE } from '../pci/spec.ts';
import type { ObjectTree } from '../qom/tree.ts';
import { virtioInstance } from '../virtio/proxy.ts';
import { PciTransport } from '../virtio/transport/pci.ts';
import { MSIX_MAX_VECTORS } from '../worker/layout.ts';
import type { ControlPage } from './control-page.ts';
import { interruptSources } from './machine-view.ts';
import { IMSIC_FILE_SIZE, IMSIC_M_PHYS, IMSIC_S_PHYS } from './virt-map.ts';

export function interruptControllers(
  control: ControlPage,
  aia: AiaKind,
  snapshot: MachineSnapshot,
  tree: ObjectTree,
): InterruptController[] {
  const inputs = interruptSources(control, aia, snapshot)
    .filter(({ raised, enabledFor }) => raised > 0 || enabledFor.length > 0)
    .map(({ number, raised, level, pending, claimed, priority, enabledFor, wire, devices }) => {
      const from = [...(wire === null ? [] : [wire]), ...devices];
      return { number, count: raised, level, pending, claimed, priority, enabledFor, from };
    });
  const wired = { name: aia === 'none' ? 'riscv.sifive.plic' : 'riscv.aplic', inputs };
  return aia === 'aplic-imsic' ? [wired, ...messages(control, snapshot.harts.length, senders(tree))] : [wired];
}

function messages(control: ControlPage, harts: number, from: ReadonlyMap<string, string[]>): InterruptController[] {
  const files = new Map<string, InterruptInput[]>();
  for (const one of imsicIdentities((address) => control.load(address), harts)) {
    const file = `hart ${one.hart} ${one.mode}`;
    const inputs = files.get(file) ?? [];
    files.set(file, inputs);
    inputs.push({
      number: one.identity,
      count: one.raised,
      level: null,
      pending: one.pending,
      claimed: false,
      priority: null,
      enabledFor: one.enabled ? [file] : [],
      from: from.get(messageKey(pageOf(one), one.identity)) ?? [],
    });
  }
  return [...files].map(([file, inputs]) => ({ name: `riscv.imsic (${file})`, inputs }));
}

function pageOf({ hart, mode }: MessageIdentity): number {
  return (mode === 'M' ? IMSIC_M_PHYS : IMSIC_S_PHYS) + hart * IMSIC_FILE_SIZE;
}

const messageKey = (address: number, data: number): string => `${address} ${data}`;

/** By address and data of a message: the vectors of PCI functions that send it. */
function senders(tree: ObjectTree): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const object of tree.root.walk()) {
    if (!object.type.isA('virtio-device')) continue;
    const instance = virtioInstance(object);
    const transport = instance?.plug.transport;
    if (!(transport instanceof PciTransport) || !transport.interrupt.vectors.enabled) continue;
    const { vectors } = transport.interrupt;
    for (let vector = 0; vector < MSIX_MAX_VECTORS; vector++) {
      const at = vector * MSIX_ENTRY_SIZE;
      if ((vectors.readTable(at + MSIX_ENTRY_CONTROL) & 1) !== 0) continue;
      const high = vectors.readTable(at + MSIX_ENTRY_ADDRESS + 4);
      const address = high * 2 ** 32 + vectors.readTable(at + MSIX_ENTRY_ADDRESS);
      const key = messageKey(address, vectors.readTable(at + MSIX_ENTRY_DATA));
      found.set(key, [...(found.get(key) ?? []), `${transport.device.id} vector ${vector}`]);
    }
  }
  return found;
}
