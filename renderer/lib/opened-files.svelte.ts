/** Files that were opened with the app: VMs to be imported, captures to be looked at, disk images on their way to a VM. */
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

/** Of captures of queues (docs/capture.md). */
export const CAPTURE_EXTENSION = '.rsq';

export function openFile(path: string): void {
  if (path.toLowerCase().endsWith(CAPTURE_EXTENSION)) router.go({ page: 'capture', file: path });
  else if (/\.ringside$/i.test(path)) void act(() => openVm(path));
  else if (!opened.images.includes(path)) opened.images = [...opened.images, path];
}

async function openVm(path: string): Promise<void> {
  library.arrive(await app.client.call('vm.importFile', { path }));
  router.go({ page: 'create' });
}
