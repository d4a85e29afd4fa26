/** What a new VM boots, as the cards of the Create page have it; each choice brings the defaults that it works with. */
import type { VmDraft } from '../forms/draft.svelte.ts';

export type BootKind = 'guest' | 'disk' | 'kernel' | 'firmware';
/** What starts the system on a disk: a boot loader, a kernel, or nothing: a catalogue guest looks at it. */
export type DiskStarter = 'loader' | 'kernel' | 'guest';

/** The catalogue guest that mounts whatever disks it finds. */
export const RESCUE = 'debian';

const KERNEL_APPEND = 'console=ttyS0';
const ROOT_APPEND = 'console=ttyS0 root=/dev/vda1 rw';

export class BootChoice {
  kind = $state<BootKind>('guest');
  starter = $state<DiskStarter>('loader');
  readonly #draft: VmDraft;
  /** The command line that was put in for the person; one of their own is left alone. */
  #suggested = '';

  constructor(draft: VmDraft) {
    this.#draft = draft;
    if (draft.source === 'files') this.kind = draft.firmware === 'file' ? 'firmware' : 'kernel';
  }

  choose(kind: BootKind, guest?: string): void {
    const draft = this.#draft;
    this.kind = kind;
    if (guest !== undefined) draft.guest = guest;
    if (draft.firmware === 'file' && kind !== 'firmware') draft.firmware = 'default';
    if (kind === 'firmware') draft.firmware = 'file';
    if (kind === 'disk') {
      if (draft.drives.length === 0) draft.addDrive();
      this.startBy(this.starter);
      return;
    }
    // One that was only put there to be filled in goes with the choice.
    if (draft.drives.length === 1 && draft.drives[0].file === '') draft.removeDrive(0);
    draft.source = kind === 'guest' ? 'guest' : 'files';
    this.#suggest(kind === 'kernel' ? KERNEL_APPEND : '');
  }

  startBy(starter: DiskStarter): void {
    this.starter = starter;
    this.#draft.source = starter === 'guest' ? 'guest' : 'files';
    if (starter === 'guest') this.#draft.guest = RESCUE;
    this.#suggest(starter === 'kernel' ? ROOT_APPEND : '');
  }

  #suggest(append: string): void {
    if (this.#draft.append !== this.#suggested) return;
    this.#draft.append = append;
    this.#suggested = append;
  }
}
