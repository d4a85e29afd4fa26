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
export const PCI_EXP_DEVCTL_ERROR_REPORTING = 0xf;
export const PCI_EXP_DEVSTA_ERRORS = 0xf;
/** Current speed, negotiated width. */
export const PCI_EXP_LNKSTA_SPEED_WIDTH = 0x3ff;
export const PCI_EXP_LNKSTA_DLLLA = 0x2000;

export const PCI_EXP_SLTCAP_ABP = 0x1;
export const PCI_EXP_SLTCAP_PCP = 0x2;
export const PCI_EXP_SLTCAP_AIP = 0x8;
export const PCI_EXP_SLTCAP_PIP = 0x10;
export const PCI_EXP_SLTCAP_HPS = 0x20;
export const PCI_EXP_SLTCAP_HPC = 0x40;
export const PCI_EXP_SLTCAP_EIP = 0x2_0000;
export const PCI_EXP_SLTCAP_PSN_SHIFT = 19;
/** The events: as bits of Slot Status, and of Slot Control, where they enable the interrupt. */
export const PCI_EXP_SLT_ABP = 0x1;
export const PCI_EXP_SLT_PFD = 0x2;
export const PCI_EXP_SLT_MRLSC = 0x4;
export const PCI_EXP_SLT_PDC = 0x8;
export const PCI_EXP_SLT_CC = 0x10;
export const PCI_EXP_SLTCTL_HPIE = 0x20;
export const PCI_EXP_SLTCTL_AIC = 0xc0;
export const PCI_EXP_SLTCTL_AIC_OFF = 0xc0;
export const PCI_EXP_SLTCTL_PIC = 0x300;
export const PCI_EXP_SLTCTL_PIC_ON = 0x100;
export const PCI_EXP_SLTCTL_PIC_BLINK = 0x200;
export const PCI_EXP_SLTCTL_PIC_OFF = 0x300;
/** Set: no power. */
export const PCI_EXP_SLTCTL_PCC = 0x400;
export const PCI_EXP_SLTCTL_EIC = 0x800;
export const PCI_EXP_SLTSTA_PDS = 0x40;
export const PCI_EXP_SLTSTA_EIS = 0x80;
/** Speed 2.5 GT/s, width x1, as a capability and a status have it. */
export const LINK_2_5GT_X1 = 0x11;
/** Extended formats, end-to-end TLP prefixes. */
const DEVCAP2_EFF_EETLPP = 0x30_0000;
const DEVCTL2_EETLPPB = 0x8000;
const DEVCAP2_ARI = 0x20;
const DEVCTL2_ARI = 0x20;
const RTCTL_SYSTEM_ERRORS = 7;
/** Speed 16 GT/s, width x32: what QEMU's ports can do. */
const LINK_16GT_X32 = 0x204;
/** Link bandwidth notification, data link layer link active reporting. */
const LNKCAP_LBNC_DLLLARC = 0x30_0000;
const LNKCAP_PORT_SHIFT = 24;
/** 2.5, 5, 8 and 16 GT/s; the target is the last. */
const LNKCAP2_SPEEDS = 0x1e;
const LNKCTL2_16GT = 4;
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

/** Of a root port with a slot, whose registers it leaves out (PcieSlot). `port`: its number, 0..255. Returns its offset. */
export function addExpressRootPort(config: PciConfigSpace, port: number): number {
  const at = config.addCapability(PCI_CAP_ID_EXP, PCI_EXP_SIZEOF);
  config.set(at + PCI_EXP_FLAGS, 2, PCI_EXP_VERSION | (PCI_EXP_TYPE_ROOT_PORT << 4) | PCI_EXP_FLAGS_SLOT);
  config.set(at + PCI_EXP_DEVCAP, 4, PCI_EXP_DEVCAP_RBER);
  config.allow(at + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_ERROR_REPORTING);
  config.allowClear(at + PCI_EXP_DEVSTA, 2, PCI_EXP_DEVSTA_ERRORS);
  config.set(
    at + PCI_EXP_LNKCAP,
    4,
    LINK_16GT_X32 | LNKCAP_ASPM_L0S | LNKCAP_LBNC_DLLLARC | (port << LNKCAP_PORT_SHIFT),
  );
  config.set(at + PCI_EXP_LNKSTA, 2, LINK_16GT_X32);
  config.allow(at + PCI_EXP_RTCTL, 2, RTCTL_SYSTEM_ERRORS);
  config.set(at + PCI_EXP_DEVCAP2, 4, DEVCAP2_EFF_EETLPP | DEVCAP2_ARI);
  config.allow(at + PCI_EXP_DEVCTL2, 2, DEVCTL2_EETLPPB | DEVCTL2_ARI);
  config.set(at + PCI_EXP_LNKCAP2, 4, LNKCAP2_SPEEDS);
  config.set(at + PCI_EXP_LNKCTL2, 2, LNKCTL2_16GT);
  return at;
}
