/** The floating-point unit compiled on its own, for the tests. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { main as asc } from 'assemblyscript/asc';
import { ASC_OPTIONS } from '../../core/build.ts';
import { CONTROL_BASE, RAM_OFFSET } from '../../core/worker/layout.ts';
import { allOps } from './ops.ts';
import type { Op } from './ops.ts';

const root = join(import.meta.dirname, '../..');
/** Where the batches lie in linear memory: behind the engine's constants. */
const BATCH = CONTROL_BASE;
const PAGE = 0x10000;
/** Results and flags of one operand vector: u64 and u8. */
const RESULT_BYTES = 9;

/** A switch over the operations; each case loops over the vectors, with `after` behind each call. */
function loops(after: string): string {
  const cases = allOps.map((op, index) => {
    const args = op.operands.map((_, i) => `load<u64>(at, ${i * 8})`);
    if (op.rounds) args.push('rm');
    return `    case ${index}:
      for (let i = 0; i < count; i++, at += ${op.operands.length * 8}) {
        setFpFlags(flags);
        store<u64>(results + i * 8, ${op.name}(${args.join(', ')}));
        ${after}
      }
      break;`;
  });
  return `  switch (op) {\n${cases.join('\n')}\n  }`;
}

/** Source of the entry module: everything the unit exports, and loops over operand vectors in memory. */
function entrySource(): string {
  return `import { fpFlags, setFpFlags, ${allOps.map((op) => op.name).join(', ')} } from '../../core/cpu/fpu/index.as';
export * from '../../core/cpu/fpu/index.as';
export * from '../../core/cpu/fpu/double.as';
export * from '../../core/cpu/fpu/single.as';
export function runBatch(op: i32, rm: i32, flags: i32, at: usize, results: usize, accrued: usize, count: i32): void {
${loops('store<u8>(accrued + i, <u8>fpFlags);')}
}
export function timeBatch(op: i32, rm: i32, flags: i32, at: usize, results: usize, count: i32): void {
${loops('')}
}
`;
}

interface Exports {
  fpFlags: WebAssembly.Global;
  fmaFused: WebAssembly.Global;
  probeFma(): number;
  setFmaFused(fused: number): void;
  setFpFlags(flags: number): void;
  fliS(index: number): bigint;
  fliD(index: number): bigint;
  runBatch(op: number, rm: number, flags: number, at: number, results: number, accrued: number, count: number): void;
  timeBatch(op: number, rm: number, flags: number, at: number, results: number, count: number): void;
}

export interface BatchResult {
  /** 8 bytes a vector. */
  results: Buffer;
  /** A byte a vector: the flags after it. */
  flags: Buffer;
}

export interface Outcome {
  result: bigint;
  flags: number;
}

export class Engine {
  readonly exports: Exports;
  readonly memory: WebAssembly.Memory;

  private constructor(exports: Exports, memory: WebAssembly.Memory) {
    this.exports = exports;
    this.memory = memory;
  }

  /** Compiles the unit with the engine's own options and starts it. */
  static async build(): Promise<Engine> {
    const entry = 'test/fpu/entry.as.ts';
    let binary: Uint8Array | undefined;
    const messages: string[] = [];
    const { error } = await asc([entry, '--baseDir', root, '--outFile', 'fpu.wasm', ...ASC_OPTIONS], {
      readFile: (name) => (name === entry ? entrySource() : readFile(join(root, name), 'utf8').catch(() => null)),
      writeFile: (_name, contents) => {
        binary = contents as Uint8Array;
      },
      listFiles: () => [],
      stdout: { write: (text: unknown) => messages.push(String(text)) },
      stderr: { write: (text: unknown) => messages.push(String(text)) },
    });
    if (error || !binary) throw new Error(`asc failed: ${error?.message}\n${messages.join('')}`);
    const memory = new WebAssembly.Memory({ initial: RAM_OFFSET / PAGE, maximum: 65536, shared: true });
    const module = await WebAssembly.compile(binary as Uint8Array<ArrayBuffer>);
    const instance = await WebAssembly.instantiate(module, { env: { memory } });
    return new Engine(instance.exports as unknown as Exports, memory);
  }

  /** Runs one operation on one operand vector. */
  call(name: string, operands: bigint[], rm = 0, flags = 0): Outcome {
    const op = allOps.find((o) => o.name === name)!;
    const { results, flags: accrued } = this.batch(op, rm, flags, Buffer.from(new BigUint64Array(operands).buffer));
    return { result: results.readBigUInt64LE(0), flags: accrued[0] };
  }

  /**
   * Runs an operation on many operand vectors, `vectors` holding op.operands.length u64 each; flags start as `flags`.
   */
  batch(op: Op, rm: number, flags: number, vectors: Buffer): BatchResult {
    const { count, results, end } = this.#place(op, vectors);
    this.exports.runBatch(allOps.indexOf(op), rm, flags, BATCH, results, results + count * 8, count);
    const bytes = Buffer.from(this.memory.buffer);
    return {
      results: Buffer.from(bytes.subarray(results, results + count * 8)),
      flags: Buffer.from(bytes.subarray(results + count * 8, end)),
    };
  }

  /** Nanoseconds an operation, over `repeat` runs of the same vectors. */
  time(op: Op, rm: number, flags: number, vectors: Buffer, repeat: number): number {
    const { count, results } = this.#place(op, vectors);
    const index = allOps.indexOf(op);
    const start = process.hrtime.bigint();
    for (let i = 0; i < repeat; i++) {
      this.exports.timeBatch(index, rm, flags, BATCH, results, count);
    }
    return Number(process.hrtime.bigint() - start) / (repeat * count);
  }

  /** Copies operand vectors in, and says where results and flags go. */
  #place(op: Op, vectors: Buffer): { count: number; results: number; end: number } {
    const count = vectors.length / (8 * op.operands.length);
    const results = BATCH + vectors.length;
    const end = results + count * RESULT_BYTES;
    if (end > this.memory.buffer.byteLength) this.memory.grow(Math.ceil((end - this.memory.buffer.byteLength) / PAGE));
    vectors.copy(Buffer.from(this.memory.buffer), BATCH);
    return { count, results, end };
  }
}
