/** VMs on their way into the library. */
import type { VmSettingsDraft } from '../../main/ipc/contract.ts';

export interface ImportedVm {
  settings: VmSettingsDraft;
  notes: string[];
}

class LibraryState {
  /** An imported VM on its way to the page that makes it. */
  imported = $state.raw<ImportedVm | null>(null);
  /** Counts them: the page that makes VMs begins anew with each. */
  arrivals = $state(0);

  arrive(vm: ImportedVm): void {
    this.imported = vm;
    this.arrivals++;
  }

  takeImported(): ImportedVm | null {
    const { imported } = this;
    this.imported = null;
    return imported;
  }
}

export const library = new LibraryState();
