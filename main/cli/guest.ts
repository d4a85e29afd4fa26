/** `ringside guest`: the catalogue of guests on the command line. Answers go to stdout, progress to stderr. */
import { didYouMean } from '../../core/did-you-mean.ts';
import { parseArgs } from 'node:util';
import { RingsideError } from '../../core/errors.ts';
import { fetchGuest, listGuests, removeGuest } from '../guests/index.ts';
import type { GuestInfo } from '../guests/index.ts';
import { say } from './messages.ts';
import { isHelp } from './options/syntax.ts';
import { progressPrinter } from './progress.ts';

const HELP = `Usage: ringside guest list [--json]
       ringside guest fetch [--mirror URL] [--json] GUEST...
       ringside guest remove GUEST...

list    what there is, and what of it is here
fetch   download a guest, or update it; an interrupted download is resumed
remove  delete a guest from the cache

--mirror URL  a Debian mirror, such as http://ftp.us.debian.org/debian; otherwise RINGSIDE_MIRROR, the mirror of this
              computer's apt, or a public one near. What it hands out is checked with Debian's archive key.
--json        print the answer as JSON

Guests are kept in RINGSIDE_CACHE, by default the folder "ringside" in your cache folder. "ringside run --guest GUEST"
fetches a guest that is not here by itself.`;

const ACTIONS = ['list', 'fetch', 'remove', 'help'];

/** As a shell reports a program that SIGINT ended. */
const INTERRUPTED = 130;

interface Request {
  readonly json: boolean;
  readonly mirror: string | undefined;
  readonly ids: readonly string[];
}

/**
 * Runs `ringside guest ARGUMENTS`.
 * @returns the exit status: 0, or 130 after an interrupt
 * @throws RingsideError with a line that says what to do
 */
export async function guestCommand(args: string[]): Promise<number> {
  const [action, ...rest] = args;
  if (action === undefined) {
    process.stderr.write(`${HELP}\n`);
    return 1;
  }
  if (action === 'help' || isHelp(action) || rest.some(isHelp)) return print(HELP);
  switch (action) {
    case 'list':
      return list(readRequest(rest, ['json'], false));
    case 'fetch':
      return fetch(readRequest(rest, ['json', 'mirror'], true));
    case 'remove':
      return remove(readRequest(rest, [], true));
    default:
      throw new RingsideError(
        'bad-option',
        `guest: unknown action "${action}"${didYouMean(action, ACTIONS)}: ${ACTIONS.join(', ')}`,
      );
  }
}

function readRequest(args: string[], allowed: ('json' | 'mirror')[], needsIds: boolean): Request {
  let parsed;
  try {
    const options = { json: { type: 'boolean' }, mirror: { type: 'string' } } as const;
    parsed = parseArgs({ args, options, allowPositionals: true });
  } catch (cause) {
    // Node's messages have a first sentence that says it all.
    const message = cause instanceof Error ? cause.message.split('. ')[0].replace(/\.$/, '') : String(cause);
    throw new RingsideError('bad-option', `guest: ${message} ("ringside guest help")`, { cause });
  }
  const { values, positionals } = parsed;
  for (const name of ['json', 'mirror'] as const) {
    if (values[name] !== undefined && !allowed.includes(name)) {
      throw new RingsideError('bad-option', `guest: --${name} is not for this action ("ringside guest help")`);
    }
  }
  if (needsIds && positionals.length === 0) {
    throw new RingsideError('bad-option', 'guest: say which guest ("ringside guest list" shows them)');
  }
  if (!needsIds && positionals.length > 0) {
    throw new RingsideError('bad-option', `guest: unexpected "${positionals[0]}" ("ringside guest help")`);
  }
  return { json: values.json ?? false, mirror: values.mirror, ids: positionals };
}

async function list({ json }: Request): Promise<number> {
  const guests = await listGuests();
  if (json) return print(JSON.stringify(guests, null, 2));
  const width = Math.max(...guests.map(({ id }) => id.length));
  return print(guests.map((guest) => describe(guest, width)).join('\n'));
}

function describe({ id, title, fetched, version, size, downloadSize }: GuestInfo, width: number): string {
  const state = fetched
    ? `here: ${version}, ${mebibytes(size ?? 0)} MiB`
    : `not here: about ${mebibytes(downloadSize)} MiB to download`;
  return `${id.padEnd(width)}  ${title} (${state})`;
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}

async function fetch({ json, mirror, ids }: Request): Promise<number> {
  const abort = new AbortController();
  const interrupt = (): void => abort.abort();
  process.once('SIGINT', interrupt);
  const progress = progressPrinter(process.stderr);
  const fetched = [];
  try {
    for (const id of ids) {
      const files = await fetchGuest(id, { mirror, update: true, signal: abort.signal, onProgress: progress.show });
      fetched.push(files);
      progress.end();
      say(`${id} is here: ${files.version}`);
    }
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    progress.end();
    say('interrupted; the next fetch goes on from here');
    return INTERRUPTED;
  } finally {
    progress.end();
    process.off('SIGINT', interrupt);
  }
  if (json) return print(JSON.stringify(fetched, null, 2));
  return 0;
}

async function remove({ ids }: Request): Promise<number> {
  for (const id of ids) say((await removeGuest(id)) ? `${id} is removed` : `${id} was not here`);
  return 0;
}

function print(text: string): number {
  process.stdout.write(`${text}\n`);
  return 0;
}
