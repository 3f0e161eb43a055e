// How far agent threads step back behind the main thread and the store's on a busy core.

import { getPriority, setPriority } from 'node:os';

const LEAST_PRIORITY = 19;

/** Adds to this thread's nice value. Linux has one for each thread; elsewhere it is the process's, and left alone. */
export function stepBack(niceIncrement: number): void {
  if (process.platform !== 'linux' || niceIncrement === 0) return;
  setPriority(Math.min(getPriority() + niceIncrement, LEAST_PRIORITY));
}
