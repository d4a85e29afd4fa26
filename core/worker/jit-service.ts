/**
 * The JIT worker's work: takes harts' requests for regions, has them translated in batches, compiles each batch and hands it
 * to all harts. Regions are asked for once: what has been translated already is only attached again. The cache is bounded:
 * when it is full, all harts drop all regions, and numbers begin anew.
 *
 * With a disk, regions of earlier runs are known too. Harts then tell of each code page they make, and are given what is known
 * of it at once.
 */
import {
  CODE_DIR_ENTRIES,
  FN_FIRST,
  FN_LIMIT,
  H_JIT_FLUSHING,
  H_JIT_MAIL,
  JIT_FLAGS,
  JIT_PAGES,
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
  REQUEST_PAGE,
  REQUEST_SIZE,
  TRANSLATOR_OUT,
  TRANSLATOR_WORK as TRANSLATOR_PAGES,
} from '../cpu/jit/abi.ts';
import { monotonicNow } from '../engine.ts';
import { errorLine } from '../errors.ts';
import type { JitDisk } from './jit-disk.ts';
import type { HartMail, JitLimits } from './jit-messages.ts';
import { contentHash, movedTo, recordParts, RegionStore, sameRecord, trimRecord } from './jit-regions.ts';
import type { Part, Region } from './jit-regions.ts';
import { Shadow } from './jit-shadow.ts';
import type { Translator } from './jit-translator.ts';
import type { JitStats } from './jit-stats.ts';
import {
  CODE_BASE,
  CODE_SIZE,
  CONTROL_BASE,
  CTL_RUN,
  HART_BASE,
  HART_STRIDE,
  H_CODE_DIR,
  H_POLL,
  H_SLEEPING,
  H_WAKE,
  RUN_QUIT,
} from './layout.ts';

export interface JitServiceOptions {
  memory: WebAssembly.Memory;
  harts: number;
  translator: Translator;
  limits: JitLimits;
  stats: JitStats;
  post: (hart: number, mail: HartMail) => void;
  /** Something the user should know; said once. */
  report: (message: string) => void;
  /** Where regions are kept; null: they are not. */
  disk?: JitDisk | null;
}

/** Machines of at most so many harts have code made for each: it is a sixth faster, but has to be compiled so many times. */
const OWN_MODULES = 4;
/** Requests answered by one module. A hart stands still while it instantiates one: of 100 regions that took up to 5 ms. */
const BATCH = 40;
/** A module costs about as much as ten regions in it: fewer requests than ENOUGH wait this long for others, ms. */
const GATHER_MS = 5;
const ENOUGH = 24;
/** New regions are kept this often, ms; how long that may take when the machine ends. */
const SAVE_EVERY = 60_000;
const SAVE_LIMIT = 250;
const PAGE = 4096;
const NOTHING = new Uint8Array(0);

const HEAD = 0;
const TAIL = 4;
/** Fields of a request: its pages, and their versions. */
const REQUEST_PAGES = 8;
const REQUEST_VERSIONS = 20;

/** Adds to a number of four bytes of LEB128. */
function addToLeb(bytes: Uint8Array, at: number, more: number): void {
  let value = more;
  for (let i = 0; i < 4; i++) value += (bytes[at + i]! & 0x7f) << (7 * i);
  for (let i = 0; i < 4; i++) bytes[at + i] = ((value >> (7 * i)) & 0x7f) | (i < 3 ? 0x80 : 0);
}

export class JitService {
  readonly #o: JitServiceOptions;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #data: DataView;
  readonly #store: RegionStore;
  readonly #shadow: Shadow;
  /** Known regions that a hart is to be given; some have to be translated first. */
  #known: { hart: number; region: Region }[] = [];
  /** Regions that are not on disk. */
  #unsaved = 0;
  #saved = monotonicNow();
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
    this.#store = new RegionStore(options.disk?.fileLimit ?? Infinity);
    this.#shadow = new Shadow(options.memory, options.translator);
  }

  /** Takes in what is on disk. Before any hart runs. */
  load(): void {
    const { disk, stats } = this.#o;
    if (!disk) return;
    const regions = disk.load();
    // What is worth keeping most last: the first go first.
    for (const region of regions.reverse()) this.#store.add(region);
    stats.set('loadedRegions', regions.length);
    if (regions.length > 0) Atomics.or(this.#words, JIT_FLAGS >> 2, JIT_PAGES);
  }

  /** Keeps what is known on disk. */
  save(): void {
    const { disk, stats } = this.#o;
    if (!disk) return;
    if (this.#unsaved > 0) {
      disk.save(this.#store.inOrder(), SAVE_LIMIT);
      stats.set('savedRegions', this.#store.size);
    } else disk.touch();
    this.#unsaved = 0;
    this.#saved = monotonicNow();
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
      if (this.#pending() > 0 || this.#known.length > 0) {
        this.#gather();
        this.serve();
        continue;
      }
      const saveIn = this.#unsaved > 0 ? this.#saved + SAVE_EVERY - monotonicNow() : Infinity;
      if (saveIn <= 0) {
        this.save();
        continue;
      }
      Atomics.store(words, JIT_SLEEPING >> 2, 1);
      // Whoever has something for us bumps the word first: a request that came since is not slept through.
      Atomics.wait(words, JIT_WAKE >> 2, wake, saveIn);
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
    const batch: Region[] = [];
    const again: Set<Region>[] = Array.from({ length: harts }, () => new Set());
    const room = (): boolean => first + batch.length < end && translator.room() !== 0;
    let taken = 0;
    let size = 0;
    try {
      translator.begin(first, harts <= OWN_MODULES ? HART_BASE : 0);
      while (taken < BATCH && room()) {
        const known = this.#known.shift();
        const hart = known?.hart ?? this.#nextHart();
        if (hart < 0) break;
        taken++;
        if (known !== undefined) this.#give(known.region, batch, again[hart]!, first);
        else this.#take(hart, batch, again[hart]!, first);
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
    // One for all harts, or one each.
    let modules: WebAssembly.Module[] | null = null;
    if (size > 0) {
      try {
        modules = this.#compile(size);
      } catch (error) {
        this.#drop(batch, error);
      }
      stats.add('compileMs', monotonicNow() - translated);
    }
    if (modules !== null) {
      this.#next += batch.length;
      this.#moduleBytes += size * modules.length;
      this.#modules[0].push(...modules);
      stats.add('batches', 1);
      stats.add('translatedRegions', batch.length);
      stats.set('regions', this.#next - FN_FIRST);
      stats.set('moduleBytes', this.#moduleBytes);
    }
    for (let hart = 0; hart < harts; hart++) {
      const module = modules === null ? null : modules[hart % modules.length]!;
      const records = module === null ? [] : batch.map(({ record }) => record);
      for (const region of again[hart]!) if (region.fn !== 0 && region.fn < first) records.push(region.record);
      if (records.length === 0) continue;
      post(hart, { kind: 'code', module, records });
      this.#announce(hart);
    }
    if (this.#next >= end || this.#moduleBytes >= limits.moduleBytes) this.#flush();
    return true;
  }

  /** The batch's module, compiled for each hart with its own block's address in it, or once for all that are told theirs. */
  #compile(size: number): WebAssembly.Module[] {
    const { translator, harts } = this.#o;
    // A copy: the compiler does not take shared memory.
    const bytes = this.#bytes.slice(TRANSLATOR_OUT, TRANSLATOR_OUT + size);
    const patches = Array.from(
      { length: translator.patchCount() },
      (_, i) => this.#words[(translator.patchesAt() >> 2) + i]!,
    );
    const modules = [new WebAssembly.Module(bytes)];
    for (let hart = 1; hart < harts && patches.length > 0; hart++) {
      for (const at of patches) addToLeb(bytes, at, HART_STRIDE);
      modules.push(new WebAssembly.Module(bytes));
    }
    return modules;
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
  #take(hart: number, batch: Region[], again: Set<Region>, first: number): void {
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
      if ((this.#data.getUint32(request, true) & REQUEST_PAGE) !== 0) {
        this.#page(hart, this.#data.getUint32(request + REQUEST_PAGES, true), key - REQUEST_PAGE);
        return;
      }
      const there = this.#store.atEntry(key).find(({ record }) => this.#describes(record, request));
      if (there !== undefined && there.fn !== 0) {
        this.#give(there, batch, again, first);
        stats.add('resent', 1);
        return;
      }
      const regions = translator.addRegion(request);
      if (regions === 0) {
        stats.add('refused', 1);
        return;
      }
      // It has been made of what is executed now.
      if (there !== undefined) this.#store.delete(there);
      const region = this.#made(key, first, regions - 1);
      this.#store.add(region);
      this.#store.use(region);
      batch.push(region);
      this.#unsaved++;
    } finally {
      // Its place may be used again.
      Atomics.store(this.#words, (ring + TAIL) >> 2, (tail + 1) | 0);
    }
  }

  /** The region that was added to the batch last. */
  #made(entry: number, first: number, index: number): Region {
    const { translator, stats, disk } = this.#o;
    stats.add('translatedInstructions', translator.lastSize());
    const at = translator.recordAt(index);
    const record = trimRecord(this.#bytes.slice(at, at + translator.recordSize(index)));
    const fn = first + index;
    if (!disk) return { fn, entry, record, starts: NOTHING, cases: NOTHING, content: 0, used: true };
    const own = TRANSLATOR_PAGES + PAGE;
    const content = contentHash(this.#bytes.subarray(own, own + PAGE));
    return {
      fn,
      entry,
      record,
      starts: this.#shadow.starts(record),
      cases: this.#shadow.cases(),
      content,
      used: false,
    };
  }

  /** A known region for a hart: into the batch when it is not translated, else among what the hart is told again. */
  #give(region: Region, batch: Region[], again: Set<Region>, first: number): void {
    const { stats } = this.#o;
    this.#store.use(region);
    if (region.fn !== 0) {
      // One of this batch goes to all harts anyway.
      if (region.fn < first) again.add(region);
      return;
    }
    const regions = this.#shadow.translate(region);
    if (regions === 0) {
      this.#store.delete(region);
      return;
    }
    const made = this.#made(region.entry, first, regions - 1);
    if (sameRecord(made.record, region.record)) {
      region.fn = made.fn;
      region.record.set(made.record.subarray(0, 4));
      batch.push(region);
    } else {
      // The translator makes something else of it now. Harts compare it with what they have.
      this.#store.delete(region);
      batch.push(made);
    }
    stats.add('replayedRegions', 1);
  }

  /** A hart has made a code page of the page at guest physical address `pa`: it is to have what is known of it. */
  #page(hart: number, page: number, pa: number): void {
    this.#o.stats.add('pages', 1);
    const entries = new Set<number>();
    const wanted = (region: Region): void => {
      // The newest of an entry.
      if (entries.has(region.entry)) return;
      entries.add(region.entry);
      this.#known.push({ hart, region });
    };
    for (const region of this.#store.inPage(pa)) if (this.#isPresent(region, hart)) wanted(region);
    if (entries.size > 0) return;
    // The same page may have been elsewhere.
    const content = contentHash(this.#bytes.subarray(page + PAGE_COPY, page + PAGE_COPY + PAGE));
    for (const region of [...this.#store.withContent(content)]) {
      const parts = recordParts(region.record)!;
      if (parts.length > 1 || !this.#isSame(region.record, parts[0]!, page)) continue;
      const moved = movedTo(region, pa);
      if (!region.used) this.#store.delete(region);
      this.#store.add(moved);
      this.#unsaved++;
      wanted(moved);
    }
  }

  /** Whether a hart has code pages of what a region was made of. It finds out for itself when it attaches it. */
  #isPresent(region: Region, hart: number): boolean {
    const directory = HART_BASE + hart * HART_STRIDE + H_CODE_DIR;
    return recordParts(region.record)!.every((part) => {
      const page = this.#data.getUint32(directory + (Math.floor(part.pa / PAGE) % CODE_DIR_ENTRIES) * 4, true);
      if (page < CODE_BASE || page >= CODE_BASE + CODE_SIZE) return false;
      return (
        Number(this.#data.getBigUint64(page + PAGE_PA, true)) === part.pa && this.#isSame(region.record, part, page)
      );
    });
  }

  /** Whether a code page has the bytes of a part of a record. */
  #isSame(record: Uint8Array, { first, size, at }: Part, page: number): boolean {
    const from = page + PAGE_COPY + first;
    for (let n = 0; n < size; n++) if (record[at + n] !== this.#bytes[from + n]) return false;
    return true;
  }

  /** The guest physical address of the entry; null when a page is no longer what it was when the request was made. */
  #check(request: number): number | null {
    const data = this.#data;
    const own = data.getUint32(request + REQUEST_PAGES, true);
    if (own < CODE_BASE || own >= CODE_BASE + CODE_SIZE) return null;
    // Versions do not come back: when the page has the request's after this was read, it had it before.
    const pa = Number(data.getBigUint64(own + PAGE_PA, true));
    for (let i = 0; i < 3; i++) {
      const page = data.getUint32(request + REQUEST_PAGES + i * 4, true);
      if (page === 0 && i > 0) continue;
      if (page < CODE_BASE || page >= CODE_BASE + CODE_SIZE) return null;
      const version = Atomics.load(this.#words, (page + PAGE_VERSION) >> 2);
      if (version !== data.getInt32(request + REQUEST_VERSIONS + i * 4, true)) return null;
    }
    return pa + (data.getUint32(request, true) & 4095);
  }

  /** Whether a record's region is what a request asks for: the same pages, the same bytes. */
  #describes(record: Uint8Array, request: number): boolean {
    return recordParts(record)!.every((part) => {
      const page = this.#data.getUint32(request + REQUEST_PAGES + part.page * 4, true);
      if (page === 0 || Number(this.#data.getBigUint64(page + PAGE_PA, true)) !== part.pa) return false;
      return this.#isSame(record, part, page);
    });
  }

  /** A batch that did not become a module. Its entries stay interpreted until they are asked for again. */
  #drop(batch: Region[], error: unknown): void {
    for (const region of batch) {
      region.fn = 0;
      this.#store.delete(region);
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
    this.#known = [];
    this.#store.untranslate(Boolean(this.#o.disk));
    this.#modules = [[], this.#modules[0]];
    this.#next = FN_FIRST;
    this.#moduleBytes = 0;
    stats.add('flushes', 1);
    stats.set('regions', 0);
    stats.set('moduleBytes', 0);
  }
}
