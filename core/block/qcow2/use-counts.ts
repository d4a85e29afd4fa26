/** How often each cluster of a file is used, in memory that grows with what is used. */
const CHUNK = 4096;

export class UseCounts {
  readonly #chunks = new Map<number, Uint32Array>();
  readonly #clusters: number;
  #end = 0;

  /** @param clusters of the file; `end` counts no more */
  constructor(clusters: number) {
    this.#clusters = clusters;
  }

  /** Behind the last cluster that is used. */
  get end(): number {
    return this.#end;
  }

  get clusters(): number {
    return this.#clusters;
  }

  get(cluster: number): number {
    return this.#chunks.get(Math.floor(cluster / CHUNK))?.[cluster % CHUNK] ?? 0;
  }

  more(cluster: number): void {
    const at = Math.floor(cluster / CHUNK);
    let chunk = this.#chunks.get(at);
    if (!chunk) this.#chunks.set(at, (chunk = new Uint32Array(CHUNK)));
    chunk[cluster % CHUNK]++;
    if (cluster >= this.#end) this.#end = cluster + 1;
  }

  less(cluster: number): void {
    const chunk = this.#chunks.get(Math.floor(cluster / CHUNK));
    if (chunk && chunk[cluster % CHUNK] > 0) chunk[cluster % CHUNK]--;
  }

  /** Clusters that are used, and how often, in no order. */
  *entries(): Generator<[cluster: number, uses: number]> {
    for (const [at, chunk] of this.#chunks) {
      for (let i = 0; i < CHUNK; i++) if (chunk[i] > 0) yield [at * CHUNK + i, chunk[i]];
    }
  }
}
