/**
 * Random instruction sequences, made from the instruction table. A sequence is a list of units; a unit is one instruction, or
 * a few that only make sense together, and can be left out without making the others do harm: that is how a failing
 * sequence is minimised.
 */
import type { Compressed, Insn } from '../../core/cpu/isa/dsl.ts';
import { BY_NAME, COMPRESSED, INSTRUCTIONS } from '../../core/cpu/isa/table.ts';
import { immFits, immMask, lookUp, sizeOf } from '../harness/asm.ts';
import type { Fields } from '../harness/asm.ts';
import { floatRegister, integer } from './random.ts';
import type { Random } from './random.ts';

/** One instruction of a unit. */
export interface Piece {
  name: string;
  fields: Fields;
  /** Bits to be set beside the operands (fence's sets). */
  bits?: number;
  /** The immediate is the distance from the piece `from` places back to the first unit whose id is at least `unit`. */
  target?: { unit: number; from: number; plus: number };
}

export interface Unit {
  id: number;
  pieces: Piece[];
  /** Units of one loop go together. */
  loop?: number;
}

export interface Sequence {
  units: Unit[];
  /** fcsr, x1 .. x31, f0 .. f31 at the start. What goes into x3 is not kept. */
  state: bigint[];
  /** Seed of the window's contents. */
  memorySeed: number;
}

/** Bytes of memory of its own that a sequence may touch, with a page boundary in the middle. */
export const WINDOW = 4096;
/** Registers with a purpose: never written by a sequence, but read by it. */
export const SP = 2;
export const LINK = 3;
const COUNTER = 4;
/** Bases of memory accesses: sp and s0 aligned to 8, s1 anywhere, a5 to 64 (for atomics, which have no offset). */
const BASES = [SP, 8, 9, 15];
const ATOMIC_BASE = 15;
const PINNED = new Set([SP, LINK, COUNTER, 8, 9, 15]);

/** Extensions that a comparison with another user-mode emulator can cover. */
export const UNPRIVILEGED = [
  'i',
  'm',
  'a',
  'f',
  'd',
  'c',
  'zicsr',
  'zifencei',
  'zba',
  'zbb',
  'zbc',
  'zbs',
  'zicond',
  'zfa',
  'zicboz',
];
/** What a user program cannot have or must not do. */
const EXCLUDED = new Set(['ecall', 'ebreak', 'c.ebreak', 'cbo.inval']);

/** fcsr and its parts: the only registers whose contents are the same everywhere. */
const FFLAGS = 1;
const FRM = 2;
const FCSR = 3;

type Kind = 'plain' | 'load' | 'store' | 'branch' | 'jump' | 'jumpReg' | 'atomic' | 'csr' | 'fence' | 'block';

function kindOf(insn: Insn): Kind {
  const last = insn.body[insn.body.length - 1];
  switch (last?.s) {
    case 'load':
      return 'load';
    case 'store':
      return 'store';
    case 'branch':
      return 'branch';
    case 'jump':
      return 'jump';
    case 'jumpReg':
      return 'jumpReg';
    case 'amo':
    case 'loadReserved':
    case 'storeConditional':
      return 'atomic';
    case 'system':
      if (last.fn === 'execCsr') return 'csr';
      if (last.fn === 'execCbo') return 'block';
      if (last.fn === 'execFence' || last.fn === 'execFenceI') return 'fence';
      throw new Error(`${insn.name} is not for sequences`);
    default:
      return 'plain';
  }
}

interface Choice {
  insn: Insn | Compressed;
  kind: Kind;
}

export class Generator {
  readonly #random: Random;
  readonly #choices: Choice[][];
  /** Address of the window's middle while a sequence is made. */
  #centre = 0;
  #base: number[] = [];
  #hot: number[] = [];
  #nextId = 0;

  /**
   * @param extensions those whose instructions may occur
   * @param without names of instructions that may not
   */
  constructor(random: Random, extensions: readonly string[], without: readonly string[] = []) {
    this.#random = random;
    const has = new Set(extensions);
    const excluded = new Set([...EXCLUDED, ...without]);
    const wide = INSTRUCTIONS.filter((i) => has.has(i.ext) && !excluded.has(i.name));
    const narrow = COMPRESSED.filter(
      (c) => has.has(c.ext) && has.has(BY_NAME.get(c.base)!.ext) && !excluded.has(c.name),
    );
    const choices: Choice[] = [
      ...wide.map((insn) => ({ insn, kind: kindOf(insn) })),
      ...narrow.map((insn) => ({ insn, kind: kindOf(BY_NAME.get(insn.base)!) })),
    ];
    // An extension is as likely as another, whatever the number of its instructions; i, m and c more so.
    const groups = new Map<string, Choice[]>();
    for (const c of choices) groups.set(c.insn.ext, [...(groups.get(c.insn.ext) ?? []), c]);
    const rare = new Set(['zifencei', 'zicboz', 'zicbom', 'zicond']);
    this.#choices = [...groups].flatMap(([ext, list]) =>
      Array.from({ length: ext === 'i' ? 5 : rare.has(ext) ? 1 : 3 }, () => list),
    );
  }

  /** @param centre address of the page boundary in the middle of the window */
  sequence(centre: number): Sequence {
    const random = this.#random;
    this.#centre = centre;
    this.#hot = Array.from({ length: 8 }, () => random.below(32));
    this.#base = [];
    this.#base[SP] = centre + 16 * random.between(-100, 60);
    this.#base[8] = centre + 8 * random.between(-64, 64);
    this.#base[9] = centre + random.between(-1100, 1100);
    this.#base[15] = centre + 64 * random.between(-16, 16);
    this.#nextId = 0;

    const units: Unit[] = [];
    const count = random.between(8, 40);
    while (units.length < count) {
      if (random.chance(0.03) && units.length + 4 < count) {
        const loop = this.#nextId;
        units.push(this.#unit([{ name: 'addi', fields: { rd: COUNTER, imm: random.between(1, 5) } }], loop));
        for (let i = random.between(1, 3); i > 0; i--) units.push(this.#random1());
        units.push(
          this.#unit(
            [
              { name: 'addi', fields: { rd: COUNTER, rs1: COUNTER, imm: -1 } },
              { name: 'blt', fields: { rs1: 0, rs2: COUNTER }, target: { unit: loop + 1, from: 0, plus: 0 } },
            ],
            loop,
          ),
        );
      } else units.push(this.#random1());
    }

    const state = [BigInt(random.below(5) << 5) | BigInt(random.chance(0.3) ? random.below(32) : 0)];
    for (let x = 1; x < 32; x++)
      state.push(random.chance(0.15) ? BigInt(random.pick(BASES.map((b) => this.#base[b]!))) : integer(random));
    for (const base of BASES) state[base] = BigInt(this.#base[base]!);
    state[COUNTER] = BigInt(random.between(0, 3));
    for (let f = 0; f < 32; f++) state.push(floatRegister(random));
    return { units, state, memorySeed: random.u32() };
  }

  #unit(pieces: Piece[], loop?: number): Unit {
    return { id: this.#nextId++, pieces, ...(loop === undefined ? {} : { loop }) };
  }

  #random1(): Unit {
    for (;;) {
      const choice = this.#random.pick(this.#random.pick(this.#choices));
      const pieces = this.#pieces(choice);
      if (pieces !== null) return this.#unit(pieces);
    }
  }

  /** A register of a file, one of few more often than not, so that results are used. */
  #register(): number {
    return this.#random.chance(0.7) ? this.#random.pick(this.#hot) : this.#random.below(32);
  }
  #destination(): number {
    for (;;) {
      const r = this.#register();
      if (!PINNED.has(r)) return r;
    }
  }

  /** Random registers for every register operand, or null when a fixed or chosen destination has another purpose. */
  #registers(insn: Insn | Compressed): Fields | null {
    const fields: Fields = {};
    for (const name of ['rd', 'rs1', 'rs2', 'rs3'] as const) {
      const field = insn.operands[name];
      if (field === undefined || 'fixed' in field) continue;
      let number = this.#register();
      if (field.width === 3) number = 8 + (number & 7);
      fields[name] = number;
    }
    const { rd, rs1 } = insn.operands;
    // Compressed instructions often have one field for destination and source.
    if (rd !== undefined && rs1 !== undefined && !('fixed' in rd) && !('fixed' in rs1) && rd.lo === rs1.lo) {
      const shared = this.#destination();
      fields.rd = fields.rs1 = rd.width === 3 ? 8 + (shared & 7) : shared;
    }
    if (rd?.file !== 'x') return fields;
    const number = 'fixed' in rd ? rd.fixed : fields.rd!;
    if (!PINNED.has(number)) return fields;
    if ('fixed' in rd || rd.width === 3) return null;
    fields.rd = this.#destination();
    return fields;
  }

  #immediate(insn: Insn | Compressed): number {
    const field = insn.operands.imm!;
    const mask = immMask(field);
    const bits = this.#random.chance(0.2)
      ? this.#random.pick([0, -1, 1 << (field.width - 1), 2 ** (field.width - 1) - 1])
      : this.#random.u32();
    const value = bits & mask;
    if (field.signed) return field.width === 32 ? value : (value << (32 - field.width)) >> (32 - field.width);
    return value & (2 ** field.width - 1);
  }

  /** An address in the window for an access of `bytes`: often aligned, often across the page boundary. */
  #address(bytes: number, aligned: boolean): number {
    const random = this.#random;
    const at = random.chance(0.3)
      ? this.#centre + random.between(-bytes, bytes)
      : this.#centre + random.between(-WINDOW / 2, WINDOW / 2 - bytes);
    const address = aligned || random.chance(0.6) ? at - (((at % bytes) + bytes) % bytes) : at;
    return Math.min(address, this.#centre + WINDOW / 2 - bytes);
  }

  #inWindow(address: number, bytes: number): boolean {
    return address >= this.#centre - WINDOW / 2 && address + bytes <= this.#centre + WINDOW / 2;
  }

  /** Base register and offset of a load or store. */
  #memoryOperand(insn: Insn | Compressed, bytes: number): Fields | null {
    const field = insn.operands.imm!;
    const base = insn.operands.rs1!;
    for (let tries = 0; tries < 20; tries++) {
      const rs1 = 'fixed' in base ? base.fixed : this.#random.pick(base.width === 3 ? [8, 9, 15] : BASES);
      const at = this.#base[rs1]!;
      const imm = tries < 10 ? this.#address(bytes, false) - at : this.#immediate(insn);
      if (immFits(field, imm) && this.#inWindow(at + imm, bytes)) return 'fixed' in base ? { imm } : { rs1, imm };
    }
    return null;
  }

  /** The unit to jump to: one of the next few. */
  #target(): number {
    return this.#nextId + this.#random.between(1, 8);
  }

  #pieces({ insn, kind }: Choice): Piece[] | null {
    const random = this.#random;
    const { name } = insn;
    const base = 'base' in insn ? BY_NAME.get(insn.base)! : insn;
    if (name === 'c.addi16sp') {
      const imm = 16 * (random.between(1, 31) * (random.chance(0.5) ? 1 : -1));
      return [
        { name, fields: { imm } },
        { name: 'c.mv', fields: { rd: this.#destination() || 1, rs2: SP } },
        { name, fields: { imm: -imm } },
      ];
    }
    const fields = this.#registers(insn);
    if (fields === null) return null;
    const last = base.body[base.body.length - 1]!;
    switch (kind) {
      case 'load':
      case 'store': {
        const operand = this.#memoryOperand(insn, last.s === 'load' || last.s === 'store' ? last.bytes : 8);
        return operand && this.#checked([{ name, fields: { ...fields, ...operand } }]);
      }
      case 'branch':
      case 'jump':
        return [{ name, fields, target: { unit: this.#target(), from: 0, plus: 0 } }];
      case 'jumpReg':
        return this.#indirect(name, fields);
      case 'atomic':
        return this.#atomic(insn as Insn, fields);
      case 'block': {
        const operand = random.pick([8, 9, 15]);
        return [{ name, fields: { rs1: operand } }];
      }
      case 'csr':
        return this.#csr(name, fields);
      case 'fence':
        return [{ name, fields: {}, ...(name === 'fence' ? { bits: (random.below(256) << 20) >>> 0 } : {}) }];
      case 'plain': {
        if (insn.operands.imm !== undefined) fields.imm = this.#immediate(insn);
        if (base.rm && !('base' in insn)) fields.rm = random.chance(0.5) ? 7 : random.below(5);
        // QEMU 10 drops an fround whose result nobody reads, and its flags with it.
        if (name.startsWith('fround'))
          return [
            { name, fields },
            { name: 'fsd', fields: { rs1: ATOMIC_BASE, rs2: fields.rd! } },
          ];
        return this.#checked([{ name, fields }]);
      }
    }
  }

  /** Null when an operand that must not be zero is. */
  #checked(pieces: Piece[]): Piece[] | null {
    const { name, fields } = pieces[0]!;
    const insn = lookUp(name);
    if (!('base' in insn)) return pieces;
    const shown: Fields = fields;
    const zero = (mask: number): boolean => {
      let bits = 0;
      for (const reg of ['rd', 'rs1', 'rs2'] as const) {
        const field = insn.operands[reg];
        if (field !== undefined && !('fixed' in field)) bits |= ((shown[reg] ?? 0) - field.base) << field.lo;
      }
      if (insn.operands.imm !== undefined) {
        for (const [hi, lo, at] of insn.operands.imm.segments)
          bits |= (((shown.imm ?? 0) >> at) & (2 ** (hi - lo + 1) - 1)) << lo;
      }
      return (bits & mask) === 0;
    };
    return insn.nonzero.some(zero) ? null : pieces;
  }

  #indirect(name: string, fields: Fields): Piece[] {
    const target = this.#target();
    let via = this.#destination();
    if (via === 0) via = 5;
    const auipc: Piece = { name: 'auipc', fields: { rd: via } };
    // The low bit of the sum is dropped.
    const plus = this.#random.below(2);
    if (name === 'jalr')
      return [auipc, { name, fields: { rd: fields.rd!, rs1: via }, target: { unit: target, from: 1, plus } }];
    return [
      auipc,
      { name: 'addi', fields: { rd: via, rs1: via }, target: { unit: target, from: 1, plus } },
      { name, fields: { rs1: via } },
    ];
  }

  /** An aligned address in the window for atomics: in a register, by an instruction of its own, or the base. */
  #atomicAddress(bytes: number): { rs1: number; pieces: Piece[] } {
    const imm = this.#random.chance(0.5) ? this.#address(bytes, true) - this.#base[ATOMIC_BASE]! : 0;
    if (imm === 0 || imm < -2048 || imm > 2047) return { rs1: ATOMIC_BASE, pieces: [] };
    const rs1 = this.#destination() || 5;
    return { rs1, pieces: [{ name: 'addi', fields: { rd: rs1, rs1: ATOMIC_BASE, imm } }] };
  }

  #atomic(insn: Insn, fields: Fields): Piece[] {
    const random = this.#random;
    const bytes = insn.name.includes('.w') ? 4 : 8;
    const aqrl = random.below(4);
    const { rs1, pieces } = this.#atomicAddress(bytes);
    if (!insn.name.startsWith('sc')) return [...pieces, { name: insn.name, fields: { ...fields, rs1, aqrl } }];
    // A store-conditional comes with its load-reserved: of another width, it may or may not succeed (unprivileged manual 14.2).
    const suffix = bytes === 4 ? 'w' : 'd';
    const loaded = this.#destination();
    const reserved = random.chance(0.8) ? rs1 : ATOMIC_BASE;
    pieces.push({
      name: `lr.${suffix}`,
      fields: { rd: loaded === rs1 ? 0 : loaded, rs1: reserved, aqrl: random.below(4) },
    });
    if (random.chance(0.3)) pieces.push({ name: `s${suffix}`, fields: { rs1, rs2: this.#register() } });
    if (random.chance(0.5) && loaded !== rs1)
      pieces.push({ name: 'addi', fields: { rd: loaded, rs1: loaded, imm: random.between(-5, 5) } });
    const rd = this.#destination();
    pieces.push({ name: insn.name, fields: { rd, rs1, rs2: random.chance(0.5) ? loaded : fields.rs2!, aqrl } });
    // A second one never succeeds.
    if (rd !== rs1 && random.chance(0.3))
      pieces.push({ name: insn.name, fields: { rd: this.#destination(), rs1, rs2: fields.rs2! } });
    return pieces;
  }

  /** Rounding modes that do not exist must not get into frm: the next instruction that rounds would be illegal. */
  #csr(name: string, fields: Fields): Piece[] {
    const random = this.#random;
    const rd = fields.rd!;
    const isImmediate = name.endsWith('i');
    if (name.startsWith('csrrw')) {
      if (!isImmediate) return [{ name, fields: { rd, rs1: fields.rs1!, imm: FFLAGS } }];
      const imm = random.pick([FFLAGS, FRM, FCSR]);
      return [{ name, fields: { rd, imm, uimm: imm === FRM ? random.below(5) : random.below(32) } }];
    }
    if (isImmediate) return [{ name, fields: { rd, imm: random.pick([FFLAGS, FCSR]), uimm: random.below(32) } }];
    // With x0 they read only.
    if (random.chance(0.4)) return [{ name, fields: { rd, rs1: 0, imm: random.pick([FFLAGS, FRM, FCSR]) } }];
    return [{ name, fields: { rd, rs1: fields.rs1!, imm: FFLAGS } }];
  }
}

/** Bytes of a unit. */
export const unitSize = (unit: Unit): number => unit.pieces.reduce((n, p) => n + sizeOf(lookUp(p.name)), 0);
