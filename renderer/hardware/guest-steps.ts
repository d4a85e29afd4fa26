/**
 * What root does in a Linux guest whose kernel has no driver for slots (CONFIG_HOTPLUG_PCI_PCIE), as Debian 13's: the part of
 * pciehp, by hand (docs/pci.md, "Which guests can").
 */
import type { HotplugPort } from '../../main/ipc/contract.ts';

/** Slot Control, as octal bytes for printf: power and its indicator on; both off. Attention indicator off. */
const POWER_ON = '\\300\\001';
const POWER_OFF = '\\300\\007';

function slotControl({ address, slotControl }: HotplugPort, control: string): string {
  const config = `/sys/bus/pci/devices/${address}/config`;
  return `printf '${control}' | dd of=${config} bs=1 seek=${slotControl} conv=notrunc`;
}

/** After a device has been plugged into a port. */
export function attachSteps(port: HotplugPort): string[] {
  return [slotControl(port, POWER_ON), 'echo 1 > /sys/bus/pci/rescan'];
}

/** Has the driver let go of a device. null while the guest does not know of it. */
export function releaseStep(address: string | null): string | null {
  return address === null ? null : `echo 1 > /sys/bus/pci/devices/${address}/remove`;
}

/** After the guest was asked for a device. */
export function detachSteps(port: HotplugPort, address: string | null): string[] {
  const release = releaseStep(address);
  return [...(release === null ? [] : [release]), slotControl(port, POWER_OFF)];
}
