#!/usr/bin/env node
/** `npm run bench`: set-up, then test/bench/main.ts, which says what it takes. */
import { launchTool } from './lib/launch.mjs';
import { setUp } from './setup.mjs';

await launchTool(setUp, 'test/bench/main.ts');
