/** Prints the helpers of translated code that come from the instruction table. Apart from their list, which the packaged program needs. */
import { printAmo } from './interp.ts';
import { ATOMICS, CALLS } from './jit-helpers.ts';

/** The helpers that come from the instruction table, as AssemblyScript. */
export function printHelpers(): string {
  const inAlu = (name: string): boolean => /^(mulh|clmul|orcB|rev8)/.test(name);
  const imports = (alu: boolean): string =>
    CALLS.filter(({ name }) => inAlu(name) === alu)
      .map(({ name }) => `${name} as ${name}_`)
      .join(', ');
  const atomics = ATOMICS.map(({ name, stmt }) => {
    const body = printAmo(stmt, {
      address: '<u64>va',
      operand: 'value',
      fault: '{ store<i32>(block, 1, H_JIT_FAULT); return 0; }',
      result: (value) => `return ${value};`,
    });
    return `export function ${name}(block: i32, va: i64, value: i64): i64 {
      ${body}
}`;
  });
  const calls = CALLS.map(({ name, params }) => {
    const declared = params.map((type, i) => `a${i}: ${type}`).join(', ');
    const passed = params.map((type, i) => (type === 'i64' ? `<u64>a${i}` : `a${i}`)).join(', ');
    return `export function ${name}(${declared}): i64 { return i64(${name}_(${passed})); }`;
  });
  return `// Made by core/cpu/gen/print-helpers.ts from the instruction table. Do not edit.
import { H_RES_ADDR, H_RES_VALUE } from '../../worker/layout';
import { ${imports(true)} } from '../alu.as';
import { ${imports(false)} } from '../fpu/index.as';
import { H_JIT_FAULT } from '../jit/abi';
import { atomicAddress } from '../mmu.as';
import { ACCESS_LOAD, ACCESS_STORE } from '../state.as';

${atomics.join('\n')}

${calls.join('\n')}
`;
}
