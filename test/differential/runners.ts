/** The machines that run an image: ours, bare-metal or in user mode, and QEMU's user-mode emulation. */
import { spawnSync } from 'node:child_process';
import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RAM_PHYS } from '../../core/machine/virt-map.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import { PageTables, PTE, PTE_ALL } from '../harness/page-tables.ts';
import type { QemuUser } from '../harness/qemu-user.ts';
import { IMAGE_BASE } from './elf-image.ts';
import type { Image } from './elf-image.ts';
import { INTERRUPTIONS, LOG, monitor, X_CAUSE, X_EPC, X_TVAL } from './monitor.ts';
import type { MonitorMode } from './monitor.ts';
import { Random } from './random.ts';

/** Output of a run, or why there is none. */
export type Outcome = { output: Uint8Array } | { failure: string };

export interface Runner extends AsyncDisposable {
  readonly name: string;
  run(image: Image): Promise<Outcome>;
}

const MIB = 2 ** 20;
const PAGE = 4096;
const CAUSE_ECALL_U = 8;
const CAUSE_ECALL_M = 11;
const TABLES = RAM_PHYS + 0x40000;
/** Where the image's pages are in user mode, shuffled. */
const USER_PAGES = RAM_PHYS + 16 * MIB;

export class OurRunner implements Runner {
  readonly name = 'ringside';
  readonly #bare: BareMetal;
  readonly #mode: MonitorMode;
  /** Physical page of each page of the image. */
  #pages: number[] = [];

  private constructor(bare: BareMetal, mode: MonitorMode) {
    this.#bare = bare;
    this.#mode = mode;
  }

  static async create(mode: MonitorMode): Promise<OurRunner> {
    return new OurRunner(await BareMetal.create({ ramSize: 48 * MIB }), mode);
  }

  #place(image: Image): void {
    const count = Math.ceil(image.elf.length / PAGE);
    this.#pages = Array.from(
      { length: count },
      (_, i) => (this.#mode === 'machine' ? IMAGE_BASE : USER_PAGES) + i * PAGE,
    );
    if (this.#mode === 'machine') {
      this.#bare.load(IMAGE_BASE, image.elf);
      return;
    }
    const random = new Random(count);
    for (let i = count - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [this.#pages[i], this.#pages[j]] = [this.#pages[j]!, this.#pages[i]!];
    }
    const tables = new PageTables(this.#bare, TABLES);
    this.#pages.forEach((pa, i) => {
      this.#bare.load(pa, image.elf.subarray(i * PAGE, (i + 1) * PAGE));
      tables.map(IMAGE_BASE + i * PAGE, pa, PTE_ALL | PTE.U);
    });
    if (tables.root !== BigInt(TABLES)) throw new Error('the monitor has another root');
  }

  /** Bytes of the image's memory as they are now. */
  #read(address: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const at = address + done - IMAGE_BASE;
      const n = Math.min(length - done, PAGE - (at % PAGE));
      out.set(this.#bare.ram(this.#pages[Math.floor(at / PAGE)]! + (at % PAGE), n), done);
      done += n;
    }
    return out;
  }

  async #execute(image: Image): Promise<string | null> {
    const bare = this.#bare;
    bare.reset();
    bare.load(RAM_PHYS, monitor(image.entry, this.#mode, TABLES));
    this.#place(image);
    bare.writeU64(LOG, 0n);
    bare.writeU64(INTERRUPTIONS, 0n);
    let cause: number;
    try {
      cause = await bare.run(30_000);
    } catch (error) {
      return (error as Error).message;
    }
    if (cause === CAUSE_ECALL_M || cause === CAUSE_ECALL_U) return null;
    const { x } = bare.hart(0);
    return `trap ${cause} at 0x${x[X_EPC]!.toString(16)}, tval 0x${x[X_TVAL]!.toString(16)} (cause register ${x[X_CAUSE]})`;
  }

  async run(image: Image): Promise<Outcome> {
    const failure = await this.#execute(image);
    return failure === null ? { output: this.#read(image.output, image.outputSize) } : { failure };
  }

  /** Runs an image and gives the addresses of the illegal instructions that were passed over. */
  async illegal(image: Image): Promise<number[] | { failure: string }> {
    const failure = await this.#execute(image);
    if (failure !== null) return { failure };
    return Array.from({ length: Number(this.#bare.readU64(LOG)) }, (_, i) =>
      Number(this.#bare.readU64(LOG + 8 + i * 8)),
    );
  }

  /** Timer interrupts that the last image had. */
  get interruptions(): number {
    return Number(this.#bare.readU64(INTERRUPTIONS));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#bare[Symbol.asyncDispose]();
  }
}

export class QemuRunner implements Runner {
  readonly name = 'qemu';
  readonly #qemu: QemuUser;
  readonly #folder = mkdtempSync(join(tmpdir(), 'ringside-differential-'));

  constructor(qemu: QemuUser) {
    this.#qemu = qemu;
  }

  run(image: Image): Promise<Outcome> {
    const program = join(this.#folder, 'image');
    const result = join(this.#folder, 'output');
    writeFileSync(program, image.elf);
    chmodSync(program, 0o755);
    const out = openSync(result, 'w');
    const { status, signal, stderr, error } = spawnSync(this.#qemu.path, ['-cpu', this.#qemu.cpu, program], {
      stdio: ['ignore', out, 'pipe'],
      timeout: 60_000,
    });
    closeSync(out);
    if (error) return Promise.resolve({ failure: error.message });
    if (status !== 0)
      return Promise.resolve({ failure: `status ${status}, signal ${signal}: ${stderr.toString().trim()}` });
    return Promise.resolve({ output: readFileSync(result) });
  }

  [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.#folder, { recursive: true, force: true });
    return Promise.resolve();
  }
}
