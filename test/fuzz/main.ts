/**
 * The fuzzer outside CI: `npm run fuzz -- [SECONDS [SEED]]`, so many seconds for each device type and ring format
 * (default 600), from a seed (default: the time). A failure prints the seed that shows it again.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const [seconds = '600', seed = String(Math.floor(Date.now() / 1000))] = process.argv.slice(2);
if (!(Number(seconds) > 0) || !Number.isInteger(Number(seed))) {
  process.stderr.write('usage: npm run fuzz -- [SECONDS [SEED]]\n');
  process.exit(1);
}
const root = fileURLToPath(new URL('../..', import.meta.url));
const vitest = fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url));
const done = spawnSync(process.execPath, [vitest, 'run', 'test/virtio/fuzz.test.ts'], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, RINGSIDE_FUZZ_SECONDS: seconds, RINGSIDE_FUZZ_SEED: seed },
});
process.exitCode = done.status ?? 1;
