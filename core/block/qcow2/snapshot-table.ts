/** The table of internal snapshots, read and written (QEMU: docs/interop/qcow2.txt, "Snapshots"). */
import { RingsideError } from '../../errors.ts';
import type { ImageFile } from '../image-file.ts';
import type { Qcow2Header } from './header.ts';
import * as q from './layout.ts';

export interface Snapshot {
  l1Offset: number;
  /** Entries. */
  l1Size: number;
  readonly id: string;
  readonly name: string;
  /** Seconds since 1970, and nanoseconds. */
  readonly seconds: number;
  readonly nanoseconds: number;
  /** Guest time, nanoseconds. */
  readonly vmClock: bigint;
  /** Bytes of VM state in the image. */
  readonly vmStateSize: number;
  /** Bytes of the disk. */
  readonly diskSize: number;
  /** Instructions executed, -1n when that is not known. */
  readonly icount: bigint;
  /** Extra data that is not known here, as it was. */
  readonly unknownExtra: Uint8Array;
}

const FIXED_BYTES = 40;
const EXTRA_KNOWN_BYTES = 24;

/**
 * @returns the snapshots and the bytes that the table has
 * @throws RingsideError bad-image
 */
export function readSnapshots(file: ImageFile, header: Qcow2Header): { snapshots: Snapshot[]; bytes: number } {
  const snapshots: Snapshot[] = [];
  let at = header.snapshotsOffset;
  const bad = (problem: string): never => {
    throw new RingsideError('bad-image', `"${file.file}" is no sound qcow2 image: ${problem}.`);
  };
  const decoder = new TextDecoder();
  for (let i = 0; i < header.snapshotCount; i++) {
    if (at - header.snapshotsOffset > q.SNAPSHOT_TABLE_BYTES_MAX) bad('its snapshot table is too large');
    if (at >= file.size) bad('its snapshot table is behind its end');
    const fixed = new DataView(file.read(FIXED_BYTES, at).buffer);
    const idBytes = fixed.getUint16(12);
    const nameBytes = fixed.getUint16(14);
    const extraBytes = fixed.getUint32(36);
    if (extraBytes > q.SNAPSHOT_EXTRA_BYTES_MAX) bad(`snapshot ${i} has ${extraBytes} bytes of extra data`);
    const rest = file.read(extraBytes + idBytes + nameBytes, at + FIXED_BYTES);
    const extra = new DataView(rest.buffer, 0, extraBytes);
    const large = extraBytes >= 8 ? extra.getBigUint64(0) : 0n;
    const vmStateSize = Number(large === 0n ? BigInt(fixed.getUint32(32)) : large);
    const l1Offset = Number(fixed.getBigUint64(0));
    const l1Size = fixed.getUint32(8);
    const clusterSize = 2 ** header.clusterBits;
    if (l1Size * q.ENTRY_BYTES > q.L1_BYTES_MAX) bad(`snapshot ${i} has an L1 table of ${l1Size} entries`);
    if (l1Offset > q.OFFSET_MAX || l1Offset % clusterSize !== 0) bad(`the L1 table of snapshot ${i} is at ${l1Offset}`);
    snapshots.push({
      l1Offset,
      l1Size,
      id: decoder.decode(rest.subarray(extraBytes, extraBytes + idBytes)),
      name: decoder.decode(rest.subarray(extraBytes + idBytes)),
      seconds: fixed.getUint32(16),
      nanoseconds: fixed.getUint32(20),
      vmClock: fixed.getBigUint64(24),
      vmStateSize,
      diskSize: extraBytes >= 16 ? Number(extra.getBigUint64(8)) : header.size,
      icount: extraBytes >= 24 ? extra.getBigInt64(16) : -1n,
      unknownExtra: rest.slice(Math.min(extraBytes, EXTRA_KNOWN_BYTES), extraBytes),
    });
    at += Math.ceil((FIXED_BYTES + rest.length) / 8) * 8;
  }
  return { snapshots, bytes: at - header.snapshotsOffset };
}

/** The bytes of a table. */
export function formatSnapshots(snapshots: readonly Snapshot[]): Uint8Array {
  const encoder = new TextEncoder();
  const parts: Uint8Array[] = [];
  for (const snapshot of snapshots) {
    const id = encoder.encode(snapshot.id);
    const name = encoder.encode(snapshot.name);
    const extraBytes = EXTRA_KNOWN_BYTES + snapshot.unknownExtra.length;
    const bytes = new Uint8Array(Math.ceil((FIXED_BYTES + extraBytes + id.length + name.length) / 8) * 8);
    const out = new DataView(bytes.buffer);
    out.setBigUint64(0, BigInt(snapshot.l1Offset));
    out.setUint32(8, snapshot.l1Size);
    out.setUint16(12, id.length);
    out.setUint16(14, name.length);
    out.setUint32(16, snapshot.seconds);
    out.setUint32(20, snapshot.nanoseconds);
    out.setBigUint64(24, snapshot.vmClock);
    out.setUint32(32, snapshot.vmStateSize > 0xffff_ffff ? 0 : snapshot.vmStateSize);
    out.setUint32(36, extraBytes);
    out.setBigUint64(FIXED_BYTES, BigInt(snapshot.vmStateSize));
    out.setBigUint64(FIXED_BYTES + 8, BigInt(snapshot.diskSize));
    out.setBigInt64(FIXED_BYTES + 16, snapshot.icount);
    bytes.set(snapshot.unknownExtra, FIXED_BYTES + EXTRA_KNOWN_BYTES);
    bytes.set(id, FIXED_BYTES + extraBytes);
    bytes.set(name, FIXED_BYTES + extraBytes + id.length);
    parts.push(bytes);
  }
  return Buffer.concat(parts);
}
