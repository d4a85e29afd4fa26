/** A machine's character devices: rings in shared memory, by id, and what programs see of them. */
import { Chardev } from '../chardev/chardev.ts';
import { resetChardevRings } from '../chardev/ring.ts';
import { RingsideError } from '../errors.ts';
import { MAX_CHARDEVS } from '../worker/layout.ts';
import { MachineConsole } from './console.ts';

export class Chardevs {
  /** By id. */
  readonly consoles = new Map<string, MachineConsole>();
  readonly #memory: WebAssembly.Memory;
  readonly #open: (Chardev | null)[] = [];
  #kept = false;

  constructor(memory: WebAssembly.Memory) {
    this.#memory = memory;
  }

  /**
   * @param index where the guest's side has its rings fixed; by default any free one
   * @throws RingsideError 'bad-option', 'too-large'
   */
  open(id: string, { wakeGuest, sendBreak }: { wakeGuest?: () => void; sendBreak?: () => void } = {}): Chardev {
    if (this.consoles.has(id)) throw new RingsideError('bad-option', `there is a character device ${id} already`);
    const free = this.#open.indexOf(null);
    const index = free < 0 ? this.#open.length : free;
    if (index >= MAX_CHARDEVS) {
      throw new RingsideError('too-large', `a machine can have ${MAX_CHARDEVS} character devices. Leave some out.`);
    }
    resetChardevRings(this.#memory.buffer as SharedArrayBuffer, index);
    const chardev = new Chardev({ memory: this.#memory, index, ...(wakeGuest === undefined ? {} : { wakeGuest }) });
    this.#open[index] = chardev;
    this.consoles.set(id, new MachineConsole(chardev, sendBreak));
    return chardev;
  }

  /** The machine ends: consoles stay, so that programs can still take what is in their rings. */
  keep(): void {
    this.#kept = true;
  }

  /** Nothing of the guest uses it any more. */
  close(chardev: Chardev, id: string): void {
    if (this.#kept) return;
    chardev.drain();
    chardev.onData = null;
    this.#open[chardev.index] = null;
    this.consoles.delete(id);
  }

  /** To be called whenever CTL_ATTENTION moves. */
  drain(): void {
    for (const chardev of this.#open) chardev?.drain();
  }
}
