// The priority of threads before they execute anything of their own.
//
// A thread begins with main's priority. Where the agents' is much lower, the 50 ms that it takes until it can step back
// by itself (worker/priority.ts) are a standstill for agents at work: so main does it for it, at its birth.

import { readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

const LEAST_PRIORITY = 19;
const OWN_THREADS = '/proc/self/task';

/** The nice value of agent threads: so far behind main's, as the operating system counts; null: it has none for threads. */
export function agentNice(increment: number): number | null {
  if (process.platform !== 'linux' || increment === 0) return null;
  return Math.min(getPriority() + increment, LEAST_PRIORITY);
}

/**
 * Starts a thread, in this turn, that has this nice value from its birth. Best effort: if another thread was born in the
 * same moment, or the system does not tell, it begins with main's.
 */
export function bornWith<T>(nice: number | null, start: () => T): T {
  if (nice === null) return start();
  const before = new Set(ownThreads());
  const started = start();
  const born = ownThreads().filter((id) => !before.has(id));
  // With two one cannot know which: whoever made the other (an agent, of workers of its own) wants it as it is.
  if (born.length === 1) setPriority(Number(born[0]), nice);
  return started;
}

function ownThreads(): string[] {
  try {
    return readdirSync(OWN_THREADS);
  } catch {
    // No /proc: then nobody is found to have been born.
    return [];
  }
}
