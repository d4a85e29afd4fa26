/** `ringside run`: boots a machine with its console on the terminal. */
import { closeSync, openSync, readSync } from 'node:fs';
import { errorLine, RingsideError } from '../../core/errors.ts';
import type { JitLogOptions } from '../../core/worker/jit-log.ts';
import { jitCacheDir } from '../guests/cache.ts';
import { ringsideVersion } from '../version.ts';
import { say } from './messages.ts';
import { Monitors } from './monitors.ts';
import { badOption } from './options/syntax.ts';
import {
  type CatalogueGuest,
  type RunRequest,
  completeConfig,
  parseRunArguments,
  runHelp,
  typeHelpText,
} from './qemu-options.ts';
import { runSession } from './session.ts';
import { TraceOutput } from './trace-output.ts';

/** How image formats other than raw begin. */
const MAGICS = [
  { format: 'qcow2', magic: 'QFI\xfb' },
  { format: 'vmdk', magic: 'KDMV' },
  { format: 'vhdx', magic: 'vhdxfile' },
  { format: 'vdi', magic: '<<< ' },
];

/**
 * Refuses to take for raw, unasked, an image that looks like another format: the guest would see, and overwrite, its
 * metadata. A file that cannot be read is left to the machine, which has better words.
 */
function checkFormat(file: string): void {
  const head = Buffer.alloc(8);
  try {
    const fd = openSync(file, 'r');
    try {
      readSync(fd, head, 0, head.length, 0);
    } finally {
      closeSync(fd);
    }
  } catch {
    return;
  }
  const found = MAGICS.find(({ magic }) => head.toString('latin1').startsWith(magic));
  if (found === undefined) return;
  throw new RingsideError(
    'bad-image',
    found.format === 'qcow2'
      ? `-drive: ${file} looks like a qcow2 image: say format=qcow2 (format=raw attaches it as it is)`
      : `-drive: ${file} looks like a ${found.format} image, which cannot be attached; ` +
          `"qemu-img convert -O qcow2" makes one that can (format=raw attaches it as it is)`,
  );
}

async function fetchCatalogueGuest(name: string, mirror: string | undefined): Promise<CatalogueGuest> {
  const [{ fetchGuest }, { progressPrinter }] = await Promise.all([
    import('../guests/index.ts'),
    import('./progress.ts'),
  ]);
  const progress = progressPrinter(process.stderr);
  try {
    const { kernel, initrd, append } = await fetchGuest(name, { mirror, onProgress: progress.show });
    return { kernel, initrd, append };
  } finally {
    progress.end();
  }
}

const STDERR = 2;

/** Opens what -d writes to. The end of the process closes it. */
function openLog({ items, file }: NonNullable<RunRequest['log']>): JitLogOptions {
  if (file === null) return { items, fd: STDERR };
  try {
    return { items, fd: openSync(file, 'w') };
  } catch (error) {
    throw badOption('-D', `${file} cannot be written: ${errorLine(error)}`);
  }
}

/**
 * @param args what follows `ringside run`
 * @returns the exit status: README.md, "Exit status"
 */
export async function runCommand(args: readonly string[]): Promise<number> {
  const request = parseRunArguments(args);
  if (request === null) {
    process.stdout.write(typeHelpText(args) ?? runHelp());
    return 0;
  }
  request.unnamedFormats.forEach(checkFormat);
  const guest = request.guest === undefined ? undefined : await fetchCatalogueGuest(request.guest, request.mirror);
  const config = completeConfig(request, guest);
  if (request.machine.jitCache === undefined && config.accel === 'jit') config.jitCache = jitCacheDir();
  const [{ Machine }, { nativeHostSpec }] = await Promise.all([
    import('../../core/machine/machine.ts'),
    import('../../native/index.ts'),
  ]);
  const log = request.log === undefined ? {} : { jit: { log: openLog(request.log) } };
  const { events, file } = request.trace;
  // -D's file, which -d has opened already, may be the same.
  const traces = TraceOutput.open(file, file !== null && file === request.log?.file);
  const machine = await Machine.create(config, { host: nativeHostSpec(), ...log, trace: events });
  machine.trace.onLine((line) => traces.write(line));
  const monitors = new Monitors(machine.monitor(request.name ?? null), ringsideVersion());
  try {
    monitors.serve(machine, request.monitors);
    return await runSession(machine, request, {
      stdin: process.stdin,
      stdout: process.stdout,
      say: (line) => say(request.name === undefined ? line : `${request.name}: ${line}`),
      events: process,
      stop: () => process.kill(process.pid, 'SIGSTOP'),
      exit: (status) => process.exit(status),
      openMonitor: (terminal, how) => monitors.open(terminal, how),
    });
  } catch (error) {
    await machine.dispose();
    throw error;
  } finally {
    monitors.close();
  }
}
