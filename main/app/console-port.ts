/**
 * A console port of a VM as the app keeps it: the guest's device on one side (it comes and goes with the machine), a
 * bounded scrollback, and any number of watchers. A watcher gets the scrollback first; one that cannot keep up skips
 * ahead (console-frames.ts), so a guest that floods is neither slowed nor stored.
 */
import type { BytePort } from '../ipc/contract.ts';
import {
  bytesFrame,
  countFrame,
  FRAME_ACK,
  FRAME_CREDIT,
  FRAME_DATA,
  FRAME_GAP,
  FRAME_HELLO,
  FRAME_INPUT,
  FRAME_RESET,
  FRAME_RESIZE,
  frameCount,
  frameSize,
  INPUT_WINDOW,
  MAX_BODY,
  OUTPUT_WINDOW,
} from '../ipc/contract/console-frames.ts';
import type { ConsoleDevice } from './machine.ts';

const SCROLLBACK = 256 * 1024;
/** How far into an overflowed scrollback a line's beginning is looked for. */
const LINE_SEARCH = 4096;
const NEWLINE = 10;

/** The last `capacity` bytes of a stream, addressed by their position in the whole stream. */
export class Scrollback {
  readonly #ring: Uint8Array;
  #end = 0;
  #begin = 0;

  constructor(capacity = SCROLLBACK) {
    this.#ring = new Uint8Array(capacity);
  }

  /** Position after the last byte. */
  get end(): number {
    return this.#end;
  }

  /** Position of the oldest byte that is kept. */
  get begin(): number {
    return Math.max(this.#begin, this.#end - this.#ring.length);
  }

  append(bytes: Uint8Array): void {
    const size = this.#ring.length;
    const kept = bytes.length > size ? bytes.subarray(bytes.length - size) : bytes;
    const at = (this.#end + bytes.length - kept.length) % size;
    const first = Math.min(kept.length, size - at);
    this.#ring.set(kept.subarray(0, first), at);
    this.#ring.set(kept.subarray(first), 0);
    this.#end += bytes.length;
  }

  /** A copy of up to `max` bytes from `position`, which must lie between begin and end. */
  read(position: number, max: number): Uint8Array {
    const length = Math.min(max, this.#end - position);
    const out = new Uint8Array(length);
    const at = position % this.#ring.length;
    const first = Math.min(length, this.#ring.length - at);
    out.set(this.#ring.subarray(at, at + first));
    out.set(this.#ring.subarray(0, length - first), first);
    return out;
  }

  clear(): void {
    this.#begin = this.#end;
  }

  /** Where a reader should begin: not inside a line or an escape sequence when the oldest bytes are gone. */
  get replayFrom(): number {
    const begin = this.begin;
    if (begin === this.#begin) return begin;
    const newline = this.read(begin, LINE_SEARCH).indexOf(NEWLINE);
    return newline < 0 ? begin : begin + newline + 1;
  }
}

export class ConsolePort {
  readonly #scrollback: Scrollback;
  readonly #watchers = new Set<Watcher>();
  /** Input on its way to the guest, oldest first; each watcher's share is bounded by its window. */
  #input: { from: Watcher; bytes: Uint8Array }[] = [];
  #device: ConsoleDevice | null = null;
  #flushing = false;
  /** The last size that a watcher has said. */
  #size: { cols: number; rows: number } | null = null;

  constructor(scrollback = new Scrollback()) {
    this.#scrollback = scrollback;
  }

  /** A new machine's device: a new session begins, with an empty screen. */
  connect(device: ConsoleDevice): void {
    if (this.#device === device) return;
    this.#device = device;
    this.#scrollback.clear();
    for (const watcher of this.#watchers) watcher.reset(this.#scrollback.end);
    device.onData((bytes) => {
      if (this.#device !== device) return;
      this.#scrollback.append(bytes);
      for (const watcher of this.#watchers) watcher.pump();
    });
    device.onRoom(() => {
      if (this.#device === device) this.#flush();
    });
    if (this.#size !== null) device.resize?.(this.#size.cols, this.#size.rows);
    this.#flush();
  }

  /** Whether the guest can be told the size of the terminal. */
  get resizable(): boolean {
    return this.#device?.resizable ?? false;
  }

  /** The machine has gone. What it wrote stays to be read; what was typed for it is dropped. */
  disconnect(): void {
    this.#device = null;
    this.#flush();
  }

  /** What came last, at most `max` bytes, whole lines first where there are. */
  recent(max: number): Uint8Array {
    const { end, replayFrom } = this.#scrollback;
    return this.#scrollback.read(Math.max(replayFrom, end - max), max);
  }

  watch(port: BytePort): void {
    const watcher = new Watcher(port, this.#scrollback, {
      input: (bytes) => {
        this.#input.push({ from: watcher, bytes });
        this.#flush();
      },
      resize: (size) => {
        this.#size = size;
        this.#device?.resize?.(size.cols, size.rows);
      },
      gone: () => {
        this.#watchers.delete(watcher);
        this.#input = this.#input.filter((entry) => entry.from !== watcher);
      },
    });
    this.#watchers.add(watcher);
    watcher.begin();
  }

  /** The VM has been removed. */
  close(): void {
    this.disconnect();
    for (const watcher of [...this.#watchers]) watcher.close();
  }

  #flush(): void {
    // The device may ask for more from inside write().
    if (this.#flushing) return;
    this.#flushing = true;
    try {
      while (this.#input.length > 0) {
        const head = this.#input[0];
        const taken = this.#device === null ? head.bytes.length : this.#device.write(head.bytes);
        if (taken === 0) return;
        head.from.credit(taken);
        if (taken === head.bytes.length) this.#input.shift();
        else head.bytes = head.bytes.subarray(taken);
      }
    } finally {
      this.#flushing = false;
    }
  }
}

interface WatcherEvents {
  input(bytes: Uint8Array): void;
  resize(size: { cols: number; rows: number }): void;
  gone(): void;
}

class Watcher {
  readonly #port: BytePort;
  readonly #scrollback: Scrollback;
  readonly #events: WatcherEvents;
  /** Stream position up to which the watcher has been sent. */
  #sent: number;
  /** Bytes sent and not yet acknowledged; bytes of input taken from it and not yet credited. */
  #unacknowledged = 0;
  #uncredited = 0;
  #closed = false;

  constructor(port: BytePort, scrollback: Scrollback, events: WatcherEvents) {
    this.#port = port;
    this.#scrollback = scrollback;
    this.#events = events;
    this.#sent = scrollback.replayFrom;
  }

  begin(): void {
    this.#port.onClose(() => this.#end());
    this.#port.onMessage((frame) => {
      // A client that breaks the rules loses its stream, nobody else's.
      if (!this.#closed && !this.#receive(frame)) this.close();
    });
    this.#port.send(countFrame(FRAME_HELLO, this.#scrollback.end - this.#sent));
    this.pump();
  }

  /** Sends what the window allows. */
  pump(): void {
    if (this.#closed) return;
    const oldest = this.#scrollback.begin;
    if (this.#sent < oldest && this.#unacknowledged < OUTPUT_WINDOW) {
      this.#port.send(countFrame(FRAME_GAP, Math.min(oldest - this.#sent, 0xffffffff)));
      this.#sent = oldest;
    }
    while (this.#sent < this.#scrollback.end && this.#unacknowledged < OUTPUT_WINDOW) {
      const bytes = this.#scrollback.read(this.#sent, Math.min(MAX_BODY, OUTPUT_WINDOW - this.#unacknowledged));
      this.#sent += bytes.length;
      this.#unacknowledged += bytes.length;
      this.#port.send(bytesFrame(FRAME_DATA, bytes));
    }
  }

  reset(position: number): void {
    if (this.#closed) return;
    this.#sent = position;
    this.#port.send(new Uint8Array([FRAME_RESET]));
  }

  credit(bytes: number): void {
    this.#uncredited -= bytes;
    if (!this.#closed) this.#port.send(countFrame(FRAME_CREDIT, bytes));
  }

  close(): void {
    this.#port.close();
    this.#end();
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#events.gone();
  }

  #receive(frame: Uint8Array): boolean {
    if (frame[0] === FRAME_ACK && frame.length === 5) {
      const count = frameCount(frame);
      if (count > this.#unacknowledged) return false;
      this.#unacknowledged -= count;
      this.pump();
      return true;
    }
    if (frame[0] === FRAME_INPUT && frame.length > 1 && frame.length <= 1 + MAX_BODY) {
      this.#uncredited += frame.length - 1;
      if (this.#uncredited > INPUT_WINDOW) return false;
      this.#events.input(frame.slice(1));
      return true;
    }
    if (frame[0] === FRAME_RESIZE) {
      const size = frameSize(frame);
      if (size !== null) this.#events.resize(size);
      return size !== null;
    }
    return false;
  }
}
