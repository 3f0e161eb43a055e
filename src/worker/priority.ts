// How far agent threads step back behind the main thread and the store's on a busy core.

import { getPriority, setPriority } from 'node:os';

const LEAST_PRIORITY = 19;

let steppedBack = false;

/** Adds to this thread's nice value, the first time. Linux has one for each thread; elsewhere it is the process's, and left alone. */
export function stepBack(niceIncrement: number): void {
  if (process.platform !== 'linux' || niceIncrement === 0 || steppedBack) return;
  steppedBack = true;
  setPriority(Math.min(getPriority() + niceIncrement, LEAST_PRIORITY));
}
