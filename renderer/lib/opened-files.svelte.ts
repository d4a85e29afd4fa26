/** Files that were opened with the app, on their way to the page that knows what to do with them. */
import { router } from './state/router.svelte.ts';

class OpenedFiles {
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
  opened.disks = [...opened.disks, path];
  router.go({ page: 'create' });
}
