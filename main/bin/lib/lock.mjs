/** One set-up at a time: a folder made by whoever works, with its process id in it. */
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { say } from './project.mjs';
import { stateDir } from './stamps.mjs';

const lock = path.join(stateDir, 'lock');
const owner = path.join(lock, 'pid');

function ownerLives() {
  let pid;
  try {
    pid = Number(readFileSync(owner, 'utf8'));
  } catch {
    // Made a moment ago and not yet signed, or its maker died in between.
    try {
      return Date.now() - statSync(lock).mtimeMs < 2000;
    } catch {
      return false;
    }
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Waits for its turn, runs `work`, and lets the next one in whatever happens. */
export async function exclusively(work) {
  mkdirSync(stateDir, { recursive: true });
  for (let waited = 0; ; waited++) {
    try {
      mkdirSync(lock);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (!ownerLives()) rmSync(lock, { recursive: true, force: true });
    else {
      if (waited === 10) say('waiting for another set-up of this project to end');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  writeFileSync(owner, String(process.pid));
  const release = () => rmSync(lock, { recursive: true, force: true });
  process.once('exit', release);
  try {
    return await work();
  } finally {
    process.removeListener('exit', release);
    release();
  }
}
