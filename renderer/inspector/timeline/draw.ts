/** The timeline on a canvas: marks, bars of requests, throughput and depth, over one axis of time. */
import {
  MARK_DROPPED,
  MARK_FAULT,
  MARK_INJECTED,
  MARK_INTERRUPT,
  MARK_LOST,
  MARK_NOTIFIED,
  MARK_STOPPED,
  MARK_SUPPRESSED,
  REQUEST_TIMES,
  REQUEST_WORDS,
} from '../../../main/ipc/contract.ts';
import { nanoseconds, perSecond } from '../../lib/format.ts';
import type { Palette } from '../canvas.ts';
import { LANES, isError } from './model.ts';
import type { Filter, TimelineModel } from './model.ts';

export const LEFT = 92;
const RIGHT = 12;
/** Of a time on the axis. */
const LABEL = 48;
const AXIS = 20;
const MARK_ROW = 15;
const CHART = 56;
const CHART_GAP = 10;
const BAR_MOST = 30;
const BAR_LEAST = 3;
/** Wider bars show their phases. */
const PHASES_PX = 6;
const MARKS_MASK = 2 ** 16 - 1;

export interface View {
  /** ns. */
  from: number;
  to: number;
}

export interface Picture {
  width: number;
  height: number;
  view: View;
  filter: Filter;
  /** Types in the order in which colours are given out. */
  types: readonly number[];
  /** Notifications, interrupts and incidents are known. */
  marks: boolean;
  selected: number | null;
  hovered: number | null;
}

/** Rows of marks: what, in which colour, and whether it points up (to the device) or down (to the driver). */
export const MARK_ROWS: readonly { kinds: readonly number[]; label: string; colour: keyof Palette }[] = [
  { kinds: [MARK_NOTIFIED], label: 'Notified', colour: 'accent' },
  { kinds: [MARK_INTERRUPT], label: 'Interrupts', colour: 'ok' },
  { kinds: [MARK_SUPPRESSED], label: 'Suppressed', colour: 'faint' },
  { kinds: [MARK_DROPPED, MARK_FAULT, MARK_STOPPED, MARK_INJECTED, MARK_LOST], label: 'Incidents', colour: 'bad' },
];

/** Colours of request types: told apart by those who do not tell red from green. */
const TYPE_COLOURS = ['accent', 'warn', 'ok', 'muted'] as const;
/** Which of them a type has. */
export const typeColourName = (at: number) => TYPE_COLOURS[Math.min(Math.max(0, at), TYPE_COLOURS.length - 1)];

export interface Layout {
  marksTop: number;
  barsTop: number;
  barsHeight: number;
  /** Of a lane. */
  pitch: number;
  throughputTop: number;
  depthTop: number;
}

export function layout(height: number, lanes: number, marks: boolean): Layout {
  const marksTop = AXIS;
  const barsTop = marksTop + (marks ? MARK_ROWS.length : 0) * MARK_ROW + 8;
  const chartsTop = height - 2 * (CHART + CHART_GAP);
  const barsHeight = Math.max(40, chartsTop - barsTop);
  const pitch = Math.max(BAR_LEAST, Math.min(BAR_MOST, barsHeight / Math.max(1, lanes)));
  return {
    marksTop,
    barsTop,
    barsHeight,
    pitch,
    throughputTop: chartsTop + CHART_GAP,
    depthTop: chartsTop + CHART + 2 * CHART_GAP,
  };
}

export const plotWidth = (width: number) => Math.max(1, width - LEFT - RIGHT);
export const timeAt = (x: number, { width, view }: Picture) =>
  view.from + ((x - LEFT) / plotWidth(width)) * (view.to - view.from);

export function draw(
  context: CanvasRenderingContext2D,
  model: TimelineModel,
  picture: Picture,
  colours: Palette,
): void {
  const { width, height, view } = picture;
  const scale = plotWidth(width) / (view.to - view.from);
  const x = (time: number) => LEFT + (time - view.from) * scale;
  const places = layout(height, model.laneCount, picture.marks);
  context.clearRect(0, 0, width, height);
  context.font = `11px ${colours.sans}`;
  context.textBaseline = 'middle';
  drawAxis(context, picture, colours, x);
  context.save();
  context.beginPath();
  context.rect(LEFT, 0, plotWidth(width), height);
  context.clip();
  if (picture.marks) drawMarks(context, model, picture, colours, places, x);
  drawBars(context, model, picture, colours, places, x);
  drawCharts(context, model, picture, colours, places, x);
  context.restore();
  drawLabels(context, model, picture, colours, places);
}

/** 1, 2 or 5 times a power of ten, so that lines are some 110 px apart. */
function step(span: number, pixels: number): number {
  const wanted = (span / pixels) * 110;
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= wanted) ?? wanted;
}

function drawAxis(
  context: CanvasRenderingContext2D,
  { width, height, view }: Picture,
  colours: Palette,
  x: (time: number) => number,
): void {
  const every = step(view.to - view.from, plotWidth(width));
  context.fillStyle = colours.line;
  for (let time = Math.ceil(view.from / every) * every; time <= view.to; time += every) {
    context.fillRect(Math.round(x(time)), AXIS - 4, 1, height - AXIS + 4);
  }
  context.fillStyle = colours.faint;
  context.textAlign = 'left';
  for (let time = Math.ceil(view.from / every) * every; time <= view.to; time += every) {
    // Seconds since the watch began; as many digits as tell two lines apart.
    if (x(time) > width - LABEL) break;
    const digits = Math.max(0, Math.min(9, Math.ceil(-Math.log10(every / 1e9))));
    context.fillText(`${(time / 1e9).toFixed(digits)} s`, Math.round(x(time)) + 4, 8);
  }
}

function drawMarks(
  context: CanvasRenderingContext2D,
  model: TimelineModel,
  { view }: Picture,
  colours: Palette,
  { marksTop }: Layout,
  x: (time: number) => number,
): void {
  const rowOf = new Int8Array(16).fill(-1);
  MARK_ROWS.forEach(({ kinds }, row) => kinds.forEach((kind) => (rowOf[kind] = row)));
  const drawn = new Float64Array(MARK_ROWS.length).fill(Infinity);
  const oldest = Math.max(0, model.markCount - MARKS_MASK - 1);
  for (let index = model.markCount - 1; index >= oldest; index--) {
    const time = model.markTimes[index & MARKS_MASK];
    if (time < view.from) break;
    const row = rowOf[model.markKinds[index & MARKS_MASK]];
    if (row < 0 || time > view.to) continue;
    const at = Math.round(x(time));
    // One line a pixel is enough.
    if (at >= drawn[row]) continue;
    drawn[row] = at;
    context.fillStyle = colours[MARK_ROWS[row].colour];
    context.fillRect(at, marksTop + row * MARK_ROW + 2, row === 3 ? 3 : 1.5, MARK_ROW - 5);
  }
}

function drawBars(
  context: CanvasRenderingContext2D,
  model: TimelineModel,
  picture: Picture,
  colours: Palette,
  { barsTop, pitch }: Layout,
  x: (time: number) => number,
): void {
  const { view, filter, types } = picture;
  const { times, words, lanes } = model;
  const tall = Math.max(2, pitch - (pitch > 5 ? 2 : 1));
  // A run of bars that touch is drawn at once, and of those in one pixel the first is seen, or the first error: no more than
  // two rectangles a pixel and lane, however many requests and whatever their types.
  const runStart = new Float64Array(LANES).fill(NaN);
  const runEnd = new Float64Array(LANES);
  const runColour = new Array<string>(LANES).fill('');
  const runError = new Uint8Array(LANES);
  const palette = types.map((_, at) => colours[typeColourName(at)]);
  const plain = colours[typeColourName(0)];
  const flush = (lane: number) => {
    if (Number.isNaN(runStart[lane])) return;
    context.fillStyle = runColour[lane];
    context.fillRect(runStart[lane], barsTop + lane * pitch, runEnd[lane] - runStart[lane], tall);
    runStart[lane] = NaN;
  };
  model.visit(view.from, view.to, filter, (place) => {
    const t = place * REQUEST_TIMES;
    const w = place * REQUEST_WORDS;
    const lane = lanes[place];
    const from = x(times[t]);
    const to = x(times[t + 3]);
    const error = isError(words[w + 5]);
    const kind = types.indexOf(words[w + 4]);
    const colour = error ? colours.bad : kind < 0 ? plain : palette[kind];
    // Those in the last lane lie on one another: phases would not be seen.
    if (to - from >= PHASES_PX && lane < LANES - 1) {
      flush(lane);
      drawBar(context, from, x(times[t + 1]), x(times[t + 2]), to, barsTop + lane * pitch, tall, colour, error);
    } else if (colour === runColour[lane] && from <= runEnd[lane] + 1) {
      runEnd[lane] = Math.max(runEnd[lane], to);
    } else if (
      to < runEnd[lane] + 1 &&
      from < runEnd[lane] &&
      !Number.isNaN(runStart[lane]) &&
      (!error || runError[lane])
    ) {
      // Too small to be seen beside the one that has the pixel.
    } else {
      flush(lane);
      runStart[lane] = from;
      runEnd[lane] = Math.max(to, from + 1);
      runColour[lane] = colour;
      runError[lane] = error ? 1 : 0;
    }
  });
  for (let lane = 0; lane < LANES; lane++) flush(lane);
  outline(context, model, picture.hovered, colours.text, x, barsTop, pitch, tall);
  outline(context, model, picture.selected, colours.text, x, barsTop, pitch, tall);
}

/** Waiting to be taken: a light line. With the device: solid. Done and not yet shown to the driver: half. */
function drawBar(
  context: CanvasRenderingContext2D,
  available: number,
  popped: number,
  pushed: number,
  used: number,
  top: number,
  tall: number,
  colour: string,
  error: boolean,
): void {
  context.fillStyle = colour;
  context.globalAlpha = 0.3;
  context.fillRect(available, top, popped - available, tall);
  context.globalAlpha = 0.55;
  context.fillRect(pushed, top, used - pushed, tall);
  context.globalAlpha = 1;
  context.fillRect(popped, top, Math.max(1, pushed - popped), tall);
  if (!error || tall < 8) return;
  // An error is told by more than its colour.
  context.fillStyle = 'white';
  context.fillRect(popped + 2, top + tall / 2 - 1, Math.max(2, pushed - popped - 4), 2);
}

function outline(
  context: CanvasRenderingContext2D,
  model: TimelineModel,
  index: number | null,
  colour: string,
  x: (time: number) => number,
  barsTop: number,
  pitch: number,
  tall: number,
): void {
  if (index === null || index < model.first || index >= model.count) return;
  const { available, used, lane } = model.request(index);
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.strokeRect(x(available) - 1, barsTop + lane * pitch - 1, Math.max(3, x(used) - x(available)) + 2, tall + 2);
  context.lineWidth = 1;
}

function drawCharts(
  context: CanvasRenderingContext2D,
  model: TimelineModel,
  { view, width }: Picture,
  colours: Palette,
  { throughputTop, depthTop }: Layout,
  x: (time: number) => number,
): void {
  const moments = model.momentsBetween(view.from, view.to);
  // No finer than four pixels, so that the line is quiet.
  const least = ((view.to - view.from) / plotWidth(width)) * 4;
  const points: { time: number; rate: number; depth: number }[] = [];
  let before = moments[0];
  for (const moment of moments.slice(1)) {
    if (moment[0] - before[0] < least) continue;
    const rate = Math.max(0, moment[1] - before[1]) / ((moment[0] - before[0]) / 1e9);
    points.push({ time: moment[0], rate, depth: moment[5] });
    before = moment;
  }
  const most = Math.max(1, ...points.map(({ rate }) => rate));
  const deepest = Math.max(1, ...points.map(({ depth }) => depth));
  area(
    context,
    points.map(({ time, rate }) => [x(time), rate / most]),
    throughputTop,
    colours,
  );
  area(
    context,
    points.map(({ time, depth }) => [x(time), depth / deepest]),
    depthTop,
    colours,
  );
  context.fillStyle = colours.muted;
  context.textAlign = 'right';
  context.fillText(`peak ${perSecond(most)}/s`, width - RIGHT - 4, throughputTop + 7);
  context.fillText(`peak ${deepest}`, width - RIGHT - 4, depthTop + 7);
}

function area(context: CanvasRenderingContext2D, points: [number, number][], top: number, colours: Palette): void {
  const base = top + CHART - 2;
  context.fillStyle = colours.line;
  context.fillRect(LEFT, base, 1e5, 1);
  if (points.length === 0) return;
  const y = (share: number) => base - share * (CHART - 18);
  context.beginPath();
  context.moveTo(points[0][0], base);
  for (const [at, share] of points) context.lineTo(at, y(share));
  context.lineTo(points[points.length - 1][0], base);
  context.fillStyle = colours.accentSoft;
  context.fill();
  context.beginPath();
  points.forEach(([at, share], index) => (index === 0 ? context.moveTo(at, y(share)) : context.lineTo(at, y(share))));
  context.strokeStyle = colours.accent;
  context.lineWidth = 1.5;
  context.stroke();
  context.lineWidth = 1;
}

function drawLabels(
  context: CanvasRenderingContext2D,
  model: TimelineModel,
  { view, marks }: Picture,
  colours: Palette,
  { marksTop, barsTop, throughputTop, depthTop }: Layout,
): void {
  context.textAlign = 'left';
  context.fillStyle = colours.muted;
  if (marks) {
    MARK_ROWS.forEach(({ label }, row) => context.fillText(label, 12, marksTop + row * MARK_ROW + MARK_ROW / 2));
  }
  context.fillStyle = colours.text;
  context.fillText('Requests', 12, barsTop + 7);
  context.fillText('Per second', 12, throughputTop + 7);
  context.fillText('In flight', 12, depthTop + 7);
  context.fillStyle = colours.faint;
  if (model.laneCount > 1) context.fillText(`${model.laneCount} at once`, 12, barsTop + 22);
  context.fillText(nanoseconds(view.to - view.from), 12, 8);
}
