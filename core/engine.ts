/** The engine module as TypeScript sees it, and how a thread instantiates it. */
import { readFile } from 'node:fs/promises';
import { HELPERS } from './cpu/gen/jit-helpers.ts';
import { FN_HELPERS, FN_LIMIT } from './cpu/jit/abi.ts';
import { RingsideError } from './errors.ts';

/** Exports of engine.wasm (core/engine.as.ts). */
export interface Engine {
  /**
   * Runs a hart. Blocks: hart workers only.
   * @returns 0 when CTL_RUN is no longer RUN_RUNNING, 1 when H_JIT_MAIL is not 0
   */
  runHart(hart: number): number;
  /** One instruction, on the hart's own thread; 0 when the hart is not started. */
  stepHart(hart: number): number;
  /** Has a region entered that an attach record describes; 0 when the hart has other code there. The hart's own thread. */
  jitAttach(hart: number): number;
  /** Has no region entered any more. The hart's own thread. */
  jitDetachAll(hart: number): void;
  /** The region of code that has none. */
  jitMiss(block: number, pc: bigint, depth: number): bigint;
  resetHart(hart: number, boot: number): void;
  /** One turn of the clock worker; the next deadline in mtime as a BigInt image of u64 (all ones: none). */
  clockTick(): bigint;
  clockReset(): void;
  mtime(): bigint;
  /** Level of a wired interrupt source, 1 to 95, at the PLIC or APLIC. */
  irqSetLevel(irq: number, level: number): void;
  irqchipReset(): void;
  /** A message-signalled interrupt: a 32-bit write to a guest physical address. */
  msiWrite(address: number, data: number): void;
  /** Drives an input of the PCI INTx lines (core/pci/intx.ts). */
  intxSetLevel(irq: number, level: number): void;
  uartPoll(): void;
  /** The host's end of the serial line sends a break. */
  uartBreak(): void;
  uartReset(): void;
  kickHart(block: number): void;
}

/**
 * Monotonic clock in milliseconds, the same in every thread of the process to the nanosecond: harts must not see time go
 * back when one tells another what time it is. performance.now() is not that: it counts from each thread's own start.
 */
export function monotonicNow(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}

export async function instantiateEngine(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<Engine> {
  // It calls through the table only what regions it has been told of.
  const table = new WebAssembly.Table({ element: 'anyfunc', initial: 1 });
  const instance = await WebAssembly.instantiate(module, { env: { memory, now: monotonicNow, table } });
  return instance.exports as unknown as Engine;
}

/** The engine with a function table for regions (core/cpu/jit/abi.ts): every region is the miss function, helpers are there. */
export async function instantiateHartEngine(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): Promise<{ engine: Engine; table: WebAssembly.Table }> {
  const table = new WebAssembly.Table({ element: 'anyfunc', initial: FN_LIMIT });
  const { exports } = await WebAssembly.instantiate(module, { env: { memory, now: monotonicNow, table } });
  for (let fn = 0; fn < FN_LIMIT; fn++) table.set(fn, exports['jitMiss']);
  HELPERS.forEach(({ name }, i) => table.set(FN_HELPERS + i, exports[name]));
  return { engine: exports as unknown as Engine, table };
}

/** Modules that are in dist/, by name, each compiled once in a process; their code is shared by all threads. */
const compiled = new Map<string, Promise<WebAssembly.Module>>();

async function compileBuilt(...places: URL[]): Promise<WebAssembly.Module> {
  for (const url of places) {
    try {
      return await WebAssembly.compile(await readFile(url));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  throw new RingsideError('not-found', 'the engine (in dist/) is not built. Run "npm run setup".');
}

function built(name: string, ...places: URL[]): Promise<WebAssembly.Module> {
  let module = compiled.get(name);
  if (module === undefined) compiled.set(name, (module = compileBuilt(...places)));
  return module;
}

// From the sources they are in dist/; a packaged core lies beside them.

/** The engine. @throws RingsideError when it is not there */
export function engineModule(): Promise<WebAssembly.Module> {
  return built('engine', new URL('../dist/engine.wasm', import.meta.url), new URL('../engine.wasm', import.meta.url));
}

/** The translator (core/translator.as.ts). @throws RingsideError when it is not there */
export function translatorModule(): Promise<WebAssembly.Module> {
  return built(
    'translator',
    new URL('../dist/translator.wasm', import.meta.url),
    new URL('../translator.wasm', import.meta.url),
  );
}
