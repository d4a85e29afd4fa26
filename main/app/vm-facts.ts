/** What a VM's settings, and its end, mean for the library: its disks, its consoles, its name in files. */
import { stat } from 'node:fs/promises';
import type { MachineExit } from '../../core/api/machine.ts';
import type { VmSettings } from '../ipc/contract.ts';
import { userPath } from './paths.ts';

export function hasDisk(settings: VmSettings, file: string): boolean {
  return settings.drives.some((drive) => userPath(drive.file) === userPath(file));
}

/** Without the disks that it writes to, and the devices that they are in. */
export function withoutDisks(settings: VmSettings): VmSettings {
  const drives = settings.drives.filter(({ readonly }) => readonly);
  const kept = new Set(drives.map(({ id }) => id));
  const gone = new Set(settings.drives.map(({ id }) => id).filter((id) => !kept.has(id)));
  const devices = settings.devices.filter(({ drive }) => !gone.has(String(drive)));
  return { ...settings, drives, devices };
}

/** A VM's name as part of a file's. */
export function fileBase(name: string): string {
  return name.replace(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[-.]+|-+$/g, '') || 'disk';
}

/** Bytes; 0 for what is not there, which copying it complains about. */
export async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    (info) => info.size,
    () => 0,
  );
}

/** Console ports that a VM with these settings has. */
export function portsOf({ console, chardevs, serial }: VmSettings): string[] {
  const programs = chardevs.filter(({ type }) => type === 'program').map(({ id }) => id);
  return [...(serial === undefined ? ['serial0'] : []), ...(console ? ['console0'] : []), ...programs];
}

/** Whether two settings differ in nothing but the name. */
export function sameMachine(a: VmSettings, b: VmSettings): boolean {
  return JSON.stringify({ ...a, name: '' }) === JSON.stringify({ ...b, name: '' });
}

export function exitText(exit: MachineExit): string {
  switch (exit.reason) {
    case 'guest-poweroff':
      return 'was shut down by its guest';
    case 'guest-fail':
      return `was ended by its guest with failure code ${exit.code}`;
    case 'guest-reset':
      return 'ended because its guest asked for a reset';
    case 'host-quit':
      return 'was powered off';
    case 'crash':
      return 'crashed';
  }
}
