/**
 * What regions call through the function table: a helper's place in HELPERS is its place in the table (FN_HELPERS in
 * core/cpu/jit/abi.ts). All are exports of the engine; print-helpers.ts prints those that come from the
 * instruction table.
 */
import type { Expr, Stmt } from '../isa/dsl.ts';
import { INSTRUCTIONS } from '../isa/table.ts';

export interface Helper {
  name: string;
  params: ('i32' | 'i64')[];
  result: 'i32' | 'i64' | null;
}

type Atomic = Extract<Stmt, { s: 'amo' | 'loadReserved' | 'storeConditional' }>;

function isAtomic(s: Stmt): s is Atomic {
  return s.s === 'amo' || s.s === 'loadReserved' || s.s === 'storeConditional';
}

/** Helper of an atomic instruction: (block, va, value) -> what goes into rd. */
export const atomicHelper = (insnName: string): string => `jit_${insnName.replaceAll('.', '_')}`;

export const ATOMICS: { name: string; stmt: Atomic }[] = INSTRUCTIONS.flatMap(({ name, body }) =>
  body.filter(isAtomic).map((stmt) => ({ name: atomicHelper(name), stmt })),
);

/** Engine functions that meanings call, in the table's order. */
function calledFunctions(): Helper[] {
  const found = new Map<string, Helper>();
  const visit = (e: Expr): void => {
    if (e.k === 'call' && !found.has(e.fn))
      found.set(e.fn, { name: e.fn, params: e.a.map((a) => a.type), result: 'i64' });
    if (e.k === 'op' || e.k === 'call') e.a.forEach(visit);
    if (e.k === 'select' || e.k === 'if') [e.cond, e.a, e.b].forEach(visit);
  };
  for (const { body } of INSTRUCTIONS) {
    for (const s of body) {
      if (s.s === 'let' || s.s === 'set') visit(s.e);
      else if (s.s === 'branch') visit(s.cond);
      else if (s.s === 'load' || s.s === 'store') visit(s.addr);
    }
  }
  return [...found.values()];
}

export const CALLS = calledFunctions();

export const HELPERS: Helper[] = [
  { name: 'jitLoad', params: ['i32', 'i64', 'i32'], result: 'i64' },
  { name: 'jitStore', params: ['i32', 'i64', 'i32', 'i64'], result: null },
  ...ATOMICS.map(({ name }): Helper => ({ name, params: ['i32', 'i64', 'i64'], result: 'i64' })),
  { name: 'jitSystem', params: ['i32', 'i32', 'i64'], result: 'i32' },
  { name: 'jitGuard', params: ['i32', 'i64', 'i32'], result: 'i32' },
  { name: 'jitFpLimit', params: ['i32'], result: null },
  ...CALLS,
];
