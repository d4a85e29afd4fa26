/** What a VM is, in a few words. */
import type { GuestInfo, VmInfo } from '../../main/ipc/contract.ts';
import { baseName, bytes } from './format.ts';

export function bootName(vm: VmInfo, guests: ReadonlyMap<string, GuestInfo>): string {
  const { boot, bios } = vm.settings;
  if (boot.source === 'guest') return guests.get(boot.guest)?.name ?? boot.guest;
  return baseName(boot.kernel ?? bios);
}

export function hardware(vm: VmInfo): string {
  const { memory, harts, drives } = vm.settings;
  const parts = [bytes(memory), harts === 1 ? '1 hart' : `${harts} harts`];
  if (drives.length > 0) parts.push(drives.length === 1 ? '1 disk' : `${drives.length} disks`);
  return parts.join(' · ');
}

/** How the last run ended, in a sentence; null when there has been none. */
export function exitSentence(vm: VmInfo): string | null {
  if (vm.exit === null) return null;
  const detail = vm.exit.detail === undefined ? '' : ` (${vm.exit.detail})`;
  switch (vm.exit.reason) {
    case 'guest-poweroff':
      return 'The guest shut down.';
    case 'guest-reset':
      return 'The guest asked for a reset, which ends this VM.';
    case 'guest-fail':
      return `The guest reported failure ${vm.exit.code}${detail}.`;
    case 'host-quit':
      return 'It was powered off.';
    case 'crash':
      return `It crashed${detail}.`;
  }
}
