/**
 * Where the parts of a page are, as text that is kept beside the tests: one line for each part, its box in pixels. Boxes may
 * differ a little, as fonts do; a part that comes, goes, moves or is cut off is a difference.
 */
import { readFile, writeFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';

/** What fonts of other computers may make of it, pixels. */
const TOLERANCE = 24;
const PARTS =
  'aside, main, header, h1, h2, form, [role=dialog], [role=toolbar], [role=tablist], .card, [data-testid=terminal]';

/** Boxes of the visible parts: "h1 “Library” 248,14 60x24". */
export async function layoutOf(page: Page): Promise<string[]> {
  return page.evaluate<string[]>(`[...document.querySelectorAll(${JSON.stringify(PARTS)})].flatMap((element) => {
    const box = element.getBoundingClientRect();
    if (box.width < 2 || box.height < 2 || getComputedStyle(element).visibility === 'hidden') return [];
    const heading = /^H[12]$/.test(element.tagName);
    const name = heading
      ? element.textContent.trim()
      : (element.getAttribute('data-testid') ?? element.getAttribute('aria-label') ?? '');
    const label = [element.tagName.toLowerCase(), name === '' ? '' : '“' + name + '”'].filter(Boolean).join(' ');
    return [[label, [box.x, box.y].map(Math.round).join(','), [box.width, box.height].map(Math.round).join('x')].join(' ')];
  })`);
}

/** What no page may have at any size: things beyond the window's edge, text that is cut off, controls over one another. */
export async function misplaced(page: Page): Promise<string[]> {
  return page.evaluate<string[]>(`(() => {
    const problems = [];
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth) problems.push('the page is wider than the window');
    const main = document.querySelector('main');
    for (const element of main ? [main, ...main.querySelectorAll('.card, form, fieldset, section, header')] : []) {
      const style = getComputedStyle(element);
      if (element.scrollWidth > element.clientWidth + 1 && style.overflowX === 'visible' && style.display !== 'inline') {
        problems.push('wider than its place: ' + element.outerHTML.slice(0, 120));
      }
    }
    const controls = [...document.querySelectorAll('button, a[href], input:not(.sr-only), select, textarea')].filter((element) => {
      const box = element.getBoundingClientRect();
      return box.width > 1 && box.height > 1 && element.checkVisibility() && !element.closest('.xterm, [aria-hidden=true]');
    });
    for (const element of controls) {
      const { left, right } = element.getBoundingClientRect();
      if (left < -1 || right > innerWidth + 1) problems.push('beyond the edge: ' + element.outerHTML.slice(0, 120));
      if (element.tagName === 'BUTTON' && element.scrollWidth > element.clientWidth + 2)
        problems.push('its text is cut off: ' + element.outerHTML.slice(0, 160));
    }
    return problems;
  })()`);
}

const BOX = / (-?\d+),(-?\d+) (\d+)x(\d+)$/;

function differs(now: string, then: string): boolean {
  const [a, b] = [BOX.exec(now), BOX.exec(then)];
  if (a === null || b === null || now.slice(0, a.index) !== then.slice(0, b.index)) return true;
  return [1, 2, 3, 4].some((at) => Math.abs(Number(a[at]) - Number(b[at])) > TOLERANCE);
}

/** The kept layouts of all pages; written anew by whoever sets RINGSIDE_UPDATE_LAYOUT. */
export class Layouts {
  readonly #file: string;
  readonly #kept = new Map<string, string[]>();
  readonly #seen = new Map<string, string[]>();

  private constructor(file: string) {
    this.#file = file;
  }

  static async open(file: string): Promise<Layouts> {
    const layouts = new Layouts(file);
    const text = await readFile(file, 'utf8').catch(() => '');
    for (const block of text.split('\n\n').filter(Boolean)) {
      const [name, ...lines] = block.trimEnd().split('\n');
      layouts.#kept.set(
        name,
        lines.map((line) => line.trim()),
      );
    }
    return layouts;
  }

  /** What is elsewhere than it was, one line each. */
  compare(name: string, now: string[]): string[] {
    this.#seen.set(name, now);
    const then = this.#kept.get(name) ?? [];
    const lines = Math.max(now.length, then.length);
    return Array.from({ length: lines }, (_, at) => at)
      .filter((at) => differs(now[at] ?? '', then[at] ?? ''))
      .map((at) => `${name}: ${now[at] ?? 'nothing'}, and was ${then[at] ?? 'nothing'}`);
  }

  async save(): Promise<void> {
    const blocks = [...this.#seen].map(
      ([name, lines]) => `${[name, ...lines.map((line) => `  ${line}`)].join('\n')}\n`,
    );
    await writeFile(this.#file, blocks.join('\n'));
  }
}
