/** A device with all that is behind it, and VM settings with it or without. Nothing here touches a machine. */
import { BACKEND_LISTS } from '../../core/machine/check-config.ts';
import type { BackendKind } from '../../core/machine/object-model.ts';
import { machineTypes } from '../../core/machine/types.ts';
import { isBackendKind } from '../../core/qom/property-value.ts';
import type { VmParts, VmSettings } from '../ipc/contract.ts';

export type BackendList = keyof typeof BACKEND_LISTS;
export const LISTS = Object.keys(BACKEND_LISTS) as BackendList[];

/** What a device's links name, by kind. */
export function linksOf(device: VmParts['device']): { kind: BackendKind; id: string }[] {
  const type = machineTypes().find(device.driver);
  if (type === undefined) return [];
  return [...type.properties.values()].flatMap((spec) => {
    const id = device[spec.name];
    if (spec.kind !== 'link' || typeof id !== 'string') return [];
    return [{ kind: isBackendKind(spec.target) ? (spec.target as BackendKind) : 'object', id }];
  });
}

/** With a device and what is behind it; what has the same id is replaced. */
export function withParts(settings: VmSettings, parts: VmParts): VmSettings {
  const put = <T extends { id?: string | undefined }>(list: readonly T[], one: T): T[] => {
    const at = list.findIndex(({ id }) => id === one.id);
    return at < 0 ? [...list, one] : list.with(at, one);
  };
  const changed: VmSettings = { ...settings, devices: put(settings.devices, parts.device) };
  if (parts.drive !== undefined) changed.drives = put(settings.drives, parts.drive);
  for (const list of LISTS) changed[list] = parts[list].reduce((all, one) => put(all, one), settings[list]);
  return changed;
}

/** Without a device, and without what only it uses. An object that several may share (an iothread) stays. */
export function withoutDevice(settings: VmSettings, id: string): VmSettings {
  const gone = settings.devices.filter((device) => device.id === id);
  const devices = settings.devices.filter((device) => device.id !== id);
  const inUse = new Set(devices.flatMap((device) => linksOf(device as VmParts['device'])).map(key));
  const orphans = new Set(
    gone
      .flatMap((device) => linksOf(device as VmParts['device']))
      .filter(({ kind }) => kind !== 'object')
      .map(key)
      .filter((one) => !inUse.has(one)),
  );
  const changed: VmSettings = {
    ...settings,
    devices,
    drives: settings.drives.filter(
      (drive) => drive.if !== 'none' || !orphans.has(key({ kind: 'drive', id: drive.id })),
    ),
  };
  for (const list of LISTS) {
    const kind = BACKEND_LISTS[list];
    changed[list] = settings[list].filter((one) => !orphans.has(key({ kind, id: one.id })));
  }
  return changed;
}

function key({ kind, id }: { kind: BackendKind; id: string }): string {
  return `${kind} ${id}`;
}
