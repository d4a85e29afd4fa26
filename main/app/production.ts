/** The app on the real emulator and the real catalogue. */
import { Machine } from '../../core/machine/machine.ts';
import { RAM_OFFSET } from '../../core/worker/layout.ts';
import { loadNative, nativeHostSpec } from '../../native/index.ts';
import { jitCacheDir } from '../guests/cache.ts';
import { createApp } from './app.ts';
import type { App, AppOptions } from './app.ts';
import { catalogue } from './catalogue.ts';

/** A wasm memory has at most this many bytes, guest RAM and the engine's own state together. */
const MAX_LINEAR_MEMORY = 2 ** 32;

/** @throws RingsideError when the library's folder cannot be used */
export function createProductionApp(
  options: Pick<AppOptions, 'version' | 'home' | 'pick' | 'desktop' | 'quit'>,
): Promise<App> {
  return createApp({
    ...options,
    machines: {
      create: (config) => Machine.create({ ...config, jitCache: jitCacheDir() }, { host: nativeHostSpec() }),
    },
    guests: catalogue,
    ptys: loadNative().addon,
    maxMemory: MAX_LINEAR_MEMORY - RAM_OFFSET,
  });
}
