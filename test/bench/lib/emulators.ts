/** The two programs that are compared, run as a user runs them. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export interface Board {
  /** MiB of RAM. */
  memory: number;
  /** 1 unless said. */
  harts?: number;
  bios: 'default' | 'none';
  kernel: string;
  initrd?: string;
  append?: string;
  /** As -object has them. */
  objects?: readonly string[];
  disks?: readonly BoardDisk[];
}

export interface BoardDisk {
  /** A raw image. */
  file: string;
  /** As -device has it, without the drive. */
  device: string;
}

export interface Emulator {
  name: 'ours' | 'peer';
  command(board: Board): [program: string, args: string[]];
}

const QEMU = 'qemu-system-riscv64';
const CLI = fileURLToPath(new URL('../../../main/cli/main.ts', import.meta.url));

/** Options that both understand. */
function options({ memory, harts = 1, bios, kernel, initrd, append, objects = [], disks = [] }: Board): string[] {
  const args = ['-M', 'virt', '-m', `${memory}M`, '-smp', `${harts}`, '-bios', bios, '-kernel', kernel, '-nographic'];
  args.push('-nodefaults', '-serial', 'mon:stdio', '-no-reboot', '-global', 'virtio-mmio.force-legacy=false');
  if (initrd !== undefined) args.push('-initrd', initrd);
  if (append !== undefined) args.push('-append', append);
  for (const object of objects) args.push('-object', object);
  for (const [i, { file, device }] of disks.entries()) {
    args.push('-drive', `file=${file.replaceAll(',', ',,')},format=raw,if=none,id=disk${i}`);
    args.push('-device', `${device},drive=disk${i}`);
  }
  return args;
}

/** Every sample starts cold: no translated code of earlier ones. */
export const OURS: Emulator = {
  name: 'ours',
  command: (board) => [process.execPath, [CLI, 'run', ...options(board), '--jit-cache', 'off']],
};
export const PEER: Emulator = { name: 'peer', command: (board) => [QEMU, options(board)] };

/** First line of what `qemu-system-riscv64 --version` says, null when it is not installed. */
export function peerVersion(): string | null {
  const asked = spawnSync(QEMU, ['--version'], { encoding: 'utf8' });
  return asked.status === 0 ? asked.stdout.split('\n')[0] : null;
}

export interface RunResult {
  output: string;
  /** Seconds from the start of the process to the line with each marker. */
  seconds: Map<string, number>;
}

/**
 * Runs a board until it powers off.
 * @throws Error with the end of the console when a marker did not show up, or the time (seconds) was up
 */
export async function runBoard(emulator: Emulator, board: Board, markers: string[], limit: number): Promise<RunResult> {
  const [program, args] = emulator.command(board);
  const began = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const stop = () => child.kill('SIGKILL');
  process.once('exit', stop);
  const timer = setTimeout(stop, limit * 1000);
  let output = '';
  let messages = '';
  const seconds = new Map<string, number>();
  child.stderr.setEncoding('utf8').on('data', (text: string) => (messages += text));
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const at = (performance.now() - began) / 1000;
    output += text;
    for (const marker of markers) if (!seconds.has(marker) && output.includes(marker)) seconds.set(marker, at);
  });
  const [status, signal] = (await once(child, 'close')) as [number | null, string | null];
  clearTimeout(timer);
  process.removeListener('exit', stop);
  const missing = markers.find((marker) => !seconds.has(marker));
  if (status !== 0 || missing !== undefined) {
    const why =
      signal === 'SIGKILL' ? `not done after ${limit} s` : `status ${status ?? signal}, no "${missing ?? ''}"`;
    throw new Error(`${program}: ${why}\n${messages}${output.slice(-2000)}`);
  }
  return { output, seconds };
}

/** The digests of results, `bench NAME=NUMBER ... check=HEX`, by the line's first name. */
export function benchChecks(output: string): Map<string, string> {
  const lines = output.matchAll(/^bench ([\w.-]+)=[^\r\n]* check=([0-9a-f]+)\r*$/gm);
  return new Map([...lines].map(([, name, check]) => [name, check]));
}

/** The numbers of `bench NAME=NUMBER ...` lines on a console. */
export function benchNumbers(output: string): Map<string, number> {
  const numbers = new Map<string, number>();
  for (const [, line] of output.matchAll(/^bench ([^\r\n]*)\r*$/gm)) {
    for (const [, name, value] of line.matchAll(/([\w.-]+)=([0-9.]+)(?= |$)/g)) numbers.set(name, Number(value));
  }
  return numbers;
}
