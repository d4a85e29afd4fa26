/** A capture of a disk that never was: reads and writes by turns, at the sectors 1 to 8, some at once. */
import type { CaptureHeader } from '../../core/inspect/capture-format.ts';
import { CaptureWriter } from '../../core/inspect/capture-writer.ts';
import { queueDecoder } from '../../core/virtio/decoders.ts';
import { VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '../../core/virtio/spec/blk.ts';
import type { ByteSource } from '../../core/virtio/decoder.ts';

const SECTOR = 512;
const HEADER = 16;
/** ns from one request to the next. */
const EVERY = 20_000;
/** What is written, wherever it is written: 'A'. */
const FILL = 0x41;

/** @returns its header */
export function sampleCapture(file: string, count: number): CaptureHeader {
  const { purpose, types, statuses, detail } = queueDecoder('virtio-blk', 'requestq');
  const header: CaptureHeader = {
    device: 'drive0',
    type: 'virtio-blk',
    queue: 0,
    name: 'requestq',
    epoch: Date.UTC(2026, 0, 5, 9, 30),
    ring: { format: 'split', size: 128 },
    profile: { purpose, types: [...types], statuses: [...statuses], detail },
  };
  const writer = new CaptureWriter({ file, limit: 2 ** 30, keep: 4096, header, epoch: 0 });
  for (let index = 0; index < count; index++) {
    // The first writes of each sector come before its first read: an image of zeros replays it without a difference.
    const write = index < 8 || index % 2 === 0;
    const sector = 1 + (index % 8);
    const request = Buffer.alloc(HEADER + (write ? SECTOR : 0), FILL).fill(0, 0, HEADER);
    request.writeUInt32LE(write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 0);
    request.writeUInt32LE(sector, 8);
    const answer = Buffer.alloc(write ? 1 : SECTOR + 1, FILL);
    answer[answer.length - 1] = VIRTIO_BLK_S_OK;
    const seen = index * EVERY;
    const length = request.length + answer.length;
    const type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
    writer.request(
      [seen, seen + EVERY / 4, seen + 3 * EVERY, seen + 3 * EVERY],
      [(index * 3) % 128, index & 0xffff, length, answer.length, type, 0, sector, 0],
      bytes(request),
      bytes(answer),
    );
  }
  writer.close();
  return header;
}

function bytes(data: Uint8Array): ByteSource {
  return {
    length: data.length,
    copyOut: (offset, target, length = target.length) => {
      const part = data.subarray(offset, offset + Math.min(length, target.length));
      target.set(part);
      return part.length;
    },
  };
}
