#!/usr/bin/env node
/** `npm run fuzz`: set-up, then test/fuzz/main.ts, which says what it takes. */
import { become } from './lib/processes.mjs';
import { SetupError, inProject, say } from './lib/project.mjs';
import { setUp } from './setup.mjs';

let node;
try {
  node = await setUp(['native', 'engine']);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  say(error.message);
  process.exit(1);
}
await become(node, [inProject('test', 'fuzz', 'main.ts'), ...process.argv.slice(2)]);
