/** A JIT worker whose translator knows the regions made by hand (region-module.ts) and nothing else. */
import { parentPort, workerData } from 'node:worker_threads';
import {
  FN_FIRST,
  H_JIT_GUARDS,
  PAGE_COPY,
  PAGE_PA,
  RECORD_BYTES,
  RECORD_PA,
  RECORD_RANGES,
  TRANSLATOR_OUT,
  TRANSLATOR_WORK,
} from '../../core/cpu/jit/abi.ts';
import type { JitReport, JitWorkerData } from '../../core/worker/jit-messages.ts';
import { JitService } from '../../core/worker/jit-service.ts';
import type { Translator } from '../../core/worker/jit-translator.ts';
import { JitStats } from '../../core/worker/jit-stats.ts';
import { HART_BASE } from '../../core/worker/layout.ts';
import { KIND, regionModule, SIZE } from './region-module.ts';
import type { HandMade } from './region-module.ts';

const { memory, harts, ports, stats, limits } = workerData as JitWorkerData;
const say = (report: JitReport) => parentPort?.postMessage(report);
const data = new DataView(memory.buffer);
const bytes = new Uint8Array(memory.buffer);
const RECORD_STRIDE = 0x400;
const LUI_X0 = 0x037;
const BEHIND = 4;

class HandTranslator implements Translator {
  #first = 0;
  #regions: HandMade[] = [];
  #sizes: number[] = [];

  begin(first: number): void {
    this.#first = first;
    this.#regions = [];
    this.#sizes = [];
  }

  room(): number {
    return 1;
  }

  addRegion(request: number): number {
    const page = data.getUint32(request + 8, true);
    const behind = data.getUint32(request + 16, true);
    const entry = data.getUint32(request, true) & 4095;
    const at = page + PAGE_COPY + entry;
    const marker = data.getUint32(at, true);
    const kind = marker >>> 12;
    if ((marker & 0xfff) !== LUI_X0 || SIZE[kind] === undefined) return 0;
    const spans = kind === KIND.GUARDED;
    if (spans && behind === 0) return 0;
    const fn = this.#first + this.#regions.length;
    const guard = data.getUint32(HART_BASE + H_JIT_GUARDS, true) + (fn - FN_FIRST) * 8 + 4;
    this.#regions.push({ kind, insn: data.getUint32(at + 4, true), guard });

    const record = this.recordAt(this.#regions.length - 1);
    bytes.fill(0, record, record + RECORD_STRIDE);
    data.setUint32(record, fn, true);
    data.setUint32(record + 4, entry, true);
    data.setUint32(record + 8, spans ? 1 | BEHIND : 1, true);
    data.setBigUint64(record + RECORD_PA, data.getBigUint64(page + PAGE_PA, true), true);
    const end = entry + SIZE[kind];
    data.setUint16(record + RECORD_RANGES, entry, true);
    data.setUint16(record + RECORD_RANGES + 2, end, true);
    bytes.copyWithin(record + RECORD_BYTES, at, at + SIZE[kind]);
    let size = RECORD_BYTES + SIZE[kind];
    if (spans) {
      // One instruction of it.
      data.setBigUint64(record + RECORD_PA + 16, data.getBigUint64(behind + PAGE_PA, true), true);
      data.setUint16(record + RECORD_RANGES + 8 + 2, 4, true);
      bytes.copyWithin(record + size, behind + PAGE_COPY, behind + PAGE_COPY + 4);
      size += 4;
    }
    this.#sizes.push(size);
    return this.#regions.length;
  }

  lastSize(): number {
    return SIZE[this.#regions.at(-1)!.kind]! / 4;
  }

  recordAt(index: number): number {
    return TRANSLATOR_WORK + index * RECORD_STRIDE;
  }

  recordSize(index: number): number {
    return this.#sizes[index]!;
  }

  finish(): number {
    const module = regionModule(this.#first, this.#regions);
    bytes.set(module, TRANSLATOR_OUT);
    return module.length;
  }

  patchesAt(): number {
    return 0;
  }

  /** Its regions take the block as a parameter. */
  patchCount(): number {
    return 0;
  }
}

const service = new JitService({
  memory,
  harts,
  translator: new HandTranslator(),
  limits,
  stats: new JitStats(harts, stats),
  post: (hart, mail) => ports[hart]!.postMessage(mail),
  report: (message) => say({ message }),
});
say('ready');
service.run();
for (const port of ports) port.close();
parentPort?.close();
