/** What is worth telling a person who looks at another window. */
import type { GuestInfo, VmInfo } from '../ipc/contract.ts';

export interface News {
  title: string;
  body: string;
  /** The VM that it is about. */
  vm: string | null;
}

export class Notifier {
  readonly #tell: (news: News) => void;
  readonly #vms = new Map<string, VmInfo['state']>();
  readonly #guests = new Map<string, GuestInfo['state']>();

  constructor(tell: (news: News) => void) {
    this.#tell = tell;
  }

  vmChanged(vm: VmInfo): void {
    const before = this.#vms.get(vm.id);
    this.#vms.set(vm.id, vm.state);
    if (before === undefined || before === vm.state) return;
    const { name } = vm.settings;
    const tell = (title: string, otherwise: string) => this.#tell({ title, body: vm.message ?? otherwise, vm: vm.id });
    if (vm.state === 'crashed') tell(`“${name}” crashed`, 'Its disks are closed. The log says more.');
    else if (vm.state === 'paused' && vm.message !== null) tell(`“${name}” was paused`, '');
    else if (vm.state === 'stopped' && vm.exit?.reason === 'guest-fail') {
      tell(`“${name}” ended with an error`, `Its guest reported failure code ${vm.exit.code}.`);
    }
  }

  vmRemoved(id: string): void {
    this.#vms.delete(id);
  }

  guestChanged(guest: GuestInfo): void {
    const before = this.#guests.get(guest.id);
    this.#guests.set(guest.id, guest.state);
    if (before !== 'fetching' || guest.state === 'fetching') return;
    if (guest.state === 'ready')
      this.#tell({ title: `${guest.name} is ready`, body: 'It can be booted now.', vm: null });
    else if (guest.error !== null) {
      this.#tell({ title: `${guest.name} was not downloaded`, body: guest.error, vm: null });
    }
  }
}
