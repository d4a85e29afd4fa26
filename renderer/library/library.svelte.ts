/** What is open on the Library page, for those elsewhere who open it. */
import type { VmSettingsDraft } from '../../main/ipc/contract.ts';

class LibraryState {
  importing = $state(false);
  /** An imported VM on its way to the page that makes it. */
  imported = $state.raw<{ settings: VmSettingsDraft; notes: string[] } | null>(null);

  takeImported(): { settings: VmSettingsDraft; notes: string[] } | null {
    const { imported } = this;
    this.imported = null;
    return imported;
  }
}

export const library = new LibraryState();
