/** `-trace` and `-d trace:PATTERN`: which trace events are on from the beginning, and where their lines go. */
import { readFileSync } from 'node:fs';
import { didYouMean } from '../../../core/did-you-mean.ts';
import { errorLine } from '../../../core/errors.ts';
import { TRACE_EVENTS, matchesPattern } from '../../../core/trace/trace.ts';
import type { TraceName } from '../../../core/trace/trace.ts';
import { badOption, parseList, text } from './syntax.ts';

export const TRACE_KEYS = {
  enable: text('PATTERN', 'events to turn on; * and ? stand for characters; -PATTERN turns off'),
  events: text('FILE', 'a file with a pattern on each line'),
  file: text('FILE', 'where lines go; by default to stderr, or to the file of -D'),
};

export interface TraceRequest {
  events: TraceName[];
  /** null: stderr. */
  file: string | null;
}

/** What `-trace help` asks for; null: it does not. */
export function traceHelp(value: string): string | null {
  return value === 'help' || value === '?' ? `${TRACE_EVENTS.join('\n')}\n` : null;
}

/**
 * Adds what an option says to what was said before it.
 *
 * @throws RingsideError bad-option
 */
export function addTrace(option: string, value: string, before: TraceRequest | undefined): TraceRequest {
  const { enable, events, file } = parseList(option, value, TRACE_KEYS, 'enable');
  const patterns = enable === undefined ? [] : [enable];
  if (events !== undefined) patterns.push(...patternsOf(option, events));
  const on = new Set(before?.events);
  for (const pattern of patterns) switchEvents(option, on, pattern);
  return { events: [...on], file: file ?? before?.file ?? null };
}

function patternsOf(option: string, file: string): string[] {
  try {
    const lines = readFileSync(file, 'utf8').split('\n');
    return lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
  } catch (error) {
    throw badOption(option, `${file} cannot be read: ${errorLine(error)}`);
  }
}

function switchEvents(option: string, on: Set<TraceName>, given: string): void {
  const off = given.startsWith('-');
  const pattern = off ? given.slice(1) : given;
  const found = TRACE_EVENTS.filter((name) => matchesPattern(pattern, name));
  if (found.length === 0 && !/[*?]/.test(pattern)) {
    const hint = didYouMean(pattern, TRACE_EVENTS);
    throw badOption(option, `there is no trace event "${pattern}"${hint}; "-trace help" lists them`);
  }
  for (const name of found) {
    if (off) on.delete(name);
    else on.add(name);
  }
}
