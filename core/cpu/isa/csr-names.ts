/** Names of the control and status registers (privileged manual, chapter "CSR listing"). */

// prettier-ignore
const NAMED: readonly (readonly [number, string])[] = [
  [0x001, 'fflags'], [0x002, 'frm'], [0x003, 'fcsr'],
  [0x100, 'sstatus'], [0x104, 'sie'], [0x105, 'stvec'], [0x106, 'scounteren'], [0x10a, 'senvcfg'],
  [0x140, 'sscratch'], [0x141, 'sepc'], [0x142, 'scause'], [0x143, 'stval'], [0x144, 'sip'], [0x14d, 'stimecmp'],
  [0x150, 'siselect'], [0x151, 'sireg'], [0x15c, 'stopei'], [0xdb0, 'stopi'],
  [0x180, 'satp'],
  [0x300, 'mstatus'], [0x301, 'misa'], [0x302, 'medeleg'], [0x303, 'mideleg'], [0x304, 'mie'], [0x305, 'mtvec'],
  [0x306, 'mcounteren'], [0x30a, 'menvcfg'], [0x320, 'mcountinhibit'],
  [0x340, 'mscratch'], [0x341, 'mepc'], [0x342, 'mcause'], [0x343, 'mtval'], [0x344, 'mip'],
  [0x308, 'mvien'], [0x309, 'mvip'], [0x350, 'miselect'], [0x351, 'mireg'], [0x35c, 'mtopei'], [0xfb0, 'mtopi'],
  [0xb00, 'mcycle'], [0xb02, 'minstret'], [0xc00, 'cycle'], [0xc01, 'time'], [0xc02, 'instret'],
  [0xf11, 'mvendorid'], [0xf12, 'marchid'], [0xf13, 'mimpid'], [0xf14, 'mhartid'], [0xf15, 'mconfigptr'],
];

/** Numbered registers: first CSR number, count, prefix, first number, step of both. */
const NUMBERED: readonly (readonly [first: number, count: number, prefix: string, number: number, step: number])[] = [
  [0x323, 29, 'mhpmevent', 3, 1],
  [0x3a0, 8, 'pmpcfg', 0, 2],
  [0x3b0, 64, 'pmpaddr', 0, 1],
  [0xb03, 29, 'mhpmcounter', 3, 1],
  [0xc03, 29, 'hpmcounter', 3, 1],
];

const BY_NUMBER = new Map<number, string>(NAMED);
for (const [first, count, prefix, number, step] of NUMBERED) {
  for (let i = 0; i < count; i++) BY_NUMBER.set(first + i * step, `${prefix}${number + i * step}`);
}
const BY_NAME = new Map([...BY_NUMBER].map(([number, name]) => [name, number]));

/** Name of a CSR, or undefined when it has none that we know. */
export const csrName = (number: number): string | undefined => BY_NUMBER.get(number);
/** Number of a CSR, or undefined when there is none of that name. */
export const csrNumber = (name: string): number | undefined => BY_NAME.get(name);
