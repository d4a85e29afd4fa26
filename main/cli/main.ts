#!/usr/bin/env node
/** The `ringside` command line. Everything heavy is imported by the subcommand that needs it. */
import { didYouMean } from '../../core/did-you-mean.ts';
import { RingsideError, errorLine } from '../../core/errors.ts';
import { ringsideVersion } from '../version.ts';
import { say } from './messages.ts';
import { isHelp } from './options/syntax.ts';

interface Command {
  help: string;
  /** @returns the exit status */
  run(args: string[]): Promise<number>;
}

const COMMANDS: Record<string, Command> = {
  run: {
    help: 'boot a machine on this terminal ("ringside run -help")',
    run: async (args) => (await import('./run.ts')).runCommand(args),
  },
  guest: {
    help: 'list, fetch or remove guests of the catalogue ("ringside guest help")',
    run: async (args) => (await import('./guest.ts')).guestCommand(args),
  },
  serve: {
    help: 'serve the workstation to a browser ("ringside serve --help")',
    run: async (args) => (await import('./serve.ts')).serveCommand(args),
  },
  export: {
    help: 'serve a device to a virtual machine of another program ("ringside export --help")',
    run: async (args) => (await import('./export.ts')).exportCommand(args),
  },
  img: {
    help: 'make, check, convert and compare disk images ("ringside img help")',
    run: async (args) => (await import('./img/index.ts')).imgCommand(args),
  },
  version: {
    help: 'print the version',
    run: () => Promise.resolve(print(`ringside ${ringsideVersion()}`)),
  },
  help: {
    help: 'print this',
    run: () => Promise.resolve(print(help())),
  },
};

function print(text: string): number {
  process.stdout.write(`${text}\n`);
  return 0;
}

function help(): string {
  const commands = Object.entries(COMMANDS).map(([name, command]) => `  ${name.padEnd(10)}${command.help}`);
  return [
    'Usage: ringside COMMAND [ARGUMENT...]',
    '',
    ...commands,
    '',
    'Exit status of run: 0 the guest powered off, or C-a x; the code that the guest gave the test finisher, if it',
    'reported a failure (255 when it is above that); 128 + N after signal N; 1 for any other failure, with a line on',
    'stderr that begins with "ringside:". The other commands: 0, or 1 with such a line.',
    '"npm start" opens the workstation in a window.',
  ].join('\n');
}

async function main(args: string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined) {
    process.stderr.write(`${help()}\n`);
    return 1;
  }
  if (isHelp(name)) return print(help());
  if (/^(--?version|-v|-V)$/.test(name)) return print(`ringside ${ringsideVersion()}`);
  if (!Object.hasOwn(COMMANDS, name)) {
    const names = Object.keys(COMMANDS);
    const hint = name.startsWith('-') ? ' (QEMU\'s options follow "run")' : didYouMean(name, names);
    throw new RingsideError('bad-option', `unknown command "${name}"${hint}: ${names.join(', ')}`);
  }
  return COMMANDS[name].run(rest);
}

// The reader of our output may have gone; what that means is for the subcommand to say, and otherwise nothing.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});
let status: number;
try {
  status = await main(process.argv.slice(2));
} catch (error) {
  say(errorLine(error));
  // An error that is not one of ours is a bug, and its origin is what matters.
  if (!(error instanceof RingsideError) && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  status = 1;
}
// Workers and open handles do not keep a command that is done; what is on its way to stdout does.
process.stdout.write('', () => process.exit(status));
