/** The machines that run an image: ours, bare-metal or in user mode, and QEMU's user-mode emulation. */
import { spawnSync } from 'node:child_process';
import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RAM_PHYS } from '../../core/machine/virt-map.ts';
import type { JitStatistics } from '../../core/worker/jit-stats.ts';
import { BareMetal } from '../harness/bare-metal.ts';
import type { BareMetalOptions } from '../harness/bare-metal.ts';
import { PageTables, PTE, PTE_ALL } from '../harness/page-tables.ts';
import type { QemuUser } from '../harness/qemu-user.ts';
import { IMAGE_BASE } from './elf-image.ts';
import type { Image } from './elf-image.ts';
import { ENDED, hartArea, MAX_HARTS, monitor, X_CAUSE, X_EPC, X_TVAL } from './monitor.ts';
import type { MonitorMode } from './monitor.ts';
import { Random } from './random.ts';

/** Output of a run, on more than one hart those of the others too; or why there is none. */
export type Outcome = { output: Uint8Array; others?: Uint8Array[] } | { failure: string };

export interface Runner extends AsyncDisposable {
  readonly name: string;
  run(image: Image): Promise<Outcome>;
}

export interface OurOptions extends Omit<BareMetalOptions, 'harts' | 'ramSize'> {
  /** 1 or 2; 2: in user mode, each runs the image with memory of its own. */
  harts?: number;
  /** Whether harts have the image's code in the same memory. */
  shareCode?: boolean;
}

const MIB = 2 ** 20;
const PAGE = 4096;
const CAUSE_ECALL_U = 8;
const CAUSE_ECALL_M = 11;
/** Where the image's pages are in user mode, shuffled. */
const USER_PAGES = RAM_PHYS + 16 * MIB;

export class OurRunner implements Runner {
  readonly name = 'ringside';
  readonly #bare: BareMetal;
  readonly #mode: MonitorMode;
  readonly #shareCode: boolean;
  /** Physical page of each page of the image, for each hart. */
  #pages: number[][] = [];

  private constructor(bare: BareMetal, mode: MonitorMode, shareCode: boolean) {
    this.#bare = bare;
    this.#mode = mode;
    this.#shareCode = shareCode;
  }

  static async create(
    mode: MonitorMode,
    { harts = 1, shareCode = false, ...options }: OurOptions = {},
  ): Promise<OurRunner> {
    if (harts > MAX_HARTS || (harts > 1 && mode === 'machine')) throw new RangeError('one hart only');
    return new OurRunner(await BareMetal.create({ ramSize: 48 * MIB, harts, ...options }), mode, shareCode);
  }

  #place(image: Image): void {
    const count = Math.ceil(image.elf.length / PAGE);
    if (this.#mode === 'machine') {
      this.#pages = [Array.from({ length: count }, (_, i) => IMAGE_BASE + i * PAGE)];
      this.#bare.load(IMAGE_BASE, image.elf);
      return;
    }
    const { harts } = this.#bare;
    const all = Array.from({ length: count * harts }, (_, i) => USER_PAGES + i * PAGE);
    const random = new Random(count);
    for (let i = all.length - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [all[i], all[j]] = [all[j]!, all[i]!];
    }
    this.#pages = Array.from({ length: harts }, (_, hart) => all.slice(hart * count, (hart + 1) * count));
    const codePages = Math.ceil((image.codeEnd ?? 0) / PAGE);
    for (let hart = 1; hart < harts && this.#shareCode; hart++)
      for (let i = 0; i < codePages; i++) this.#pages[hart]![i] = this.#pages[0]![i]!;
    this.#pages.forEach((pages, hart) => {
      const area = hartArea(hart);
      const tables = new PageTables(this.#bare, area.tables);
      pages.forEach((pa, i) => {
        this.#bare.load(pa, image.elf.subarray(i * PAGE, (i + 1) * PAGE));
        tables.map(IMAGE_BASE + i * PAGE, pa, PTE_ALL | PTE.U);
      });
      if (tables.root !== BigInt(area.tables)) throw new Error('the monitor has another root');
    });
  }

  /** Bytes of the image's memory as they are now. */
  #read(hart: number, address: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const at = address + done - IMAGE_BASE;
      const n = Math.min(length - done, PAGE - (at % PAGE));
      out.set(this.#bare.ram(this.#pages[hart]![Math.floor(at / PAGE)]! + (at % PAGE), n), done);
      done += n;
    }
    return out;
  }

  get #harts(): number[] {
    return Array.from({ length: this.#bare.harts }, (_, hart) => hart);
  }

  async #execute(image: Image): Promise<string | null> {
    const bare = this.#bare;
    bare.reset();
    this.#place(image);
    bare.writeU64(ENDED, 0n);
    for (const hart of this.#harts) {
      const area = hartArea(hart);
      bare.load(area.code, monitor(image.entry, this.#mode, hart, bare.harts));
      bare.writeU64(area.log, 0n);
      bare.writeU64(area.interruptions, 0n);
    }
    try {
      await bare.run(60_000);
    } catch (error) {
      return (error as Error).message;
    }
    for (const hart of this.#harts) {
      const { x } = bare.hart(hart);
      const cause = Number(x[X_CAUSE]!);
      if (cause !== CAUSE_ECALL_M && cause !== CAUSE_ECALL_U)
        return `hart ${hart}: trap ${cause} at 0x${x[X_EPC]!.toString(16)}, tval 0x${x[X_TVAL]!.toString(16)}`;
    }
    return null;
  }

  async run(image: Image): Promise<Outcome> {
    const failure = await this.#execute(image);
    if (failure !== null) return { failure };
    const [output, ...others] = this.#harts.map((hart) => this.#read(hart, image.output, image.outputSize));
    return { output: output!, others };
  }

  /** Runs an image and gives the addresses of the illegal instructions that were passed over. */
  async illegal(image: Image): Promise<number[] | { failure: string }> {
    const failure = await this.#execute(image);
    if (failure !== null) return { failure };
    const { log } = hartArea(0);
    return Array.from({ length: Number(this.#bare.readU64(log)) }, (_, i) =>
      Number(this.#bare.readU64(log + 8 + i * 8)),
    );
  }

  /** Timer interrupts that the last image had. */
  get interruptions(): number {
    return Number(this.#bare.readU64(hartArea(0).interruptions));
  }

  /** What minstret was at the end of the last image, for each hart. */
  get retired(): bigint[] {
    return this.#harts.map((hart) => this.#bare.readU64(hartArea(hart).retired));
  }

  /** Instructions that have retired in regions since the machine was made. */
  get translated(): number {
    return this.statistics()?.harts.reduce((sum, hart) => sum + hart.retired, 0) ?? 0;
  }

  /** What the translator has done; null when harts only interpret. */
  statistics(): JitStatistics | null {
    return this.#bare.statistics();
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
