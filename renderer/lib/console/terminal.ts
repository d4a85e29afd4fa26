/** A terminal on a stream of the app: a console port of a VM, or its monitor. */
import { FitAddon } from '@xterm/addon-fit';
import { SearchAddon } from '@xterm/addon-search';
import type { ISearchOptions } from '@xterm/addon-search';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { WebglAddon } from '@xterm/addon-webgl';
import { Terminal } from '@xterm/xterm';
import { actionNames, actions } from '../../../main/ipc/contract.ts';
import type { ActionInfo, BytePort } from '../../../main/ipc/contract.ts';
import { ConsoleClient } from '../../../main/ipc/contract/console-client.ts';
import { matches } from '../../palette/keys.ts';
import { bytes } from '../format.ts';
import { app } from '../state/app.svelte.ts';
import { lineOf } from '../state/toasts.svelte.ts';
import { confirm } from '../ui/confirm.svelte.ts';
import { openLink } from './links.ts';
import { DARK, DARK_MATCHES, LIGHT, LIGHT_MATCHES } from './palette.ts';
import { FONT, preferences } from './preferences.svelte.ts';
import { withConstructedStyles } from './strict-styles.ts';

/** A stream that ended is opened again after this. */
const RECONNECT_MS = 1000;
/** Keys and pastes that are kept until the stream is there. */
const MAX_EARLY = 1000;
/** The guest is told a new size once it has been the same for so long. */
const RESIZE_MS = 150;
/** How long the frame shows that the guest has rung. */
const BELL_MS = 200;
/** Lines of a paste that are shown in the question about it. */
const PREVIEW_LINES = 4;
const PREVIEW_COLUMNS = 60;

const encoder = new TextEncoder();

export interface TerminalOptions {
  /** Opens a stream to what is to be shown. */
  open(): Promise<BytePort>;
  dark: boolean;
  onProblem(text: string): void;
  /** Columns and rows have changed. */
  onSize?(cols: number, rows: number): void;
}

/** How many matches there are and which one is shown, from 1; 0 when none is. */
export interface Matches {
  count: number;
  at: number;
}

export class ConsoleTerminal {
  readonly #options: TerminalOptions;
  readonly #terminal: Terminal;
  readonly #fit = new FitAddon();
  readonly #search = new SearchAddon();
  #webgl: WebglAddon | null = null;
  readonly #observer: ResizeObserver;
  #client: ConsoleClient | null = null;
  /** Typed before there was a stream. */
  readonly #early: Uint8Array[] = [];
  /** Replayed bytes that the terminal has not digested: what it answers to them (cursor reports) is no input. */
  #replaying = 0;
  #resizing: ReturnType<typeof setTimeout> | undefined;
  #ringing: ReturnType<typeof setTimeout> | undefined;
  readonly #end = new AbortController();
  #disposed = false;

  constructor(host: HTMLElement, options: TerminalOptions) {
    this.#options = options;
    const { fontSize, scrollback, screenReader } = preferences.values;
    this.#terminal = new Terminal({
      scrollback,
      fontSize,
      fontFamily: getComputedStyle(host).getPropertyValue('--font-mono') || 'monospace',
      cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
      theme: options.dark ? DARK : LIGHT,
      // Guests choose colours for dark screens; on a light one they must stay readable.
      minimumContrastRatio: 4.5,
      screenReaderMode: screenReader,
      // The search's marks are decorations, which xterm.js calls proposed.
      allowProposedApi: true,
    });
    this.#terminal.loadAddon(this.#fit);
    this.#terminal.loadAddon(this.#search);
    this.#terminal.loadAddon(new WebLinksAddon((_event, link) => void openLink(link)));
    withConstructedStyles(() => this.#terminal.open(host));
    this.#draw(preferences.values.gpu);
    this.#terminal.attachCustomKeyEventHandler((event) => this.#key(event));
    this.#terminal.onData((text) => this.#send(encoder.encode(text)));
    this.#terminal.onBinary((text) => this.#send(Uint8Array.from(text, (character) => character.charCodeAt(0))));
    this.#terminal.onResize(({ cols, rows }) => {
      options.onSize?.(cols, rows);
      clearTimeout(this.#resizing);
      this.#resizing = setTimeout(() => this.#client?.resize(cols, rows), RESIZE_MS);
    });
    this.#terminal.onBell(() => {
      if (!preferences.values.bell || this.#replaying > 0) return;
      host.dataset.bell = '';
      clearTimeout(this.#ringing);
      this.#ringing = setTimeout(() => delete host.dataset.bell, BELL_MS);
    });
    host.addEventListener(
      'mouseup',
      () => {
        if (preferences.values.copyOnSelect && this.hasSelection) void this.copy().catch(() => undefined);
      },
      { signal: this.#end.signal },
    );
    // Before xterm.js takes it: a paste of several lines is asked about.
    host.addEventListener(
      'paste',
      (event) => {
        event.preventDefault();
        event.stopPropagation();
        void this.#paste(event.clipboardData?.getData('text/plain') ?? '');
      },
      { capture: true, signal: this.#end.signal },
    );
    this.#observer = new ResizeObserver(() => this.#resize());
    this.#observer.observe(host);
    void this.#connect();
  }

  set dark(dark: boolean) {
    this.#terminal.options.theme = dark ? DARK : LIGHT;
  }

  /** Input is refused while nobody reads it. */
  set off(off: boolean) {
    this.#terminal.options.disableStdin = off;
  }

  /** Takes over what the person prefers now. */
  follow({ fontSize, scrollback, gpu, screenReader }: typeof preferences.values): void {
    Object.assign(this.#terminal.options, { fontSize, scrollback, screenReaderMode: screenReader });
    this.#draw(gpu);
    this.#resize();
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
    await this.#paste(await navigator.clipboard.readText());
  }

  /** Shows the next (or the one before) place where `text` is, and marks all of them. */
  find(text: string, backwards: boolean, options: Pick<ISearchOptions, 'caseSensitive' | 'incremental'>): void {
    const all: ISearchOptions = {
      ...options,
      decorations: this.#terminal.options.theme === DARK ? DARK_MATCHES : LIGHT_MATCHES,
    };
    if (backwards) this.#search.findPrevious(text, all);
    else this.#search.findNext(text, all);
  }

  onMatches(listener: (matches: Matches) => void): void {
    this.#search.onDidChangeResults(({ resultIndex, resultCount }) =>
      listener({ count: resultCount, at: resultIndex + 1 }),
    );
  }

  endFind(): void {
    this.#search.clearDecorations();
    this.#terminal.clearSelection();
    this.focus();
  }

  /** Empties the scrollback of this window; the app keeps its own. */
  clear(): void {
    this.#terminal.clear();
    this.focus();
  }

  dispose(): void {
    this.#disposed = true;
    this.#end.abort();
    clearTimeout(this.#resizing);
    this.#observer.disconnect();
    this.#client?.close();
    this.#terminal.dispose();
  }

  /** With the GPU, where WebGL works; else xterm.js draws with the page's own elements. */
  #draw(gpu: boolean): void {
    if (gpu === (this.#webgl !== null)) return;
    if (!gpu) {
      this.#endWebgl();
      return;
    }
    try {
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => this.#endWebgl());
      this.#terminal.loadAddon(webgl);
      this.#webgl = webgl;
    } catch {
      this.#webgl = null;
    }
  }

  #endWebgl(): void {
    const webgl = this.#webgl;
    this.#webgl = null;
    withConstructedStyles(() => webgl?.dispose());
  }

  async #paste(text: string): Promise<void> {
    if (text === '' || this.#terminal.options.disableStdin === true) return;
    const lines = text.split(/\r\n|\r|\n/);
    // One line with its end is what people mean to run.
    const several = lines.length > 2 || (lines.length === 2 && lines[1].trim() !== '');
    if (several && preferences.values.confirmPaste && !this.#terminal.modes.bracketedPasteMode) {
      const shown = lines.slice(0, PREVIEW_LINES).map((line) => line.slice(0, PREVIEW_COLUMNS));
      const rest = lines.length - shown.length;
      const yes = await confirm.ask({
        title: `Paste ${lines.length} lines?`,
        message: 'The guest takes each line as if it were typed, and may run it at once.',
        details: [...shown, ...(rest > 0 ? [`… and ${rest} more`] : [])],
        confirm: 'Paste',
      });
      if (!yes) return;
    }
    this.#terminal.paste(text);
    this.focus();
  }

  async #connect(): Promise<void> {
    try {
      const port = await this.#options.open();
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
      this.#client.resize(this.#terminal.cols, this.#terminal.rows);
      for (const typed of this.#early.splice(0)) this.#client.send(typed);
      this.#options.onSize?.(this.#terminal.cols, this.#terminal.rows);
    } catch (error) {
      if (!this.#disposed) this.#options.onProblem(lineOf(error));
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
    if (this.#client === null) {
      // It is about to be: nothing of what is typed meanwhile is lost.
      if (this.#early.length < MAX_EARLY) this.#early.push(bytesToSend);
    } else if (!this.#client.send(bytesToSend)) {
      this.#options.onProblem('The guest does not read its input: what you typed or pasted was not sent.');
    }
  }

  /** Ctrl+Shift+C and Ctrl+Shift+V as terminals have them; everything else goes to the guest. */
  #key(event: KeyboardEvent): boolean {
    if (event.type !== 'keydown' || !event.ctrlKey || !event.shiftKey) return true;
    if (event.code === 'KeyC') {
      event.preventDefault();
      void this.copy().catch((error: unknown) => this.#options.onProblem(lineOf(error)));
      return false;
    }
    // What this window does with keys goes before what the guest does.
    if (isAction(event)) return false;
    // The browser pastes by itself, and the page finds; xterm must only not send ^V or ^F as well.
    return event.code !== 'KeyV' && event.code !== 'KeyF';
  }

  #resize(): void {
    if (!this.#disposed) this.#fit.fit();
  }
}

function isAction(event: KeyboardEvent): boolean {
  return actionNames.some((name) => {
    const { keys }: ActionInfo = actions[name];
    return keys !== undefined && matches(event, keys);
  });
}

/** Larger (1), smaller (-1) or as it came (0); for all consoles. */
export function zoom(step: -1 | 0 | 1): void {
  const size = step === 0 ? FONT.default : preferences.values.fontSize + step;
  preferences.set({ fontSize: Math.min(FONT.max, Math.max(FONT.min, size)) });
}
