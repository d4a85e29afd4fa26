/** Where the window was, remembered in the library's folder. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { writeFileAtomic } from '../app/atomic-file.ts';
import type { Bounds } from './api.ts';

export const MIN_WIDTH = 900;
export const MIN_HEIGHT = 600;
const DEFAULT = { width: 1280, height: 800 };
/** A window is where a person can get hold of it when this much of its title bar is on a display. */
const VISIBLE = 100;

const pixels = z.number().int().min(-100_000).max(100_000);
const windowState = z.object({
  bounds: z.object({
    x: pixels,
    y: pixels,
    width: pixels.min(MIN_WIDTH),
    height: pixels.min(MIN_HEIGHT),
  }),
  maximized: z.boolean(),
});
export type WindowState = z.infer<typeof windowState>;

export class WindowStateFile {
  readonly #file: string;

  constructor(home: string) {
    this.#file = path.join(home, 'window.json');
  }

  /** What was remembered, if it still fits the displays. */
  async load(displays: { workArea: Bounds }[]): Promise<{ bounds: Partial<Bounds>; maximized: boolean }> {
    try {
      const state = windowState.parse(JSON.parse(await readFile(this.#file, 'utf8')));
      // A display may have gone, or be a smaller one now.
      const width = Math.min(state.bounds.width, Math.max(...displays.map(({ workArea }) => workArea.width)));
      const height = Math.min(state.bounds.height, Math.max(...displays.map(({ workArea }) => workArea.height)));
      const { x, y } = state.bounds;
      const there = displays.some(({ workArea }) => reachable({ x, y, width, height }, workArea));
      return { bounds: there ? { x, y, width, height } : { width, height }, maximized: state.maximized };
    } catch {
      return { bounds: DEFAULT, maximized: false };
    }
  }

  /** Not remembering is no reason to bother anyone. */
  async save(state: WindowState): Promise<void> {
    await writeFileAtomic(this.#file, `${JSON.stringify(state)}\n`).catch(() => undefined);
  }
}

function reachable(bounds: Bounds, area: Bounds): boolean {
  const across = Math.min(bounds.x + bounds.width, area.x + area.width) - Math.max(bounds.x, area.x);
  return across >= VISIBLE && bounds.y >= area.y - 1 && bounds.y < area.y + area.height - VISIBLE;
}
