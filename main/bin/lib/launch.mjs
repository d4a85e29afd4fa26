/** Running the CLI (TypeScript, main/cli/main.ts) on our Node: in this process when that is what runs it already. */
import module from 'node:module';
import { inProject, ourNode } from './project.mjs';
import { become } from './processes.mjs';

const cli = inProject('main', 'cli', 'main.ts');
const compileCache = inProject('build', 'compile-cache');

/** Replaces this process by `ringside ...args`, as nearly as the platform can. */
export async function launchCli(args) {
  const node = ourNode();
  if (node === process.execPath) {
    module.enableCompileCache?.(compileCache);
    process.argv = [node, cli, ...args];
    await import('../../cli/main.ts');
    return;
  }
  await become(node, [cli, ...args], { env: { NODE_COMPILE_CACHE: compileCache } });
}
