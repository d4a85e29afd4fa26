/** Reference counts as a refcount block has them: 1 to 64 bits each. */
export interface RefcountField {
  /** What it holds at most; of 64 bits, what a number does. */
  readonly max: number;
  get(block: DataView, index: number): number;
  set(block: DataView, index: number, value: number): void;
}

/** @param order 0..6: 2 ** order bits */
export function refcountField(order: number): RefcountField {
  const bits = 2 ** order;
  const max = Math.min(2 ** bits - 1, Number.MAX_SAFE_INTEGER);
  switch (order) {
    case 3:
      return { max, get: (block, i) => block.getUint8(i), set: (block, i, value) => block.setUint8(i, value) };
    case 4:
      return {
        max,
        get: (block, i) => block.getUint16(2 * i),
        set: (block, i, value) => block.setUint16(2 * i, value),
      };
    case 5:
      return {
        max,
        get: (block, i) => block.getUint32(4 * i),
        set: (block, i, value) => block.setUint32(4 * i, value),
      };
    case 6:
      return {
        max,
        get: (block, i) => Number(block.getBigUint64(8 * i)),
        set: (block, i, value) => block.setBigUint64(8 * i, BigInt(value)),
      };
    default: {
      const perByte = 8 / bits;
      return {
        max,
        get: (block, i) => (block.getUint8(Math.floor(i / perByte)) >> (bits * (i % perByte))) & max,
        set: (block, i, value) => {
          const at = Math.floor(i / perByte);
          const shift = bits * (i % perByte);
          block.setUint8(at, (block.getUint8(at) & ~(max << shift)) | (value << shift));
        },
      };
    }
  }
}
