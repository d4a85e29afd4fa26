/** The translator as the JIT worker sees it: exports of translator.wasm (core/translator.as.ts). */
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
  /** u32 each: where in the finished module the hart block's address is, as four bytes of LEB128; none for block 0. */
  patchesAt(): number;
  patchCount(): number;
}
