/** A thread of the IMSIC's race tests: a device that sends messages, a wired device, or the hart that takes both. */
import { parentPort, workerData } from 'node:worker_threads';
import { IMSIC_S_PHYS } from '../../core/machine/virt-map.ts';
import { H_IRQ, H_SLEEPING, H_WAKE, HART_BASE, HART_STRIDE } from '../../core/worker/layout.ts';
import { instantiatePlatform } from '../platform/build.ts';

const LEVEL_S = 1;
const DOMAIN_S = 1;
const SEIP = 1 << 9;
const SETIPNUM_LE = 0x2000;
const PATIENCE_MS = 20_000;

export type RaceJob =
  | { role: 'sender'; hart: number; total: number; identities: number[] }
  | { role: 'wired'; source: number; total: number }
  | { role: 'hart'; hart: number; total: number; identities: number[]; sources: number[] };

export interface RaceData {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  /** Linear address of a word that counts threads, then of four words for each identity: made, seen, interrupt status. */
  scratch: number;
  threads: number;
  job: RaceJob;
}

const { module, memory, scratch, threads, job } = workerData as RaceData;
const words = new Int32Array(memory.buffer);
const now = (): number => Number(process.hrtime.bigint()) / 1e6;
const platform = await instantiatePlatform(module, memory, now);

const at = (identity: number): number => scratch / 4 + 16 + identity * 4;
const made = at;
const seen = (identity: number): number => at(identity) + 1;
const status = (identity: number): number => at(identity) + 2;

function send({ hart, total, identities }: Extract<RaceJob, { role: 'sender' }>): void {
  for (let n = 1; n <= total; n++) {
    for (const identity of identities) {
      Atomics.store(words, made(identity), n);
      platform.msiWrite(IMSIC_S_PHYS + hart * 0x1000, identity);
    }
  }
}

function drive({ source, total }: Extract<RaceJob, { role: 'wired' }>): void {
  for (let n = 1; n <= total; n++) {
    Atomics.store(words, made(source), n);
    if (Atomics.or(words, status(source), 1) === 0) platform.irqFollow(source, status(source) * 4);
  }
}

/** Takes in what has been made, woken by nothing but interrupts. */
function take({ hart, total, identities, sources }: Extract<RaceJob, { role: 'hart' }>): void {
  const block = HART_BASE + hart * HART_STRIDE;
  const all = [...identities, ...sources];
  const deadline = now() + PATIENCE_MS;
  while (!all.every((identity) => words[seen(identity)] === total)) {
    const wake = Atomics.load(words, (block + H_WAKE) / 4);
    Atomics.store(words, (block + H_SLEEPING) / 4, 1);
    if ((Atomics.load(words, (block + H_IRQ) / 4) & SEIP) === 0) Atomics.wait(words, (block + H_WAKE) / 4, wake, 100);
    Atomics.store(words, (block + H_SLEEPING) / 4, 0);
    if ((Atomics.load(words, (block + H_IRQ) / 4) & SEIP) === 0) {
      if (now() > deadline) throw new Error(`seen ${all.map((id) => words[seen(id)]).join(', ')} of ${total}`);
      continue;
    }
    for (let identity = platform.imsicTop(hart, LEVEL_S); identity !== 0; identity = platform.imsicTop(hart, LEVEL_S)) {
      platform.imsicClaim(hart, LEVEL_S, identity);
      if (sources.includes(identity)) {
        Atomics.exchange(words, status(identity), 0);
        platform.irqFollow(identity, status(identity) * 4);
      }
      words[seen(identity)] = Atomics.load(words, made(identity));
      // A level may have risen again before it was seen to fall.
      if (sources.includes(identity)) platform.aplicWrite(DOMAIN_S, SETIPNUM_LE, identity);
    }
  }
}

Atomics.add(words, scratch / 4, 1);
while (Atomics.load(words, scratch / 4) < threads);
if (job.role === 'sender') send(job);
else if (job.role === 'wired') drive(job);
else take(job);
parentPort!.postMessage('done');
