/** What a benchmark says: one line a figure, for people or as JSON. */

export interface Figure {
  name: string;
  unit: string;
  /** Whether more of the unit is better (rates), or less (times). */
  better: 'more' | 'less';
  ours: number[];
  /** Empty when there is no peer. */
  peer: number[];
}

export interface Line {
  name: string;
  unit: string;
  /** Medians. */
  ours: number;
  peer: number | null;
  /** Above 1: ours is better, by that factor. */
  ratio: number | null;
  samples: { ours: number[]; peer: number[] };
  versions: Record<string, string>;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Four significant digits are more than these measurements have. */
const rounded = (value: number) => Number(value.toPrecision(4));

export function lineOf(figure: Figure, versions: Record<string, string>): Line {
  const ours = median(figure.ours);
  const peer = figure.peer.length === 0 ? null : median(figure.peer);
  const ratio = peer === null ? null : figure.better === 'more' ? ours / peer : peer / ours;
  return {
    name: figure.name,
    unit: figure.unit,
    ours: rounded(ours),
    peer: peer === null ? null : rounded(peer),
    ratio: ratio === null ? null : rounded(ratio),
    samples: { ours: figure.ours.map(rounded), peer: figure.peer.map(rounded) },
    versions,
  };
}

/** Columns: the longest name of a row is device-packed-write-1m-qd128. */
const NAME = 29;

export const TABLE_HEAD = `${'benchmark'.padEnd(NAME)}${'ours'.padStart(11)}${'qemu'.padStart(11)}  ${'unit'.padEnd(8)}ratio (>1: better than qemu)`;

export function tableLine({ name, unit, ours, peer, ratio }: Line): string {
  const cell = (value: number | null) => (value === null ? '-' : String(value)).padStart(11);
  return `${name.padEnd(NAME)}${cell(ours)}${cell(peer)}  ${unit.padEnd(8)}${ratio ?? '-'}`;
}

/** The table of BENCHMARKS.md; `prettier --write` aligns its columns. */
export const MARKDOWN_HEAD = '| row | ours | QEMU | unit | ratio |\n| --- | ---: | ---: | --- | ---: |';

export function markdownLine({ name, unit, ours, peer, ratio }: Line): string {
  // Three digits, in full: 18860 and not 1.89e+4.
  const cell = (value: number | null) =>
    value === null ? '' : String(Number(value.toPrecision(value < 1000 ? 3 : 4)));
  return `| ${name} | ${cell(ours)} | ${cell(peer)} | ${unit} | ${ratio === null ? '' : ratio.toFixed(2)} |`;
}
