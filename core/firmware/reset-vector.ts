/**
 * The mask ROM at 0x1000: the code with which every hart begins in M-mode, and the information that OpenSBI's fw_dynamic
 * firmware takes in a2 (OpenSBI docs/firmware/fw_dynamic.md). Same registers and same layout as QEMU's virt board.
 */

const T0 = 5;
const A0 = 10;
const A1 = 11;
const A2 = 12;
const CSR_MHARTID = 0xf14;

const OPCODE_AUIPC = 0x17;
const OPCODE_ADDI = 0x13;
const OPCODE_LOAD = 0x03;
const OPCODE_JALR = 0x67;
const OPCODE_SYSTEM = 0x73;
const FUNCT3_LD = 3;
const FUNCT3_CSRRS = 2;

const iType = (opcode: number, funct3: number, rd: number, rs1: number, immediate: number): number =>
  ((immediate << 20) | (rs1 << 15) | (funct3 << 12) | (rd << 7) | opcode) >>> 0;
const auipc = (rd: number): number => ((rd << 7) | OPCODE_AUIPC) >>> 0;
const addi = (rd: number, rs1: number, immediate: number): number => iType(OPCODE_ADDI, 0, rd, rs1, immediate);
const ld = (rd: number, rs1: number, offset: number): number => iType(OPCODE_LOAD, FUNCT3_LD, rd, rs1, offset);
const csrr = (rd: number, csr: number): number => iType(OPCODE_SYSTEM, FUNCT3_CSRRS, rd, 0, csr);
const jr = (rs1: number): number => iType(OPCODE_JALR, 0, 0, rs1, 0);

/** Offsets in the ROM. */
const START_AT = 0x18;
const FDT_AT = 0x20;
const DYNAMIC_INFO_AT = 0x28;

/** "OSBI" */
const DYNAMIC_INFO_MAGIC = 0x4942534fn;
const DYNAMIC_INFO_VERSION = 2n;
const NEXT_MODE_S = 1n;
const ANY_HART = 0n;

export interface ResetVectorOptions {
  /** Where the reset code jumps: firmware, or an M-mode kernel. Guest physical. */
  start: number;
  /** What a1 holds there. */
  fdt: number;
  /** Where the firmware goes on, in S-mode: fw_dynamic's next_addr. */
  next: number;
}

/** The ROM's bytes from guest physical MROM_PHYS on; what follows is zeros. */
export function makeResetVector({ start, fdt, next }: ResetVectorOptions): Uint8Array {
  const code = [
    auipc(T0),
    addi(A2, T0, DYNAMIC_INFO_AT),
    csrr(A0, CSR_MHARTID),
    ld(A1, T0, FDT_AT),
    ld(T0, T0, START_AT),
    jr(T0),
  ];
  const data = [start, fdt].map(BigInt);
  const info = [DYNAMIC_INFO_MAGIC, DYNAMIC_INFO_VERSION, BigInt(next), NEXT_MODE_S, 0n, ANY_HART];
  const rom = new Uint8Array(START_AT + (data.length + info.length) * 8);
  const view = new DataView(rom.buffer);
  code.forEach((word, index) => view.setUint32(index * 4, word, true));
  [...data, ...info].forEach((word, index) => view.setBigUint64(START_AT + index * 8, word, true));
  return rom;
}
