/** What drawings on a canvas share: sharp pixels, and the colours of the theme. */

export interface Palette {
  surface: string;
  raised: string;
  line: string;
  lineStrong: string;
  text: string;
  muted: string;
  faint: string;
  accent: string;
  accentSoft: string;
  onAccent: string;
  ok: string;
  warn: string;
  warnSoft: string;
  bad: string;
  track: string;
  mono: string;
  sans: string;
}

export function palette(element: Element): Palette {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(`--c-${name}`).trim();
  return {
    surface: colour('surface'),
    raised: colour('raised'),
    line: colour('line'),
    lineStrong: colour('line-strong'),
    text: colour('text'),
    muted: colour('muted'),
    faint: colour('faint'),
    accent: colour('accent'),
    accentSoft: colour('accent-soft'),
    onAccent: colour('on-accent'),
    ok: colour('ok'),
    warn: colour('warn'),
    warnSoft: colour('warn-soft'),
    bad: colour('bad'),
    track: colour('track'),
    mono: style.getPropertyValue('--font-mono').trim() || 'monospace',
    sans: style.getPropertyValue('--font-sans').trim() || 'sans-serif',
  };
}

/** Gives a canvas as many pixels as it covers. @returns its context, in CSS pixels; null where there is no canvas */
export function sharp(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D | null {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w) canvas.width = w;
  if (canvas.height !== h) canvas.height = h;
  const context = canvas.getContext('2d');
  context?.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}
