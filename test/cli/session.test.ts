import { EventEmitter, once } from 'node:events';
import { PassThrough, Writable } from 'node:stream';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { RING_SIZE } from '../../core/worker/layout.ts';
import { RingsideError } from '../../core/errors.ts';
import { parseRunArguments } from '../../main/cli/qemu-options.ts';
import { runSession } from '../../main/cli/session.ts';
import { FakeMachine } from './doubles/machine.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));
/** Lets streams and rings settle. */
const settle = async () => {
  for (let i = 0; i < 20; i++) await turn();
};

/** Standard output whose reader can stop reading or go away. */
class Output extends Writable {
  text = '';
  blocked = false;
  broken: NodeJS.ErrnoException | undefined;
  #waiting: (() => void) | undefined;

  constructor() {
    super({ highWaterMark: 1024 });
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    const take = () => {
      this.text += chunk.toString('latin1');
      done(this.broken);
    };
    if (this.blocked) this.#waiting = take;
    else take();
  }

  unblock(): void {
    this.blocked = false;
    this.#waiting?.();
  }
}

function start(line = '', { isTTY = false } = {}) {
  const machine = new FakeMachine();
  const raw: boolean[] = [];
  const stdin = Object.assign(new PassThrough(), { isTTY, setRawMode: (on: boolean) => raw.push(on) });
  const stdout = new Output();
  const events = new EventEmitter();
  const said: string[] = [];
  const exits: number[] = [];
  const request = parseRunArguments(['-kernel', 'K', ...line.split(' ').filter(Boolean)])!;
  const monitors: { how: unknown; typed: string; focused: number }[] = [];
  const status = runSession(machine, request, {
    openMonitor(terminal, how) {
      const monitor = { how, typed: '', focused: 0 };
      monitors.push(monitor);
      terminal.on('data', (bytes: Buffer) => (monitor.typed += bytes.toString()));
      terminal.onFocus = () => monitor.focused++;
      terminal.write('(monitor) ');
    },
    stdin,
    stdout,
    say: (text) => said.push(text),
    events,
    stop: () => said.push('(stopped)'),
    exit: (code) => exits.push(code),
  });
  return { machine, raw, stdin, stdout, events, said, exits, status, monitors };
}

afterEach(() => {
  vi.useRealTimers();
});

describe('how it ends', () => {
  test.each([
    [{ reason: 'guest-poweroff', code: 0 }, 0, []],
    [{ reason: 'guest-fail', code: 3 }, 3, ['the guest reported a failure, code 3']],
    [{ reason: 'guest-fail', code: 0x100 }, 255, ['the guest reported a failure, code 256']],
    [{ reason: 'guest-fail', code: 0 }, 255, ['the guest reported a failure, code 0']],
    [{ reason: 'guest-reset', code: 0 }, 0, ['the guest reset the machine (-no-reboot)']],
    [{ reason: 'crash', code: 1, detail: 'hart 0: lost' }, 1, ['the machine crashed: hart 0: lost']],
  ] as const)('%o gives %i', async (exit, expected, words) => {
    const { machine, status, said, events } = start();
    machine.end(exit);
    expect(await status).toBe(expected);
    expect(said).toEqual(words);
    expect(machine.calls).toEqual(['start', 'dispose']);
    expect(events.eventNames()).toEqual([]);
  });

  test('a machine that does not start is an error, and is disposed of', async () => {
    const failing = new FakeMachine();
    failing.startError = new RingsideError('io', 'no memory');
    const request = parseRunArguments(['-kernel', 'K'])!;
    const events = new EventEmitter();
    const io = {
      stdin: new PassThrough(),
      stdout: new Output(),
      say: () => {},
      events,
      stop: () => {},
      exit: () => {},
    };
    await expect(runSession(failing, request, io)).rejects.toThrow('no memory');
    expect(failing.calls).toEqual(['dispose']);
    expect(events.eventNames()).toEqual([]);
  });

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
    ['SIGQUIT', 131],
  ])('%s powers off and gives %i', async (signal, expected) => {
    const { machine, events, status, raw } = start('', { isTTY: true });
    events.emit(signal);
    expect(await status).toBe(expected);
    expect(machine.calls).toEqual(['start', 'powerOff', 'dispose']);
    expect(raw).toEqual([true, false]);
  });

  test('the same signal by two ways is one', async () => {
    const { machine, events, exits, status } = start();
    events.emit('SIGTERM');
    events.emit('SIGTERM');
    expect(await status).toBe(143);
    expect(machine.calls).toEqual(['start', 'powerOff', 'dispose']);
    expect(exits).toEqual([]);
  });

  test('a signal a second later does not wait for a machine that hangs', async () => {
    vi.useFakeTimers();
    const { machine, events, exits, raw } = start('', { isTTY: true });
    machine.onPowerOff = () => new Promise(() => {});
    events.emit('SIGTERM');
    vi.advanceTimersByTime(1500);
    events.emit('SIGINT');
    expect(exits).toEqual([130]);
    expect(raw).toEqual([true, false]);
  });

  test('a machine that does not end within ten seconds is left', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
    const { machine, events, status, said } = start();
    machine.onPowerOff = () => new Promise(() => {});
    events.emit('SIGTERM');
    await vi.advanceTimersByTimeAsync(10_000);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await status).toBe(143);
    expect(said).toContain('the machine has not ended within 10 s; leaving it');
  });

  test('a guest that was quicker than the signal says how it ended', async () => {
    const { machine, events, status } = start();
    machine.onPowerOff = () => Promise.resolve(machine.end({ reason: 'guest-fail', code: 7 }));
    events.emit('SIGTERM');
    expect(await status).toBe(7);
  });
});

describe('input', () => {
  test('a pipe goes to the console, byte for byte, Ctrl-A included', async () => {
    const { machine, stdin } = start();
    stdin.write(Buffer.from([0, 1, 0x78, 3, 0xff]));
    await settle();
    expect([...machine.serial.read()]).toEqual([0, 1, 0x78, 3, 0xff]);
  });

  test('the end of a pipe is not the end of the VM', async () => {
    const { machine, stdin, status } = start();
    stdin.end('poweroff\n');
    await settle();
    expect(machine.serial.read().toString()).toBe('poweroff\n');
    expect(machine.state).toBe('running');
    machine.end({ reason: 'guest-poweroff', code: 0 });
    expect(await status).toBe(0);
  });

  test('an error on stdin is not either', async () => {
    const { machine, stdin, status } = start();
    stdin.destroy(new Error('EIO'));
    await settle();
    machine.end({ reason: 'guest-poweroff', code: 0 });
    expect(await status).toBe(0);
  });

  test('a guest that does not listen loses nothing, and the pipe waits', async () => {
    const { machine, stdin } = start();
    const sent = Buffer.alloc(400_000, 'abcdefghijklmnopqrstuvwxyz0123456789');
    stdin.end(sent);
    await settle();
    expect(stdin.isPaused()).toBe(true);

    const received: Buffer[] = [];
    for (let idle = 0; idle < 10;) {
      const piece = machine.serial.read(5000);
      idle = piece.length === 0 ? idle + 1 : 0;
      received.push(piece);
      await turn();
    }
    expect(Buffer.concat(received).equals(sent)).toBe(true);
  });

  test('goes to the virtio console if that is what the terminal is', async () => {
    const { machine, stdin, stdout } = start(
      '-serial null -chardev stdio,id=console0 -device virtio-serial-device -device virtconsole,chardev=console0',
    );
    stdin.write('in');
    await settle();
    expect(machine.console.read().toString()).toBe('in');
    machine.console.write('out');
    machine.serial.write('not this');
    await settle();
    expect(stdout.text).toBe('out');
  });
});

describe('output', () => {
  test('stdout carries the console, and only that', async () => {
    const { machine, stdout, said } = start('', { isTTY: true });
    machine.emit('message', 'drive0: host is full');
    machine.serial.write('login: ');
    await settle();
    expect(stdout.text).toBe('login: ');
    expect(said).toContain('drive0: host is full');
  });

  test('a slow reader makes the guest wait, and nothing is lost', async () => {
    const { machine, stdout, status } = start();
    stdout.blocked = true;
    let written = 0;
    for (let i = 0; i < 100; i++) {
      written += machine.serial.write('x'.repeat(4000));
      await turn();
    }
    // What is on its way to stdout, and a full ring.
    expect(written).toBeLessThanOrEqual(4000 + RING_SIZE);
    machine.end({ reason: 'guest-poweroff', code: 0 });
    await settle();
    stdout.unblock();
    expect(await status).toBe(0);
    expect(stdout.text.length).toBe(written);
  });

  test('a guest that writes to a console nobody sees does not wait', async () => {
    const { machine } = start('-serial null');
    let written = 0;
    for (let i = 0; i < 100; i++) {
      written += machine.serial.write('x'.repeat(4000));
      await turn();
    }
    expect(written).toBe(400_000);
  });

  test('a reader that goes away ends the VM without a word', async () => {
    const { machine, stdout, status, said } = start();
    stdout.broken = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
    machine.serial.write('hello');
    expect(await status).toBe(141);
    expect(said).toEqual([]);
    expect(machine.calls).toEqual(['start', 'powerOff', 'dispose']);
  });

  test('any other failure of stdout is told', async () => {
    const { machine, stdout, status, said } = start();
    stdout.broken = Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    machine.serial.write('hello');
    expect(await status).toBe(1);
    expect(said).toEqual(['cannot write the console to stdout: no space left on device']);
  });

  test('who wants out does not wait for a reader that has stopped reading', async () => {
    const { machine, stdout, status, events } = start();
    stdout.blocked = true;
    machine.serial.write('hello');
    await settle();
    events.emit('SIGTERM');
    expect(await status).toBe(143);
    expect(stdout.destroyed).toBe(true);
  });

  test('last words are written before the status is given', async () => {
    const { machine, stdout, status } = start();
    machine.serial.write('x'.repeat(5000));
    machine.serial.write('reboot: Power down\n');
    machine.end({ reason: 'guest-poweroff', code: 0 });
    await status;
    expect(stdout.text.endsWith('reboot: Power down\n')).toBe(true);
  });
});

describe('the escape key', () => {
  test('C-a x ends the VM', async () => {
    const { stdin, status, said, machine, raw } = start('', { isTTY: true });
    stdin.write('\x01x');
    expect(await status).toBe(0);
    expect(said.at(-1)).toBe('terminated');
    expect(machine.calls).toEqual(['start', 'powerOff', 'dispose']);
    expect(raw).toEqual([true, false]);
  });

  test('works although the guest does not listen', async () => {
    const { stdin, status } = start('', { isTTY: true });
    stdin.write('x'.repeat(200_000));
    await settle();
    stdin.write('\x01x');
    expect(await status).toBe(0);
  });

  test('C-a p pauses and goes on', async () => {
    const { stdin, machine, said } = start('', { isTTY: true });
    stdin.write('\x01p');
    await settle();
    expect(machine.state).toBe('paused');
    stdin.write('\x01p');
    await settle();
    expect(machine.state).toBe('running');
    expect(said.slice(1)).toEqual(['paused: C-a p goes on', 'running']);
  });

  test('a pause that the VM makes by itself is told', async () => {
    const { machine, said } = start('', { isTTY: true });
    await machine.pause();
    expect(said.at(-1)).toBe('paused: C-a p goes on');
  });

  test('-monitor stdio has the terminal to itself', async () => {
    const { stdin, stdout, machine, monitors, raw } = start('-monitor stdio', { isTTY: true });
    machine.serial.write('unseen');
    stdin.write('info status\r\x01x');
    await settle();
    expect(monitors).toEqual([{ how: { mode: 'readline', pretty: false }, typed: 'info status\r\x01x', focused: 0 }]);
    expect(stdout.text).toBe('(monitor) ');
    expect(raw).toEqual([true]);
    expect(machine.state).toBe('running');
  });

  test('C-a h helps', async () => {
    const { stdin, said, machine } = start('', { isTTY: true });
    stdin.write('\x01h');
    await settle();
    expect(said).toContain('C-a x    end the VM');
    expect(machine.serial.read()).toHaveLength(0);
  });

  test('C-a c goes to the monitor and back', async () => {
    const { stdin, stdout, machine, monitors } = start('', { isTTY: true });
    stdin.write('one\x01ctwo\x01cthree\x01c four');
    await settle();
    expect(machine.serial.read().toString()).toBe('onethree');
    expect(monitors).toEqual([{ how: { mode: 'readline', pretty: false }, typed: 'two four', focused: 1 }]);
    expect(stdout.text).toContain('(monitor) ');
  });

  test('what the guest writes is seen while the monitor has the keyboard', async () => {
    const { stdin, stdout, machine } = start('', { isTTY: true });
    stdin.write('\x01c');
    await settle();
    machine.serial.write('still here');
    await settle();
    expect(stdout.text).toContain('still here');
  });

  test('C-a b sends a break where the console has one', async () => {
    const { stdin, said, machine } = start('', { isTTY: true });
    stdin.write('\x01b');
    await settle();
    expect(said.at(-1)).toBe('this console has no break');
    machine.serial.device.sendBreak = () => machine.calls.push('break');
    stdin.write('\x01b');
    await settle();
    expect(machine.calls).toContain('break');
  });

  test('-S does not start the machine; C-a p does', async () => {
    const { stdin, machine, said } = start('-S', { isTTY: true });
    expect(machine.calls).toEqual([]);
    expect(said).toContain('not started (-S): C-a p starts it');
    stdin.write('\x01p');
    await settle();
    expect(machine.calls).toEqual(['start']);
  });

  test('-nographic looks for it in a pipe too, as QEMU does', async () => {
    const { stdin, status } = start('-nographic');
    stdin.write('\x01x');
    expect(await status).toBe(0);
  });

  test('-serial stdio has none: C-a is for the guest, and C-c ends the VM', async () => {
    const { stdin, status, machine } = start('-serial stdio', { isTTY: true });
    stdin.write('\x01x');
    await settle();
    expect(machine.serial.read().toString()).toBe('\x01x');
    stdin.write('\x03');
    expect(await status).toBe(130);
  });
});

test('the terminal is given back when the process is stopped, and taken again', async () => {
  const { raw, events, said, machine, status } = start('', { isTTY: true });
  events.emit('SIGTSTP');
  expect(said.at(-1)).toBe('(stopped)');
  events.emit('SIGCONT');
  machine.end({ reason: 'guest-poweroff', code: 0 });
  await status;
  expect(raw).toEqual([true, false, true, false]);
});

test('stdin is let go of', async () => {
  const { stdin, machine, status } = start();
  machine.end({ reason: 'guest-poweroff', code: 0 });
  await status;
  expect(stdin.listenerCount('data')).toBe(0);
  expect(stdin.isPaused()).toBe(true);
  stdin.write('late');
  await Promise.race([once(stdin, 'data'), settle()]);
  expect(machine.serial.read()).toHaveLength(0);
});
