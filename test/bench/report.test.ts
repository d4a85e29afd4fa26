import { describe, expect, test } from 'vitest';
import { OURS, PEER, benchChecks, benchNumbers } from './lib/emulators.ts';
import { lineOf, markdownLine, median, tableLine } from './lib/report.ts';
import { clocksAgree } from './suites/cpu.ts';

test('median of odd and even numbers of samples', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
});

describe('a ratio above 1 is better than the peer', () => {
  const figure = { name: 'x', ours: [2, 4, 3], peer: [6, 6, 6] };

  test('for rates', () => {
    expect(lineOf({ ...figure, unit: 'MIPS', better: 'more' }, {}).ratio).toBe(0.5);
  });

  test('in the table of BENCHMARKS.md', () => {
    const rates = { name: 'calls', ours: [162.44], peer: [63.41], unit: 'Mcall/s', better: 'more' as const };
    expect(markdownLine(lineOf(rates, {}))).toBe('| calls | 162 | 63.4 | Mcall/s | 2.56 |');
    expect(markdownLine(lineOf({ ...rates, ours: [459717] }, {}))).toContain('| 459700 |');
  });

  test('for times', () => {
    expect(lineOf({ ...figure, unit: 's', better: 'less' }, {}).ratio).toBe(2);
  });

  test('there is none without a peer', () => {
    const line = lineOf({ ...figure, peer: [], unit: 's', better: 'less' }, { node: '26' });
    expect(line).toEqual({
      name: 'x',
      unit: 's',
      ours: 3,
      peer: null,
      ratio: null,
      samples: { ours: [2, 4, 3], peer: [] },
      versions: { node: '26' },
    });
    expect(tableLine(line)).toMatch(/^x +3 +- +s +-$/);
    expect(markdownLine(line)).toBe('| x | 3 |  | s |  |');
  });
});

test('numbers are read from a console, whatever else is on it', () => {
  const console = 'boot\r\nbench mips instructions=12 ticks=3 check=af\r\n[ 1.0] bench x=9\r\nbench blk-read=1.5\r\r\n';
  expect([...benchNumbers(console)]).toEqual([
    ['instructions', 12],
    ['ticks', 3],
    ['blk-read', 1.5],
  ]);
});

test('results are told from figures', () => {
  const console =
    'bench integer=0.5 integer.total=2 check=1709e79\r\n[ 2.0] bench calls=3 check=1\r\nbench pipe=4 check=9\r\r\n';
  expect([...benchChecks(console)]).toEqual([
    ['integer', '1709e79'],
    ['pipe', '9'],
  ]);
  expect(benchNumbers(console).get('integer.total')).toBe(2);
});

test('a guest whose clock is wrong is noticed', () => {
  expect(clocksAgree(10, 10.3)).toBe(true);
  expect(clocksAgree(0.2, 0.1)).toBe(true);
  expect(clocksAgree(10, 7)).toBe(false);
  expect(clocksAgree(10, 20)).toBe(false);
});

test('both are given the same machine', () => {
  const disks = [{ file: 'd,1', device: 'virtio-blk-pci,iothread=io0' }];
  const board = { memory: 64, harts: 2, bios: 'none' as const, kernel: 'K', initrd: 'I', append: 'a b', disks };
  const [, ours] = OURS.command(board);
  const [program, peer] = PEER.command(board);
  expect(program).toBe('qemu-system-riscv64');
  // Ours without what it has kept of earlier runs.
  expect(ours.slice(2)).toEqual([...peer, '--jit-cache', 'off']);
  expect(peer.slice(4, 6)).toEqual(['-smp', '2']);
  expect(peer).toContain('file=d,,1,format=raw,if=none,id=disk0');
  expect(peer).toContain('virtio-blk-pci,iothread=io0,drive=disk0');
});
