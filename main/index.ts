/** Entry point of the Electron app; runs from dist/, where main/build.mjs puts the JavaScript. */
import { fileURLToPath } from 'node:url';
import * as electron from 'electron';
import { createProductionApp } from './app/production.ts';
import { startDesktop } from './electron/desktop.ts';

// Not awaited: Electron becomes ready only after this module has been evaluated.
void startDesktop(electron, {
  createApp: createProductionApp,
  preload: fileURLToPath(new URL('../preload.cjs', import.meta.url)),
  renderer: fileURLToPath(new URL('../renderer', import.meta.url)),
  platform: process.platform,
  argv: process.argv.slice(1),
  directory: process.cwd(),
  process,
});
