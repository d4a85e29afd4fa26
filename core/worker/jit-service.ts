/**
 * The JIT worker's work: takes harts' requests for regions, has them translated in batches, compiles each batch and hands it
 * to all harts. Regions are asked for once: what has been translated already is only attached again. The cache is bounded:
 * when it is full, all harts drop all regions, and numbers begin anew.
 */
import {
  FN_FIRST,
  FN_LIMIT,
  H_JIT_FLUSHING,
  H_JIT_MAIL,
  JIT_FLAGS,
  JIT_RING_ANSWERED,
  JIT_RING_DATA,
  JIT_RING_ENTRIES,
  JIT_RING_STRIDE,
  JIT_RINGS,
  JIT_SLEEPING,
  JIT_SYNCHRONOUS,
  JIT_WAKE,
  PAGE_COPY,
  PAGE_PA,
  PAGE_VERSION,
  RECORD_BYTES,
  RECORD_PA,
  RECORD_RANGES,
  REQUEST_SIZE,
  TRANSLATOR_OUT,
} from '../cpu/jit/abi.ts';
import { monotonicNow } from '../engine.ts';
import { errorLine } from '../errors.ts';
import type { HartMail, JitLimits } from './jit-messages.ts';
import type { JitStats } from './jit-stats.ts';
import {
  CODE_BASE,
  CODE_SIZE,
  CONTROL_BASE,
  CTL_RUN,
  HART_BASE,
  HART_STRIDE,
  H_POLL,
  H_SLEEPING,
  H_WAKE,
  RUN_QUIT,
} from './layout.ts';

/** Exports of translator.wasm (core/translator.as.ts). */
export interface Translator {
  /** Starts a batch whose first region gets this number, for one hart (its block) or for all (0). */
  begin(firstFn: number, block: number): void;
  /** Whether the batch takes another region. */
  room(): number;
  /** Regions in the batch so far; 0 when this one was refused. The address is that of a request. */
  addRegion(request: number): number;
  /** Guest instructions in the region added last. */
  lastSize(): number;
  /** Attach record of a region of the batch. */
  recordAt(index: number): number;
  recordSize(index: number): number;
  /** Bytes of the module at TRANSLATOR_OUT, 0 when it is empty. */
  finish(): number;
}

export interface JitServiceOptions {
  memory: WebAssembly.Memory;
  harts: number;
  translator: Translator;
  limits: JitLimits;
  stats: JitStats;
  post: (hart: number, mail: HartMail) => void;
  /** Something the user should know; said once. */
  report: (message: string) => void;
}

/** Requests answered by one module. */
const BATCH = 100;
/** A module costs about as much as ten regions in it: fewer requests than ENOUGH wait this long for others, ms. */
const GATHER_MS = 5;
const ENOUGH = 24;

interface Region {
  fn: number;
  record: Uint8Array;
}

const HEAD = 0;
const TAIL = 4;
/** Fields of a request: its pages, and their versions. */
const REQUEST_PAGES = 8;
const REQUEST_VERSIONS = 20;

export class JitService {
  readonly #o: JitServiceOptions;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #data: DataView;
  /** By the guest physical address of the entry. */
  readonly #known = new Map<number, Region[]>();
  #next = FN_FIRST;
  #moduleBytes = 0;
  /**
   * Modules since the last flush, and those before it. V8 frees a module's code in the thread that lets go of it last, at some
   * tenth of a millisecond each; that must not be a hart.
   */
  #modules: [WebAssembly.Module[], WebAssembly.Module[]] = [[], []];
  #reported = false;
  /** The hart whose ring is looked at first. */
  #turn = 0;

  constructor(options: JitServiceOptions) {
    this.#o = options;
    const { buffer } = options.memory;
    this.#words = new Int32Array(buffer);
    this.#bytes = new Uint8Array(buffer);
    this.#data = new DataView(buffer);
  }

  get #quit(): boolean {
    return Atomics.load(this.#words, (CONTROL_BASE + CTL_RUN) >> 2) === RUN_QUIT;
  }

  /** Serves requests until the machine ends. Blocks. */
  run(): void {
    const words = this.#words;
    for (;;) {
      const wake = Atomics.load(words, JIT_WAKE >> 2);
      if (this.#quit) return;
      if (this.#pending() > 0) {
        this.#gather();
        this.serve();
        continue;
      }
      Atomics.store(words, JIT_SLEEPING >> 2, 1);
      // Whoever has something for us bumps the word first: a request that came since is not slept through.
      Atomics.wait(words, JIT_WAKE >> 2, wake);
      Atomics.store(words, JIT_SLEEPING >> 2, 0);
    }
  }

  /** One batch. @returns false when there was nothing to do */
  serve(): boolean {
    const done = this.#batch();
    this.#answered();
    return done;
  }

  /** Tells harts that wait for it (JIT_SYNCHRONOUS) that what has been taken from their rings has been answered. */
  #answered(): void {
    const words = this.#words;
    for (let hart = 0; hart < this.#o.harts; hart++) {
      const ring = JIT_RINGS + hart * JIT_RING_STRIDE;
      Atomics.store(words, (ring + JIT_RING_ANSWERED) >> 2, Atomics.load(words, (ring + TAIL) >> 2));
      Atomics.notify(words, (ring + JIT_RING_ANSWERED) >> 2);
    }
  }

  #batch(): boolean {
    const { translator, stats, limits, harts, post } = this.#o;
    const first = this.#next;
    const end = Math.min(FN_LIMIT, FN_FIRST + limits.regions);
    const started = monotonicNow();
    const batch: { key: number; region: Region }[] = [];
    const again: Region[][] = Array.from({ length: harts }, () => []);
    let taken = 0;
    let size = 0;
    try {
      translator.begin(first, harts === 1 ? HART_BASE : 0);
      while (taken < BATCH && first + batch.length < end && translator.room() !== 0) {
        const hart = this.#nextHart();
        if (hart < 0) break;
        taken++;
        this.#take(hart, batch, again[hart]!, first);
      }
      if (taken === 0) {
        if (first >= end) this.#flush();
        return first >= end;
      }
      if (batch.length > 0) size = translator.finish();
    } catch (error) {
      this.#drop(batch, error);
      return true;
    }
    const translated = monotonicNow();
    stats.add('translateMs', translated - started);
    let module: WebAssembly.Module | null = null;
    if (size > 0) {
      try {
        // A copy: the compiler does not take shared memory.
        module = new WebAssembly.Module(this.#bytes.slice(TRANSLATOR_OUT, TRANSLATOR_OUT + size));
      } catch (error) {
        this.#drop(batch, error);
      }
      stats.add('compileMs', monotonicNow() - translated);
    }
    if (module !== null) {
      this.#next += batch.length;
      this.#moduleBytes += size;
      this.#modules[0].push(module);
      stats.add('batches', 1);
      stats.add('translatedRegions', batch.length);
      stats.set('regions', this.#next - FN_FIRST);
      stats.set('moduleBytes', this.#moduleBytes);
    }
    for (let hart = 0; hart < harts; hart++) {
      const records = [...(module === null ? [] : batch.map(({ region }) => region.record))];
      for (const region of again[hart]!) if (module !== null || region.fn < first) records.push(region.record);
      if (records.length === 0) continue;
      post(hart, { kind: 'code', module, records });
      this.#announce(hart);
    }
    if (this.#next >= end || this.#moduleBytes >= limits.moduleBytes) this.#flush();
    return true;
  }

  /** Requests that wait. */
  #pending(): number {
    let count = 0;
    for (let hart = 0; hart < this.#o.harts; hart++) {
      const ring = (JIT_RINGS + hart * JIT_RING_STRIDE) >> 2;
      count += Atomics.load(this.#words, ring + (HEAD >> 2)) - Atomics.load(this.#words, ring + (TAIL >> 2));
    }
    return count;
  }

  /** Waits for a batch that is worth a module. */
  #gather(): void {
    // Harts wait.
    if ((this.#words[JIT_FLAGS >> 2]! & JIT_SYNCHRONOUS) !== 0) return;
    const until = monotonicNow() + GATHER_MS;
    for (;;) {
      const wake = Atomics.load(this.#words, JIT_WAKE >> 2);
      const left = until - monotonicNow();
      if (left <= 0 || this.#quit || this.#pending() >= ENOUGH) return;
      Atomics.store(this.#words, JIT_SLEEPING >> 2, 1);
      Atomics.wait(this.#words, JIT_WAKE >> 2, wake, left);
      Atomics.store(this.#words, JIT_SLEEPING >> 2, 0);
    }
  }

  /** A hart that has a request, -1 when none has. */
  #nextHart(): number {
    const { harts } = this.#o;
    for (let i = 0; i < harts; i++) {
      const hart = (this.#turn + i) % harts;
      const ring = (JIT_RINGS + hart * JIT_RING_STRIDE) >> 2;
      if (Atomics.load(this.#words, ring + (HEAD >> 2)) !== Atomics.load(this.#words, ring + (TAIL >> 2))) {
        this.#turn = hart + 1;
        return hart;
      }
    }
    return -1;
  }

  /** The oldest request of a hart: into the batch, or among what it is told again. */
  #take(hart: number, batch: { key: number; region: Region }[], again: Region[], first: number): void {
    const { translator, stats } = this.#o;
    const ring = JIT_RINGS + hart * JIT_RING_STRIDE;
    const tail = Atomics.load(this.#words, (ring + TAIL) >> 2);
    const request = ring + JIT_RING_DATA + ((tail >>> 0) % JIT_RING_ENTRIES) * REQUEST_SIZE;
    try {
      const key = this.#check(request);
      if (key === null) {
        stats.add('stale', 1);
        return;
      }
      const known = this.#known.get(key)?.find(({ record }) => this.#describes(record, request));
      if (known !== undefined) {
        // One of this batch goes to all harts anyway.
        if (known.fn < first) again.push(known);
        stats.add('resent', 1);
        return;
      }
      const regions = translator.addRegion(request);
      if (regions === 0) {
        stats.add('refused', 1);
        return;
      }
      stats.add('translatedInstructions', translator.lastSize());
      const at = translator.recordAt(regions - 1);
      const region = {
        fn: first + regions - 1,
        record: this.#bytes.slice(at, at + translator.recordSize(regions - 1)),
      };
      batch.push({ key, region });
      const list = this.#known.get(key);
      if (list === undefined) this.#known.set(key, [region]);
      else list.push(region);
    } finally {
      // Its place may be used again.
      Atomics.store(this.#words, (ring + TAIL) >> 2, (tail + 1) | 0);
    }
  }

  /** The guest physical address of the entry; null when a page is no longer what it was when the request was made. */
  #check(request: number): number | null {
    const data = this.#data;
    for (let i = 0; i < 3; i++) {
      const page = data.getUint32(request + REQUEST_PAGES + i * 4, true);
      if (page === 0 && i > 0) continue;
      if (page < CODE_BASE || page >= CODE_BASE + CODE_SIZE) return null;
      if (data.getUint32(page + PAGE_VERSION, true) !== data.getUint32(request + REQUEST_VERSIONS + i * 4, true))
        return null;
    }
    const own = data.getUint32(request + REQUEST_PAGES, true);
    return Number(data.getBigUint64(own + PAGE_PA, true)) + (data.getUint32(request, true) & 4095);
  }

  /** Whether a record's region is what a request asks for: the same pages, the same bytes. */
  #describes(record: Uint8Array, request: number): boolean {
    const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
    const used = view.getUint32(8, true);
    let at = RECORD_BYTES;
    for (let i = 0; i < 3; i++) {
      if ((used & (1 << i)) === 0) continue;
      const page = this.#data.getUint32(request + REQUEST_PAGES + i * 4, true);
      if (page === 0) return false;
      if (this.#data.getBigUint64(page + PAGE_PA, true) !== view.getBigUint64(RECORD_PA + i * 8, true)) return false;
      const first = view.getUint16(RECORD_RANGES + i * 4, true);
      const size = view.getUint16(RECORD_RANGES + i * 4 + 2, true) - first;
      const from = page + PAGE_COPY + first;
      for (let n = 0; n < size; n++) if (record[at + n] !== this.#bytes[from + n]) return false;
      at += size;
    }
    return true;
  }

  /** A batch that did not become a module. Its entries stay interpreted until they are asked for again. */
  #drop(batch: { key: number; region: Region }[], error: unknown): void {
    for (const { key, region } of batch) {
      const rest = this.#known.get(key)!.filter((other) => other !== region);
      if (rest.length === 0) this.#known.delete(key);
      else this.#known.set(key, rest);
    }
    this.#o.stats.add('failedBatches', 1);
    if (this.#reported) return;
    this.#reported = true;
    this.#o.report(`guest code could not be translated (${errorLine(error)}); it is interpreted, which is slower.`);
  }

  /** A hart takes its mail when it is polled next. One that sleeps can wait. */
  #announce(hart: number): void {
    const block = HART_BASE + hart * HART_STRIDE;
    Atomics.add(this.#words, (block + H_JIT_MAIL) >> 2, 1);
    Atomics.store(this.#words, (block + H_POLL) >> 2, 1);
  }

  /** Has every hart drop every region; all numbers are free afterwards. Waits for them, unless the machine ends. */
  #flush(): void {
    const words = this.#words;
    const { harts, post, stats } = this.#o;
    for (let hart = 0; hart < harts; hart++) {
      const block = HART_BASE + hart * HART_STRIDE;
      Atomics.store(words, (block + H_JIT_FLUSHING) >> 2, 1);
      post(hart, { kind: 'flush', first: FN_FIRST, end: this.#next });
      this.#announce(hart);
      Atomics.add(words, (block + H_WAKE) >> 2, 1);
      if (Atomics.load(words, (block + H_SLEEPING) >> 2) !== 0) Atomics.notify(words, (block + H_WAKE) >> 2);
    }
    for (let hart = 0; hart < harts; hart++) {
      const flushing = (HART_BASE + hart * HART_STRIDE + H_JIT_FLUSHING) >> 2;
      for (;;) {
        const wake = Atomics.load(words, JIT_WAKE >> 2);
        if (this.#quit) return;
        if (Atomics.load(words, flushing) === 0) break;
        Atomics.store(words, JIT_SLEEPING >> 2, 1);
        Atomics.wait(words, JIT_WAKE >> 2, wake);
        Atomics.store(words, JIT_SLEEPING >> 2, 0);
      }
    }
    this.#known.clear();
    this.#modules = [[], this.#modules[0]];
    this.#next = FN_FIRST;
    this.#moduleBytes = 0;
    stats.add('flushes', 1);
    stats.set('regions', 0);
    stats.set('moduleBytes', 0);
  }
}
