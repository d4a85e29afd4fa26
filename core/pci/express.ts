/** The PCI Express capability (PCI Express 5.0, section 7.5.3). */
import type { PciConfigSpace } from './config-space.ts';
import { PCI_CAP_ID_EXP } from './spec.ts';

// Offsets into the capability.
export const PCI_EXP_FLAGS = 0x02;
export const PCI_EXP_DEVCAP = 0x04;
export const PCI_EXP_DEVCTL = 0x08;
export const PCI_EXP_DEVSTA = 0x0a;
export const PCI_EXP_LNKCAP = 0x0c;
export const PCI_EXP_LNKCTL = 0x10;
export const PCI_EXP_LNKSTA = 0x12;
export const PCI_EXP_SLTCAP = 0x14;
export const PCI_EXP_SLTCTL = 0x18;
export const PCI_EXP_SLTSTA = 0x1a;
export const PCI_EXP_RTCTL = 0x1c;
export const PCI_EXP_DEVCAP2 = 0x24;
export const PCI_EXP_DEVCTL2 = 0x28;
export const PCI_EXP_LNKCAP2 = 0x2c;
export const PCI_EXP_LNKCTL2 = 0x30;
/** Bytes of version 2 of it. */
export const PCI_EXP_SIZEOF = 0x3c;

export const PCI_EXP_VERSION = 2;
export const PCI_EXP_TYPE_ENDPOINT = 0;
export const PCI_EXP_TYPE_ROOT_PORT = 4;
export const PCI_EXP_FLAGS_SLOT = 0x100;
/** Role-based error reporting. */
export const PCI_EXP_DEVCAP_RBER = 0x8000;
export const PCI_EXP_DEVCAP_FLR = 0x1000_0000;
export const PCI_EXP_DEVCTL_BCR_FLR = 0x8000;
export const PCI_EXP_LNKSTA_DLLLA = 0x2000;
/** Speed 2.5 GT/s, width x1, as a capability and a status have it. */
export const LINK_2_5GT_X1 = 0x11;
/** Extended formats, end-to-end TLP prefixes. */
const DEVCAP2_EFF_EETLPP = 0x30_0000;
const DEVCTL2_EETLPPB = 0x8000;
/** L0s: the only ASPM that is. */
const LNKCAP_ASPM_L0S = 0x400;
const LNKCTL_EXTENDED_SYNCH_COMMON_CLOCK = 0xc0;

/** Of an endpoint on a 2.5 GT/s x1 link, as QEMU's virtio-pci has it. Returns its offset. */
export function addExpressEndpoint(config: PciConfigSpace, offset?: number): number {
  const at = config.addCapability(PCI_CAP_ID_EXP, PCI_EXP_SIZEOF, offset);
  config.set(at + PCI_EXP_FLAGS, 2, PCI_EXP_VERSION | (PCI_EXP_TYPE_ENDPOINT << 4));
  config.set(at + PCI_EXP_DEVCAP, 4, PCI_EXP_DEVCAP_RBER | PCI_EXP_DEVCAP_FLR);
  config.set(at + PCI_EXP_LNKCAP, 4, LINK_2_5GT_X1 | LNKCAP_ASPM_L0S);
  config.set(at + PCI_EXP_LNKSTA, 2, LINK_2_5GT_X1);
  config.allow(at + PCI_EXP_LNKCTL, 2, LNKCTL_EXTENDED_SYNCH_COMMON_CLOCK);
  config.set(at + PCI_EXP_DEVCAP2, 4, DEVCAP2_EFF_EETLPP);
  config.allow(at + PCI_EXP_DEVCTL2, 2, DEVCTL2_EETLPPB);
  return at;
}
