/** Paths of the host in a VM's settings, as persons write them. */
import type { VmSettings } from '../ipc/contract.ts';
import { hardwareTypes } from './hardware-types.ts';
import { userPath } from './paths.ts';

/** Names of the properties of a type that are paths. */
function pathProperties(type: string, kind: 'device' | 'object' | 'netdev' | 'fsdev' | 'chardev'): string[] {
  const { devices, backends } = hardwareTypes();
  const found =
    kind === 'device'
      ? devices.find(({ name, aliases }) => name === type || aliases.includes(type))
      : backends.find((each) => each.kind === kind && each.name === type);
  return (found?.properties ?? []).filter(({ holds }) => holds !== null).map(({ name }) => name);
}

/**
 * The same hardware with whole paths: `~` is the home directory.
 * @throws RingsideError 'bad-option' for a path that is not from the root or `~` on
 */
export function withWholePaths<T extends Omit<VmSettings, 'name' | 'boot'>>(hardware: T): T {
  const whole = <P extends object>(part: P, names: readonly string[]): P => {
    const changed = names.flatMap((name) => {
      const value = (part as Record<string, unknown>)[name];
      return typeof value === 'string' && value !== '' ? [[name, userPath(value)]] : [];
    });
    return changed.length === 0 ? part : { ...part, ...Object.fromEntries(changed) };
  };
  return {
    ...hardware,
    bios: hardware.bios === 'default' || hardware.bios === 'none' ? hardware.bios : userPath(hardware.bios),
    drives: hardware.drives.map((drive) => whole(drive, ['file'])),
    devices: hardware.devices.map((part) => whole(part, pathProperties(part.driver, 'device'))),
    objects: hardware.objects.map((part) => whole(part, pathProperties(part.type, 'object'))),
    netdevs: hardware.netdevs.map((part) => whole(part, pathProperties(part.type, 'netdev'))),
    fsdevs: hardware.fsdevs.map((part) => whole(part, pathProperties(part.type, 'fsdev'))),
    chardevs: hardware.chardevs.map((part) => whole(part, pathProperties(part.type, 'chardev'))),
  };
}
