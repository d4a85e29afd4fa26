#!/usr/bin/env node
/** The `ringside` command: set-up if something is missing or out of date, then main/cli/main.ts on our Node. */
import { launchCli } from './lib/launch.mjs';
import { SetupError, say } from './lib/project.mjs';
import { setUp } from './setup.mjs';

/** What each subcommand needs beyond the dependencies. */
const PARTS = { run: ['native', 'engine'], serve: ['native', 'engine', 'pty', 'app'] };

const args = process.argv.slice(2);
try {
  await setUp(PARTS[args[0]] ?? []);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  say(error.message);
  process.exit(1);
}
await launchCli(args);
