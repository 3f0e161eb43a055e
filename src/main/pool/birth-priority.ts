// The priority of threads before they execute anything of their own.
//
// A thread begins with main's priority. Where the agents' is much lower, the 50 ms that it takes until it can step back
// by itself (worker/priority.ts) are a standstill for agents at work: so main does it for it, at its birth.

import { readdirSync, readlinkSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

const LEAST_PRIORITY = 19;

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
  const before = nice === null ? null : ownThreads();
  const started = start();
  if (nice === null || before === null) return started;
  const born = ownThreads()?.filter((id) => !before.includes(id)) ?? [];
  // With two one cannot know which: whoever made the other (an agent, of workers of its own) wants it as it is.
  if (born.length !== 1) return started;
  try {
    setPriority(Number(born[0]), nice);
  } catch {
    // It is gone already, or may not be told: it steps back by itself, if it can.
  }
  return started;
}

/** Ids of this process's threads; null: unknown. */
function ownThreads(): string[] | null {
  try {
    // In a container with another's /proc the ids are not the ones that setPriority() knows.
    return readlinkSync('/proc/self') === String(process.pid) ? readdirSync('/proc/self/task') : null;
  } catch {
    return null;
  }
}
