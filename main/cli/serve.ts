/** `ringside serve`: the workstation in a browser. */
import { didYouMean } from '../../core/did-you-mean.ts';
import { constants } from 'node:os';
import path from 'node:path';
import { errorLine } from '../../core/errors.ts';
import type { ServeOptions } from '../serve/index.ts';
import { say } from './messages.ts';
import { type KeyTable, type Values, badOption, count, isHelp, text } from './options/syntax.ts';

const SERVE_OPTIONS = {
  port: count('N', 0, 65535, 'TCP port; default: one that is free'),
  host: text('ADDRESS', 'address to listen on; default 127.0.0.1, which only this computer can reach'),
  home: text('FOLDER', "where the VMs' settings are kept; default: the user's"),
} satisfies KeyTable;

function help(): string {
  const lines = Object.entries(SERVE_OPTIONS).map(
    ([name, { shape, help }]) => `  ${`--${name} ${shape}`.padEnd(18)}${help}`,
  );
  return [
    'Usage: ringside serve [OPTION...]',
    'Serves the workstation to a browser and prints its address.',
    '',
    ...lines,
    '',
  ].join('\n');
}

/** Reads `--name value` and `--name=value`; null when help was asked for. */
export function parseServeArguments(args: readonly string[]): Values<typeof SERVE_OPTIONS> | null {
  const found: Record<string, unknown> = {};
  const names = Object.keys(SERVE_OPTIONS);
  const rest = [...args];
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    if (isHelp(argument)) return null;
    const [, name, attached] = /^--?([A-Za-z][\w-]*)(?:=(.*))?$/s.exec(argument) ?? [];
    if (name === undefined || !Object.hasOwn(SERVE_OPTIONS, name)) {
      const hint = name === undefined ? '' : didYouMean(name, names, '--');
      throw badOption(argument, `unknown option${hint}; allowed: ${names.map((known) => `--${known}`).join(', ')}`);
    }
    const key = SERVE_OPTIONS[name as keyof typeof SERVE_OPTIONS];
    const value = attached ?? rest.shift();
    if (value === undefined) throw badOption(`--${name}`, `it needs a value: --${name} ${key.shape}`);
    try {
      found[name] = key.parse(value);
    } catch (error) {
      throw badOption(`--${name}`, (error as Error).message);
    }
  }
  return found;
}

/**
 * Serves until a signal, or until the person quits in the browser.
 * @returns the exit status: 0 after quitting in the browser, 128 + N after signal N
 */
export async function serveCommand(args: readonly string[]): Promise<number> {
  const options = parseServeArguments(args);
  if (options === null) {
    process.stdout.write(help());
    return 0;
  }
  const { startServer } = await import('../serve/index.ts');
  let quit!: (status: number) => void;
  const ended = new Promise<number>((resolve) => (quit = resolve));
  const serveOptions: ServeOptions = { ...options, onQuit: () => quit(0) };
  if (options.home !== undefined) serveOptions.home = path.resolve(options.home);
  const server = await startServer(serveOptions);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      quit(128 + constants.signals[signal]);
      // The second one does not wait for the VMs to end.
      process.once(signal, () => process.exit(128 + constants.signals[signal]));
    });
  }
  process.stdout.write(`${server.url}\n`);
  say('open this address in a browser on this computer; Ctrl-C ends it, and every VM with it');
  const status = await ended;
  await server.close().catch((error: unknown) => say(errorLine(error)));
  return status;
}
