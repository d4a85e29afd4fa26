/** The native addon as JavaScript sees it (native/src says what each function does), and how a thread loads it. */

import { errorLine } from '../errors.ts';
import type { FolderCalls } from './folder-calls.ts';

/** What native/src/addon.cc must say of itself. */
const API_VERSION = 5;

export interface NativeAddon extends FolderCalls {
  readonly apiVersion: number;

  pageSize(): number;
  memfdCreate(name: string, size: number): number;
  mapMemfd(view: Uint8Array, offset: number, length: number, fd: number): void;
  mapFile(view: Uint8Array, offset: number, length: number, fd: number, shared: boolean): void;
  unmapMemfd(view: Uint8Array, offset: number, length: number): void;
  releasePages(view: Uint8Array, offset: number, length: number): void;
  adviseHugePages(view: Uint8Array, offset: number, length: number): boolean;

  lock(fd: number, start: number, length: number, exclusive: boolean): boolean;
  unlock(fd: number, start: number, length: number): void;
  testLock(fd: number, start: number, length: number, exclusive: boolean): boolean;
  punchHole(fd: number, offset: number, length: number): void;
  zeroRange(fd: number, offset: number, length: number): void;
  seekData(fd: number, offset: number): number;
  seekHole(fd: number, offset: number): number;
  blockDeviceSize(fd: number): number;
  blockDeviceDiscard(fd: number, offset: number, length: number): void;

  eventfdCreate(): number;
  eventfdRead(fd: number): bigint;
  eventfdWrite(fd: number, value: bigint): boolean;
  poll(entries: Int32Array, timeout: number): number;

  unixListen(path: string, backlog: number): number;
  unixAccept(fd: number): number;
  unixConnect(path: string): number;
  sendMessage(fd: number, bytes: Uint8Array, descriptors: Int32Array): number;
  receiveMessage(fd: number, bytes: Uint8Array, descriptors: Int32Array): number;
  setNonBlocking(fd: number): void;

  mapGuarded(view: Uint8Array, offset: number, length: number, fd: number, fileOffset: number): number;
  guardFaulted(guard: number): boolean;
  unmapGuarded(guard: number): void;

  ptyOpen(): { master: number; slave: number; path: string };
}

export type LoadedAddon = { addon: NativeAddon } | { addon: null; reason: string };

/** Loads the addon into this thread. Never throws: the reason says, in one line, why there is none. */
export function loadAddon(path: string): LoadedAddon {
  const module: { exports: Partial<NativeAddon> } = { exports: {} };
  try {
    // Not require(): core is bundled as an ES module, and a path from another thread is no module specifier.
    process.dlopen(module, path);
  } catch (error) {
    return { addon: null, reason: `the native addon cannot be loaded: ${errorLine(error)}` };
  }
  const found = module.exports.apiVersion;
  if (found !== API_VERSION) {
    return { addon: null, reason: `the native addon is of version ${found}, not ${API_VERSION}; run "npm run setup"` };
  }
  return { addon: module.exports as NativeAddon };
}
