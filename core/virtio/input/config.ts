/** What an input device answers to a selection (virtio 1.3, section 5.8.4). */
import {
  BUS_VIRTUAL,
  VIRTIO_INPUT_CFG_ABS_INFO,
  VIRTIO_INPUT_CFG_EV_BITS,
  VIRTIO_INPUT_CFG_ID_DEVIDS,
  VIRTIO_INPUT_CFG_ID_NAME,
  VIRTIO_INPUT_CFG_ID_SERIAL,
} from '../spec/input.ts';
import type { InputModel } from './models.ts';

/** QEMU's vendor id for its USB tablets and the like. */
const VENDOR = 0x0627;

/** The bytes of the union, at most 128; none for what the device does not have (section 5.8.5.2). */
export function inputConfig(model: InputModel, serial: string, select: number, subsel: number): Uint8Array {
  switch (select) {
    case VIRTIO_INPUT_CFG_ID_NAME:
      return subsel === 0 ? Buffer.from(model.name) : NOTHING;
    case VIRTIO_INPUT_CFG_ID_SERIAL:
      return subsel === 0 ? Buffer.from(serial) : NOTHING;
    case VIRTIO_INPUT_CFG_ID_DEVIDS:
      return subsel === 0 ? bytesOf(Uint16Array.of(BUS_VIRTUAL, VENDOR, model.product, model.version)) : NOTHING;
    case VIRTIO_INPUT_CFG_EV_BITS: {
      const codes = model.codes.get(subsel);
      return codes ? bitmap(codes) : NOTHING;
    }
    case VIRTIO_INPUT_CFG_ABS_INFO: {
      const axis = model.axes.get(subsel);
      return axis ? bytesOf(Int32Array.of(axis.min, axis.max, axis.fuzz, axis.flat, axis.res)) : NOTHING;
    }
  }
  // Of VIRTIO_INPUT_CFG_PROP_BITS no device here has any.
  return NOTHING;
}

const NOTHING = new Uint8Array(0);

/** As short as can be, but of one byte at least: a size of 0 says that the event type is not there. */
function bitmap(codes: readonly number[]): Uint8Array {
  const bits = new Uint8Array((Math.max(0, ...codes) >> 3) + 1);
  for (const code of codes) bits[code >> 3] |= 1 << (code & 7);
  return bits;
}

/** Little-endian, as are all hosts that we run on. */
function bytesOf(words: Uint16Array | Int32Array): Uint8Array {
  return new Uint8Array(words.buffer);
}
