/** What a terminal of 80 x 24 would show after some bytes, as text: for thumbnails. Colours and the like are left out. */

export const COLUMNS = 80;
export const ROWS = 24;

/** CSI, with its parameters and its final byte; OSC and other strings; other escapes. */
// eslint-disable-next-line no-control-regex -- terminals are made of them
const ESCAPE = /^\x1b(?:\[([0-9;?>=!]*)[ -/]*([@-~])|[\]PX^_][^\x07\x1b]{0,512}(?:\x07|\x1b\\)|[ -/]*[0-~])/;

class Screen {
  lines: string[][] = Array.from({ length: ROWS }, () => []);
  #row = 0;
  #column = 0;

  put(char: string): void {
    if (this.#column >= COLUMNS) {
      this.#column = 0;
      this.#feed();
    }
    const line = this.lines[this.#row];
    while (line.length < this.#column) line.push(' ');
    line[this.#column++] = char;
  }

  control(code: number): void {
    if (code === 10 || code === 11 || code === 12) this.#feed();
    else if (code === 13) this.#column = 0;
    else if (code === 8) this.#column = Math.max(0, this.#column - 1);
    else if (code === 9) this.#column = Math.min(COLUMNS - 1, (this.#column | 7) + 1);
  }

  #feed(): void {
    if (this.#row < ROWS - 1) this.#row++;
    else {
      this.lines.shift();
      this.lines.push([]);
    }
  }

  /** A control sequence (ECMA-48). */
  csi(parameters: string, final: string): void {
    const numbers = parameters.split(';').map((text) => Number(text.replace(/\D/g, '')) || 0);
    const count = Math.min(Math.max(1, numbers[0]), COLUMNS);
    const line = this.lines[this.#row];
    switch (final) {
      case 'A':
        this.#row = Math.max(0, this.#row - count);
        break;
      case 'B':
        this.#row = Math.min(ROWS - 1, this.#row + count);
        break;
      case 'C':
        this.#column = Math.min(COLUMNS - 1, this.#column + count);
        break;
      case 'D':
        this.#column = Math.max(0, this.#column - count);
        break;
      case 'G':
        this.#column = count - 1;
        break;
      case 'H':
      case 'f':
        this.#row = Math.min(ROWS, Math.max(1, numbers[0])) - 1;
        this.#column = Math.min(COLUMNS, Math.max(1, numbers[1] ?? 1)) - 1;
        break;
      case 'J':
        if (numbers[0] === 0) {
          line.length = Math.min(line.length, this.#column);
          for (let row = this.#row + 1; row < ROWS; row++) this.lines[row] = [];
        } else if (numbers[0] >= 2) this.lines = this.lines.map(() => []);
        break;
      case 'K':
        if (numbers[0] === 0) line.length = Math.min(line.length, this.#column);
        else if (numbers[0] === 2) line.length = 0;
        break;
      case 'P':
        line.splice(this.#column, count);
        break;
      default:
    }
  }
}

/** @returns ROWS lines at most, without the blank ones at the end */
export function screenText(bytes: Uint8Array): string[] {
  const screen = new Screen();
  let text = new TextDecoder().decode(bytes);
  while (text !== '') {
    // eslint-disable-next-line no-control-regex -- up to the next control character
    const plain = /^[^\x00-\x1f\x7f-\x9f]+/.exec(text)?.[0] ?? '';
    for (const char of plain) screen.put(char);
    text = text.slice(plain.length);
    if (text === '') break;
    const escape = ESCAPE.exec(text);
    if (escape === null) screen.control(text.charCodeAt(0));
    else if (escape[2] !== undefined) screen.csi(escape[1], escape[2]);
    text = text.slice(escape?.[0].length ?? 1);
  }
  const lines = screen.lines.map((line) => line.join('').trimEnd());
  while (lines.at(-1) === '') lines.pop();
  return lines;
}
