/** Kernel modules as ELF files (System V gABI; 64-bit, little-endian): reading sections, and removing idle symbols. */
import { RingsideError } from '../../../core/errors.ts';
import { badArchive } from '../archive/limits.ts';

const ELF_MAGIC = 0x7f454c46;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
/** Offsets in Elf64_Ehdr, Elf64_Shdr, Elf64_Sym and Elf64_Rela, with the sizes of each. */
const EHDR = { class: 4, data: 5, shoff: 40, shentsize: 58, shnum: 60, shstrndx: 62, size: 64 };
const SHDR = { name: 0, type: 4, offset: 24, length: 32, link: 40, info: 44, addralign: 48, size: 64 };
const SYM = { name: 0, info: 4, size: 24 };
const RELA = { symbol: 12, size: 24 };

const SHT_SYMTAB = 2;
const SHT_RELA = 4;
const SHT_NOBITS = 8;
const SHT_REL = 9;
const SHT_GROUP = 17;
const SHT_SYMTAB_SHNDX = 18;
/** Sections that number symbols in ways `stripModule` does not rewrite; RISC-V modules have none of them. */
const UNKNOWN_USERS: ReadonlySet<number> = new Set([SHT_REL, SHT_GROUP, SHT_SYMTAB_SHNDX]);
const STB_LOCAL = 0;
const STT_NOTYPE = 0;

export interface Section {
  readonly name: string;
  readonly type: number;
  readonly link: number;
  readonly align: number;
  /** A view of the file; empty for a section without bits in it. */
  readonly bytes: Uint8Array;
}

/**
 * The sections of an ELF file.
 * @param what the file, for messages
 * @throws RingsideError 'bad-image' when it is not a 64-bit little-endian ELF file, or one that runs past its end.
 */
export function readSections(elf: Uint8Array, what: string): Section[] {
  const file = dataView(elf);
  const bad = (): RingsideError => badArchive(`${what} is not a kernel module`);
  if (elf.length < EHDR.size || file.getUint32(0) !== ELF_MAGIC) throw bad();
  if (elf[EHDR.class] !== ELFCLASS64 || elf[EHDR.data] !== ELFDATA2LSB) throw bad();
  const table = Number(file.getBigUint64(EHDR.shoff, true));
  const count = file.getUint16(EHDR.shnum, true);
  if (file.getUint16(EHDR.shentsize, true) !== SHDR.size || table + count * SHDR.size > elf.length) throw bad();

  const headers = Array.from({ length: count }, (_, index) => {
    const at = table + index * SHDR.size;
    const type = file.getUint32(at + SHDR.type, true);
    const offset = Number(file.getBigUint64(at + SHDR.offset, true));
    const length = type === SHT_NOBITS ? 0 : Number(file.getBigUint64(at + SHDR.length, true));
    if (length > 0 && offset + length > elf.length) throw bad();
    return {
      nameAt: file.getUint32(at + SHDR.name, true),
      type,
      link: file.getUint32(at + SHDR.link, true),
      align: Number(file.getBigUint64(at + SHDR.addralign, true)),
      bytes: elf.subarray(length > 0 ? offset : 0, length > 0 ? offset + length : 0),
    };
  });
  const names = headers[file.getUint16(EHDR.shstrndx, true)]?.bytes;
  if (names === undefined) throw bad();
  return headers.map(({ nameAt, ...header }) => ({ name: stringAt(names, nameAt), ...header }));
}

/**
 * A module without the local labels that no relocation uses. Debian's riscv64 modules carry some 200,000 of them (ext4: 6
 * of 7 MiB), which the kernel's loader reads, hashes and copies at every load; the names of functions and data, which
 * stack traces show, stay. What comes after the sections, the signature, goes too, as it would no longer match.
 */
export function stripModule(elf: Uint8Array, what: string): Uint8Array {
  const sections = readSections(elf, what);
  const symtab = sections.findIndex(({ type }) => type === SHT_SYMTAB);
  const strtab = symtab < 0 ? undefined : sections[sections[symtab].link];
  if (strtab === undefined || sections.some(({ type }) => UNKNOWN_USERS.has(type))) return elf;

  const symbols = dataView(sections[symtab].bytes);
  const count = Math.floor(symbols.byteLength / SYM.size);
  const used = usedSymbols(sections, symtab, count, what);
  const isLocal = (index: number): boolean => symbols.getUint8(index * SYM.size + SYM.info) >> 4 === STB_LOCAL;
  const isLabel = (index: number): boolean =>
    isLocal(index) && (symbols.getUint8(index * SYM.size + SYM.info) & 0xf) === STT_NOTYPE;
  // Symbol 0 is the null symbol, which is a local label by its type.
  const kept = [...Array(count).keys()].filter((index) => index === 0 || used[index] === 1 || !isLabel(index));
  const renumbered = new Map(kept.map((old, index) => [old, index]));

  const contents = sections.map(({ bytes }) => bytes);
  const strings = new StringTable();
  contents[symtab] = Buffer.concat(
    kept.map((index) => {
      const symbol = Buffer.from(sections[symtab].bytes.subarray(index * SYM.size, (index + 1) * SYM.size));
      symbol.writeUInt32LE(strings.add(stringAt(strtab.bytes, symbol.readUInt32LE(SYM.name))), SYM.name);
      return symbol;
    }),
  );
  contents[sections[symtab].link] = strings.bytes();
  sections.forEach(({ type, link, bytes }, index) => {
    if (type !== SHT_RELA || link !== symtab) return;
    const relocations = Buffer.from(bytes);
    for (let at = 0; at + RELA.size <= relocations.length; at += RELA.size) {
      relocations.writeUInt32LE(renumbered.get(relocations.readUInt32LE(at + RELA.symbol))!, at + RELA.symbol);
    }
    contents[index] = relocations;
  });
  // sh_info of a symbol table is the index of its first symbol that is not local.
  return layOut(elf, sections, contents, { index: symtab, info: kept.filter(isLocal).length });
}

function usedSymbols(sections: readonly Section[], symtab: number, count: number, what: string): Uint8Array {
  const used = new Uint8Array(count);
  for (const { type, link, bytes } of sections) {
    if (type !== SHT_RELA || link !== symtab) continue;
    const relocations = dataView(bytes);
    for (let at = 0; at + RELA.size <= bytes.length; at += RELA.size) {
      const symbol = relocations.getUint32(at + RELA.symbol, true);
      if (symbol >= count) throw badArchive(`${what} is not a kernel module`);
      used[symbol] = 1;
    }
  }
  return used;
}

/** Writes the sections' new contents in the order they had, then the section headers. */
function layOut(
  elf: Uint8Array,
  sections: readonly Section[],
  contents: readonly Uint8Array[],
  symtab: { index: number; info: number },
): Uint8Array {
  const file = dataView(elf);
  const table = Number(file.getBigUint64(EHDR.shoff, true));
  const headers = Buffer.from(elf.subarray(table, table + sections.length * SHDR.size));
  const offsetOf = (index: number): number => Number(headers.readBigUInt64LE(index * SHDR.size + SHDR.offset));
  const order = [...sections.keys()].slice(1).sort((a, b) => offsetOf(a) - offsetOf(b) || a - b);

  const header = Buffer.from(elf.subarray(0, EHDR.size));
  const parts: Uint8Array[] = [header];
  let end = header.length;
  const pad = (align: number): void => {
    const gap = align > 1 ? (align - (end % align)) % align : 0;
    parts.push(new Uint8Array(gap));
    end += gap;
  };
  for (const index of order) {
    if (sections[index].bytes.length > 0) pad(sections[index].align);
    const at = index * SHDR.size;
    headers.writeBigUInt64LE(BigInt(end), at + SHDR.offset);
    if (sections[index].type !== SHT_NOBITS) {
      headers.writeBigUInt64LE(BigInt(contents[index].length), at + SHDR.length);
    }
    parts.push(contents[index]);
    end += contents[index].length;
  }
  headers.writeUInt32LE(symtab.info, symtab.index * SHDR.size + SHDR.info);
  pad(8);
  header.writeBigUInt64LE(BigInt(end), EHDR.shoff);
  return Buffer.concat([...parts, headers]);
}

class StringTable {
  readonly #offsets = new Map<string, number>([['', 0]]);
  readonly #parts: Buffer[] = [Buffer.alloc(1)];
  #size = 1;

  add(text: string): number {
    const known = this.#offsets.get(text);
    if (known !== undefined) return known;
    const offset = this.#size;
    const part = Buffer.from(`${text}\0`, 'latin1');
    this.#offsets.set(text, offset);
    this.#parts.push(part);
    this.#size += part.length;
    return offset;
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}

function stringAt(table: Uint8Array, offset: number): string {
  const end = table.indexOf(0, offset);
  return Buffer.from(table.subarray(offset, end < 0 ? table.length : end)).toString('latin1');
}

function dataView(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
