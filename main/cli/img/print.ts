/** What the img commands print, as qemu-img prints it. */
import { statSync } from 'node:fs';

import type { BlockStatus } from '../../../core/block/status.ts';
import type { Disk } from '../../../core/block/disk.ts';
import { namedPath } from '../../../core/block/qcow2/open.ts';
import type { CheckResult } from '../../../core/block/qcow2/check.ts';
import { Qcow2Disk } from '../../../core/block/qcow2/disk.ts';
import * as q from '../../../core/block/qcow2/layout.ts';
import { readSnapshots } from '../../../core/block/qcow2/snapshot-table.ts';
import type { Snapshot } from '../../../core/block/qcow2/snapshot-table.ts';

const UNITS = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];

/** e.g. "1.5 GiB" */
export function humanSize(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number(value.toPrecision(3))} ${UNITS[unit]}B`;
}

/** Facts of an image, under the names of QAPI's ImageInfo. */
export function imageInfo(disk: Disk): Record<string, unknown> {
  const { file } = disk;
  const info: Record<string, unknown> = {
    'virtual-size': disk.size,
    filename: file,
    format: disk.handle.format,
    'actual-size': statSync(file).blocks * 512,
    'dirty-flag': false,
  };
  if (!(disk instanceof Qcow2Disk)) return info;
  const { header } = disk.image;
  info['cluster-size'] = disk.image.clusterSize;
  info['dirty-flag'] = disk.image.dirty;
  const { snapshots } = readSnapshots(disk.image.file, header);
  if (snapshots.length > 0) info.snapshots = snapshots.map(snapshotInfo);
  if (header.backingFile !== null) {
    info['backing-filename'] = header.backingFile;
    info['full-backing-filename'] = fullName(file, header.backingFile);
    if (header.backingFormat !== null) info['backing-filename-format'] = header.backingFormat;
  }
  const data: Record<string, unknown> = { compat: header.version === 2 ? '0.10' : '1.1' };
  data['compression-type'] = header.compression;
  if (header.version === 3) data['lazy-refcounts'] = disk.image.lazy;
  data['refcount-bits'] = 2 ** header.refcountOrder;
  if (header.version === 3) {
    data.corrupt = (header.incompatible & q.INCOMPAT_CORRUPT) !== 0n;
    data['extended-l2'] = disk.image.extended;
  }
  if (header.dataFile !== null) data['data-file'] = header.dataFile;
  info['format-specific'] = { type: 'qcow2', data };
  return info;
}

function fullName(file: string, name: string): string {
  try {
    return namedPath(file, name, 'backing');
  } catch {
    return name;
  }
}

function snapshotInfo(snapshot: Snapshot): Record<string, unknown> {
  const clock = snapshot.vmClock;
  const icount = snapshot.icount === -1n ? {} : { icount: Number(snapshot.icount) };
  return {
    ...icount,
    'vm-clock-nsec': Number(clock % 1_000_000_000n),
    name: snapshot.name,
    'date-sec': snapshot.seconds,
    'date-nsec': snapshot.nanoseconds,
    'vm-clock-sec': Number(clock / 1_000_000_000n),
    id: snapshot.id,
    'vm-state-size': snapshot.vmStateSize,
  };
}

/** For a person. */
export function formatInfo(disk: Disk): string {
  const info = imageInfo(disk);
  const lines = [
    `image: ${disk.file}`,
    `file format: ${disk.handle.format}`,
    `virtual size: ${humanSize(disk.size)} (${disk.size} bytes)`,
    `disk size: ${humanSize(info['actual-size'] as number)}`,
  ];
  if (!(disk instanceof Qcow2Disk)) return lines.join('\n');
  const { header } = disk.image;
  lines.push(`cluster_size: ${disk.image.clusterSize}`);
  if (disk.image.dirty) lines.push('cleanly shut down: no');
  if (header.backingFile !== null) {
    const full = info['full-backing-filename'] as string;
    lines.push(`backing file: ${header.backingFile}${full === header.backingFile ? '' : ` (actual path: ${full})`}`);
    if (header.backingFormat !== null) lines.push(`backing file format: ${header.backingFormat}`);
  }
  const { snapshots } = readSnapshots(disk.image.file, header);
  if (snapshots.length > 0) lines.push('Snapshot list:', formatSnapshots(snapshots));
  lines.push('Format specific information:');
  const { data } = info['format-specific'] as { data: Record<string, unknown> };
  for (const [name, value] of Object.entries(data)) lines.push(`    ${name.replaceAll('-', ' ')}: ${String(value)}`);
  return lines.join('\n');
}

/** The table of "qemu-img snapshot -l". */
export function formatSnapshots(snapshots: readonly Snapshot[]): string {
  const lines = ['ID        TAG               VM SIZE                DATE     VM CLOCK     ICOUNT'];
  for (const { id, name, vmStateSize, seconds, vmClock, icount } of snapshots) {
    const ms = vmClock / 1_000_000n;
    const pad = (value: bigint, width = 2) => String(value).padStart(width, '0');
    const hours = pad(ms / 3_600_000n);
    const clock = `${hours}:${pad((ms / 60_000n) % 60n)}:${pad((ms / 1000n) % 60n)}.${pad(ms % 1000n, 3)}`;
    const count = icount === -1n ? '' : String(icount);
    const row = [id.padEnd(9), name.padEnd(15), humanSize(vmStateSize).padStart(9), localTime(seconds).padStart(19)];
    lines.push(`${row.join(' ')} ${clock.padStart(12)} ${count.padStart(10)}`);
  }
  return lines.join('\n');
}

function localTime(seconds: number): string {
  const at = new Date(seconds * 1000);
  const pad = (value: number) => String(value).padStart(2, '0');
  const day = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
  return `${day} ${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

/** JSON as QEMU indents it. */
export function formatJson(value: unknown): string {
  return JSON.stringify(value, null, 4);
}

/** What was found, for a person. */
export function formatCheck(result: CheckResult): string {
  const lines = [...result.messages];
  const fixed = result.leaksFixed + result.corruptionsFixed;
  if (fixed > 0) {
    lines.push(
      'The following inconsistencies were found and repaired:',
      '',
      `    ${result.leaksFixed} leaked clusters`,
      `    ${result.corruptionsFixed} corruptions`,
      '',
    );
  }
  const corruptions = result.corruptions - result.corruptionsFixed;
  const leaks = result.leaks - result.leaksFixed;
  if (corruptions > 0) {
    const harm = 'Data may be corrupted, or further writes to the image may corrupt it.';
    lines.push(`\n${corruptions} errors were found on the image.`, harm);
  }
  if (leaks > 0) {
    const harm = 'This means waste of disk space, but no harm to data.';
    lines.push(`\n${leaks} leaked clusters were found on the image.`, harm);
  }
  if (corruptions + leaks + result.checkErrors === 0) lines.push('No errors were found on the image.');
  const { totalClusters: total, allocatedClusters: allocated, fragmentedClusters, compressedClusters } = result;
  if (total > 0 && allocated > 0) {
    const percent = (part: number, whole: number) => `${((part * 100) / whole).toFixed(2)}%`;
    lines.push(
      `${allocated}/${total} = ${percent(allocated, total)} allocated, ` +
        `${percent(fragmentedClusters, allocated)} fragmented, ` +
        `${percent(compressedClusters, allocated)} compressed clusters`,
    );
  }
  if (result.imageEnd > 0) lines.push(`Image end offset: ${result.imageEnd}`);
  return lines.join('\n');
}

/** Under the names of QAPI's ImageCheck. */
export function checkInfo(file: string, result: CheckResult): Record<string, unknown> {
  const some = (name: string, value: number) => (value > 0 ? { [name]: value } : {});
  return {
    'image-end-offset': result.imageEnd,
    'total-clusters': result.totalClusters,
    'check-errors': result.checkErrors,
    ...some('corruptions', result.corruptions - result.corruptionsFixed),
    ...some('leaks', result.leaks - result.leaksFixed),
    ...some('corruptions-fixed', result.corruptionsFixed),
    ...some('leaks-fixed', result.leaksFixed),
    ...some('fragmented-clusters', result.fragmentedClusters),
    ...some('compressed-clusters', result.compressedClusters),
    'allocated-clusters': result.allocatedClusters,
    filename: file,
    format: 'qcow2',
  };
}

type Mapped = BlockStatus & { start: number };

/** The table of "qemu-img map": what is data. */
export function formatMap(entries: Iterable<Mapped>): string {
  const column = (text: string) => text.padEnd(16);
  const hex = (value: number) => column(value === 0 ? '0' : `0x${value.toString(16)}`);
  const lines = [`${column('Offset')}${column('Length')}${column('Mapped to')}File`];
  for (const { start, length, data, zero, offset, file } of entries) {
    if (!data || zero) continue;
    lines.push(`${hex(start)}${hex(length)}${offset === null ? column('compressed') : hex(offset)}${file}`);
  }
  return lines.join('\n');
}

/** Its JSON. */
export function formatMapJson(entries: Iterable<Mapped>): string {
  const lines = [];
  for (const { start, length, depth, present, zero, data, offset } of entries) {
    const where = offset === null ? '' : `, "offset": ${offset}`;
    lines.push(
      `{ "start": ${start}, "length": ${length}, "depth": ${depth}, "present": ${present}, "zero": ${zero}, ` +
        `"data": ${data}${where}}`,
    );
  }
  return `[${lines.join(',\n')}]`;
}
