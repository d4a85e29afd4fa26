/** `ringside run` as a process: pipes, signals, exit statuses, a terminal. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { echoGuest } from './doubles/echo-guest.ts';

const CLI = path.join(import.meta.dirname, '../../main/cli/main.ts');

let folder: string;
let kernel: string;
const children: ChildProcessWithoutNullStreams[] = [];

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'ringside-cli-'));
  kernel = path.join(folder, 'echo.elf');
  writeFileSync(kernel, echoGuest());
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

afterEach(() => {
  for (const child of children.splice(0)) if (child.exitCode === null) child.kill('SIGKILL');
});

class Run {
  stdout = '';
  stderr = '';
  readonly child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<number>;
  over = false;

  constructor(args: string[]) {
    this.child = spawn(process.execPath, [CLI, ...args]);
    children.push(this.child);
    this.child.stdout.setEncoding('latin1').on('data', (text: string) => (this.stdout += text));
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.#ended = once(this.child, 'close').then(([code]) => {
      this.over = true;
      return code as number;
    });
  }

  /** Waits until the console has shown a text. */
  async see(text: string): Promise<void> {
    while (!this.stdout.includes(text)) {
      if (this.over) throw new Error(`ended without "${text}": ${this.stdout}${this.stderr}`);
      await Promise.race([once(this.child.stdout, 'data'), this.#ended]);
    }
  }

  end(): Promise<number> {
    return this.#ended;
  }
}

const boot = (...more: string[]) => new Run(['run', '-bios', 'none', '-m', '32', '-kernel', kernel, ...more]);

describe('exit status', () => {
  test.each([
    ['Q', 0, ''],
    ['F', 3, 'ringside: the guest reported a failure, code 3\n'],
    ['H', 255, 'ringside: the guest reported a failure, code 256\n'],
  ])('the guest ends with %s', async (letter, status, words) => {
    const run = boot();
    run.child.stdin.end(letter);
    expect(await run.end()).toBe(status);
    expect(run.stdout).toBe('ready\n');
    expect(run.stderr).toBe(words);
  });

  test('a reset boots again; with -no-reboot it is the end', async () => {
    const again = boot();
    again.child.stdin.write('R');
    await again.see('ready\nready\n');
    again.child.stdin.end('Q');
    expect(await again.end()).toBe(0);

    const once = boot('-no-reboot');
    once.child.stdin.end('R');
    expect(await once.end()).toBe(0);
    expect(once.stdout).toBe('ready\n');
  });

  test.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
    ['SIGHUP', 129],
  ] as const)('%s', async (signal, status) => {
    const run = boot();
    await run.see('ready');
    run.child.kill(signal);
    expect(await run.end()).toBe(status);
    expect(run.stderr).toBe('');
  });

  test("stdout's reader goes away", async () => {
    const run = boot();
    await run.see('ready');
    run.child.stdout.destroy();
    run.child.stdin.write('W');
    expect(await run.end()).toBe(141);
    expect(run.stderr).toBe('');
  });
});

describe('pipes', () => {
  test('bytes pass both ways, unchanged, and the end of stdin ends nothing', async () => {
    const run = boot();
    const sent = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)).toString('latin1');
    const plain = sent.replace(/[QFHRW]/g, '');
    run.child.stdin.end(Buffer.from(plain, 'latin1'));
    await run.see(`ready\n${plain}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(run.over).toBe(false);
    run.child.kill();
    expect(await run.end()).toBe(143);
  });

  test('more than any buffer holds arrives whole, and comes back whole', async () => {
    const run = boot();
    const sent = 'all work and no play makes a dull guest. '.repeat(10_000);
    run.child.stdin.end(`${sent}Q`);
    expect(await run.end()).toBe(0);
    expect(run.stdout.length).toBe('ready\n'.length + sent.length);
    expect(run.stdout === `ready\n${sent}`).toBe(true);
  });

  test('a reader that stops reading stops the guest, not the signals', async () => {
    const run = boot();
    await run.see('ready');
    run.child.stdout.pause();
    run.child.stdin.write('W');
    await new Promise((resolve) => setTimeout(resolve, 500));
    run.child.kill();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    run.child.stdout.resume();
    expect(await run.end()).toBe(143);
  });
});

describe('bad input: status 1, one line, nothing on stdout', () => {
  test.each([
    [
      'an option that is none',
      () => ['-kernell', kernel],
      /^ringside: -kernell: unknown option \(did you mean -kernel\?\)/,
    ],
    ['a kernel that is not there', () => ['-kernel', path.join(folder, 'none')], /does not exist/],
    ['a kernel that is a directory', () => ['-kernel', folder], /director|regular file/],
    ['a disk that is a directory', () => ['-kernel', kernel, '-drive', `file=${folder},format=raw`], /director/],
    ['too much RAM', () => ['-kernel', kernel, '-m', '64G'], /-m: 65536 MiB is too much/],
    [
      'a qcow2 image that nobody called raw',
      () => {
        const image = path.join(folder, 'disk,1.qcow2');
        writeFileSync(image, Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'));
        return ['-kernel', kernel, '-drive', `file=${image.replace(',', ',,')}`];
      },
      /looks like a qcow2 image/,
    ],
    [
      'a truncated kernel',
      () => {
        const cut = path.join(folder, 'cut.elf');
        writeFileSync(cut, echoGuest());
        truncateSync(cut, 100);
        return ['-kernel', cut];
      },
      /cut\.elf/,
    ],
  ])('%s', async (_, args, words) => {
    const run = new Run(['run', '-bios', 'none', ...args()]);
    expect(await run.end()).toBe(1);
    expect(run.stdout).toBe('');
    expect(run.stderr).toMatch(words);
    expect(run.stderr).toMatch(/^ringside: [^\n]+\n$/);
  });

  test('a disk that another VM has', async () => {
    const disk = path.join(folder, 'disk.raw');
    writeFileSync(disk, Buffer.alloc(2 ** 20));
    const first = boot('-drive', `file=${disk},format=raw`);
    await first.see('ready');
    const second = boot('-drive', `file=${disk},format=raw`);
    expect(await second.end()).toBe(1);
    expect(second.stderr).toMatch(/^ringside: [^\n]*in use[^\n]*\n$/);
    first.child.stdin.end('Q');
    expect(await first.end()).toBe(0);
    const third = boot('-drive', `file=${disk},format=raw`);
    third.child.stdin.end('Q');
    expect(await third.end()).toBe(0);
  });

  test('no command, and one that is none', async () => {
    const none = new Run([]);
    expect(await none.end()).toBe(1);
    expect(none.stderr).toContain('Usage: ringside COMMAND');
    const typo = new Run(['rnu']);
    expect(await typo.end()).toBe(1);
    expect(typo.stderr).toContain('(did you mean run?)');
    const option = new Run(['-kernel', kernel]);
    expect(await option.end()).toBe(1);
    expect(option.stderr).toContain('options follow "run"');
  });
});

test('help and version go to stdout', async () => {
  for (const [args, text] of [
    [['help'], 'Usage: ringside COMMAND'],
    [['--help'], 'Usage: ringside COMMAND'],
    [['run', '-help'], '-kernel FILE'],
    [['serve', '--help'], '--port N'],
    [['version'], 'ringside '],
  ] as const) {
    const run = new Run([...args]);
    expect(await run.end()).toBe(0);
    expect(run.stdout).toContain(text);
    expect(run.stderr).toBe('');
  }
});

// ---- on a terminal ----------------------------------------------------------------------------------------------

type NodePty = typeof import('node-pty');

function loadPty(): NodePty | null {
  try {
    return createRequire(import.meta.url)('node-pty') as NodePty;
  } catch {
    return null;
  }
}

const pty = loadPty();

describe.skipIf(pty === null)('on a terminal (needs node-pty)', () => {
  /** A shell on a terminal that runs the guest, then says its status and the terminal's settings. */
  function terminal(...more: string[]) {
    const words = [process.execPath, CLI, 'run', '-bios', 'none', '-m', '32', '-kernel', kernel, ...more];
    const quoted = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
    const shell = pty!.spawn('/bin/sh', ['-c', `${quoted}; echo "status=$?"; stty -a; echo bye`], {
      cols: 200,
      rows: 50,
    });
    let text = '';
    const watchers = new Set<() => void>();
    shell.onData((data) => {
      text += data;
      for (const watcher of watchers) watcher();
    });
    const see = (wanted: string | RegExp) =>
      new Promise<void>((resolve) => {
        const look = () => {
          if (typeof wanted === 'string' ? !text.includes(wanted) : !wanted.test(text)) return;
          watchers.delete(look);
          resolve();
        };
        watchers.add(look);
        look();
      });
    return { shell, see, text: () => text };
  }

  test('C-a x ends it and the terminal is as it was', async () => {
    const { shell, see, text } = terminal();
    await see('C-a x ends the VM');
    await see('ready');
    shell.write('hello\x03\x01\x01');
    await see('hello\x03\x01');
    shell.write('\x01h');
    await see('C-a p    pause');
    shell.write('\x01x');
    await see('bye');
    expect(text()).toContain('status=0');
    expect(text()).toMatch(/(?<!-)\bicanon/);
    expect(text()).toMatch(/(?<!-)\becho\b/);
    expect(text()).toMatch(/(?<!-)\bisig/);
  });

  test('the guest ends it and the terminal is as it was', async () => {
    const { shell, see, text } = terminal();
    await see('ready');
    shell.write('F');
    await see('bye');
    expect(text()).toContain('status=3');
    expect(text()).toMatch(/(?<!-)\bicanon/);
  });

  test.runIf(process.platform === 'linux')('SIGTERM ends it and the terminal is as it was', async () => {
    const { shell, see, text } = terminal();
    await see('ready');
    const pid = Number(readFileSync(`/proc/${shell.pid}/task/${shell.pid}/children`, 'utf8').split(' ')[0]);
    process.kill(pid, 'SIGTERM');
    await see('bye');
    expect(text()).toContain('status=143');
    expect(text()).toMatch(/(?<!-)\bicanon/);
  });

  test('-serial stdio: C-c ends it', async () => {
    const { shell, see, text } = terminal('-serial', 'stdio');
    await see('ready');
    shell.write('\x03');
    await see('bye');
    expect(text()).toContain('status=130');
    expect(text()).toMatch(/(?<!-)\bicanon/);
  });

  test('C-a p stops the guest’s time and goes on', async () => {
    const { shell, see, text } = terminal();
    await see('ready');
    shell.write('\x01p');
    await see('paused: C-a p goes on');
    shell.write('abc');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(text()).not.toContain('abc');
    shell.write('\x01p');
    await see('abc');
    shell.write('Q');
    await see('status=0');
  });
});
