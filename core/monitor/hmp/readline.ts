/**
 * The line editor of HMP (util/readline.c of QEMU): bytes of a terminal in, lines out, with a history and completion by Tab. It
 * echoes with the few escape sequences that every terminal has.
 */

/** Characters of a line. */
export const MAX_LINE = 4095;
const MAX_HISTORY = 64;
/** Columns that lists of completions fill. */
const COLUMNS = 80;

export interface Completion {
  /** How much of the end of the text before the cursor the candidates replace. */
  readonly length: number;
  readonly candidates: readonly string[];
}

export interface ReadlineOptions {
  prompt: string;
  write(text: string): void;
  /** A line was entered. The editor shows nothing until prompt() is called. */
  onLine(line: string): void;
  complete(before: string): Completion;
}

const ESC = 0x1b;
const DEL = 0x7f;
const CSI = 0x9b;
const control = (letter: string): number => letter.charCodeAt(0) & 0x1f;

export class Readline {
  readonly history: string[] = [];
  readonly #o: ReadlineOptions;
  readonly #decoder = new TextDecoder('utf-8');
  /** As code points: one each is what the cursor moves by. */
  #line: string[] = [];
  #cursor = 0;
  /** As it stands on the screen. */
  #shown: string[] = [];
  #shownCursor = 0;
  #escape: '' | 'esc' | 'csi' | 'ss3' = '';
  #parameter = 0;
  /** Index in the history while one walks in it, else its length. */
  #at = 0;
  /** What was typed before one began to walk. */
  #draft = '';
  #afterReturn = false;
  #listening = false;
  #running = false;
  #pending: string[] = [];

  constructor(options: ReadlineOptions) {
    this.#o = options;
  }

  /** Shows the prompt and listens. */
  prompt(): void {
    this.#line = [];
    this.#cursor = 0;
    this.#at = this.history.length;
    this.#listening = true;
    this.#redraw();
    this.#run();
  }

  /** Prompt and line once more, on a line of their own. */
  show(): void {
    if (!this.#listening) return;
    this.#o.write('\r\n');
    this.#redraw();
  }

  /** Characters that wait for the command to end. */
  get backlog(): number {
    return this.#pending.length;
  }

  feed(bytes: Uint8Array): void {
    for (const char of this.#decoder.decode(bytes, { stream: true })) this.#pending.push(char);
    this.#run();
  }

  #run(): void {
    // prompt() may be called by onLine: what is typed goes on here then.
    if (this.#running) return;
    this.#running = true;
    let taken = 0;
    while (this.#listening && taken < this.#pending.length) this.#key(this.#pending[taken++]);
    this.#pending.splice(0, taken);
    this.#running = false;
    if (this.#listening) this.#update();
  }

  /** Prompt and line anew, on a line of their own. */
  #redraw(): void {
    this.#o.write(this.#o.prompt);
    this.#shown = [];
    this.#shownCursor = 0;
    this.#update();
  }

  #key(char: string): void {
    const code = char.codePointAt(0)!;
    if (this.#escape !== '') return this.#sequence(char);
    const afterReturn = this.#afterReturn;
    this.#afterReturn = false;
    switch (code) {
      case control('a'):
        this.#cursor = 0;
        return;
      case control('b'):
        return this.#move(-1);
      case control('d'):
        return this.#delete();
      case control('e'):
        this.#cursor = this.#line.length;
        return;
      case control('f'):
        return this.#move(1);
      case control('k'):
        this.#line.length = this.#cursor;
        return;
      case control('l'):
        this.#o.write('\x1b[H\x1b[2J');
        return this.#redraw();
      case control('n'):
        return this.#walk(1);
      case control('p'):
        return this.#walk(-1);
      case control('u'):
        this.#line.splice(0, this.#cursor);
        this.#cursor = 0;
        return;
      case control('w'):
        return this.#eraseWord();
      case control('i'):
        return this.#complete();
      case control('j'):
        // The second half of CR LF.
        if (afterReturn) return;
        return this.#enter();
      case control('m'):
        this.#afterReturn = true;
        return this.#enter();
      case ESC:
        this.#escape = 'esc';
        return;
      case CSI:
        this.#escape = 'csi';
        this.#parameter = 0;
        return;
      case control('h'):
      case DEL:
        if (this.#cursor > 0) this.#line.splice(--this.#cursor, 1);
        return;
    }
    if (code >= 0x20 && !(code > 0x7e && code < 0xa0)) this.#insert(char);
  }

  #sequence(char: string): void {
    const state = this.#escape;
    if (state === 'esc') {
      this.#escape = char === '[' ? 'csi' : char === 'O' ? 'ss3' : '';
      this.#parameter = 0;
      return;
    }
    if (state === 'csi' && char >= '0' && char <= '9') {
      this.#parameter = Math.min(this.#parameter * 10 + Number(char), 999);
      return;
    }
    if (state === 'csi' && char === ';') return;
    this.#escape = '';
    switch (char) {
      case 'A':
        return this.#walk(-1);
      case 'B':
        return this.#walk(1);
      case 'C':
        return this.#move(1);
      case 'D':
        return this.#move(-1);
      case 'H':
        this.#cursor = 0;
        return;
      case 'F':
        this.#cursor = this.#line.length;
        return;
      case '~':
        if (this.#parameter === 1 || this.#parameter === 7) this.#cursor = 0;
        else if (this.#parameter === 3) this.#delete();
        else if (this.#parameter === 4 || this.#parameter === 8) this.#cursor = this.#line.length;
    }
  }

  #insert(char: string): void {
    if (this.#line.length < MAX_LINE) this.#line.splice(this.#cursor++, 0, char);
  }

  #delete(): void {
    this.#line.splice(this.#cursor, 1);
  }

  #move(by: number): void {
    this.#cursor = Math.max(0, Math.min(this.#line.length, this.#cursor + by));
  }

  #eraseWord(): void {
    let start = this.#cursor;
    while (start > 0 && this.#line[start - 1] === ' ') start--;
    while (start > 0 && this.#line[start - 1] !== ' ') start--;
    this.#line.splice(start, this.#cursor - start);
    this.#cursor = start;
  }

  #walk(by: number): void {
    const to = this.#at + by;
    if (to < 0 || to > this.history.length) return;
    if (this.#at === this.history.length) this.#draft = this.#line.join('');
    this.#at = to;
    this.#line = [...(to === this.history.length ? this.#draft : this.history[to])];
    this.#cursor = this.#line.length;
  }

  #enter(): void {
    this.#cursor = this.#line.length;
    this.#update();
    this.#o.write('\r\n');
    const line = this.#line.join('');
    if (line.trim() !== '') this.#remember(line);
    this.#listening = false;
    this.#o.onLine(line);
  }

  #remember(line: string): void {
    const before = this.history.indexOf(line);
    if (before >= 0) this.history.splice(before, 1);
    this.history.push(line);
    if (this.history.length > MAX_HISTORY) this.history.shift();
  }

  #complete(): void {
    const before = this.#line.slice(0, this.#cursor).join('');
    const { length, candidates } = this.#o.complete(before);
    if (candidates.length === 0) return;
    const begun = length === 0 ? '' : [...before].slice(-length).join('');
    const common = commonPrefix(candidates);
    for (const char of common.slice(begun.length)) this.#insert(char);
    if (candidates.length === 1) {
      // A path may go on.
      if (!/[/=]$/.test(common)) this.#insert(' ');
      return;
    }
    this.#update();
    const width = Math.max(10, Math.min(COLUMNS, Math.max(...candidates.map((candidate) => candidate.length)) + 2));
    const columns = Math.floor(COLUMNS / width);
    let text = '\r\n';
    candidates.forEach((candidate, index) => {
      const ends = (index + 1) % columns === 0 || index === candidates.length - 1;
      text += candidate.padEnd(width) + (ends ? '\r\n' : '');
    });
    this.#o.write(text);
    this.#redraw();
  }

  /** Brings the screen up to date. */
  #update(): void {
    let same = 0;
    while (same < this.#line.length && same < this.#shown.length && this.#line[same] === this.#shown[same]) same++;
    let text = '';
    if (same < this.#line.length || same < this.#shown.length) {
      text += this.#step(this.#shownCursor, same) + this.#line.slice(same).join('');
      if (this.#shown.length > same) text += '\x1b[K';
      this.#shown = [...this.#line];
      this.#shownCursor = this.#line.length;
    }
    text += this.#step(this.#shownCursor, this.#cursor);
    this.#shownCursor = this.#cursor;
    if (text !== '') this.#o.write(text);
  }

  #step(from: number, to: number): string {
    if (to === from) return '';
    return to < from ? `\x1b[${from - to}D` : `\x1b[${to - from}C`;
  }
}

function commonPrefix(words: readonly string[]): string {
  let prefix = words[0];
  for (const word of words) {
    let same = 0;
    while (same < prefix.length && prefix[same] === word[same]) same++;
    prefix = prefix.slice(0, same);
  }
  return prefix;
}
