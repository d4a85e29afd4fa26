/** Writes compressed clusters, one behind the other in clusters of the file that they share. */
import { compress } from './compression.ts';
import type { Qcow2Disk } from './disk.ts';

export class CompressedWriter {
  readonly #disk: Qcow2Disk;
  /** Where the next one goes; 0 when a cluster must be taken first. */
  #next = 0;

  constructor(disk: Qcow2Disk) {
    this.#disk = disk;
  }

  /** Writes whole clusters (but at the end of the disk) to a place where there is nothing yet. */
  write(bytes: Uint8Array, offset: number): void {
    const { clusterSize } = this.#disk.image;
    for (let at = 0; at < bytes.length; at += clusterSize) {
      this.#writeCluster(bytes.subarray(at, at + clusterSize), offset + at);
    }
  }

  #writeCluster(bytes: Uint8Array, offset: number): void {
    const disk = this.#disk;
    const { image, mapping } = disk;
    const { clusterSize } = image;
    let cluster = bytes;
    if (bytes.length < clusterSize) {
      cluster = new Uint8Array(clusterSize);
      cluster.set(bytes);
    }
    const packed = compress(image.header.compression, cluster);
    const guest = offset / clusterSize;
    const entry = packed && this.#place(packed);
    if (!packed || !entry || mapping.entry(guest).hi !== 0 || mapping.entry(guest).lo !== 0) {
      disk.writev([bytes], offset);
      return;
    }
    const { offset: at } = mapping.compressedExtent(entry);
    image.file.write(packed, at);
    mapping.set(guest, entry);
  }

  /** The entry for so many bytes at a place that is counted as used; null when there is none. */
  #place(packed: Uint8Array): ReturnType<Qcow2Disk['mapping']['compressedEntry']> {
    const { image, mapping } = this.#disk;
    const { clusterSize, refcounts } = image;
    image.prepareChange();
    const current = Math.floor(this.#next / clusterSize);
    const room = this.#next === 0 ? 0 : (current + 1) * clusterSize - this.#next;
    const shareable = room > 0 && refcounts.get(current) < refcounts.max;
    let start = this.#next;
    if (shareable && packed.length <= room) {
      refcounts.add(current, 1, 1);
    } else {
      const { offset } = image.allocate(1);
      if (shareable && offset === (current + 1) * clusterSize) refcounts.add(current, 1, 1);
      else start = offset;
    }
    const end = start + packed.length;
    this.#next = end % clusterSize === 0 ? 0 : end;
    return mapping.compressedEntry(start, packed.length);
  }
}
