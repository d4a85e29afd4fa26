/** Running other programs: to their end with the output kept, or in our place. */
import { spawn } from 'node:child_process';
import os from 'node:os';
import { root } from './project.mjs';

/**
 * Runs a program to its end. Its output is kept (its last 64 KiB) and also shown when `show` is true.
 * @returns {Promise<{status: number, output: string}>} status 127 when it cannot be started, 124 when it took too long.
 */
export function run(command, args, { env, timeout, show = false, shell = false, cwd = root } = {}) {
  return new Promise((resolve) => {
    let output = '';
    let late = false;
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      shell,
    });
    const take = (stream) => (chunk) => {
      output = (output + chunk).slice(-65536);
      if (show) stream.write(chunk);
    };
    child.stdout.setEncoding('utf8').on('data', take(process.stdout));
    child.stderr.setEncoding('utf8').on('data', take(process.stderr));
    const timer =
      timeout &&
      setTimeout(() => {
        late = true;
        child.kill('SIGKILL');
      }, timeout);
    const stop = () => child.kill();
    process.once('exit', stop);
    const end = (status, extra = '') => {
      clearTimeout(timer);
      process.removeListener('exit', stop);
      resolve({ status, output: output + extra });
    };
    child.on('error', (error) => end(127, error.message));
    child.on('close', (code, signal) => end(late ? 124 : (code ?? 128 + os.constants.signals[signal])));
  });
}

/**
 * Runs a program in our place: same terminal and pipes, signals passed on, and its end is ours. Resolves with the exit
 * status when `keep` is true, otherwise ends this process with it.
 */
export function become(command, args, { env, keep = false } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, ...env } });
    const handlers = new Map();
    const on = (signal, handler) => {
      handlers.set(signal, handler);
      process.on(signal, handler);
    };
    const letGo = () => {
      for (const [signal, handler] of handlers) process.removeListener(signal, handler);
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2']) on(signal, () => child.kill(signal));
    if (process.platform !== 'win32') {
      on('SIGTSTP', () => {
        child.kill('SIGTSTP');
        process.kill(process.pid, 'SIGSTOP');
      });
      on('SIGCONT', () => child.kill('SIGCONT'));
    }
    child.on('error', (error) => {
      letGo();
      process.stderr.write(`ringside: cannot run ${command}: ${error.message}\n`);
      if (keep) resolve(127);
      else process.exit(127);
    });
    child.on('exit', (code, signal) => {
      letGo();
      const status = code ?? 128 + os.constants.signals[signal];
      if (keep) resolve(status);
      else process.exit(status);
    });
  });
}
