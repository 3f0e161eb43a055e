// How far agent threads step back behind the main thread and the store's on a busy core.

import { getPriority, setPriority } from 'node:os';

/** Gives this thread a nice value, unless it was born with it. Linux has one for each thread; null elsewhere. */
export function stepBack(nice: number | null): void {
  if (nice !== null && getPriority() < nice) setPriority(nice);
}
