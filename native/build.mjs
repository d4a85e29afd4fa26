#!/usr/bin/env node
/**
 * Builds the addon: native/src/*.cc -> native/build/ringside.node, with the system's C++ compiler ($CXX, c++, g++ or
 * clang++) and the headers of the node-api-headers package. Does nothing when it is up to date. Node >= 18; --force
 * builds anyway.
 *
 * Exit status: 0 built or up to date; 1 the compiler failed; 3 there can be no addon here (no compiler, no headers, or
 * not Linux): Ringside runs without, with less.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const EXIT_COMPILER_FAILED = 1;
const EXIT_NOT_POSSIBLE = 3;

const native = dirname(fileURLToPath(import.meta.url));
const sourceDir = join(native, 'src');
const outDir = join(native, 'build');
const output = join(outDir, 'ringside.node');
const stamp = join(outDir, 'ringside.stamp');

const FLAGS = [
  '-std=c++17',
  '-O2',
  '-Wall',
  '-Wextra',
  '-fPIC',
  '-shared',
  '-fvisibility=hidden',
  '-fno-exceptions',
  '-fno-rtti',
  '-D_GNU_SOURCE',
  '-D_FILE_OFFSET_BITS=64',
  // Nothing of the C++ library is used at run time, so the result depends on the C library alone.
  '-Wl,--as-needed,-z,relro,-z,now',
];

function fail(status, message) {
  console.error(`native addon: ${message}`);
  process.exit(status);
}

function headersDir() {
  try {
    return createRequire(import.meta.url)('node-api-headers').include_dir;
  } catch {
    return null;
  }
}

/** The first compiler that answers, as [command, ...arguments], and its version. */
function findCompiler() {
  const candidates = process.env.CXX ? [process.env.CXX.split(/\s+/).filter(Boolean)] : [['c++'], ['g++'], ['clang++']];
  for (const command of candidates) {
    const asked = spawnSync(command[0], [...command.slice(1), '--version'], { encoding: 'utf8' });
    if (asked.status === 0) return { command, version: asked.stdout.split('\n')[0] };
  }
  return null;
}

function digest(sources, headers, compiler) {
  const hash = createHash('sha256');
  for (const file of [fileURLToPath(import.meta.url), ...sources]) hash.update(readFileSync(file));
  const facts = [headers, compiler.command, compiler.version, process.platform, process.arch];
  return hash.update(JSON.stringify(facts)).digest('hex');
}

function build() {
  if (process.platform !== 'linux') {
    fail(EXIT_NOT_POSSIBLE, `there is none for ${process.platform} yet; going on without it.`);
  }
  const headers = headersDir();
  if (headers === null || !existsSync(join(headers, 'node_api.h'))) {
    fail(EXIT_NOT_POSSIBLE, 'the node-api-headers package is not installed; run "npm ci". Going on without the addon.');
  }
  const compiler = findCompiler();
  if (compiler === null) {
    const tried = process.env.CXX ? `CXX=${process.env.CXX}` : 'c++, g++ and clang++';
    fail(
      EXIT_NOT_POSSIBLE,
      `no C++ compiler found (tried ${tried}). Install one, e.g. "apt install g++", for image locks, discard and ` +
        'shared guest memory. Going on without the addon.',
    );
  }

  const files = readdirSync(sourceDir).sort();
  const sources = files.map((name) => join(sourceDir, name));
  const want = digest(sources, headers, compiler);
  if (!process.argv.includes('--force') && existsSync(output) && existsSync(stamp)) {
    if (readFileSync(stamp, 'utf8') === want) return;
  }

  mkdirSync(outDir, { recursive: true });
  // A running process may have the old one mapped, and two builds may run at once: write aside, then rename.
  const partial = `${output}.${process.pid}`;
  const [program, ...first] = compiler.command;
  const units = sources.filter((name) => name.endsWith('.cc'));
  const compiled = spawnSync(program, [...first, ...FLAGS, '-isystem', headers, '-o', partial, ...units], {
    encoding: 'utf8',
  });
  if (compiled.stderr) process.stderr.write(compiled.stderr);
  if (compiled.status !== 0) {
    rmSync(partial, { force: true });
    fail(EXIT_COMPILER_FAILED, `${compiler.command.join(' ')} failed; see above.`);
  }
  renameSync(partial, output);
  writeFileSync(stamp, want);
  console.error(`native addon: built with ${compiler.version}`);
}

build();
