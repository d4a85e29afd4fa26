/** Descriptions of VMs in other programs' forms: from text to settings, and back. */
import type { ExportFormat, VmSettings } from '../../ipc/contract.ts';
import { exportKubevirt } from './kubevirt-export.ts';
import { exportLibvirt } from './libvirt-export.ts';
import { importLibvirt } from './libvirt-import.ts';
import type { BootFiles, Exported, Imported } from './model.ts';
import { exportCommandLine } from './qemu-export.ts';
import { importQemu } from './qemu-import.ts';
import { exportFile, importFile } from './vm-file.ts';

/** @throws RingsideError when the text is no libvirt domain, .ringside file or command line of QEMU */
export function importVm(text: string): Imported {
  const bare = text.replace(/^\s*\ufeff?\s*/, '');
  if (bare.startsWith('{')) return importFile(bare);
  return bare.startsWith('<') ? importLibvirt(text) : importQemu(text);
}

export function exportVm(settings: VmSettings, boot: BootFiles, format: ExportFormat): Exported {
  switch (format) {
    case 'qemu':
    case 'ringside':
      return exportCommandLine(settings, boot, format);
    case 'libvirt':
      return exportLibvirt(settings, boot);
    case 'file':
      return exportFile(settings);
    case 'kubevirt':
      return exportKubevirt(settings, boot);
  }
}
