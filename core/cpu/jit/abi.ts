/**
 * What translated code, the translator and the engine agree on. Read by TypeScript and by AssemblyScript alike, so this file
 * holds nothing but `export const NAME = <integer>` and imports nothing.
 *
 * A region is a WebAssembly function region(block: i32, pc: i64, depth: i32) -> i64. `block` is the hart block, `pc` the virtual
 * address of its entry (code is position-independent: every other address is pc plus a constant), `depth` how many regions are
 * active below it. It returns the address to go on at, bit 0 clear; with bit 0 set an exception is pending (engine's `fault`)
 * at that address. All guest state is in the hart block whenever it returns or calls. A region that returns its own entry
 * without having retired anything declined: the interpreter executes that instruction.
 */

/** Version of the translator: regions kept on disk are of use to the same version only. */
export const TRANSLATOR_VERSION = 3;

// ---- the function table ---------------------------------------------------------------------------------------
/** Entry 0: the region of code that has none; returns `pc`. */
export const FN_MISS = 0;
/** First helper; helper h (its place in HELPERS of core/cpu/gen/jit-helpers.ts) is at FN_HELPERS + h. */
export const FN_HELPERS = 1;
/** Regions: FN_FIRST <= fn < FN_LIMIT. */
export const FN_FIRST = 256;
export const FN_LIMIT = 16384;

/** Nested region calls beyond this many unwind to the interpreter. */
export const MAX_DEPTH = 400;

// ---- code pages (core/cpu/code.as.ts): offsets from a code page -------------------------------------------------
/** u32[2048], one a halfword: 0, or region << 16 | handler that the slot would otherwise have (0: not decoded). */
export const PAGE_JIT = 0x9080;
/** u16[2048]: how often the interpreter has come to this halfword by a jump, call or backward branch. */
export const PAGE_HEAT = 0xb080;
/** u64: guest physical address of the page. */
export const PAGE_PA = 0x9020;
/** u32: unique in the hart for each content that the page has had. */
export const PAGE_VERSION = 0x902c;
/** The guest page's bytes, as they were when the page was made. */
export const PAGE_COPY = 0x8020;
/** Bytes of a code page. */
export const PAGE_STRIDE = 0xc080;
/** Entries of a hart's directory of code pages (H_CODE_DIR): u32 address of the code page whose physical page number has this remainder. */
export const CODE_DIR_ENTRIES = 16384;

// ---- hart block (beside core/worker/layout.ts): offsets ----------------------------------------------------------
/** u64: TLB context of data accesses and of fetches, shifted into their tags' place. */
export const H_DATA_CONTEXT = 0xa40;
export const H_FETCH_CONTEXT = 0xa48;
/** f64: Infinity while native arithmetic needs no flag but those accrued (frm RNE, NX set), else -1. */
export const H_FP_LIMIT = 0xa50;
/** i32: nonzero after a helper that raised an exception. */
export const H_JIT_FAULT = 0xa58;
/** i32: address of the guard table: for each region FN_FIRST.. 2 x u32, PAGE_VERSION of the pages before and behind its own. */
export const H_JIT_GUARDS = 0xa5c;
/** i32: value of a page's heat at which a region is asked for; 0: never. */
export const H_JIT_THRESHOLD = 0xa60;
/** i32 atomic: bumped by the JIT worker when it has posted a message to the hart's worker. H_POLL goes with it. */
export const H_JIT_MAIL = 0xa64;
/** i32 atomic: 1 from when the JIT worker has asked the hart to drop all regions until it has. Then JIT_WAKE is bumped. */
export const H_JIT_FLUSHING = 0xa6c;
/** u64: written by regions, read by nobody (see keepTag in emit.as.ts). */
export const H_JIT_TAG = 0xa78;
/**
 * u64: bytes from the start of RAM of which any access has the same physical address as virtual one and every right, as M-mode's
 * accesses as a rule have; 0: of none.
 */
export const H_WINDOW = 0xa88;
/** u64 counters: regions entered by the interpreter; exceptions to that: declined. */
export const H_STAT_JIT_ENTRIES = 0x868;
export const H_STAT_JIT_DECLINED = 0x870;
/** Instructions that retired in regions. */
export const H_STAT_JIT_RETIRED = 0x878;

// ---- requests: one ring a hart, hart writes, JIT worker reads -----------------------------------------------------
/** The JIT's part of linear memory. */
export const JIT_BASE = 0x1c00000;
export const JIT_SIZE = 0x400000;
/** i32 atomic at JIT_BASE: wait word of the JIT worker; i32 atomic at +4: 1 while it sleeps. */
export const JIT_WAKE = 0x1c00000;
export const JIT_SLEEPING = 0x1c00004;
/** i32: JIT_* bits. */
export const JIT_FLAGS = 0x1c00008;
/** Instructions that have not been executed yet are translated too. */
export const JIT_EAGER = 1;
/** A hart that has asked for a region waits for it. */
export const JIT_SYNCHRONOUS = 2;
/** The translator notes what became of which instruction (TRANSLATOR_MARKS). */
export const JIT_MARKS = 4;
/** Harts tell the JIT worker of each code page they make: it may have regions for it. */
export const JIT_PAGES = 8;
/**
 * Rings at JIT_RINGS + hart * JIT_RING_STRIDE: i32 atomic head (written by the hart), i32 atomic tail, i32 atomic what the tail was
 * when all requests before it had been answered, entries from +64.
 */
export const JIT_RINGS = 0x1c01000;
export const JIT_RING_STRIDE = 0x4000;
export const JIT_RING_ENTRIES = 256;
export const JIT_RING_DATA = 64;
export const JIT_RING_ANSWERED = 8;
/**
 * A request, 48 bytes: u64 va of the entry, u32 x 3 code pages of the hart (its own, the one before, the one behind it in
 * virtual memory; 0 unknown), u32 x 3 their PAGE_VERSION, u64 H_WINDOW when it was asked for, u64 spare. With bit 0 of the va
 * set (REQUEST_PAGE) it tells of a page that has been made: its code page and PAGE_VERSION, nothing else.
 */
export const REQUEST_SIZE = 48;
export const REQUEST_WINDOW = 32;
export const REQUEST_PAGE = 1;
/** Where the JIT worker puts an attach record for a hart (JIT_RECORDS + hart * JIT_RECORD_SIZE), and jitAttach reads it. */
export const JIT_RECORDS = 0x1c30000;
export const JIT_RECORD_SIZE = 0x8000;
/**
 * Attach record: u32 fn, u32 entry (byte offset in its page), u32 pages (bit 0 own, bit 1 before, bit 2 behind), u32 spare,
 * u64 x 3 guest physical addresses of the pages, then for each page of the three: u16 first, u16 end (bytes covered, first
 * = end = 0 when none), then the covered bytes of own, before, behind, one after the other.
 */
export const RECORD_PA = 16;
export const RECORD_RANGES = 40;
export const RECORD_BYTES = 52;

// ---- the translator's memory --------------------------------------------------------------------------------------
/** With JIT_MARKS, of the region translated last: pairs of u32 offset in its body, i32 distance of the instruction from the entry. */
export const TRANSLATOR_MARKS = 0x1c70000;
export const TRANSLATOR_MARKS_SIZE = 0x10000;
/** Statics of translator.wasm, its work arrays, and its output. */
export const TRANSLATOR_STATICS = 0x1c80000;
export const TRANSLATOR_WORK = 0x1c90000;
export const TRANSLATOR_WORK_SIZE = 0x140000;
/** u8 a halfword of the three pages, page before first: bit 0 set when an instruction of the region translated last begins there. */
export const TRANSLATOR_VISITED = 0x1cac000;
/**
 * u32 number, then pairs of u16 halfword of an indirect jump, u16 halfword of a target of it that is in the region translated last;
 * at most MAX_CASES.
 */
export const TRANSLATOR_CASES = 0x1dfa000;
export const MAX_CASES = 1024;
/**
 * Code pages that the JIT worker makes up to have a region translated that it has kept: own, before, behind, SHADOW_STRIDE apart;
 * targets of indirect jumps, as at TRANSLATOR_CASES; a request, which is known by its address.
 */
export const TRANSLATOR_SHADOW = 0x1dd0000;
export const SHADOW_STRIDE = 0xd000;
export const SHADOW_CASES = 0x1df8000;
export const SHADOW_REQUEST = 0x1dff000;
export const TRANSLATOR_OUT = 0x1e00000;
export const TRANSLATOR_OUT_SIZE = 0x200000;
