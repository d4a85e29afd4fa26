/** Files that were opened with the app: VMs to be imported, disk images on their way to a VM. */
import { library } from '../library/library.svelte.ts';
import { app } from './state/app.svelte.ts';
import { router } from './state/router.svelte.ts';
import { act } from './state/toasts.svelte.ts';

class OpenedFiles {
  /** Disk images that the person is to find a VM for. */
  images = $state.raw<readonly string[]>([]);
  /** Disk images for a new VM. */
  disks = $state.raw<readonly string[]>([]);

  takeDisks(): readonly string[] {
    const disks = this.disks;
    if (disks.length > 0) this.disks = [];
    return disks;
  }
}

export const opened = new OpenedFiles();

export function openFile(path: string): void {
  if (/\.ringside$/i.test(path)) void act(() => openVm(path));
  else if (!opened.images.includes(path)) opened.images = [...opened.images, path];
}

async function openVm(path: string): Promise<void> {
  library.arrive(await app.client.call('vm.importFile', { path }));
  router.go({ page: 'create' });
}
