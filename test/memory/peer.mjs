/**
 * Another process that maps guest RAM: peer.mjs ADDON PID FD SIZE. Opens descriptor FD of process PID, maps it, adds 1
 * to the first word atomically, writes its complement to the last word, and prints the second word.
 */
import { openSync } from 'node:fs';

const [addonPath, pid, fd, size] = process.argv.slice(2);
const module = { exports: {} };
process.dlopen(module, addonPath);

const length = Number(size);
const memory = new WebAssembly.Memory({ initial: length / 65536, maximum: length / 65536, shared: true });
module.exports.mapMemfd(new Uint8Array(memory.buffer), 0, length, openSync(`/proc/${pid}/fd/${fd}`, 'r+'));

const words = new Int32Array(memory.buffer);
const before = Atomics.add(words, 0, 1);
Atomics.store(words, words.length - 1, ~before);
console.log(Atomics.load(words, 1));
