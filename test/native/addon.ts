/** The addon for tests: built first if it can be, so that a test never runs against a stale one. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { loadNative, nativeHostSpec } from '../../native/index.ts';

const builder = fileURLToPath(new URL('../../native/build.mjs', import.meta.url));
const built = spawnSync(process.execPath, [builder], { encoding: 'utf8' });
// No compiler (3) is a host to be skipped; a compiler that fails is a bug of ours.
if (built.status !== 0 && built.status !== 3) throw new Error(`native/build.mjs failed:\n${built.stderr}`);

const loaded = loadNative();
export const addon = loaded.addon;
/** Why tests that need the addon are skipped; null when it is here. */
export const whyNoAddon = 'reason' in loaded ? loaded.reason : null;
export const hostSpec = nativeHostSpec();
