#!/usr/bin/env node
/** `npm run fuzz`: set-up, then test/fuzz/main.ts, which says what it takes. */
import { launchTool } from './lib/launch.mjs';
import { setUp } from './setup.mjs';

await launchTool(setUp, 'test/fuzz/main.ts');
