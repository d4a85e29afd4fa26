/** The engine module as TypeScript sees it, and how a thread instantiates it. */
import { readFile } from 'node:fs/promises';
import { RingsideError } from './errors.ts';

/** Exports of engine.wasm (core/engine.as.ts). */
export interface Engine {
  /** Runs a hart until CTL_RUN is no longer RUN_RUNNING. Blocks: hart workers only. */
  runHart(hart: number): void;
  resetHart(hart: number, boot: number): void;
  /** One turn of the clock worker; the next deadline in mtime as a BigInt image of u64 (all ones: none). */
  clockTick(): bigint;
  clockReset(): void;
  mtime(): bigint;
  plicSetLevel(irq: number, level: number): void;
  plicReset(): void;
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
  const instance = await WebAssembly.instantiate(module, { env: { memory, now: monotonicNow } });
  return instance.exports as unknown as Engine;
}

let compiled: Promise<WebAssembly.Module> | null = null;

/** The engine, compiled once in a process; its code is shared by all threads. @throws RingsideError when it is not there */
export function engineModule(): Promise<WebAssembly.Module> {
  compiled ??= (async () => {
    // From the sources it is in dist/; a packaged core lies beside it.
    for (const url of [new URL('../dist/engine.wasm', import.meta.url), new URL('../engine.wasm', import.meta.url)]) {
      try {
        return await WebAssembly.compile(await readFile(url));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
    throw new RingsideError('not-found', 'the engine (dist/engine.wasm) is not built. Run "npm run setup".');
  })();
  return compiled;
}
