/** Opening and making images for the img commands. */
import { rmSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';

import { createFile, createRaw } from '../../../core/block/create.ts';
import type { DiskFormat } from '../../../core/block/disk.ts';
import { HINT_BYTES } from '../../../core/block/format-hint.ts';
import { ImageFile } from '../../../core/block/image-file.ts';
import { openFile } from '../../../core/block/open-file.ts';
import { openDisk } from '../../../core/block/open.ts';
import type { OpenDisk, Trust } from '../../../core/block/options.ts';
import { createQcow2 } from '../../../core/block/qcow2/create.ts';
import type { Qcow2CreateOptions } from '../../../core/block/qcow2/create.ts';
import { isQcow2 } from '../../../core/block/qcow2/header.ts';
import { createFlushState } from '../../../core/block/shared-flush.ts';
import { RingsideError } from '../../../core/errors.ts';
import type { Host } from '../../../core/host/host.ts';
import { say } from '../messages.ts';
import { parseSize } from './arguments.ts';

const FORMATS: readonly string[] = ['raw', 'qcow2'];

/** @throws RingsideError unsupported */
export function formatNamed(name: string): DiskFormat {
  if (FORMATS.includes(name)) return name as DiskFormat;
  const remedy = 'There are raw and qcow2; qemu-img converts others.';
  throw new RingsideError('unsupported', `There is no image format "${name}" here. ${remedy}`);
}

/** The format that was said; else qcow2 for what begins as such, and raw for all else. */
export function formatOf(host: Host, file: string, said: string | undefined): DiskFormat {
  if (said !== undefined) return formatNamed(said);
  const open = openFile(file, true, 'off', host);
  try {
    const head = new Uint8Array(HINT_BYTES);
    return isQcow2(head.subarray(0, host.readv(open.fd, [head], 0))) ? 'qcow2' : 'raw';
  } finally {
    open.close();
  }
}

export interface OpenImageOptions {
  readonly host: Host;
  readonly file: string;
  readonly format: string | undefined;
  readonly write: boolean;
  readonly backing: Trust;
  /** Others may be writing to it. */
  readonly share?: boolean;
}

/** Opens an image; warnings go to stderr. */
export function openImage({ host, file, format, write, backing, share = false }: OpenImageOptions): OpenDisk {
  const open = openDisk({
    file,
    format: formatOf(host, file, format),
    readonly: !write,
    locking: share ? 'off' : 'auto',
    backing,
    host,
  });
  for (const warning of open.warnings) if (!/is attached as a raw disk/.test(warning)) say(warning);
  return open;
}

/** What -o can say of a qcow2 image, and what it is otherwise. */
const DEFAULTS = {
  compat: '1.1',
  cluster_size: '65536',
  extended_l2: 'off',
  compression_type: 'zlib',
  lazy_refcounts: 'off',
  refcount_bits: '16',
};

/** Makes an image. @returns what qemu-img says of it */
export function createImage(
  host: Host,
  file: string,
  format: DiskFormat,
  size: number,
  options: ReadonlyMap<string, string>,
): string {
  const known = format === 'qcow2' ? [...Object.keys(DEFAULTS), 'backing_file', 'backing_fmt'] : [];
  for (const name of options.keys()) {
    if (known.includes(name)) continue;
    const remedy = known.length > 0 ? `There are ${known.join(', ')}.` : `A ${format} image has none.`;
    throw new RingsideError('bad-option', `There is no option "${name}". ${remedy}`);
  }
  if (format === 'raw') {
    createRaw(host, file, Math.ceil(size / 512) * 512);
    return `Formatting '${file}', fmt=raw size=${size}`;
  }
  const qcow2 = qcow2Options(options, size);
  createFile(host, file, 0);
  try {
    writeQcow2(host, file, qcow2);
  } catch (error) {
    rmSync(file, { force: true });
    throw error;
  }
  const { backing } = qcow2;
  const behind = backing ? ` backing_file=${backing.file} backing_fmt=${backing.format}` : '';
  const compat = options.has('compat') ? ` compat=${options.get('compat')}` : '';
  return (
    `Formatting '${file}', fmt=qcow2 cluster_size=${qcow2.clusterSize} extended_l2=${onOff(qcow2.extendedL2)} ` +
    `compression_type=${qcow2.compression} size=${size}${compat}${behind} ` +
    `lazy_refcounts=${onOff(qcow2.lazyRefcounts)} refcount_bits=${qcow2.refcountBits}`
  );
}

function onOff(value: boolean | undefined): string {
  return value ? 'on' : 'off';
}

function writeQcow2(host: Host, file: string, options: Qcow2CreateOptions): void {
  const open = openFile(file, false, 'auto', host);
  try {
    const handle = { file, fd: open.fd, writable: true, holes: false, flushState: createFlushState() };
    createQcow2(new ImageFile(handle, host), options);
  } finally {
    open.close();
  }
}

function qcow2Options(options: ReadonlyMap<string, string>, size: number): Qcow2CreateOptions {
  const value = (name: keyof typeof DEFAULTS) => options.get(name) ?? DEFAULTS[name];
  const choice = <T>(name: keyof typeof DEFAULTS, choices: Record<string, T>): T => {
    const found = choices[value(name)];
    if (found !== undefined) return found;
    throw new RingsideError(
      'bad-option',
      `${name} must be ${Object.keys(choices).join(' or ')}, not "${value(name)}".`,
    );
  };
  const flag = { on: true, off: false, yes: true, no: false };
  const file = options.get('backing_file');
  const format = options.get('backing_fmt');
  if (file !== undefined && format === undefined) {
    throw new RingsideError('bad-option', 'Say which format the backing file has: -F raw or -F qcow2.');
  }
  return {
    size,
    version: choice('compat', { '0.10': 2, v2: 2, '1.1': 3, v3: 3 }),
    clusterSize: parseSize(value('cluster_size')),
    refcountBits: parseSize(value('refcount_bits')),
    lazyRefcounts: choice('lazy_refcounts', flag),
    extendedL2: choice('extended_l2', flag),
    compression: choice('compression_type', { zlib: 'zlib', zstd: 'zstd' } as const),
    backing: file === undefined ? null : { file, format: formatNamed(format!) },
  };
}

/** Bytes of the disk in a backing file, as an image in `folder of overlay` names it. */
export function sizeOfBacking(host: Host, overlay: string, name: string, format: string, backing: Trust): number {
  const file = isAbsolute(name) ? name : join(dirname(overlay), name);
  const { disk } = openImage({ host, file, format, write: false, backing });
  try {
    return disk.size;
  } finally {
    disk.close();
  }
}
