/**
 * Knowing, quickly, whether a step of the set-up has to be done again. A step's inputs are files; its stamp keeps their
 * sizes and times, looked at first, and a hash of their contents, looked at when those differ (a git checkout changes
 * times without changing contents).
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { inProject, root } from './project.mjs';

export const stateDir = inProject('build', 'setup');
const stampFile = path.join(stateDir, 'stamps.json');

const SKIPPED_FOLDERS = new Set(['node_modules', 'dist', 'build', 'generated', 'coverage', 'out']);

/** All files under folders (or the files themselves), relative to the project, sorted; outputs of builds left out. */
export function filesUnder(...places) {
  const found = [];
  const walk = (relative) => {
    let entries;
    try {
      entries = readdirSync(inProject(relative), { withFileTypes: true });
    } catch (error) {
      if (error.code === 'ENOTDIR') found.push(relative);
      else if (error.code !== 'ENOENT') throw error;
      return;
    }
    for (const entry of entries) {
      if (entry.isDirectory()) {
        if (!SKIPPED_FOLDERS.has(entry.name)) walk(`${relative}/${entry.name}`);
      } else if (!entry.name.endsWith('.node')) {
        found.push(`${relative}/${entry.name}`);
      }
    }
  };
  for (const place of places) walk(place);
  return found.sort();
}

/** The files, and every file of the project that they import, directly or not (relative imports; .as.ts without extension). */
export function importsOf(...entries) {
  const seen = new Set();
  const queue = [...entries];
  while (queue.length > 0) {
    const file = queue.pop();
    if (seen.has(file)) continue;
    let text;
    try {
      text = readFileSync(inProject(file), 'utf8');
    } catch {
      continue;
    }
    seen.add(file);
    for (const [, target] of text.matchAll(/(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]/g)) {
      const resolved = path
        .relative(root, path.resolve(inProject(path.dirname(file)), target))
        .replaceAll(path.sep, '/');
      queue.push(/\.[cm]?[jt]s$/.test(resolved) ? resolved : `${resolved}.ts`);
    }
  }
  return [...seen].sort();
}

function statLine(file) {
  try {
    const stat = statSync(inProject(file));
    return `${file} ${stat.size} ${stat.mtimeMs}`;
  } catch {
    return `${file} -`;
  }
}

const sha256 = (text) => createHash('sha256').update(text).digest('hex');

/** Sizes and times of files. */
export const signature = (files) => sha256(files.map(statLine).join('\n'));

/** Contents of files. */
export function contentHash(files) {
  const hash = createHash('sha256');
  for (const file of files) {
    hash.update(`\0${file}\0`);
    try {
      hash.update(readFileSync(inProject(file)));
    } catch {
      hash.update('absent');
    }
  }
  return hash.digest('hex');
}

export function readStamps() {
  try {
    return JSON.parse(readFileSync(stampFile, 'utf8'));
  } catch {
    return {};
  }
}

export function writeStamp(name, stamp) {
  mkdirSync(stateDir, { recursive: true });
  const text = JSON.stringify({ ...readStamps(), [name]: stamp }, null, 1);
  const temporary = `${stampFile}.${process.pid}`;
  writeFileSync(temporary, text);
  renameSync(temporary, stampFile);
}
