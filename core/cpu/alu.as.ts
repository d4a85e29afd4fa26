/** Integer operations that WebAssembly has no operator for. */

export function mulhu(a: u64, b: u64): u64 {
  const al = a & 0xffffffff;
  const ah = a >> 32;
  const bl = b & 0xffffffff;
  const bh = b >> 32;
  const ll = al * bl;
  const lh = al * bh;
  const hl = ah * bl;
  const mid = (ll >> 32) + (lh & 0xffffffff) + (hl & 0xffffffff);
  return ah * bh + (lh >> 32) + (hl >> 32) + (mid >> 32);
}

export function mulh(a: u64, b: u64): u64 {
  return mulhu(a, b) - ((<i64>a) < 0 ? b : 0) - ((<i64>b) < 0 ? a : 0);
}

export function mulhsu(a: u64, b: u64): u64 {
  return mulhu(a, b) - ((<i64>a) < 0 ? b : 0);
}

/** Each byte becomes 0xff if it has any bit set, else 0 (Zbb orc.b). */
export function orcB(a: u64): u64 {
  // Carry-free test for a nonzero byte: bit 7 of ((b & 0x7f) + 0x7f) | b.
  const top = (((a & 0x7f7f7f7f7f7f7f7f) + 0x7f7f7f7f7f7f7f7f) | a) & 0x8080808080808080;
  return (top - (top >> 7)) | top;
}

export function rev8(a: u64): u64 {
  return bswap<u64>(a);
}

/** Low half of the carry-less product. */
export function clmul(a: u64, b: u64): u64 {
  let r: u64 = 0;
  while (b != 0) {
    r ^= a << ctz(b);
    b &= b - 1;
  }
  return r;
}

/** Bits 126..63 of the carry-less product. */
export function clmulr(a: u64, b: u64): u64 {
  let r: u64 = 0;
  while (b != 0) {
    r ^= a >> (63 - ctz(b));
    b &= b - 1;
  }
  return r;
}

/** High half of the carry-less product. */
export function clmulh(a: u64, b: u64): u64 {
  return clmulr(a, b) >> 1;
}
