#!/usr/bin/env node
/**
 * `npm start`: set-up, then the workstation in Electron. Where Electron cannot run, the same workstation is served to a
 * browser on this computer, and why is said.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { spawn } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { launchCli } from './lib/launch.mjs';
import { become } from './lib/processes.mjs';
import { SetupError, inProject, ourNode, root, say } from './lib/project.mjs';
import { setUp } from './setup.mjs';

const electron = (...parts) => inProject('node_modules', 'electron', ...parts);

/** Electron's download is given up when nothing has arrived for so long, ms. */
const IDLE_LIMIT = 30_000;
/** Electron that ends this soon, ms, and not well has not shown a window: no display, a missing library, running as root. */
const EARLY = 10_000;

const ENDED_BY_USER = ['SIGHUP', 'SIGINT', 'SIGTERM'].map((signal) => 128 + os.constants.signals[signal]);

/** The path of Electron's program inside its folder, as electron's own index.js knows it. */
function programName() {
  switch (process.platform) {
    case 'darwin':
      return 'Electron.app/Contents/MacOS/Electron';
    case 'win32':
      return 'electron.exe';
    default:
      return 'electron';
  }
}

function bytesUnder(place) {
  const stat = statSync(place, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(place).reduce((sum, name) => sum + bytesUnder(path.join(place, name)), 0);
}

/** Electron's own installer, which downloads it (mirrors and proxies: its own variables). Resolves with null or the reason. */
function downloadElectron() {
  say('fetching Electron (about 110 MB, once)');
  const temporary = mkdtempSync(path.join(os.tmpdir(), 'ringside-electron-'));
  return new Promise((resolve) => {
    const child = spawn(ourNode(), [electron('install.js')], {
      cwd: root,
      env: { ...process.env, TMPDIR: temporary, TEMP: temporary, TMP: temporary },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let output = '';
    child.stderr.setEncoding('utf8').on('data', (text) => (output = (output + text).slice(-8192)));
    let [bytes, since, stuck] = [0, Date.now(), false];
    const watch = setInterval(() => {
      const now = bytesUnder(temporary) + bytesUnder(electron('dist'));
      if (now !== bytes) [bytes, since] = [now, Date.now()];
      else if (Date.now() - since > IDLE_LIMIT) {
        stuck = true;
        child.kill('SIGKILL');
      }
    }, 500);
    const stop = () => child.kill();
    process.once('exit', stop);
    child.on('error', (error) => (output += error.message));
    child.on('close', (code) => {
      clearInterval(watch);
      process.removeListener('exit', stop);
      rmSync(temporary, { recursive: true, force: true });
      if (code === 0) resolve(null);
      else if (stuck) resolve(`its download host does not answer (nothing in ${IDLE_LIMIT / 1000} s)`);
      else
        resolve(
          output
            .split('\n')
            .find((line) => /Error|error/.test(line))
            ?.trim() ?? `its installer failed (${code})`,
        );
    });
  });
}

/** Electron's program, fetched if need be, or why there is none. */
async function findElectron() {
  const override = process.env.ELECTRON_OVERRIDE_DIST_PATH;
  if (override) {
    const program = path.join(override, programName());
    return existsSync(program)
      ? { program }
      : { reason: `ELECTRON_OVERRIDE_DIST_PATH has no ${programName()}: ${override}` };
  }
  if (process.platform === 'linux' && !process.env.DISPLAY && !process.env.WAYLAND_DISPLAY) {
    return { reason: 'there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)' };
  }
  const installed = () => {
    const program = electron('dist', programName());
    return existsSync(electron('path.txt')) && existsSync(program) ? program : null;
  };
  if (installed() === null) {
    const problem = await downloadElectron();
    if (problem !== null || installed() === null) {
      const why = problem ?? 'its installer left nothing';
      return { reason: `Electron cannot be fetched: ${why}; ELECTRON_MIRROR names another download host` };
    }
  }
  return { program: installed() };
}

const args = process.argv.slice(2);
try {
  await setUp();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  say(error.message);
  process.exit(1);
}
const { program, reason } = await findElectron();
let why = reason;
if (program !== undefined) {
  const began = Date.now();
  const status = await become(program, [root, ...args], { keep: true });
  const stopped = ENDED_BY_USER.includes(status);
  if (status === 0 || stopped || Date.now() - began > EARLY) process.exit(status);
  why = `Electron ended at once (status ${status}); what it printed is above`;
}
say(`no window: ${why}`);
say('serving the workstation to a browser instead');
await launchCli(['serve']);
