/**
 * The engine: what runs per guest instruction or per register access, as one WebAssembly module. Every thread of a machine
 * instantiates it on the machine's shared memory: hart workers call runHart, the clock worker clockTick, I/O workers and
 * the control thread irqSetLevel, msiWrite, uartPoll and the resets.
 */
export { runHart, stepHart, resetHart } from './cpu/run.as';
export { jitAttach, jitDetachAll } from './cpu/jit/attach.as';
export { jitFpLimit, jitGuard, jitLoad, jitMiss, jitStore, jitSystem } from './cpu/jit/runtime.as';
export * from './cpu/generated/jit-helpers.as';
export { clockTick, clockReset, mtime } from './cpu/clock.as';
export { irqSetLevel, irqchipReset, msiWrite } from './irqchip/irqchip.as';
export { intxSetLevel } from './pci/intx.as';
export { uartBreak, uartPoll, uartReset } from './devices/uart16550.as';
export { kickHart, callControl } from './cpu/hart.as';
// Exported so that the compiler does not inline the exact, rarely needed paths into the interpreter.
export { addExactD, mulExactD, divExactD, sqrtExactD, fmaExactD } from './cpu/fpu/double.as';
export { addExactS, mulExactS, divExactS, sqrtExactS, fmaExactS } from './cpu/fpu/single.as';
