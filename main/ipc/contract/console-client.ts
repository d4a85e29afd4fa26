/** The watcher's end of a console stream (console-frames.ts): used by the renderer's terminal and by tests. */
import type { BytePort } from '../contract.ts';
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
  frameCount,
  INPUT_WINDOW,
  MAX_BODY,
  resizeFrame,
} from './console-frames.ts';

export interface ConsoleListener {
  /** Bytes to show; `shown` must be called when they are (it lets more come). `replay`: they were written before now. */
  data(bytes: Uint8Array, replay: boolean, shown: () => void): void;
  /** `bytes` of output were skipped. */
  gap(bytes: number): void;
  /** The machine was powered on anew. */
  reset(): void;
  closed(): void;
}

/** Input that may wait here while the guest does not read: beyond it, typing is refused. */
const MAX_WAITING = 4 * 2 ** 20;

export class ConsoleClient {
  readonly #port: BytePort;
  readonly #listener: ConsoleListener;
  #replayLeft = 0;
  #credit = INPUT_WINDOW;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #closed = false;

  constructor(port: BytePort, listener: ConsoleListener) {
    this.#port = port;
    this.#listener = listener;
    port.onMessage((frame) => this.#receive(frame));
    port.onClose(() => {
      if (this.#closed) return;
      this.#closed = true;
      listener.closed();
    });
  }

  /** Sends input to the guest, in order, as fast as it takes it. False: too much waits already, nothing was taken. */
  send(bytes: Uint8Array): boolean {
    if (this.#closed || this.#waitingBytes + bytes.length > MAX_WAITING) return false;
    if (bytes.length === 0) return true;
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#flush();
    return true;
  }

  /** Tells the guest the size of the terminal, in characters, where its device can be told. */
  resize(cols: number, rows: number): void {
    if (!this.#closed) this.#port.send(resizeFrame(cols, rows));
  }

  /** Input bytes that the guest has not taken yet. */
  get pending(): number {
    return this.#waitingBytes + (INPUT_WINDOW - this.#credit);
  }

  close(): void {
    this.#closed = true;
    this.#port.close();
  }

  #receive(frame: Uint8Array): void {
    if (this.#closed) return;
    switch (frame[0]) {
      case FRAME_HELLO:
        this.#replayLeft = frameCount(frame);
        break;
      case FRAME_DATA: {
        const bytes = frame.subarray(1);
        const replay = this.#replayLeft > 0;
        this.#replayLeft = Math.max(0, this.#replayLeft - bytes.length);
        this.#listener.data(bytes, replay, () => {
          if (!this.#closed) this.#port.send(countFrame(FRAME_ACK, bytes.length));
        });
        break;
      }
      case FRAME_GAP:
        this.#replayLeft = 0;
        this.#listener.gap(frameCount(frame));
        break;
      case FRAME_RESET:
        this.#replayLeft = 0;
        this.#listener.reset();
        break;
      case FRAME_CREDIT:
        this.#credit = Math.min(INPUT_WINDOW, this.#credit + frameCount(frame));
        this.#flush();
        break;
    }
  }

  #flush(): void {
    while (this.#credit > 0 && this.#waiting.length > 0) {
      const head = this.#waiting[0];
      const part = head.subarray(0, Math.min(head.length, this.#credit, MAX_BODY));
      if (part.length === head.length) this.#waiting.shift();
      else this.#waiting[0] = head.subarray(part.length);
      this.#waitingBytes -= part.length;
      this.#credit -= part.length;
      this.#port.send(bytesFrame(FRAME_INPUT, part));
    }
  }
}
