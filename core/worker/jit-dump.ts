/**
 * The JIT worker's part of `-d`: stands between the service and the translator, notes what each region is made of, and writes it
 * down when its batch has become a module.
 */
import {
  FN_FIRST,
  RECORD_BYTES,
  RECORD_PA,
  RECORD_RANGES,
  SHADOW_REQUEST,
  TRANSLATOR_MARKS,
  TRANSLATOR_OUT,
} from '../cpu/jit/abi.ts';
import { guestText, regionText } from '../cpu/jit/region-text.ts';
import type { RegionSource } from '../cpu/jit/region-text.ts';
import { readModule } from '../cpu/jit/wasm-text.ts';
import { monotonicNow } from '../engine.ts';
import { errorLine } from '../errors.ts';
import type { JitLog } from './jit-log.ts';
import type { HartMail } from './jit-messages.ts';
import type { Translator } from './jit-translator.ts';

/** What it asks the translator about the region added last. */
export interface DumpedTranslator extends Translator {
  markCount(): number;
  localOf(register: number): number;
}

const PAGE = 4096;
/** Place in a record -> which page it is, counted from the entry's. */
const PAGE_OFFSETS = [0, -PAGE, PAGE];
const REGISTERS = 64;
const RULE = '----------------';

/** Guest code of an attach record, by distance from the entry. */
function codeOf(record: DataView): (distance: number) => number | null {
  const entry = record.getUint32(4, true);
  const used = record.getUint32(8, true);
  const halfwords = new Map<number, number>();
  let at = RECORD_BYTES;
  PAGE_OFFSETS.forEach((page, i) => {
    if ((used & (1 << i)) === 0) return;
    const first = record.getUint16(RECORD_RANGES + i * 4, true);
    const end = record.getUint16(RECORD_RANGES + i * 4 + 2, true);
    for (let n = first; n + 1 < end; n += 2, at += 2) halfwords.set(page + n - entry, record.getUint16(at, true));
  });
  return (distance) => halfwords.get(distance) ?? null;
}

/**
 * A translator that writes down what it does. Wants JIT_MARKS.
 * @param log out_wasm and in_asm: each region; jit: a line a module
 */
export function dumpingTranslator(memory: WebAssembly.Memory, translator: DumpedTranslator, log: JitLog): Translator {
  const data = new DataView(memory.buffer);
  let sources: RegionSource[] = [];
  let firstFn = 0;
  let block = 0;
  let started = 0;
  let modules = 0;
  let requestedVa = 0n;

  const added = (index: number, request: number): void => {
    const at = translator.recordAt(index);
    const record = new DataView(memory.buffer.slice(at, at + translator.recordSize(index)));
    const marks = Array.from({ length: translator.markCount() }, (_, i) => ({
      offset: data.getUint32(TRANSLATOR_MARKS + i * 8, true),
      distance: data.getInt32(TRANSLATOR_MARKS + i * 8 + 4, true),
    }));
    const registers = new Map<number, number>();
    for (let register = 0; register < REGISTERS; register++) {
      const local = translator.localOf(register);
      if (local >= 0) registers.set(local, register);
    }
    const pa = record.getBigUint64(RECORD_PA, true) + BigInt(record.getUint32(4, true));
    // What comes from disk has been asked for by nobody: its virtual address is not known.
    const va = request === SHADOW_REQUEST ? pa : requestedVa;
    sources.push({ fn: firstFn + index, pa, va, marks, registers, halfword: codeOf(record), block });
  };

  const regionLines = (size: number): string[] => {
    const guest = log.has('in_asm');
    const host = log.has('out_wasm');
    if (!guest && !host) return [];
    try {
      const module = readModule(new Uint8Array(memory.buffer.slice(TRANSLATOR_OUT, TRANSLATOR_OUT + size)));
      const first = module.functions.length - sources.length;
      return sources.flatMap((source, i) => [
        RULE,
        ...(guest ? [...guestText(source), ''] : []),
        ...(host ? [...regionText(module, module.functions[first + i]!, source).lines, ''] : []),
      ]);
    } catch (error) {
      return [`jit: the module cannot be shown: ${errorLine(error)}`];
    }
  };

  return {
    ...translator,
    begin(fn, forBlock) {
      sources = [];
      firstFn = fn;
      block = forBlock;
      started = monotonicNow();
      translator.begin(fn, forBlock);
    },
    addRegion(request) {
      requestedVa = data.getBigUint64(request, true);
      const regions = translator.addRegion(request);
      if (regions > 0) added(regions - 1, request);
      return regions;
    },
    finish() {
      const size = translator.finish();
      const ms = monotonicNow() - started;
      if (size === 0) return size;
      const lines = regionLines(size);
      if (log.has('jit'))
        lines.push(
          `jit: module ${modules}: regions ${firstFn} to ${firstFn + sources.length - 1}, ${size} bytes, ${ms.toFixed(2)} ms`,
        );
      modules++;
      log.write(lines);
      return size;
    },
  };
}

/** Writes down what goes to the harts. */
export function logMail(log: JitLog, hart: number, mail: HartMail): void {
  if (!log.has('jit')) return;
  if (mail.kind === 'flush') log.write([`jit: hart ${hart} drops all ${mail.end - FN_FIRST} regions`]);
  else log.write([`jit: hart ${hart} is given ${mail.records.length} regions${mail.module === null ? ' again' : ''}`]);
}
