/** A catalogue whose downloads are as quick, slow or broken as a test wants. */
import type { CatalogueGuest, GuestCatalogue } from '../../../main/app/guest-service.ts';
import type { GuestProgress } from '../../../main/ipc/contract.ts';

const MIB = 2 ** 20;

export class FakeCatalogue implements GuestCatalogue {
  readonly guests: CatalogueGuest[] = [
    {
      id: 'debian',
      name: 'Debian 13 (trixie)',
      description: 'Debian’s own kernel with a small root file system and a shell',
      downloadSize: 96 * MIB,
      downloaded: 0,
      files: null,
    },
    {
      id: 'debian-installer',
      name: 'Debian 13 installer',
      description: 'Installs Debian on a disk, over the network',
      downloadSize: 42 * MIB,
      downloaded: 0,
      files: null,
    },
  ];
  /** How long a download takes, ms, and what it ends with. */
  duration = 20;
  error: Error | null = null;

  async list(): Promise<CatalogueGuest[]> {
    return this.guests;
  }

  async fetch(
    id: string,
    { onProgress, signal }: { onProgress(progress: GuestProgress): void; signal: AbortSignal },
  ): Promise<void> {
    const guest = this.guests.find((candidate) => candidate.id === id)!;
    const steps = 20;
    const total = guest.downloadSize!;
    for (let step = Math.round((guest.downloaded / total) * steps) + 1; step <= steps; step++) {
      await new Promise((resolve) => setTimeout(resolve, this.duration / steps));
      signal.throwIfAborted();
      guest.downloaded = (total * step) / steps;
      onProgress({ step: 'Downloading linux-image-6.12-riscv64', received: guest.downloaded, total });
      if (this.error !== null && step === 5) throw this.error;
    }
    this.install(id);
  }

  async discard(id: string): Promise<void> {
    this.guests.find((candidate) => candidate.id === id)!.downloaded = 0;
  }

  install(id: string): void {
    const guest = this.guests.find((candidate) => candidate.id === id)!;
    const folder = `/cache/${id}`;
    guest.downloaded = 0;
    guest.files = {
      kernel: `${folder}/Image`,
      initrd: `${folder}/initrd`,
      append: 'console=ttyS0',
      version: '6.12.94-1 (Debian 13.5)',
      size: 118 * MIB,
    };
  }

  async remove(id: string): Promise<void> {
    this.guests.find((candidate) => candidate.id === id)!.files = null;
  }
}
