/** struct virtio_vsock_hdr (section 5.10.6). */
import * as spec from '../spec/vsock.ts';

export interface VsockPacket {
  srcCid: bigint;
  dstCid: bigint;
  srcPort: number;
  dstPort: number;
  length: number;
  type: number;
  op: number;
  flags: number;
  bufAlloc: number;
  fwdCnt: number;
}

/** @param bytes a private copy of VSOCK_HDR_BYTES */
export function parseHeader(bytes: Uint8Array): VsockPacket {
  const data = new DataView(bytes.buffer, bytes.byteOffset, spec.VSOCK_HDR_BYTES);
  return {
    srcCid: data.getBigUint64(spec.VSOCK_HDR_SRC_CID, true),
    dstCid: data.getBigUint64(spec.VSOCK_HDR_DST_CID, true),
    srcPort: data.getUint32(spec.VSOCK_HDR_SRC_PORT, true),
    dstPort: data.getUint32(spec.VSOCK_HDR_DST_PORT, true),
    length: data.getUint32(spec.VSOCK_HDR_LEN, true),
    type: data.getUint16(spec.VSOCK_HDR_TYPE, true),
    op: data.getUint16(spec.VSOCK_HDR_OP, true),
    flags: data.getUint32(spec.VSOCK_HDR_FLAGS, true),
    bufAlloc: data.getUint32(spec.VSOCK_HDR_BUF_ALLOC, true),
    fwdCnt: data.getUint32(spec.VSOCK_HDR_FWD_CNT, true),
  };
}

export function writeHeader(bytes: Uint8Array, packet: VsockPacket): void {
  const data = new DataView(bytes.buffer, bytes.byteOffset, spec.VSOCK_HDR_BYTES);
  data.setBigUint64(spec.VSOCK_HDR_SRC_CID, packet.srcCid, true);
  data.setBigUint64(spec.VSOCK_HDR_DST_CID, packet.dstCid, true);
  data.setUint32(spec.VSOCK_HDR_SRC_PORT, packet.srcPort, true);
  data.setUint32(spec.VSOCK_HDR_DST_PORT, packet.dstPort, true);
  data.setUint32(spec.VSOCK_HDR_LEN, packet.length, true);
  data.setUint16(spec.VSOCK_HDR_TYPE, packet.type, true);
  data.setUint16(spec.VSOCK_HDR_OP, packet.op, true);
  data.setUint32(spec.VSOCK_HDR_FLAGS, packet.flags, true);
  data.setUint32(spec.VSOCK_HDR_BUF_ALLOC, packet.bufAlloc, true);
  data.setUint32(spec.VSOCK_HDR_FWD_CNT, packet.fwdCnt, true);
}
