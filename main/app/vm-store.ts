/**
 * The library on disk: one folder a VM, `vms/<id>/vm.json`. The files may have been edited by hand, cut short or made by
 * a newer Ringside: what cannot be read is reported and left as it is.
 */
import { constants } from 'node:fs';
import type { Stats } from 'node:fs';
import { mkdir, open, readdir, rmdir, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { errorLine } from '../../core/errors.ts';
import { configProblems, problemLine } from '../../core/machine/check-config.ts';
import { issueLine, vmId, vmSettings } from '../ipc/contract.ts';
import type { LibraryProblem, VmSettings } from '../ipc/contract.ts';
import { syncDirectory, writeFileAtomic } from './atomic-file.ts';
import { fileError } from './fs-errors.ts';

const FORMAT = 1;
/** No VM file that we write comes near this. */
const MAX_BYTES = 256 * 1024;
const FILE = 'vm.json';

const vmFile = z.strictObject({
  ringside: z.literal(FORMAT),
  id: vmId,
  created: z.number().int().min(0),
  modified: z.number().int().min(0),
  settings: vmSettings,
});

export interface StoredVm {
  id: string;
  created: number;
  modified: number;
  settings: VmSettings;
}

export interface LoadedVm extends StoredVm {
  /** Changes whenever the file does. */
  stamp: string;
}

export class VmStore {
  readonly #folder: string;

  /** @param home the library's folder; made when needed */
  constructor(home: string) {
    this.#folder = path.join(home, 'vms');
  }

  /** Every VM in the library, and every file that should be one and is not. */
  async load(): Promise<{ vms: LoadedVm[]; problems: LibraryProblem[] }> {
    const vms: LoadedVm[] = [];
    const problems: LibraryProblem[] = [];
    let names: string[];
    try {
      names = await readdir(this.#folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { vms, problems };
      throw fileError(error, this.#folder);
    }
    for (const name of names.sort()) {
      // Only ids are ours. Anything else in the folder (a file manager's droppings) is none of our business.
      if (!vmId.safeParse(name).success) continue;
      const file = this.#file(name);
      try {
        vms.push(await this.#read(name));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
        problems.push({ file, message: errorLine(error) });
      }
    }
    return { vms, problems };
  }

  /** The stamp of a VM's file as it is now, or null when it is gone. */
  async stamp(id: string): Promise<string | null> {
    try {
      return stampOf(await stat(this.#file(id)));
    } catch {
      return null;
    }
  }

  async save(vm: StoredVm): Promise<LoadedVm> {
    const { id, created, modified, settings } = vm;
    const file = this.#file(id);
    try {
      await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
      await writeFileAtomic(
        file,
        `${JSON.stringify({ ringside: FORMAT, id, created, modified, settings }, null, 2)}\n`,
      );
      return { id, created, modified, settings, stamp: stampOf(await stat(file)) };
    } catch (error) {
      throw fileError(error, file);
    }
  }

  async remove(id: string): Promise<void> {
    const folder = path.dirname(this.#file(id));
    try {
      await unlink(this.#file(id));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fileError(error, folder);
    }
    // What else a person keeps in the folder is theirs: it goes only when it is empty.
    await rmdir(folder).catch(() => undefined);
    await syncDirectory(this.#folder).catch(() => undefined);
  }

  #file(id: string): string {
    return path.join(this.#folder, id, FILE);
  }

  async #read(id: string): Promise<LoadedVm> {
    const file = this.#file(id);
    let text: string;
    let info: Stats;
    // Non-blocking: opening a named pipe would wait for its writer.
    const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      info = await handle.stat();
      if (!info.isFile()) throw new Error('not a file');
      if (info.size > MAX_BYTES) throw new Error('far too long for a VM file');
      text = await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (error) {
      throw new Error(`not JSON: ${errorLine(error)}`, { cause: error });
    }
    const format = (json as { ringside?: unknown } | null)?.ringside;
    if (typeof format === 'number' && format > FORMAT)
      throw new Error('made by a newer Ringside: update this one to use it');
    const parsed = vmFile.safeParse(json);
    if (!parsed.success) throw new Error(issueLine(parsed.error.issues));
    const [problem] = configProblems(parsed.data.settings);
    if (problem !== undefined) throw new Error(problemLine(problem));
    if (parsed.data.id !== id)
      throw new Error(`its id is not the name of its folder: rename the folder to ${parsed.data.id}`);
    const { created, modified, settings } = parsed.data;
    return { id, created, modified, settings, stamp: stampOf(info) };
  }
}

function stampOf(info: Stats): string {
  return `${info.ino}:${info.size}:${info.mtimeMs}`;
}
