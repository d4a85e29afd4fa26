/** x-query-jit (qapi/machine.json): what the translator of guest code has done. */
import { MonitorError } from '../errors.ts';
import { nothing } from '../schema.ts';
import type { MonitorTarget } from '../target.ts';
import { query } from './command.ts';
import { humanReadable } from './interrupts.ts';

const LABEL_WIDTH = 20;

/** @throws MonitorError without a translator */
export function jitText({ jit }: MonitorTarget): string {
  if (jit === null) throw new MonitorError('JIT information is only available with accel=jit');
  const line = (label: string, value: number | string): string => `${label.padEnd(LABEL_WIDTH)}${value}\n`;
  const milliseconds = (value: number): string => `${value.toFixed(1)} ms`;
  const share = (part: number, all: number): string => (all === 0 ? '0' : (part / all).toFixed(1));
  let text =
    'Translation state:\n' +
    line('regions', jit.regions) +
    line('from the cache', jit.replayedRegions) +
    line('code pages', jit.pages) +
    line('module size', `${jit.moduleBytes} bytes`) +
    line('guest instructions', jit.translatedInstructions) +
    line('bytes/instruction', share(jit.moduleBytes, jit.translatedInstructions)) +
    '\nStatistics:\n' +
    line('batches', jit.batches) +
    line('translate time', milliseconds(jit.translateMs)) +
    line('compile time', milliseconds(jit.compileMs)) +
    line('flushes', jit.flushes) +
    line('refused', jit.refused) +
    line('out of date', jit.stale);
  jit.harts.forEach(({ entries, retired, stops }, hart) => {
    text +=
      `\nCPU #${hart}:\n` +
      line('region entries', entries) +
      line('retired in regions', retired) +
      line('stops to take code', `${stops.count} (longest ${milliseconds(stops.max)})`);
  });
  return text;
}

export const JIT_COMMANDS = [
  query('x-query-jit', {
    help: 'what the translator of guest code has done, as text',
    args: nothing,
    returns: humanReadable,
    run: ({ target }) => ({ 'human-readable-text': jitText(target) }),
  }),
];
