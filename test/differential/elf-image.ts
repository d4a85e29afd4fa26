/** A program that both sides run: the bytes of an ELF file at their addresses. */

export const IMAGE_BASE = 0x80200000;

/** A program that both machines can run. */
export interface Image {
  entry: number;
  /** The ELF file; it lies in memory, from IMAGE_BASE on, as it is. */
  elf: Uint8Array;
  /** What the program writes to its standard output at its end. */
  output: number;
  outputSize: number;
  /** Bytes from IMAGE_BASE on that hold code and nothing that is written to; left out: 0. */
  codeEnd?: number;
}
