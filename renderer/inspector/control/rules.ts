/** What is set on a queue, in words. */
import type { Breakpoint, Injection, QueueProfile, RequestMatch } from '../../../main/ipc/contract.ts';
import { bytes } from '../../lib/format.ts';

/** VIRTIO_BLK_T_OUT as OUT. */
export const shortName = (name: string) => name.replace(/^VIRTIO_[A-Z0-9]+_[TS]_/, '');

const codeName = (codes: QueueProfile['types'], code: number) =>
  shortName(codes.find((each) => each.code === code)?.name ?? `${code}`);

/** e.g. "OUT, sector 2048 to 2055"; "any request" when nothing is asked. */
export function matchText({ types, detail, length }: RequestMatch, profile: QueueProfile): string {
  const parts = [];
  if (types !== undefined && types.length > 0)
    parts.push(types.map((code) => codeName(profile.types, code)).join(' or '));
  if (detail !== undefined) {
    const { from, to } = detail;
    parts.push(`${profile.detail ?? 'detail'} ${from === to ? from : `${from} to ${to}`}`);
  }
  if (length !== undefined) parts.push(`${bytes(length.min)} to ${bytes(length.max)} long`);
  return parts.join(', ') || (profile.purpose === 'requests' ? 'any request' : 'any buffer');
}

export function breakpointText({ match, latency }: Breakpoint, profile: QueueProfile): string {
  const what = matchText(match, profile);
  return latency === undefined ? `Stop before ${what}` : `Stop after ${what} that took longer than ${latency} µs`;
}

export function injectionText(rule: Injection, profile: QueueProfile): string {
  const often = rule.probability < 1 ? `, ${Math.round(rule.probability * 1000) / 10} % of the time` : '';
  switch (rule.kind) {
    case 'error': {
      const status = rule.status === null ? 'an error' : codeName(profile.statuses, rule.status);
      return `Answer ${matchText(rule.match, profile)} with ${status}${often}`;
    }
    case 'delay':
      return `Delay ${matchText(rule.match, profile)} by ${rule.delay} ms${often}`;
    case 'drop-interrupt':
      return `Drop interrupts${often}`;
  }
}

export interface MatchDraft {
  /** Code as text; '' for any. */
  type: string;
  from: number | null;
  to: number | null;
  min: number | null;
  max: number | null;
}

export const anyMatch = (): MatchDraft => ({ type: '', from: null, to: null, min: null, max: null });

const MAX_LENGTH = 2 ** 32;

/** What was filled in; one end of a range alone is that value, or no bound for lengths. */
export function matchOf({ type, from, to, min, max }: MatchDraft): RequestMatch {
  const first = from ?? to;
  return {
    ...(type === '' ? {} : { types: [Number(type)] }),
    ...(first === null ? {} : { detail: { from: first, to: to ?? first } }),
    ...(min === null && max === null ? {} : { length: { min: min ?? 0, max: max ?? MAX_LENGTH } }),
  };
}

/** A name that no other has. */
export function freshId(prefix: string, taken: readonly string[]): string {
  for (let n = 1; ; n++) if (!taken.includes(`${prefix}${n}`)) return `${prefix}${n}`;
}
