/** `ringside img`: making, looking at, checking and converting disk images; commands and options as qemu-img spells them. */
import { existsSync, rmSync } from 'node:fs';

import { copyDisk, firstDifference } from '../../../core/block/copy.ts';
import type { Report } from '../../../core/block/copy.ts';
import type { Disk } from '../../../core/block/disk.ts';
import { ImageFile } from '../../../core/block/image-file.ts';
import type { Trust } from '../../../core/block/options.ts';
import { canPunch, openFile } from '../../../core/block/open-file.ts';
import { checkImage } from '../../../core/block/qcow2/check.ts';
import { CompressedWriter } from '../../../core/block/qcow2/compressed-writer.ts';
import { Qcow2Disk } from '../../../core/block/qcow2/disk.ts';
import { Qcow2Image } from '../../../core/block/qcow2/image.ts';
import * as q from '../../../core/block/qcow2/layout.ts';
import { resizeQcow2 } from '../../../core/block/qcow2/resize.ts';
import { applySnapshot, createSnapshot, deleteSnapshot, listSnapshots } from '../../../core/block/qcow2/snapshots.ts';
import { createFlushState } from '../../../core/block/shared-flush.ts';
import { mapDisk } from '../../../core/block/status.ts';
import { didYouMean } from '../../../core/did-you-mean.ts';
import { RingsideError } from '../../../core/errors.ts';
import type { Host } from '../../../core/host/host.ts';
import { createHost } from '../../../core/host/node-host.ts';
import { nativeHostSpec } from '../../../native/index.ts';
import { isHelp } from '../options/syntax.ts';
import { parseArguments, parseCreateOptions, parseSize } from './arguments.ts';
import type { Options } from './arguments.ts';
import { createImage, formatNamed, formatOf, openImage, sizeOfBacking } from './images.ts';
import {
  checkInfo,
  formatCheck,
  formatInfo,
  formatJson,
  formatMap,
  formatMapJson,
  formatSnapshots,
  imageInfo,
} from './print.ts';

interface ImgCommand {
  readonly usage: string;
  readonly help: string;
  readonly values: readonly string[];
  readonly flags: readonly string[];
  /** @returns the exit status */
  run(options: Options, host: Host): number;
}

const COMMANDS: Record<string, ImgCommand> = {
  create: {
    usage: '[-q] [-f FORMAT] [-b FILE -F FORMAT] [-o OPTIONS] FILE [SIZE]',
    help: 'makes an image; one with a backing file has its size unless another is given',
    values: ['f', 'b', 'F', 'o', 'backing'],
    flags: ['q'],
    run: create,
  },
  info: {
    usage: '[-f FORMAT] [--output=human|json] [-U] FILE',
    help: 'says what an image is',
    values: ['f', 'output'],
    flags: ['U', 'force-share'],
    run: info,
  },
  check: {
    usage: '[-f FORMAT] [--output=human|json] [-r leaks|all] [-q] [-U] FILE',
    help: 'looks for damage and leaks, and repairs them with -r; status 2: damaged, 3: leaks',
    values: ['f', 'output', 'r'],
    flags: ['q', 'U', 'force-share'],
    run: check,
  },
  convert: {
    usage: '[-c] [-p] [-q] [-f FORMAT] [-O FORMAT] [-o OPTIONS] [--backing=trust] FILE NEW-FILE',
    help: 'copies a disk to a new image; -c compresses it',
    values: ['f', 'O', 'o', 'backing'],
    flags: ['c', 'p', 'q'],
    run: convert,
  },
  resize: {
    usage: '[-q] [-f FORMAT] [--shrink] [--backing=trust] FILE [+|-]SIZE',
    help: 'gives a disk another size',
    values: ['f', 'backing'],
    flags: ['q', 'shrink'],
    run: resize,
  },
  map: {
    usage: '[-f FORMAT] [--output=human|json] [--backing=trust] [-U] FILE',
    help: 'says what is where',
    values: ['f', 'output', 'backing'],
    flags: ['U', 'force-share'],
    run: map,
  },
  snapshot: {
    usage: '[-q] [-l | -c NAME | -a NAME | -d NAME] FILE',
    help: 'lists, makes, goes back to or deletes the snapshots in an image',
    values: ['c', 'a', 'd'],
    flags: ['l', 'q'],
    run: snapshot,
  },
  compare: {
    usage: '[-f FORMAT] [-F FORMAT] [-p] [-q] [-s] [--backing=trust] [-U] FILE FILE',
    help: 'compares two disks; status 1: they differ',
    values: ['f', 'F', 'backing'],
    flags: ['p', 'q', 's', 'U', 'force-share'],
    run: compare,
  },
};

/** @returns the exit status; throws RingsideError */
export function imgCommand(args: readonly string[]): number {
  const [name, ...rest] = args;
  if (name === undefined || isHelp(name)) {
    print(help());
    return name === undefined ? 1 : 0;
  }
  if (!Object.hasOwn(COMMANDS, name)) {
    const names = Object.keys(COMMANDS);
    throw new RingsideError(
      'bad-option',
      `img: unknown command "${name}"${didYouMean(name, names)}: ${names.join(', ')}`,
    );
  }
  const command = COMMANDS[name];
  if (rest.some(isHelp)) {
    print(`Usage: ringside img ${name} ${command.usage}\n\n${command.help}`);
    return 0;
  }
  return command.run(parseArguments(name, rest, command.values, command.flags), createHost(nativeHostSpec()));
}

function help(): string {
  const lines = Object.entries(COMMANDS).flatMap(([name, { usage, help }]) => [`  ${name} ${usage}`, `      ${help}`]);
  return [
    'Usage: ringside img COMMAND ...',
    '',
    ...lines,
    '',
    'Formats are raw and qcow2. Files that an image names are opened with --backing=trust only: what they hold could be',
    "anybody's. Nothing that exists is overwritten.",
  ].join('\n');
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function words({ words }: Options, least: number, most: number, what: string): readonly string[] {
  if (words.length < least || words.length > most) throw new RingsideError('bad-option', `Give ${what}.`);
  return words;
}

function trust({ values }: Options): Trust {
  const said = values.get('backing') ?? 'refuse';
  if (said === 'refuse' || said === 'trust') return said;
  throw new RingsideError('bad-option', `--backing: "${said}" is not allowed: refuse, trust`);
}

function asJson({ values }: Options): boolean {
  const said = values.get('output') ?? 'human';
  if (said === 'human' || said === 'json') return said === 'json';
  throw new RingsideError('bad-option', `--output: "${said}" is not allowed: human, json`);
}

function shared({ values }: Options): boolean {
  return values.has('U') || values.has('force-share');
}

/** As qemu-img -p. */
function progress({ values }: Options): Report {
  if (!values.has('p') || values.has('q')) return () => undefined;
  let last = '';
  return (done, total) => {
    const percent = total === 0 ? '100.00' : ((done * 100) / total).toFixed(2);
    if (percent !== last) process.stdout.write(`    (${(last = percent)}/100%)\r${done === total ? '\n' : ''}`);
  };
}

function create(options: Options, host: Host): number {
  const [file, size] = words(options, 1, 2, 'the new image, and its size');
  const { values } = options;
  const format = formatNamed(values.get('f') ?? 'raw');
  const own = parseCreateOptions(values.get('o'));
  if (values.has('b')) own.set('backing_file', values.get('b')!);
  if (values.has('F')) own.set('backing_fmt', values.get('F')!);
  const backing = own.get('backing_file');
  let bytes = size === undefined ? undefined : parseSize(size);
  if (bytes === undefined) {
    const behind = own.get('backing_fmt');
    if (backing === undefined || behind === undefined)
      throw new RingsideError('bad-option', 'Give the size of the disk.');
    // The user has named this one; what it names in turn is another matter.
    bytes = sizeOfBacking(host, file, backing, behind, trust(options));
  }
  const said = createImage(host, file, format, bytes, own);
  if (!values.has('q')) print(said);
  return 0;
}

/** An image alone, without what is behind it. */
function withImage<T>(options: Options, host: Host, write: boolean, use: (disk: Disk) => T): T {
  const [file] = words(options, 1, 1, 'an image');
  const format = formatOf(host, file, options.values.get('f'));
  if (format === 'raw') {
    const { disk } = openImage({ host, file, format, write, backing: 'refuse', share: shared(options) });
    try {
      return use(disk);
    } finally {
      disk.close();
    }
  }
  const open = openFile(file, !write, shared(options) ? 'off' : 'auto', host);
  try {
    const holes = write && canPunch(host, open.fd, open.info);
    const image = { file, fd: open.fd, writable: write, holes, flushState: createFlushState() };
    const state = new Qcow2Image(new ImageFile(image, host), { data: null, discard: true });
    const handle = { format, file, readonly: !write, discard: true, image, data: null, backing: null } as const;
    return use(new Qcow2Disk(handle, state, null, null));
  } finally {
    open.close();
  }
}

function info(options: Options, host: Host): number {
  print(withImage(options, host, false, (disk) => (asJson(options) ? formatJson(imageInfo(disk)) : formatInfo(disk))));
  return 0;
}

function check(options: Options, host: Host): number {
  const repair = options.values.get('r') ?? 'none';
  if (repair !== 'none' && repair !== 'leaks' && repair !== 'all') {
    throw new RingsideError('bad-option', `-r: "${repair}" is not allowed: leaks, all`);
  }
  const json = asJson(options);
  return withImage(options, host, repair !== 'none', (disk) => {
    if (!(disk instanceof Qcow2Disk)) {
      print('This image format does not support checks');
      return 63;
    }
    const result = checkImage(disk.image, repair);
    const sound = result.corruptions === result.corruptionsFixed && result.checkErrors === 0;
    if (repair === 'all' && sound) disk.image.mark(q.INCOMPAT_DIRTY | q.INCOMPAT_CORRUPT, false);
    if (!options.values.has('q')) print(json ? formatJson(checkInfo(disk.file, result)) : formatCheck(result));
    if (result.checkErrors > 0) return 1;
    if (!sound) return 2;
    return result.leaks > result.leaksFixed ? 3 : 0;
  });
}

function snapshot(options: Options, host: Host): number {
  const { values } = options;
  const name = values.get('c') ?? values.get('a') ?? values.get('d');
  withImage(options, host, name !== undefined, (disk) => {
    if (!(disk instanceof Qcow2Disk))
      throw new RingsideError('unsupported', `"${disk.file}" is raw: it has no snapshots.`);
    if (name === undefined) {
      const snapshots = listSnapshots(disk);
      if (snapshots.length > 0) print(`Snapshot list:\n${formatSnapshots(snapshots)}`);
      return;
    }
    if ((disk.image.header.incompatible & (q.INCOMPAT_DIRTY | q.INCOMPAT_CORRUPT)) !== 0n) {
      throw new RingsideError(
        'bad-image',
        `"${disk.file}" was not closed, or is damaged. Repair it: img check -r all.`,
      );
    }
    if (values.has('c')) createSnapshot(disk, name, Date.now());
    else if (values.has('a')) applySnapshot(disk, name);
    else deleteSnapshot(disk, name);
    disk.image.finish();
  });
  return 0;
}

function map(options: Options, host: Host): number {
  const [file] = words(options, 1, 1, 'an image');
  const format = options.values.get('f');
  const json = asJson(options);
  const { disk } = openImage({ host, file, format, write: false, backing: trust(options), share: shared(options) });
  try {
    print(json ? formatMapJson(mapDisk(disk)) : formatMap(mapDisk(disk)));
  } finally {
    disk.close();
  }
  return 0;
}

function compare(options: Options, host: Host): number {
  const files = words(options, 2, 2, 'two images');
  const { values } = options;
  const opened: Disk[] = [];
  try {
    for (const [i, file] of files.entries()) {
      const format = values.get(i === 0 ? 'f' : 'F');
      const image = { host, file, format, write: false, backing: trust(options), share: shared(options) };
      opened.push(openImage(image).disk);
    }
    const [a, b] = opened;
    if (values.has('s') && a.size !== b.size) {
      if (!values.has('q')) print('Strict mode: Image size mismatch!');
      return 1;
    }
    if (a.size !== b.size && !values.has('q')) print('Warning: Image size mismatch!');
    const at = firstDifference(a, b, progress(options));
    if (!values.has('q'))
      print(at === null ? 'Images are identical.' : `Content mismatch at offset ${at - (at % 512)}!`);
    return at === null ? 0 : 1;
  } finally {
    for (const disk of opened) disk.close();
  }
}

function convert(options: Options, host: Host): number {
  const [file, target] = words(options, 2, 2, 'an image, and the new one');
  const { values } = options;
  const format = formatNamed(values.get('O') ?? 'raw');
  const source = openImage({ host, file, format: values.get('f'), write: false, backing: trust(options) }).disk;
  try {
    if (values.has('c') && format !== 'qcow2') {
      throw new RingsideError('bad-option', `A ${format} image cannot be compressed: -O qcow2 makes one that can.`);
    }
    if (existsSync(target)) {
      throw new RingsideError('bad-option', `"${target}" exists already, and is left as it is. Choose another name.`);
    }
    createImage(host, target, format, source.size, parseCreateOptions(values.get('o')));
    try {
      const { disk } = openImage({ host, file: target, format, write: true, backing: 'refuse' });
      try {
        copy(source, disk, options);
      } finally {
        disk.close();
      }
    } catch (error) {
      // Half a disk is none.
      rmSync(target, { force: true });
      throw error;
    }
  } finally {
    source.close();
  }
  return 0;
}

function copy(source: Disk, target: Disk, options: Options): void {
  const report = progress(options);
  if (!options.values.has('c') || !(target instanceof Qcow2Disk)) {
    copyDisk(source, target, report);
    return;
  }
  const writer = new CompressedWriter(target);
  const unit = Math.max(target.image.clusterSize, 65536);
  copyDisk(source, target, report, (bytes, at) => writer.write(bytes, at), unit);
}

function resize(options: Options, host: Host): number {
  const [file, text] = words(options, 2, 2, 'an image, and its new size');
  const { values } = options;
  const image = { host, file, format: values.get('f'), write: true, backing: trust(options) };
  const { disk } = openImage(image);
  try {
    const size = parseSize(text.replace(/^[+-]/, ''));
    const wanted = text.startsWith('+') ? disk.size + size : text.startsWith('-') ? disk.size - size : size;
    const bytes = Math.ceil(wanted / 512) * 512;
    if (bytes < disk.size && !values.has('shrink')) {
      const what = 'What is behind the new end will be gone. Say --shrink if that is meant.';
      throw new RingsideError('bad-option', `"${file}" has ${disk.size} bytes, and would have ${bytes}. ${what}`);
    }
    if (bytes < 512) throw new RingsideError('bad-option', 'A disk has 512 bytes at least.');
    if (disk instanceof Qcow2Disk) resizeQcow2(disk, bytes);
    else if (disk.handle.format === 'raw') host.truncate(disk.handle.fd, bytes);
    if (!values.has('q')) print('Image resized.');
  } finally {
    disk.close();
  }
  return 0;
}
