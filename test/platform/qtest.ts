/**
 * QEMU's own virt board as a reference: qemu-system-riscv64 with its harts stopped, its devices driven through the qtest
 * protocol (QEMU docs/devel/testing/qtest.rst).
 */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';

const QEMU = 'qemu-system-riscv64';

export const hasQemu = spawnSync(QEMU, ['--version']).status === 0;

export class Qtest {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #waiting: ((line: string) => void)[] = [];

  constructor(args: string[] = []) {
    const options = ['-M', 'virt', '-S', '-qtest', 'stdio', '-qtest-log', '/dev/null', '-display', 'none'];
    const quiet = ['-serial', 'null', '-monitor', 'none'];
    this.#process = spawn(QEMU, [...options, ...quiet, ...args]);
    // Requests are answered in order; other lines (IRQ ...) are none of ours.
    createInterface({ input: this.#process.stdout }).on('line', (line) => {
      if (/^(OK|FAIL)/.test(line)) this.#waiting.shift()?.(line);
    });
    this.#process.on('exit', () => this.#waiting.splice(0).forEach((resolve) => resolve('FAIL QEMU has ended')));
  }

  async #request(line: string): Promise<string> {
    const answer = new Promise<string>((resolve) => this.#waiting.push(resolve));
    this.#process.stdin.write(`${line}\n`);
    const text = await answer;
    if (!text.startsWith('OK')) throw new Error(`QEMU says "${text}" to "${line}"`);
    return text.slice(3);
  }

  async readb(address: number): Promise<number> {
    return Number(await this.#request(`readb 0x${address.toString(16)}`));
  }

  async readl(address: number): Promise<number> {
    return Number(await this.#request(`readl 0x${address.toString(16)}`));
  }

  async readq(address: number): Promise<bigint> {
    return BigInt(await this.#request(`readq 0x${address.toString(16)}`));
  }

  async writeb(address: number, value: number): Promise<void> {
    await this.#request(`writeb 0x${address.toString(16)} 0x${value.toString(16)}`);
  }

  async writel(address: number, value: number): Promise<void> {
    await this.#request(`writel 0x${address.toString(16)} 0x${(value >>> 0).toString(16)}`);
  }

  async read(address: number, size: number): Promise<Buffer> {
    return Buffer.from((await this.#request(`read 0x${address.toString(16)} 0x${size.toString(16)}`)).slice(2), 'hex');
  }

  /** Drives an input of a device, e.g. a PLIC source. */
  async setIrqIn(path: string, irq: number, level: number): Promise<void> {
    await this.#request(`set_irq_in ${path} unnamed-gpio-in ${irq} ${level}`);
  }

  end(): void {
    this.#process.kill();
  }
}
