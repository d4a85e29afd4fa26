/**
 * Builds the engine: prints the interpreter and the decoder from the instruction table, then compiles the
 * AssemblyScript sources into dist/engine.wasm. Skips what is up to date. Run by the set-up with our own Node.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { RAM_OFFSET, STATIC_BASE } from './worker/layout.ts';
import { printDecoder } from './cpu/gen/decode.ts';
import { printInterpreter } from './cpu/gen/interp.ts';

const core = dirname(fileURLToPath(import.meta.url));
const root = dirname(core);
const GENERATED = join(core, 'cpu/generated');

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(
      (f) => f.endsWith('.as.ts') || /cpu\/(isa|gen)\/.*\.ts$/.test(f) || f === 'worker/layout.ts' || f === 'build.ts',
    )
    .sort();
}

function fingerprint(): string {
  const hash = createHash('sha256');
  for (const f of sources(core))
    hash
      .update(f)
      .update('\0')
      .update(readFileSync(join(core, f)))
      .update('\0');
  hash.update(readFileSync(join(root, 'node_modules/assemblyscript/package.json')));
  return hash.digest('hex');
}

function writeIfChanged(file: string, text: string): void {
  let old: string | null = null;
  try {
    old = readFileSync(file, 'utf8');
  } catch {
    // Not there yet.
  }
  if (old !== text) writeFileSync(file, text);
}

/** Options of the AssemblyScript compiler; tests that compile parts of the engine use the same. */
export const ASC_OPTIONS = [
  '--runtime',
  'stub',
  '--importMemory',
  '--sharedMemory',
  '--initialMemory',
  String(RAM_OFFSET / 65536),
  '--maximumMemory',
  '65536',
  '--memoryBase',
  String(STATIC_BASE),
  '--enable',
  'threads',
  '--enable',
  'simd',
  '--enable',
  'relaxed-simd',
  '--enable',
  'bulk-memory',
  '--enable',
  'sign-extension',
  '--disable',
  'gc',
  '-O3',
  '--noAssert',
  '--uncheckedBehavior',
  'always',
];

export async function buildEngine(out: string): Promise<void> {
  mkdirSync(GENERATED, { recursive: true });
  writeIfChanged(join(GENERATED, 'decode.as.ts'), printDecoder());
  writeIfChanged(join(GENERATED, 'interp.as.ts'), printInterpreter());
  mkdirSync(dirname(out), { recursive: true });
  const asc = await import('assemblyscript/asc');
  const entry = relative(root, join(core, 'engine.as.ts'));
  const wat = process.env['RINGSIDE_ENGINE_WAT'] ? ['--textFile', relative(root, out.replace(/wasm$/, 'wat'))] : [];
  const { error, stderr } = await asc.main(
    [entry, '--baseDir', root, '-o', relative(root, out), ...wat, ...ASC_OPTIONS],
    {},
  );
  const text = stderr.toString();
  if (text) process.stderr.write(text);
  if (error) throw new Error('the engine does not compile', { cause: error });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const out = join(root, 'dist/engine.wasm');
  const stamp = join(root, 'dist/engine.stamp');
  const key = fingerprint();
  let old = '';
  try {
    readFileSync(out);
    old = readFileSync(stamp, 'utf8');
  } catch {
    // Not built yet.
  }
  if (old !== key) {
    await buildEngine(out);
    // What was printed counts as a source too.
    writeFileSync(stamp, fingerprint());
  }
}
