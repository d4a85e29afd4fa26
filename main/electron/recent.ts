/** What was used last: virtual machines that were started, files that were opened. Remembered in the library's folder. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { writeFileAtomic } from '../app/atomic-file.ts';
import { hostPath, vmId } from '../ipc/contract.ts';

const MOST = 10;

const recentItem = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('vm'), id: vmId, name: z.string().max(80) }),
  z.object({ kind: z.literal('file'), path: hostPath }),
]);
export type RecentItem = z.infer<typeof recentItem>;

const keyOf = (item: RecentItem) => (item.kind === 'vm' ? item.id : item.path);

export class RecentItems {
  readonly #file: string;
  readonly #changed: () => void;
  #items: RecentItem[] = [];
  #saving: Promise<void> = Promise.resolve();

  private constructor(file: string, changed: () => void) {
    this.#file = file;
    this.#changed = changed;
  }

  /** @param changed called whenever the list does */
  static async load(home: string, changed: () => void): Promise<RecentItems> {
    const recent = new RecentItems(path.join(home, 'recent.json'), changed);
    try {
      recent.#items = z
        .array(recentItem)
        .parse(JSON.parse(await readFile(recent.#file, 'utf8')))
        .slice(0, MOST);
    } catch {
      // None yet, or not ours: it is only a convenience.
    }
    return recent;
  }

  /** Newest first. */
  get items(): readonly RecentItem[] {
    return this.#items;
  }

  add(item: RecentItem): void {
    const [first] = this.#items;
    if (first !== undefined && JSON.stringify(first) === JSON.stringify(item)) return;
    this.#set([item, ...this.#items.filter((other) => keyOf(other) !== keyOf(item))].slice(0, MOST));
  }

  remove(key: string): void {
    if (this.#items.some((item) => keyOf(item) === key)) this.#set(this.#items.filter((item) => keyOf(item) !== key));
  }

  clear(): void {
    this.#set([]);
  }

  /** Resolves when the list is on disk, or could not be put there. */
  saved(): Promise<void> {
    return this.#saving;
  }

  #set(items: RecentItem[]): void {
    this.#items = items;
    this.#saving = this.#saving
      .then(() => writeFileAtomic(this.#file, `${JSON.stringify(this.#items)}\n`))
      .catch(() => undefined);
    this.#changed();
  }
}
