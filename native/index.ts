/**
 * Where the addon is, for whoever makes a Host: `createHost(nativeHostSpec())`. Workers are given the spec, not the
 * addon, and load it themselves.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { loadAddon } from '../core/host/addon.ts';
import type { LoadedAddon } from '../core/host/addon.ts';
import type { HostSpec } from '../core/host/host.ts';

/** Where native/build.mjs puts the addon, seen from this file, or from dist/main when this file is bundled there. */
const CANDIDATES = ['./build/ringside.node', '../../native/build/ringside.node'];

/** The addon's file, null when it has not been built. */
export function addonPath(): string | null {
  for (const candidate of CANDIDATES) {
    const path = fileURLToPath(new URL(candidate, import.meta.url));
    if (existsSync(path)) return path;
  }
  return null;
}

/** The addon in this thread, or null and the reason. */
export function loadNative(): LoadedAddon & { path: string | null } {
  if (process.env.RINGSIDE_NO_ADDON) {
    return { addon: null, path: null, reason: 'the native addon is turned off by RINGSIDE_NO_ADDON' };
  }
  const path = addonPath();
  if (path === null) {
    const reason =
      process.platform === 'linux'
        ? 'the native addon has not been built (it needs a C++ compiler); run "node native/build.mjs"'
        : `there is no native addon for ${process.platform} yet`;
    return { addon: null, path: null, reason };
  }
  return { ...loadAddon(path), path };
}

/** What createHost needs, in this thread and in any other. */
export function nativeHostSpec(): HostSpec {
  const native = loadNative();
  return {
    addon: native.addon && native.path ? { path: native.path } : { reason: 'reason' in native ? native.reason : '' },
  };
}
