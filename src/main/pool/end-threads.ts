// The end of the process, as far as its threads go. process.exit() waits for every one of them, and one in a blocking call
// (of a child process, of a pipe, of a disk that hangs) does not end: V8 can stop code, not the system.

import { readdirSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';
import { EXIT_DEADLINE_MS } from '../../protocol/limits.js';

/** Threads that have not ended, as far as main was told, each with its id in the system, if that is known. */
const living = new Map<Worker, string | null>();
const overdue = new Set<Worker>();
const POLL_MS = 5;

/**
 * To be called in the turn in which a thread is made.
 * @param before systemThreads() before that
 */
export function trackThread(worker: Worker, before: ReadonlySet<string>): void {
  const made = [...systemThreads()].filter((id) => !before.has(id));
  living.set(worker, made.length === 1 ? made[0]! : null);
  worker.once('exit', () => {
    living.delete(worker);
    overdue.delete(worker);
  });
}

/** It was terminated, and has not ended in its time. */
export function markOverdue(worker: Worker): void {
  if (living.has(worker)) overdue.add(worker);
}

/**
 * Terminates all threads and waits for that, without a turn of the event loop: nobody hears of their deaths, and nothing
 * is made of them. For whoever ends the process in this turn.
 * @returns how many have not ended after EXIT_DEADLINE_MS; of those that the system does not list, how many were overdue
 */
export function endThreads(): number {
  const ids = new Set<string>();
  let unlisted = 0;
  for (const [worker, id] of living) {
    // What it resolves with takes a turn, of which there is none.
    worker.terminate().catch(() => undefined);
    if (id !== null) ids.add(id);
    else if (overdue.has(worker)) unlisted++;
  }
  const never = new Int32Array(new SharedArrayBuffer(4));
  for (const end = performance.now() + EXIT_DEADLINE_MS; ;) {
    const there = systemThreads();
    for (const id of ids) if (!there.has(id)) ids.delete(id);
    if (ids.size === 0 || performance.now() > end) return ids.size + unlisted;
    Atomics.wait(never, 0, 0, POLL_MS);
  }
}

/** The ids of this process's threads of any kind. None where the system does not list them: on Linux it does. */
export function systemThreads(): Set<string> {
  try {
    return new Set(readdirSync('/proc/self/task'));
  } catch {
    return new Set();
  }
}
