#!/usr/bin/env node
/**
 * All the set-up of a clone, on any Node >= 18 with npm: dependencies, native parts, the engine, the app. Each step is
 * done only when what it is made from has changed, so calling this when all is well costs a few milliseconds.
 *
 *     node main/bin/setup.mjs [PART...]      parts: native, engine, pty, app (default: all)
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { exclusively } from './lib/lock.mjs';
import { run } from './lib/processes.mjs';
import {
  NODE_NEEDED,
  SetupError,
  inProject,
  isNewEnough,
  nodeBinary,
  nodePackage,
  ourNode,
  root,
  say,
} from './lib/project.mjs';
import { contentHash, filesUnder, importsOf, readStamps, signature, stateDir, writeStamp } from './lib/stamps.mjs';

/** What `ringside run` needs; the GUI needs `app` and, for shells on the host, `pty` as well. */
export const ALL_PARTS = ['native', 'engine', 'pty', 'app'];

const platform = `${process.platform}-${process.arch}`;

// ---- dependencies ----------------------------------------------------------------------------------------------

const lockfile = 'package-lock.json';
const installedList = 'node_modules/.package-lock.json';

/** Whether node_modules holds what package-lock.json says (packages for other platforms aside). */
function dependenciesMatch() {
  try {
    const wanted = JSON.parse(readFileSync(inProject(lockfile), 'utf8')).packages;
    const present = JSON.parse(readFileSync(inProject(installedList), 'utf8')).packages;
    return Object.entries(wanted).every(([place, entry]) => {
      if (place === '') return true;
      if (present[place] === undefined) return entry.optional === true && !isForThisPlatform(entry);
      return present[place].version === entry.version && existsSync(inProject(place, 'package.json'));
    });
  } catch {
    return false;
  }
}

/** Whether npm installs an optional package here: one that is for this very platform. */
function isForThisPlatform({ os, cpu, libc }) {
  if (![os].flat().includes(process.platform) || ![cpu].flat().includes(process.arch)) return false;
  return libc === undefined || [libc].flat().includes(cLibrary());
}

/** As npm tells them apart. */
function cLibrary() {
  const { header } = process.report.getReport();
  return header.glibcVersionRuntime ? 'glibc' : 'musl';
}

/** Settings of an npm that started us that are about its command; those about registries and proxies stay. */
const NPM_ENVIRONMENT = Object.fromEntries(
  ['local_prefix', 'package', 'call', 'global', 'dry_run'].map((name) => [`npm_config_${name}`, undefined]),
);

/** Runs `npm ci` in a folder, on this process's Node or on the one given. */
async function npmCi(folder, withNode = null) {
  const args = ['ci', '--include=dev', '--include=optional', '--ignore-scripts', '--no-audit', '--no-fund'];
  args.push('--loglevel=error');
  // npm's own program when npm started us, so that it is the same npm; else the one on the PATH, which takes its Node there.
  const npm = process.env.npm_execpath?.endsWith('npm-cli.js') ? process.env.npm_execpath : null;
  const PATH = [withNode && path.dirname(withNode), process.env.PATH].filter(Boolean).join(path.delimiter);
  const options = { env: { ...NPM_ENVIRONMENT, PATH }, cwd: folder };
  const done = npm
    ? await run(withNode ?? process.execPath, [npm, ...args], options)
    : await run('npm', args, { ...options, shell: process.platform === 'win32' });
  if (done.status === 127) throw new SetupError('npm is not on the PATH: install Node.js with npm, then try again');
  if (done.status !== 0) fail('npm ci', done);
}

/**
 * npm leaves out optional packages, native ones among them, that do not want the Node it runs on. So where this Node is
 * older than ours, ours is fetched first, by itself and as the lock file has it, and npm runs on that.
 */
async function fetchNode() {
  const name = nodePackage();
  const { packages } = JSON.parse(readFileSync(inProject(lockfile), 'utf8'));
  const entry = name && packages[`node_modules/${name}`];
  if (!entry) throw new SetupError(noNode());
  const folder = path.join(stateDir, 'node');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const dependencies = { [name]: entry.version };
  const lock = {
    lockfileVersion: 3,
    requires: true,
    packages: { '': { dependencies }, [`node_modules/${name}`]: entry },
  };
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }));
  writeFileSync(path.join(folder, lockfile), JSON.stringify({ name: 'node', ...lock }));
  await npmCi(folder);
  return {
    binary: nodeBinary(path.join(folder, 'node_modules', name)),
    discard: () => rmSync(folder, { recursive: true }),
  };
}

async function installDependencies() {
  say('installing dependencies (npm ci); the first time takes a minute');
  if (isNewEnough()) return npmCi(root);
  const { binary, discard } = await fetchNode();
  await npmCi(root, binary);
  discard();
}

/** The dependencies as a step like the others: its inputs are the lock file and npm's record of what it installed. */
function dependenciesStep() {
  return {
    name: 'dependencies',
    files: () => [lockfile, installedList],
    // A change of either file is looked into rather than acted on: `npm install PACKAGE` leaves nothing to do.
    stillGood: dependenciesMatch,
    build: installDependencies,
  };
}

// ---- programs of the project ------------------------------------------------------------------------------------

function fail(what, { status, output }) {
  const lines = stripVTControlCharacters(output).trimEnd().split('\n').slice(-30).join('\n');
  throw new SetupError(`${what} failed (status ${status})${lines ? `:\n${lines}` : ''}`);
}

async function runScript(script) {
  const done = await run(node(), [inProject(script)]);
  if (done.status !== 0) fail(`node ${script}`, done);
}

async function buildNative() {
  const done = await run(node(), [inProject('native', 'build.mjs')]);
  // "There can be none here", and its last line says why.
  if (done.status === 3)
    throw new SetupError(
      done.output
        .trimEnd()
        .split('\n')
        .at(-1)
        .replace(/^native addon: /, ''),
    );
  if (done.status !== 0) fail('node native/build.mjs', done);
}

function node() {
  const found = ourNode();
  if (found) return found;
  throw new SetupError(noNode());
}

function noNode() {
  return (
    `Ringside needs Node ${NODE_NEEDED} or newer on ${platform}: this is ${process.version}, and npm has no newer one ` +
    'for this platform; install one from nodejs.org'
  );
}

/** The C++ compiler's name, or null. */
async function compiler() {
  for (const name of [process.env.CXX, 'g++', 'clang++', 'c++']) {
    if (name && (await run(name, ['--version'])).status === 0) return name;
  }
  return null;
}

// ---- node-pty ---------------------------------------------------------------------------------------------------

const pty = (...parts) => inProject('node_modules', 'node-pty', ...parts);

/**
 * node-pty brings binaries for macOS and Windows. Elsewhere its one source file is compiled here, against the Node-API
 * headers among the dependencies: no node-gyp, no Python, no download.
 */
async function buildPty() {
  const prebuilt = pty('prebuilds', platform);
  if (existsSync(prebuilt)) {
    // The npm package loses the helper's x bit.
    const helper = path.join(prebuilt, 'spawn-helper');
    if (existsSync(helper)) chmodSync(helper, 0o755);
  } else {
    const cxx = await compiler();
    if (cxx === null) throw new SetupError('no C++ compiler (install g++)');
    mkdirSync(pty('build', 'Release'), { recursive: true });
    const include = [inProject('node_modules', 'node-api-headers', 'include'), pty('node-addon-api')];
    if (!existsSync(include[1])) include[1] = inProject('node_modules', 'node-addon-api');
    const args = ['-shared', '-fPIC', '-std=c++17', '-O2', '-fexceptions', '-DNAPI_CPP_EXCEPTIONS'];
    args.push(...include.map((folder) => `-I${folder}`), pty('src', 'unix', 'pty.cc'));
    args.push('-o', pty('build', 'Release', 'pty.node'));
    args.push(...(process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : ['-lutil', '-lpthread']));
    const done = await run(cxx, args);
    if (done.status !== 0) fail(cxx, done);
  }
  const loads = await run(node(), ['-e', 'require("node-pty")']);
  if (loads.status !== 0) fail('loading node-pty', loads);
}

// ---- the steps --------------------------------------------------------------------------------------------------

/**
 * A step: `files` are its inputs, `outputs` must exist, `build` makes them. An optional step's failure is reported once
 * for the same inputs and the rest goes on without; `without` says what is lost.
 */
const STEPS = {
  pty: {
    name: 'pty',
    title: 'building node-pty',
    files: () => ['node_modules/node-pty/package.json', 'node_modules/node-api-headers/package.json'],
    outputs: () => (existsSync(pty('prebuilds', platform)) ? [] : ['node_modules/node-pty/build/Release/pty.node']),
    build: buildPty,
    without: 'terminals of the host (node-pty) are not available',
  },
  native: {
    name: 'native',
    title: 'building the native addon',
    files: () => filesUnder('native'),
    outputs: () => ['native/build/ringside.node'],
    build: buildNative,
    without: 'no native addon',
  },
  engine: {
    name: 'engine',
    title: 'building the engine',
    files: () => importsOf('core/build.ts', ...filesUnder('core').filter((file) => file.endsWith('.as.ts'))),
    outputs: () => ['dist/engine.wasm', 'dist/translator.wasm'],
    build: () => runScript('core/build.ts'),
  },
  app: {
    name: 'app',
    title: 'building the app',
    files: () => [...filesUnder('core', 'main', 'renderer'), 'native/index.ts', 'native/build/ringside.node', lockfile],
    outputs: () => ['dist/main/index.js', 'dist/preload.cjs', 'dist/renderer/index.html'],
    build: () => runScript('main/build.mjs'),
  },
};

/** Up to date, failed in the same way before (optional steps), or to be done. */
function state(step, stamp) {
  if (stamp === undefined) {
    if (!step.stillGood?.()) return 'stale';
    record(step, step.files());
    return 'good';
  }
  // The inputs as listed last time: a file that is new is imported by one that has changed.
  if (signature(stamp.files) !== stamp.signature) {
    if (!(step.stillGood ?? (() => contentHash(stamp.files) === stamp.hash))()) return 'stale';
    if (!stamp.failed) record(step, stamp.files);
  }
  if (stamp.failed) return stamp.tools === toolsOnPath() ? 'failed' : 'stale';
  return (step.outputs?.() ?? []).every((file) => existsSync(inProject(file))) ? 'good' : 'stale';
}

/** What may make a failed native build succeed the next time: the PATH has other compilers. */
function toolsOnPath() {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  const there = (name) => folders.some((folder) => statSync(path.join(folder, name), { throwIfNoEntry: false }));
  return [process.env.CXX, ...['gcc', 'g++', 'clang', 'clang++', 'cc', 'c++'].filter(there)].join(' ');
}

function record(step, files, more = {}) {
  const hash = step.stillGood ? '' : contentHash(files);
  writeStamp(step.name, { files, signature: signature(files), hash, ...more });
}

async function perform(step) {
  if (step.title) say(step.title);
  try {
    await step.build();
  } catch (error) {
    if (step.without === undefined || !(error instanceof SetupError)) throw error;
    say(`${step.without}: ${error.message}`);
    record(step, step.files(), { failed: true, tools: toolsOnPath() });
    return;
  }
  record(step, step.files());
  if (state(step, readStamps()[step.name]) !== 'good') {
    throw new SetupError(`${step.title ?? step.name}: it ended well but left no ${step.outputs().join(', ')}`);
  }
}

/**
 * Does what is to be done for the parts named.
 * @returns {Promise<string>} the Node that runs Ringside
 * @throws {SetupError} with a message for people
 */
export async function setUp(parts = ALL_PARTS) {
  const steps = [dependenciesStep(), ...parts.map((part) => STEPS[part])];
  const stale = () => {
    const stamps = readStamps();
    return steps.filter((step) => state(step, stamps[step.name]) === 'stale');
  };
  if (stale().length > 0) {
    await exclusively(async () => {
      // Another process may have done some of it meanwhile; and new dependencies may make later steps stale.
      for (let [step] = stale(); step !== undefined; [step] = stale()) await perform(step);
    });
  }
  return node();
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const parts = process.argv.slice(2);
  const unknown = parts.find((part) => !ALL_PARTS.includes(part));
  try {
    if (unknown) throw new SetupError(`unknown part "${unknown}": ${ALL_PARTS.join(', ')}`);
    await setUp(parts.length > 0 ? parts : undefined);
    say('set up');
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    process.exitCode = 1;
  }
}
