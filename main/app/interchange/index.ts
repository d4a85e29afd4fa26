/** Descriptions of VMs in other programs' forms: from text to settings, and back. */
import type { ExportFormat, VmSettings } from '../../ipc/contract.ts';
import { exportKubevirt } from './kubevirt-export.ts';
import { exportLibvirt } from './libvirt-export.ts';
import { importLibvirt } from './libvirt-import.ts';
import type { BootFiles, Exported, Imported } from './model.ts';
import { exportCommandLine } from './qemu-export.ts';
import { importQemu } from './qemu-import.ts';

/** @throws RingsideError when the text is neither a libvirt domain nor a command line of QEMU */
export function importVm(text: string): Imported {
  return /^\s*\ufeff?</.test(text) ? importLibvirt(text) : importQemu(text);
}

export function exportVm(settings: VmSettings, boot: BootFiles, format: ExportFormat): Exported {
  switch (format) {
    case 'qemu':
    case 'ringside':
      return exportCommandLine(settings, boot, format);
    case 'libvirt':
      return exportLibvirt(settings, boot);
    case 'kubevirt':
      return exportKubevirt(settings, boot);
  }
}
