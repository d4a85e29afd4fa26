/** The translator: a module of its own, instantiated by the JIT worker on the machine's memory. */
export {
  addRegion, begin, bodyAt, bodySize, finish, lastSize, localOf, markCount, patchCount, patchesAt, recordAt, recordSize, room,
} from './cpu/jit/translate.as';
