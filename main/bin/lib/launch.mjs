/** Running the CLI (TypeScript, main/cli/main.ts) and the project's tools on our Node. */
import module from 'node:module';
import { inProject, ourNode, say, SetupError } from './project.mjs';
import { become } from './processes.mjs';

const cli = inProject('main', 'cli', 'main.ts');
const compileCache = inProject('build', 'compile-cache');

/** Replaces this process by `ringside ...args`, as nearly as the platform can: in it when our Node is what runs it already. */
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

/**
 * Sets up what the emulator needs, then replaces this process by a tool of the project on our Node.
 * @param setUp main/bin/setup.mjs's
 * @param script of the tool, from the project's folder
 */
export async function launchTool(setUp, script) {
  let node;
  try {
    node = await setUp(['native', 'engine']);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    process.exit(1);
  }
  await become(node, [inProject(...script.split('/')), ...process.argv.slice(2)]);
}
