/**
 * Builds what Electron and browsers run, into dist/; run by the set-up with our own Node:
 *
 *     dist/renderer/     the user interface (vite)
 *     dist/main, core, native/  JavaScript of every file that main/index.ts reaches, workers too, file by file: the tree
 *                        stays, so relative URLs (workers, the engine) stay true
 *     dist/preload.cjs   the preload, bundled
 *
 * What is up to date is left alone.
 */
import { createHash } from 'node:crypto';
import { existsSync, realpathSync } from 'node:fs';
import { copyFile, mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const DIST = path.join(ROOT, 'dist');
const ENTRY = 'main/index.ts';
const PRELOAD = 'main/electron/preload.ts';
const ADDON = 'native/build/ringside.node';
/** Electron's V8 and ours know all that the sources use. */
const TARGET = 'node24';
/** new URL('./worker.ts', import.meta.url), in the one spelling that can be rewritten. */
const MODULE_URL = /new URL\(\s*(['"])(\.{1,2}\/[^'"]+)\1\s*,\s*import\.meta\.url\s*\)/g;

const slashes = (file) => file.split(path.sep).join('/');

async function filesUnder(...places) {
  const found = [];
  for (const place of places) {
    const info = await stat(path.join(ROOT, place)).catch(() => null);
    if (info === null) continue;
    if (info.isFile()) {
      found.push(place);
      continue;
    }
    for (const entry of await readdir(path.join(ROOT, place), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const file = slashes(path.relative(ROOT, path.join(entry.parentPath, entry.name)));
      if (!/\/(node_modules|dist|build|generated)\//.test(`/${file}`)) found.push(file);
    }
  }
  return found.sort();
}

async function keyOf(...places) {
  const hash = createHash('sha256');
  for (const file of await filesUnder('main/build.mjs', 'package-lock.json', ...places)) {
    hash
      .update(`${file}\0`)
      .update(await readFile(path.join(ROOT, file)))
      .update('\0');
  }
  return hash.digest('hex');
}

/** Runs `make` unless it has been done for the same inputs and `output` is there. */
async function unlessDone(name, key, output, make) {
  const stamp = path.join(DIST, `${name}.stamp`);
  const done = await readFile(stamp, 'utf8').catch(() => '');
  if (done === key && existsSync(path.join(DIST, output))) return false;
  await mkdir(DIST, { recursive: true });
  await make();
  await writeFile(stamp, key);
  return true;
}

/** The user interface. @returns {Promise<boolean>} whether there was anything to do */
export async function buildRenderer() {
  const key = await keyOf('renderer', 'main/ipc', 'core/api', 'core/errors.ts');
  return unlessDone('renderer', key, 'renderer/index.html', async () => {
    const vite = await import('vite');
    // Beside the old one, then swapped: a server may be reading that, and two builds may run at once.
    const draft = path.join(DIST, `.renderer-${process.pid}`);
    try {
      await vite.build({
        configFile: path.join(ROOT, 'renderer/vite.config.ts'),
        logLevel: 'warn',
        build: { outDir: draft, emptyOutDir: true },
      });
      const out = path.join(DIST, 'renderer');
      await rm(out, { recursive: true, force: true });
      await rename(draft, out);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  });
}

/** Where a file of the project is in dist/: the tree is kept, and dist/ itself is the root there. */
function inDist(file) {
  return path.join(DIST, file.startsWith('dist/') ? file.slice('dist/'.length) : file);
}

const toJs = (file) => file.replace(/\.ts$/, '.js');

/**
 * JavaScript of the files named and of all that they reach by relative imports and module URLs.
 * @returns {Promise<{ scripts: Map<string, Uint8Array>, assets: Set<string> }>} scripts by their path in dist/
 */
export async function transpile(entries) {
  const esbuild = await import('esbuild');
  const scripts = new Map();
  const assets = new Set();
  const seen = new Set(entries);
  let round = [...entries];
  const reach = (file, from) => {
    if (!existsSync(path.join(ROOT, file))) throw new Error(`${from} refers to ${file}, which does not exist`);
    if (seen.has(file)) return;
    seen.add(file);
    next.push(file);
  };
  let next = [];
  const plugin = {
    name: 'file-by-file',
    setup(build) {
      build.onResolve({ filter: /^\./ }, ({ path: target, importer, kind }) => {
        if (kind === 'entry-point') return undefined;
        const from = slashes(path.relative(ROOT, importer));
        const file = slashes(path.join(path.dirname(from), target));
        if (!file.endsWith('.ts'))
          throw new Error(`${from}: an import of ${target} is neither TypeScript nor a package`);
        reach(file, from);
        return { path: toJs(target), external: true };
      });
      build.onLoad({ filter: /\.ts$/ }, async ({ path: full }) => {
        const from = slashes(path.relative(ROOT, full));
        const text = await readFile(full, 'utf8');
        return {
          loader: 'ts',
          contents: text.replace(MODULE_URL, (whole, quote, target) => {
            const file = slashes(path.normalize(path.join(path.dirname(from), target)));
            if (file.endsWith('.ts')) {
              reach(file, from);
              return whole.replace(target, toJs(target));
            }
            // Files of the project that code reads come along; what is built into dist/ is there already.
            if (!file.startsWith('dist/') && /\.\w+$/.test(file) && existsSync(path.join(ROOT, file))) assets.add(file);
            let relative = slashes(path.relative(path.dirname(inDist(from)), inDist(file)));
            if (!relative.startsWith('.')) relative = `./${relative}`;
            return whole.replace(target, file.startsWith('dist/') ? relative : target);
          }),
        };
      });
    },
  };
  while (round.length > 0) {
    next = [];
    const { outputFiles } = await esbuild.build({
      entryPoints: round.map((file) => path.join(ROOT, file)),
      absWorkingDir: ROOT,
      outbase: ROOT,
      outdir: DIST,
      bundle: true,
      packages: 'external',
      format: 'esm',
      platform: 'node',
      target: TARGET,
      charset: 'utf8',
      legalComments: 'none',
      write: false,
      logLevel: 'silent',
      plugins: [plugin],
    });
    for (const { path: full, contents } of outputFiles) scripts.set(slashes(path.relative(DIST, full)), contents);
    round = next;
  }
  return { scripts, assets };
}

/** The preload as one CommonJS text, with the contract's command names in it. */
export async function bundlePreload() {
  const esbuild = await import('esbuild');
  const { commandNames } = await import('./ipc/contract.ts');
  const { outputFiles } = await esbuild.build({
    entryPoints: [path.join(ROOT, PRELOAD)],
    bundle: true,
    format: 'cjs',
    platform: 'browser',
    target: TARGET,
    external: ['electron'],
    define: { COMMAND_NAMES: JSON.stringify(commandNames) },
    write: false,
    logLevel: 'silent',
  });
  return outputFiles[0].text;
}

/** Electron's side. @returns {Promise<boolean>} whether there was anything to do */
export async function buildMain() {
  const key = await keyOf('main', 'core', 'native/index.ts', ADDON);
  return unlessDone('main', key, 'main/index.js', async () => {
    const { scripts, assets } = await transpile([ENTRY]);
    const wanted = new Map(scripts);
    wanted.set('preload.cjs', await bundlePreload());
    for (const folder of ['main', 'core', 'native']) {
      const old = await readdir(path.join(DIST, folder), { recursive: true, withFileTypes: true }).catch(() => []);
      for (const entry of old) {
        const full = path.join(entry.parentPath, entry.name);
        if (entry.isFile() && !wanted.has(slashes(path.relative(DIST, full)))) await rm(full);
      }
    }
    for (const [file, contents] of wanted) {
      await mkdir(path.dirname(path.join(DIST, file)), { recursive: true });
      await writeFile(path.join(DIST, file), contents);
    }
    if (existsSync(path.join(ROOT, ADDON))) assets.add(ADDON);
    for (const file of assets) {
      await mkdir(path.dirname(inDist(file)), { recursive: true });
      await copyFile(path.join(ROOT, file), inDist(file));
    }
  });
}

export async function build() {
  const renderer = await buildRenderer();
  const main = await buildMain();
  return renderer || main;
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    await build();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
    process.exitCode = 1;
  }
}
