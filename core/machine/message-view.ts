/** Message-signalled interrupts for people: the IMSICs' files, identity by identity, and who sends them. */
import { imsicIdentities } from '../irqchip/wired-view.ts';
import type { MessageIdentity } from '../irqchip/wired-view.ts';
import { MSIX_ENTRY_ADDRESS, MSIX_ENTRY_CONTROL, MSIX_ENTRY_DATA, MSIX_ENTRY_SIZE } from '../pci/spec.ts';
import type { ObjectTree } from '../qom/tree.ts';
import { virtioInstance } from '../virtio/proxy.ts';
import { PciTransport } from '../virtio/transport/pci.ts';
import { MSIX_MAX_VECTORS } from '../worker/layout.ts';
import type { ControlPage } from './control-page.ts';
import { IMSIC_FILE_SIZE, IMSIC_M_PHYS, IMSIC_S_PHYS } from './virt-map.ts';

/** A vector of a device's MSI-X table. */
export interface MessageSender {
  readonly device: string;
  readonly vector: number;
}

export interface SeenMessage extends MessageIdentity {
  readonly from: readonly MessageSender[];
}

/** Those that are enabled, pending or have come. */
export function seenMessages(control: ControlPage, harts: number, tree: ObjectTree): SeenMessage[] {
  const from = senders(tree);
  return imsicIdentities((address) => control.load(address), harts).map((one) => ({
    ...one,
    from: from.get(messageKey(pageOf(one), one.identity)) ?? [],
  }));
}

function pageOf({ hart, mode }: MessageIdentity): number {
  return (mode === 'M' ? IMSIC_M_PHYS : IMSIC_S_PHYS) + hart * IMSIC_FILE_SIZE;
}

const messageKey = (address: number, data: number): string => `${address} ${data}`;

/** By address and data of a message: the vectors of PCI functions that send it. */
function senders(tree: ObjectTree): Map<string, MessageSender[]> {
  const found = new Map<string, MessageSender[]>();
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
      found.set(key, [...(found.get(key) ?? []), { device: transport.device.id, vector }]);
    }
  }
  return found;
}
