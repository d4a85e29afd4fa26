/**
 * What a person does to a running queue: stand still, step, break, inject. Lives on the I/O worker, and only while it is wanted.
 * Chains that it keeps are never lost: what stands at a breakpoint goes back into the ring and what is delayed goes to the
 * driver when the queue stops.
 */
import type { Breakpoint, Injection, QueueCommand, QueueControl, RequestMatch } from '../api/inspect.ts';
import type { RequestSummary } from '../virtio/decoder.ts';
import type { DescriptorChain } from '../virtio/queue/descriptor-chain.ts';

interface BreakpointState {
  readonly rule: Breakpoint;
  hits: number;
}

interface InjectionState<R extends Injection = Injection> {
  readonly rule: R;
  hits: number;
  /** null: no end. */
  left: number | null;
}

interface Delayed {
  readonly chain: DescriptorChain;
  readonly written: number;
  /** ns on the gate's clock. */
  readonly due: number;
}

type Kind<K extends Injection['kind']> = Extract<Injection, { kind: K }>;

export class QueueGate {
  readonly #now: () => number;
  readonly #random: () => number;
  #paused = false;
  /** Chains that may pass while it is paused. */
  #credits = 0;
  #stop: QueueControl['stop'] = null;
  #parked: DescriptorChain | null = null;
  #delayed: Delayed[] = [];
  #breakpoints: BreakpointState[] = [];
  #injections: InjectionState[] = [];
  /** Chains that are with the device and are to be delayed when they come back, by how much, ns. */
  readonly #toDelay = new Map<DescriptorChain, number>();

  /** @param now ns */
  constructor(now: () => number, random: () => number = Math.random) {
    this.#now = now;
    this.#random = random;
  }

  obey(command: QueueCommand): void {
    switch (command.op) {
      case 'state':
        break;
      case 'pause':
        this.#paused = true;
        this.#credits = 0;
        break;
      case 'resume':
        this.#resume();
        break;
      case 'step':
        this.#paused = true;
        this.#stop = null;
        this.#credits = command.chains;
        break;
      case 'rules':
        this.#breakpoints = command.breakpoints.map(
          (rule) => this.#breakpoints.find((old) => same(old.rule, rule)) ?? { rule, hits: 0 },
        );
        this.#injections = command.injections.map(
          (rule) => this.#injections.find((old) => same(old.rule, rule)) ?? { rule, hits: 0, left: rule.count },
        );
        break;
      case 'clear':
        this.#resume();
        this.#breakpoints = [];
        this.#injections = [];
        this.#delayed = this.#delayed.map((entry) => ({ ...entry, due: 0 }));
        break;
    }
  }

  #resume(): void {
    this.#paused = false;
    this.#credits = 0;
    this.#stop = null;
  }

  get state(): QueueControl {
    const parked = this.#parked;
    return {
      paused: this.#paused,
      stop: this.#stop,
      parked: parked && { head: parked.head, position: parked.position },
      delayed: this.#delayed.length,
      breakpoints: this.#breakpoints.map(({ rule, hits }) => ({ ...rule, hits })),
      injections: this.#injections.map(({ rule, hits, left }) => ({ rule, hits, left })),
      active: !this.idle,
    };
  }

  /** It does nothing, and holds nothing. */
  get idle(): boolean {
    return (
      !this.#paused &&
      this.#parked === null &&
      this.#delayed.length === 0 &&
      this.#breakpoints.length === 0 &&
      this.#injections.length === 0
    );
  }

  /** No chain may pass. */
  get closed(): boolean {
    return this.#paused && this.#credits === 0;
  }

  /** The chain at the breakpoint, which passes now. Only of a gate that is not closed. */
  unpark(): DescriptorChain | null {
    const chain = this.#parked;
    this.#parked = null;
    if (chain !== null) this.#passed();
    return chain;
  }

  #passed(): void {
    if (this.#credits > 0) this.#credits--;
  }

  /** Whether the gate stops at a chain that has just been taken: unpark() gives it, when the gate is open again. */
  stopsAt(chain: DescriptorChain, summary: RequestSummary, length: number): boolean {
    if (!this.#paused) {
      for (const state of this.#breakpoints) {
        if (state.rule.latency !== undefined || !matches(state.rule.match, summary, length)) continue;
        this.#hit(state, 'request', chain);
        this.#parked = chain;
        return true;
      }
    }
    this.#passed();
    return false;
  }

  #hit(state: BreakpointState, kind: 'request' | 'latency', { head, position }: DescriptorChain): void {
    state.hits++;
    this.#paused = true;
    this.#credits = 0;
    this.#stop = { breakpoint: state.rule.id, kind, head, position, time: this.#now() };
  }

  /** The error with which a request is to be answered instead of being done: null for none, -1 for the device's usual. */
  error(summary: RequestSummary, length: number): number | null {
    const state = this.#chosen('error', (rule) => matches(rule.match, summary, length));
    return state === null ? null : (state.rule.status ?? -1);
  }

  /** A chain goes to the device. Returns whether it will be delayed. */
  entered(chain: DescriptorChain, summary: RequestSummary, length: number): boolean {
    const state = this.#chosen('delay', (rule) => matches(rule.match, summary, length));
    if (state === null) return false;
    this.#toDelay.set(chain, state.rule.delay * 1e6);
    return true;
  }

  /**
   * The device is done with a chain.
   *
   * @param latency ns since the device saw it
   * @returns true: the gate keeps it, takeDue() gives it
   */
  leaves(chain: DescriptorChain, written: number, summary: RequestSummary, length: number, latency: number): boolean {
    for (const state of this.#breakpoints) {
      const { rule } = state;
      if (rule.latency === undefined || latency < rule.latency * 1e3 || !matches(rule.match, summary, length)) continue;
      this.#hit(state, 'latency', chain);
    }
    const delay = this.#toDelay.get(chain);
    if (delay === undefined) return false;
    this.#toDelay.delete(chain);
    this.#delayed.push({ chain, written, due: this.#now() + delay });
    return true;
  }

  /** Whether leaves() may need a summary. */
  get looksAtLatency(): boolean {
    return this.#breakpoints.some(({ rule }) => rule.latency !== undefined);
  }

  /** An interrupt that is wanted: whether it is dropped. */
  dropsInterrupt(): boolean {
    return this.#chosen('drop-interrupt', () => true) !== null;
  }

  #chosen<K extends Injection['kind']>(kind: K, applies: (rule: Kind<K>) => boolean): InjectionState<Kind<K>> | null {
    for (const candidate of this.#injections) {
      if (candidate.rule.kind !== kind || candidate.left === 0) continue;
      const state = candidate as InjectionState<Kind<K>>;
      if (!applies(state.rule) || this.#random() >= state.rule.probability) continue;
      state.hits++;
      if (state.left !== null) state.left--;
      return state;
    }
    return null;
  }

  /** When takeDue() next gives something, ns; Infinity for never. */
  get deadline(): number {
    let deadline = Infinity;
    for (const { due } of this.#delayed) deadline = Math.min(deadline, due);
    return deadline;
  }

  /** Gives the driver what has been delayed long enough; all of it when the queue stops. */
  takeDue(put: (chain: DescriptorChain, written: number) => void, all = false): void {
    if (this.#delayed.length === 0) return;
    const now = all ? Infinity : this.#now();
    const due = this.#delayed.filter((entry) => entry.due <= now);
    this.#delayed = this.#delayed.filter((entry) => entry.due > now);
    for (const { chain, written } of due.sort((a, b) => a.due - b.due)) put(chain, written);
  }

  /** The queue stops: what stood at the breakpoint, to go back into the ring. A pause that somebody asked for stays. */
  ended(): DescriptorChain | null {
    const chain = this.#parked;
    this.#parked = null;
    this.#toDelay.clear();
    if (this.#stop !== null) this.#resume();
    return chain;
  }
}

function same(a: object, b: object): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function matches({ types, detail, length: bytes }: RequestMatch, summary: RequestSummary, length: number): boolean {
  if (types !== undefined && !types.includes(summary.type)) return false;
  if (detail !== undefined) {
    const { detail: first, span } = summary;
    // What covers nothing is where it is.
    const last = first + Math.max(1, span) - 1;
    if (first > detail.to || last < detail.from) return false;
  }
  return bytes === undefined || (length >= bytes.min && length <= bytes.max);
}
