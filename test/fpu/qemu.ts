/**
 * The other side of the comparison: a static riscv64 program run by Debian's qemu-riscv64, which has a soft-float of
 * its own.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fdOps } from './ops.ts';
import type { Op } from './ops.ts';
import type { BatchResult } from './engine.ts';

const COMPILER = 'riscv64-linux-gnu-gcc';
const EMULATOR = 'qemu-riscv64';
/** op, rm, number of vectors, operands a vector. */
const HEADER_BYTES = 16;

/** Why the comparison cannot be made here, or undefined if it can. */
export function whyNoQemu(): string | undefined {
  const absent = [COMPILER, EMULATOR].filter((tool) => spawnSync(tool, ['--version']).status !== 0);
  return absent.length > 0 ? `${absent.join(' and ')} not installed` : undefined;
}

/** The instruction, between moves of raw bits into and out of the f registers. */
function assembly(op: Op): string {
  const isInteger = op.result === 'x';
  const moves = op.operands.flatMap((kind, i) => (kind === 'x' ? [] : [`fmv.d.x ft${i}, %${i + 2}`]));
  const sources = op.operands.map((kind, i) => (kind === 'x' ? `%${i + 2}` : `ft${i}`));
  return [
    ...moves,
    'fsflags x0',
    `${op.mnemonic} ${[isInteger ? '%0' : 'ft3', ...sources].join(', ')}`,
    'frflags %1',
    ...(isInteger ? [] : ['fmv.x.d %0, ft3']),
  ].join('\\n');
}

function programSource(): string {
  const cases = fdOps.map(
    (op, index) => `    case ${index}:
      for (uint32_t i = 0; i < h[2]; i++, v += h[3]) {
        __asm__ volatile("${assembly(op)}" : "=&r"(r[i]), "=&r"(f) : ${op.operands.map((_, i) => `"r"(v[${i}])`).join(', ')}
            : "ft0", "ft1", "ft2", "ft3");
        a[i] = f;
      }
      break;`,
  );
  return `#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
static int get(void *p, size_t n) {
  for (size_t k = 0; k < n;) {
    ssize_t m = read(0, (char *)p + k, n - k);
    if (m <= 0) return 0;
    k += m;
  }
  return 1;
}
static void put(const void *p, size_t n) {
  for (size_t k = 0; k < n;) {
    ssize_t m = write(1, (const char *)p + k, n - k);
    if (m <= 0) exit(1);
    k += m;
  }
}
int main(void) {
  uint32_t h[4];
  while (get(h, sizeof h)) {
    uint64_t *v = malloc(8ul * h[2] * h[3]), *vectors = v, *r = malloc(8ul * h[2]), f;
    uint8_t *a = malloc(h[2]);
    if (!get(v, 8ul * h[2] * h[3])) return 1;
    __asm__ volatile("fsrm %0" ::"r"((uint64_t)h[1]));
    switch (h[0]) {
${cases.join('\n')}
    }
    put(r, 8ul * h[2]);
    put(a, h[2]);
    free(vectors);
    free(r);
    free(a);
  }
  return 0;
}
`;
}

export class Qemu implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'ringside-fpu-'));
  readonly #program = join(this.#folder, 'fpu');

  constructor() {
    try {
      writeFileSync(`${this.#program}.c`, programSource());
      execFileSync(COMPILER, ['-O1', '-static', '-o', this.#program, `${this.#program}.c`]);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }

  /** Runs an operation on the same operand vectors in each of the rounding modes given; flags start clear. */
  batches(op: Op, modes: number[], vectors: Buffer): BatchResult[] {
    const count = vectors.length / (8 * op.operands.length);
    const input = modes.flatMap((rm) => {
      const header = Buffer.alloc(HEADER_BYTES);
      [fdOps.indexOf(op), rm, count, op.operands.length].forEach((word, i) => header.writeUInt32LE(word, i * 4));
      return [header, vectors];
    });
    const size = count * 9;
    const { stdout, status, error } = spawnSync(EMULATOR, [this.#program], {
      input: Buffer.concat(input),
      maxBuffer: size * modes.length + 1,
    });
    if (error || status !== 0 || stdout.length !== size * modes.length) {
      throw new Error(`${EMULATOR} failed: status ${status}, ${stdout?.length} bytes`, { cause: error });
    }
    return modes.map((_, i) => ({
      results: stdout.subarray(i * size, i * size + count * 8),
      flags: stdout.subarray(i * size + count * 8, (i + 1) * size),
    }));
  }
}
