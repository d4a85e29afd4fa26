/** The exercises of all device types: one line for each. */
import { p9Share } from './9p.ts';
import { balloon } from './balloon.ts';
import { blk } from './blk.ts';
import { console } from './console.ts';
import { crypto } from './crypto.ts';
import type { Exercise } from './exercise.ts';
import { keyboard, mouse, tablet } from './input.ts';
import { net } from './net.ts';
import { pmem } from './pmem.ts';
import { rng } from './rng.ts';
import { vsock } from './vsock.ts';

export const EXERCISES: readonly Exercise[] = [
  balloon,
  blk,
  console,
  crypto,
  keyboard,
  mouse,
  net,
  p9Share,
  pmem,
  rng,
  tablet,
  vsock,
];
