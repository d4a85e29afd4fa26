/** The floating-point unit: all that the interpreter and translated code call. */
export { fpFlags, setFpFlags } from './state.as';
export * from './arith.as';
export * from './compare.as';
export * from './convert.as';
