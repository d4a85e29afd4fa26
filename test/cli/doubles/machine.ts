/** A machine with real console devices and a guest that the test plays itself. */
import { EventEmitter } from 'node:events';
import type { MachineExit, MachineState } from '../../../core/api/machine.ts';
import { Chardev } from '../../../core/chardev/chardev.ts';
import { RingReader, RingWriter, inRingBase, outRingBase } from '../../../core/chardev/ring.ts';
import { MachineConsole } from '../../../core/machine/console.ts';
import type { ConsoleMachine } from '../../../main/cli/session.ts';

/** Up to the end of the second device's rings. */
const PAGES = 64;

/** The guest's side of a console. */
export class GuestConsole {
  readonly device: MachineConsole & { sendBreak?(): void };
  readonly #chardev: Chardev;
  readonly #in: RingReader;
  readonly #out: RingWriter;

  constructor(memory: WebAssembly.Memory, index: number) {
    const buffer = memory.buffer as SharedArrayBuffer;
    this.#chardev = new Chardev({ memory, index });
    this.device = new MachineConsole(this.#chardev);
    this.#in = new RingReader(buffer, inRingBase(index));
    this.#out = new RingWriter(buffer, outRingBase(index));
  }

  /** Writes as much as there is room for; returns how much that was. */
  write(text: string | Uint8Array): number {
    const written = this.#out.write(typeof text === 'string' ? Buffer.from(text) : text);
    this.#chardev.drain();
    return written;
  }

  /** Reads what has come, at most `limit` bytes. */
  read(limit = 1 << 20): Buffer {
    const bytes = Buffer.alloc(Math.min(limit, this.#in.length));
    this.#in.read(bytes);
    this.#in.takeWantRoom();
    this.#chardev.drain();
    return bytes;
  }
}

export class FakeMachine extends EventEmitter implements ConsoleMachine {
  state: MachineState = 'created';
  readonly serial: GuestConsole;
  readonly console: GuestConsole;
  readonly chardevs: Map<string, GuestConsole['device']>;
  /** What has been called, in order. */
  readonly calls: string[] = [];
  /** Replaces powerOff's behaviour, to hang or to fail. */
  onPowerOff: (() => Promise<MachineExit>) | undefined;
  startError: Error | undefined;

  constructor() {
    super();
    const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
    this.serial = new GuestConsole(memory, 0);
    this.console = new GuestConsole(memory, 1);
    this.chardevs = new Map([
      ['serial0', this.serial.device],
      ['console0', this.console.device],
    ]);
  }

  #enter(state: MachineState, call: string): Promise<void> {
    this.calls.push(call);
    this.state = state;
    this.emit('state', state);
    return Promise.resolve();
  }

  start = () => (this.startError ? Promise.reject(this.startError) : this.#enter('running', 'start'));
  pause = () => this.#enter('paused', 'pause');
  resume = () => this.#enter('running', 'resume');

  async powerOff(): Promise<MachineExit> {
    this.calls.push('powerOff');
    if (this.onPowerOff) return this.onPowerOff();
    return this.end({ reason: 'host-quit', code: 0 });
  }

  dispose(): Promise<void> {
    this.calls.push('dispose');
    return Promise.resolve();
  }

  /** The VM ends. */
  end(exit: MachineExit): MachineExit {
    this.state = exit.reason === 'crash' ? 'crashed' : 'shutdown';
    this.emit('state', this.state);
    this.emit('exit', exit);
    return exit;
  }
}
