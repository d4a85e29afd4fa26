/**
 * Who has which disk image open for writing among our own VMs. (Other programs are kept out by the image's lock, which
 * the block layer takes; this gives the better message, and before anything is opened.)
 */
import { stat } from 'node:fs/promises';
import { RingsideError } from '../../core/errors.ts';
import type { DriveConfig } from '../../core/api/machine.ts';
import { fileError } from './fs-errors.ts';

interface Claim {
  vm: string;
  name: string;
  readonly: boolean;
  /** Id of the drive. */
  drive: string;
}

export class DiskClaims {
  /** By what the file is, not what it is called: two paths may be one file. */
  readonly #claims = new Map<string, Claim[]>();

  /**
   * Claims all drives of a VM or none.
   * @throws not-found, not-a-file, permission; in-use when another VM, or another drive of this one, writes to the image
   */
  async claim(vm: string, name: string, drives: readonly DriveConfig[]): Promise<void> {
    const keys = await Promise.all(drives.map((drive) => identity(drive.file)));
    // From here on nothing waits, so nothing can come between looking and claiming.
    keys.forEach((key, at) => {
      const { file, readonly } = drives[at];
      const twin = keys.findIndex(
        (other, index) => index < at && other === key && !(readonly && drives[index].readonly),
      );
      if (twin >= 0) {
        throw new RingsideError(
          'in-use',
          `${file} is attached twice (${drives[twin].id} and ${drives[at].id}): remove one`,
        );
      }
      const holder = this.#claims.get(key)?.find((claim) => !(claim.readonly && readonly));
      if (holder !== undefined) {
        throw new RingsideError(
          'in-use',
          `${file} is in use by the VM “${holder.name}”: power that off first, or make the disk read-only in both`,
        );
      }
    });
    keys.forEach((key, at) => {
      this.#claims.set(key, [
        ...(this.#claims.get(key) ?? []),
        { vm, name, readonly: drives[at].readonly, drive: drives[at].id },
      ]);
    });
  }

  /** @param drive null: all of the VM's */
  release(vm: string, drive: string | null = null): void {
    for (const [key, claims] of this.#claims) {
      const rest = claims.filter((claim) => claim.vm !== vm || (drive !== null && claim.drive !== drive));
      if (rest.length === 0) this.#claims.delete(key);
      else this.#claims.set(key, rest);
    }
  }
}

async function identity(file: string): Promise<string> {
  try {
    const info = await stat(file, { bigint: true });
    if (info.isDirectory()) throw new RingsideError('not-a-file', `${file} is a directory: choose a disk image in it`);
    return `${info.dev}:${info.ino}`;
  } catch (error) {
    throw fileError(error, file);
  }
}
