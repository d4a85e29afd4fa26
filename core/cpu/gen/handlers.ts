/**
 * The interpreter's handlers: which instruction, in which length, with a target inside its page or not. Their numbers are
 * what slots hold.
 */
import { COMPRESSED, INSTRUCTIONS } from '../isa/table.ts';
import type { Insn } from '../isa/dsl.ts';

export type Handler = { id: number; insn: Insn; length: 2 | 4; local: boolean };

/** Handlers with fixed numbers that are no instruction. */
export const SPECIAL = { DECODE: 0, ILLEGAL: 1, PAGE_END: 2, STRADDLE: 3, JIT: 4 } as const;
const FIRST = 5;

/** Whether the target is known when the instruction is decoded, so that one inside the page can be resolved then. */
export function hasStaticTarget(insn: Insn): boolean {
  return insn.body.some((s) => s.s === 'branch' || s.s === 'jump');
}

function build(): Handler[] {
  const short = new Set(COMPRESSED.map((c) => c.base));
  const list: Handler[] = [];
  for (const insn of INSTRUCTIONS) {
    for (const length of [4, 2] as const) {
      if (length === 2 && !short.has(insn.name)) continue;
      for (const local of hasStaticTarget(insn) ? [true, false] : [false]) {
        list.push({ id: FIRST + list.length, insn, length, local });
      }
    }
  }
  return list;
}

export const HANDLERS: readonly Handler[] = build();

export function handlerOf(name: string, length: 2 | 4, local: boolean): Handler {
  const h = HANDLERS.find((x) => x.insn.name === name && x.length === length && x.local === local);
  if (h === undefined) throw new Error(`no handler for ${name}/${length}`);
  return h;
}
