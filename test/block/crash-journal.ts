/** What reached a file, call by call: from it the file is made as a crash at any instant would have left it. */
import { readFileSync } from 'node:fs';

import type { Host } from '../../core/host/host.ts';
import type { Random } from './qcow2-model.ts';
import { host, hostWith } from './tools.ts';

type Call =
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'hole'; readonly offset: number; readonly length: number }
  | { readonly kind: 'size'; readonly size: number }
  | { readonly kind: 'sync' };

/** What a disk writes at a time: less never, more maybe. */
const SECTOR = 512;

export class CrashJournal {
  /** The host, with all that is written to any file noted. */
  readonly host: Host;
  readonly #before: Uint8Array;
  readonly #calls: Call[] = [];

  /** @param image as it is now; it is the only file that is written to */
  constructor(image: string) {
    this.#before = readFileSync(image);
    const note = (call: Call): void => void this.#calls.push(call);
    this.host = hostWith({
      writev(fd, views, position) {
        const bytes = Buffer.concat(views as Uint8Array[]);
        const written = host.writev(fd, views, position);
        note({ kind: 'write', offset: position, bytes: bytes.subarray(0, written) });
        return written;
      },
      fdatasync(fd) {
        host.fdatasync(fd);
        note({ kind: 'sync' });
      },
      punchHole(fd, offset, length) {
        host.punchHole(fd, offset, length);
        note({ kind: 'hole', offset, length });
      },
      truncate(fd, size) {
        host.truncate(fd, size);
        note({ kind: 'size', size });
      },
    });
  }

  get length(): number {
    return this.#calls.length;
  }

  /** An instant at which much is under way: just before something is synced. */
  busyInstant(random: Random): number {
    const syncs = [...this.#calls.keys()].filter((i) => this.#calls[i].kind === 'sync');
    return random.pick(syncs);
  }

  /** The file when the process is killed after so many calls: the host has all that it was given. */
  killedAfter(calls: number): Uint8Array {
    return replay(this.#before, this.#calls.slice(0, calls));
  }

  /** The file when the power is cut after so many calls: of what was not synced, some sectors are there and some not. */
  powerCutAfter(calls: number, random: Random): Uint8Array {
    const done = this.#calls.slice(0, calls);
    const synced = done.findLastIndex(({ kind }) => kind === 'sync') + 1;
    const survived = done.slice(0, synced);
    for (const call of done.slice(synced)) {
      if (call.kind !== 'write') {
        if (random.below(2)) survived.push(call);
        continue;
      }
      const all = random.below(3);
      if (all === 0) continue;
      for (let at = 0; at < call.bytes.length;) {
        const offset = call.offset + at;
        const length = Math.min(call.bytes.length - at, SECTOR - (offset % SECTOR));
        if (all === 1 || random.below(2)) {
          survived.push({ kind: 'write', offset, bytes: call.bytes.subarray(at, at + length) });
        }
        at += length;
      }
    }
    return replay(this.#before, survived);
  }
}

function replay(before: Uint8Array, calls: readonly Call[]): Uint8Array {
  let bytes: Uint8Array = new Uint8Array(before);
  const resize = (size: number) => {
    const resized = new Uint8Array(size);
    resized.set(bytes.subarray(0, size));
    bytes = resized;
  };
  for (const call of calls) {
    if (call.kind === 'size') resize(call.size);
    if (call.kind === 'hole') bytes.fill(0, call.offset, call.offset + call.length);
    if (call.kind !== 'write') continue;
    const end = call.offset + call.bytes.length;
    if (end > bytes.length) resize(end);
    bytes.set(call.bytes, call.offset);
  }
  return bytes;
}
