/** What a picture of the timeline costs, counted: time would say more about the host. */
import { describe, expect, test } from 'vitest';
import type { Palette } from '../../renderer/inspector/canvas.ts';
import { draw, plotWidth } from '../../renderer/inspector/timeline/draw.ts';
import { EVERYTHING, REQUESTS, TimelineModel } from '../../renderer/inspector/timeline/model.ts';
import { batch } from './batches.ts';

const PER_SECOND = 50_000;
const BATCHES_PER_SECOND = 30;
const SECOND = 1e9;
const [WIDTH, HEIGHT] = [1600, 900];

/** A canvas that only counts. */
function counting() {
  const calls = new Map<string, number>();
  const context = new Proxy({} as Record<string, unknown>, {
    get: (values, name: string) => {
      if (name in values) return values[name];
      return () => {
        calls.set(name, (calls.get(name) ?? 0) + 1);
        return { width: 10 };
      };
    },
  });
  return { context: context as unknown as CanvasRenderingContext2D, calls };
}
const colours = new Proxy({}, { get: (_, name: string) => name }) as Palette;

/** Some seconds at 50,000 requests a second, by turns of several types, 32 of them under way at once. */
function busy(seconds: number): TimelineModel {
  const model = new TimelineModel();
  const count = Math.round(PER_SECOND / BATCHES_PER_SECOND);
  const every = SECOND / PER_SECOND;
  for (let seq = 0; seq < seconds * BATCHES_PER_SECOND; seq++) {
    model.add(batch(seq, seq * count * every, count, { every, took: 32 * every, types: 4 }));
  }
  return model;
}

describe('a picture at 50,000 requests a second', () => {
  const model = busy(6);

  test.each([0.001, 0.1, 2, 5, 600])('of %d s is so many rectangles as there are pixels', (span) => {
    const { context, calls } = counting();
    const view = { from: model.end - span * SECOND, to: model.end };
    let visited = 0;
    model.visit(view.from, view.to, EVERYTHING, () => visited++);
    draw(
      context,
      model,
      {
        width: WIDTH,
        height: HEIGHT,
        view,
        filter: EVERYTHING,
        types: [0, 1, 2, 3],
        marks: true,
        selected: null,
        hovered: null,
      },
      colours,
    );
    expect(model.laneCount).toBeGreaterThanOrEqual(32);
    // Bars with phases are three rectangles, a failed one four, and are six pixels wide at least; others two a pixel.
    const most = 2 * plotWidth(WIDTH) * model.laneCount;
    expect(calls.get('fillRect')).toBeLessThan(Math.min(4 * visited, most) + 4 * plotWidth(WIDTH) + 100);
    expect(calls.get('lineTo')).toBeLessThan(plotWidth(WIDTH));
    expect(calls.get('fillText')).toBeLessThan(100);
    // However far one zooms out: no more than is kept.
    expect(visited).toBeLessThanOrEqual(REQUESTS);
  });

  test('of two seconds is far fewer rectangles than requests, of whatever types they are', () => {
    const one = new TimelineModel();
    const every = SECOND / PER_SECOND;
    for (let seq = 0; seq < 60; seq++)
      one.add(batch(seq, seq * 1667 * every, 1667, { every, took: every / 2, types: 4 }));
    const { context, calls } = counting();
    const view = { from: one.end - 2 * SECOND, to: one.end };
    draw(
      context,
      one,
      {
        width: WIDTH,
        height: HEIGHT,
        view,
        filter: EVERYTHING,
        types: [0, 1, 2, 3],
        marks: true,
        selected: null,
        hovered: null,
      },
      colours,
    );
    expect(calls.get('fillRect')).toBeLessThan(3 * plotWidth(WIDTH));
  });
});
