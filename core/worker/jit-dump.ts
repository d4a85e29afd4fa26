/** The JIT worker's part of `-d`: notes what each region is made of, and writes it when its batch has become a module. */
import { FN_FIRST, RECORD_BYTES, RECORD_PA, RECORD_RANGES, TRANSLATOR_MARKS } from '../cpu/jit/abi.ts';
import { guestText, regionText } from '../cpu/jit/region-text.ts';
import type { RegionSource } from '../cpu/jit/region-text.ts';
import { readModule } from '../cpu/jit/wasm-text.ts';
import { errorLine } from '../errors.ts';
import type { JitLog } from './jit-log.ts';

/** What it asks the translator about the region added last. */
export interface DumpedTranslator {
  markCount(): number;
  localOf(register: number): number;
}

export interface BatchFigures {
  /** Attached again, taken from the rings but not translated. */
  again: number;
  refused: number;
  translateMs: number;
  compileMs: number;
  size: number;
}

const PAGE = 4096;
/** Place in a record -> which page it is, counted from the entry's. */
const PAGE_OFFSETS = [0, -PAGE, PAGE];
const REGISTERS = 64;
const RULE = '----------------';

/** Guest code of an attach record, by distance from the entry. */
function codeOf(record: Uint8Array): (distance: number) => number | null {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const entry = view.getUint32(4, true);
  const used = view.getUint32(8, true);
  const halfwords = new Map<number, number>();
  let at = RECORD_BYTES;
  PAGE_OFFSETS.forEach((page, i) => {
    if ((used & (1 << i)) === 0) return;
    const first = view.getUint16(RECORD_RANGES + i * 4, true);
    const end = view.getUint16(RECORD_RANGES + i * 4 + 2, true);
    for (let n = first; n + 1 < end; n += 2, at += 2) halfwords.set(page + n - entry, view.getUint16(at, true));
  });
  return (distance) => halfwords.get(distance) ?? null;
}

export class JitDump {
  readonly #log: JitLog;
  readonly #data: DataView;
  readonly #translator: DumpedTranslator;
  #sources: RegionSource[] = [];
  #batches = 0;

  constructor(log: JitLog, memory: WebAssembly.Memory, translator: DumpedTranslator) {
    this.#log = log;
    this.#data = new DataView(memory.buffer);
    this.#translator = translator;
  }

  /** The region added last. `va`: of its entry. `block`: as begin() was told. */
  added(fn: number, va: bigint, record: Uint8Array, block: number): void {
    const data = this.#data;
    const marks = Array.from({ length: this.#translator.markCount() }, (_, i) => ({
      offset: data.getUint32(TRANSLATOR_MARKS + i * 8, true),
      distance: data.getInt32(TRANSLATOR_MARKS + i * 8 + 4, true),
    }));
    const registers = new Map<number, number>();
    for (let register = 0; register < REGISTERS; register++) {
      const local = this.#translator.localOf(register);
      if (local >= 0) registers.set(local, register);
    }
    const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
    const pa = view.getBigUint64(RECORD_PA, true) + BigInt(view.getUint32(4, true));
    this.#sources.push({ fn, pa, va, marks, registers, halfword: codeOf(record), block });
  }

  /** The batch is complete. `module`: its bytes, null when there is none. */
  batch(module: Uint8Array | null, { again, refused, translateMs, compileMs, size }: BatchFigures): void {
    const sources = this.#sources;
    this.#sources = [];
    const lines: string[] = [];
    if (module !== null) this.#regions(module, sources, lines);
    if (this.#log.has('jit')) {
      const regions =
        sources.length === 0 ? 'no region' : `regions ${sources[0]!.fn} to ${sources.at(-1)!.fn}, ${size} bytes`;
      const times = `translated in ${translateMs.toFixed(2)} ms, compiled in ${compileMs.toFixed(2)} ms`;
      lines.push(`jit: batch ${this.#batches}: ${regions}, ${again} known, ${refused} refused; ${times}`);
    }
    this.#batches++;
    this.#log.write(lines);
  }

  #regions(bytes: Uint8Array, sources: RegionSource[], lines: string[]): void {
    const guest = this.#log.has('in_asm');
    const host = this.#log.has('out_wasm');
    if (!guest && !host) return;
    try {
      const module = readModule(bytes);
      const first = module.functions.length - sources.length;
      sources.forEach((source, i) => {
        lines.push(RULE);
        if (guest) lines.push(...guestText(source), '');
        if (host) lines.push(...regionText(module, module.functions[first + i]!, source).lines, '');
      });
    } catch (error) {
      lines.push(`jit: the batch's module cannot be shown: ${errorLine(error)}`);
    }
  }

  /** All regions below `end` have been dropped. */
  flushed(end: number, moduleBytes: number): void {
    if (this.#log.has('jit')) this.#log.write([`jit: flush: ${end - FN_FIRST} regions, ${moduleBytes} bytes`]);
  }
}
