/** The floating-point unit's operations as the tests see them: one line each, from which both sides are generated. */

/** What an operand or result is: a register holding a single (s) or a double (d), or an integer register (x). */
export type Kind = 's' | 'd' | 'x';

export interface Op {
  /** Name of the exported function. */
  name: string;
  operands: Kind[];
  result: Kind;
  /** Takes a rounding mode. */
  rounds: boolean;
  /** Assembler mnemonic; absent for Zfa, which Debian's assembler and qemu do not know. */
  mnemonic?: string;
}

const op = (name: string, signature: string, rounds: boolean, mnemonic?: string): Op => {
  const [operands, result] = signature.split('>');
  return { name, operands: [...operands] as Kind[], result: result as Kind, rounds, mnemonic };
};

function both(make: (f: 's' | 'd', F: 'S' | 'D') => Op[]): Op[] {
  return [...make('s', 'S'), ...make('d', 'D')];
}

export const fdOps: Op[] = both((f, F) => [
  ...['fadd', 'fsub', 'fmul', 'fdiv'].map((n) => op(`${n}${F}`, `${f}${f}>${f}`, true, `${n}.${f}`)),
  op(`fsqrt${F}`, `${f}>${f}`, true, `fsqrt.${f}`),
  ...['fmadd', 'fmsub', 'fnmsub', 'fnmadd'].map((n) => op(`${n}${F}`, `${f}${f}${f}>${f}`, true, `${n}.${f}`)),
  ...['fmin', 'fmax', 'fsgnj', 'fsgnjn', 'fsgnjx'].map((n) => op(`${n}${F}`, `${f}${f}>${f}`, false, `${n}.${f}`)),
  ...['feq', 'flt', 'fle'].map((n) => op(`${n}${F}`, `${f}${f}>x`, false, `${n}.${f}`)),
  op(`fclass${F}`, `${f}>x`, false, `fclass.${f}`),
  ...['W', 'Wu', 'L', 'Lu'].flatMap((i) => [
    op(`fcvt${i}${F}`, `${f}>x`, true, `fcvt.${i.toLowerCase()}.${f}`),
    op(`fcvt${F}${i}`, `x>${f}`, true, `fcvt.${f}.${i.toLowerCase()}`),
  ]),
]).concat([op('fcvtSD', 'd>s', true, 'fcvt.s.d'), op('fcvtDS', 's>d', true, 'fcvt.d.s')]);

export const zfaOps: Op[] = both((f, F) => [
  ...['fminm', 'fmaxm'].map((n) => op(`${n}${F}`, `${f}${f}>${f}`, false)),
  ...['fltq', 'fleq'].map((n) => op(`${n}${F}`, `${f}${f}>x`, false)),
  ...['fround', 'froundnx'].map((n) => op(`${n}${F}`, `${f}>${f}`, true)),
]).concat([op('fcvtmodWD', 'd>x', false)]);

export const allOps: Op[] = [...fdOps, ...zfaOps];

export const roundingModes = ['RNE', 'RTZ', 'RDN', 'RUP', 'RMM'] as const;
