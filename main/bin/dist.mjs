#!/usr/bin/env node
/**
 * `npm run dist -- [electron-builder's options]`: set-up, then packages for this platform in build/packages. The Electron that goes
 * into them is the dist that ELECTRON_OVERRIDE_DIST_PATH names, or else one that electron-builder downloads.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { become } from './lib/processes.mjs';
import { SetupError, inProject, say } from './lib/project.mjs';
import { setUp } from './setup.mjs';

const override = process.env.ELECTRON_OVERRIDE_DIST_PATH;
let node;
try {
  if (override && !existsSync(override)) {
    throw new SetupError(`ELECTRON_OVERRIDE_DIST_PATH is not there: ${override}`);
  }
  node = await setUp();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  say(error.message);
  process.exit(1);
}
const electron = override ? [`-c.electronDist=${path.resolve(override)}`] : [];
await become(node, [inProject('node_modules', 'electron-builder', 'cli.js'), ...electron, ...process.argv.slice(2)]);
