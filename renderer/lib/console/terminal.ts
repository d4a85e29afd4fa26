/** A terminal on a console port of a VM. */
import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import type { ITheme } from '@xterm/xterm';
import { ConsoleClient } from '../../../main/ipc/contract/console-client.ts';
import { bytes } from '../format.ts';
import { app } from '../state/app.svelte.ts';
import { lineOf } from '../state/toasts.svelte.ts';
import { withConstructedStyles } from './strict-styles.ts';

const SCROLLBACK_LINES = 10_000;
/** A stream that ended is opened again after this. */
const RECONNECT_MS = 1000;
const FONT_KEY = 'ringside-console-font';
const FONT_DEFAULT = 13;
const FONT_MIN = 9;
const FONT_MAX = 24;

const encoder = new TextEncoder();

const LIGHT: ITheme = {
  background: '#ffffff',
  foreground: '#1b1e25',
  cursor: '#2563c4',
  cursorAccent: '#ffffff',
  selectionBackground: '#bcd3f7',
  black: '#1b1e25',
  red: '#b42b2b',
  green: '#17713d',
  yellow: '#8a5200',
  blue: '#2563c4',
  magenta: '#8b3a9e',
  cyan: '#0f6f7c',
  white: '#6b7280',
  brightBlack: '#565d6b',
  brightRed: '#cf3f3f',
  brightGreen: '#1f8a4c',
  brightYellow: '#a86a0a',
  brightBlue: '#3b7be0',
  brightMagenta: '#a451b8',
  brightCyan: '#178a99',
  brightWhite: '#3c4250',
};

const DARK: ITheme = {
  background: '#111317',
  foreground: '#dde1e8',
  cursor: '#7aa8f7',
  cursorAccent: '#111317',
  selectionBackground: '#31486f',
  black: '#23272f',
  red: '#f28b8b',
  green: '#6bcf96',
  yellow: '#e6b04f',
  blue: '#7aa8f7',
  magenta: '#d19ae0',
  cyan: '#6fc7d4',
  white: '#c9ced8',
  brightBlack: '#7d8595',
  brightRed: '#ffa8a8',
  brightGreen: '#8fe3b2',
  brightYellow: '#f5cb7f',
  brightBlue: '#a0c2fc',
  brightMagenta: '#e4bdf0',
  brightCyan: '#98dfe9',
  brightWhite: '#f4f6f9',
};

export class ConsoleTerminal {
  readonly #vm: string;
  readonly #port: string;
  readonly #terminal: Terminal;
  readonly #fit = new FitAddon();
  readonly #observer: ResizeObserver;
  readonly #onProblem: (text: string) => void;
  #client: ConsoleClient | null = null;
  /** Replayed bytes that the terminal has not digested: what it answers to them (cursor reports) is no input. */
  #replaying = 0;
  #disposed = false;

  constructor(host: HTMLElement, vm: string, port: string, dark: boolean, onProblem: (text: string) => void) {
    this.#vm = vm;
    this.#port = port;
    this.#onProblem = onProblem;
    this.#terminal = new Terminal({
      scrollback: SCROLLBACK_LINES,
      fontSize: storedFontSize(),
      fontFamily: getComputedStyle(host).getPropertyValue('--font-mono') || 'monospace',
      cursorBlink: true,
      theme: dark ? DARK : LIGHT,
      // Guests choose colours for dark screens; on a light one they must stay readable.
      minimumContrastRatio: 4.5,
      screenReaderMode: false,
    });
    this.#terminal.loadAddon(this.#fit);
    withConstructedStyles(() => this.#terminal.open(host));
    this.#terminal.attachCustomKeyEventHandler((event) => this.#key(event));
    this.#terminal.onData((text) => this.#send(encoder.encode(text)));
    this.#terminal.onBinary((text) => this.#send(Uint8Array.from(text, (character) => character.charCodeAt(0))));
    this.#observer = new ResizeObserver(() => this.#resize());
    this.#observer.observe(host);
    void this.#connect();
  }

  set dark(dark: boolean) {
    this.#terminal.options.theme = dark ? DARK : LIGHT;
  }

  /** Input is refused while the machine is off. */
  set off(off: boolean) {
    this.#terminal.options.disableStdin = off;
  }

  focus(): void {
    this.#terminal.focus();
  }

  get hasSelection(): boolean {
    return this.#terminal.hasSelection();
  }

  onSelectionChange(listener: () => void): void {
    this.#terminal.onSelectionChange(listener);
  }

  async copy(): Promise<void> {
    const text = this.#terminal.getSelection();
    if (text !== '') await navigator.clipboard.writeText(text);
  }

  async paste(): Promise<void> {
    this.#terminal.paste(await navigator.clipboard.readText());
    this.focus();
  }

  /** Larger (1), smaller (-1) or as it came (0). */
  zoom(step: -1 | 0 | 1): void {
    const size = step === 0 ? FONT_DEFAULT : (this.#terminal.options.fontSize ?? FONT_DEFAULT) + step;
    const clamped = Math.min(FONT_MAX, Math.max(FONT_MIN, size));
    this.#terminal.options.fontSize = clamped;
    localStorage.setItem(FONT_KEY, String(clamped));
    this.#resize();
  }

  dispose(): void {
    this.#disposed = true;
    this.#observer.disconnect();
    this.#client?.close();
    this.#terminal.dispose();
  }

  async #connect(): Promise<void> {
    try {
      const port = await app.client.openConsole(this.#vm, this.#port);
      if (this.#disposed) {
        port.close();
        return;
      }
      this.#client = new ConsoleClient(port, {
        data: (chunk, replay, shown) => {
          if (replay) this.#replaying++;
          this.#terminal.write(chunk, () => {
            if (replay) this.#replaying--;
            shown();
          });
        },
        gap: (skipped) => {
          // Attributes of skipped text must not colour what follows.
          this.#terminal.write(
            `\x1b[0m\r\n\x1b[7m ${bytes(skipped)} skipped: the guest writes faster than this shows \x1b[0m\r\n`,
          );
        },
        reset: () => this.#terminal.reset(),
        closed: () => setTimeout(() => this.#reconnect(), RECONNECT_MS),
      });
    } catch (error) {
      if (!this.#disposed) this.#onProblem(lineOf(error));
    }
  }

  /** The stream ended alone: with the whole connection gone, whoever made this terminal makes another one. */
  #reconnect(): void {
    if (this.#disposed || app.link !== 'open') return;
    this.#terminal.reset();
    void this.#connect();
  }

  #send(bytesToSend: Uint8Array): void {
    if (this.#replaying > 0) return;
    if (this.#client !== null && !this.#client.send(bytesToSend)) {
      this.#onProblem('The guest does not read its input: what you typed or pasted was not sent.');
    }
  }

  /** Ctrl+Shift+C and Ctrl+Shift+V as terminals have them; everything else goes to the guest. */
  #key(event: KeyboardEvent): boolean {
    if (event.type !== 'keydown' || !event.ctrlKey || !event.shiftKey) return true;
    if (event.code === 'KeyC') {
      event.preventDefault();
      void this.copy().catch((error: unknown) => this.#onProblem(lineOf(error)));
      return false;
    }
    // The browser pastes by itself; xterm must only not send ^V as well.
    return event.code !== 'KeyV';
  }

  #resize(): void {
    if (!this.#disposed) this.#fit.fit();
  }
}

function storedFontSize(): number {
  const size = Number(localStorage.getItem(FONT_KEY));
  return size >= FONT_MIN && size <= FONT_MAX ? size : FONT_DEFAULT;
}
