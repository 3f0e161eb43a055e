// Whose run might take its thread down or hold it, and where it may run for that.
//
// A session that did so is a suspect until a run of it completes. When several did lately, so is everyone of whom nothing
// good is known. Suspects are kept to one half of the threads: the others' runs are not in their way, and no thread dies
// under them.

import { ALARM_MS, ALARM_SESSIONS, PROVEN_MAX_SESSIONS, SUSPECTS_MAX_SESSIONS } from '../../protocol/limits.js';
import type { Clock } from '../clock.js';
import { threadsOfSuspects } from '../pool/placement.js';

export interface SuspicionParts {
  /** The configured threads. */
  threads: number;
  clock: Clock;
}

export class Suspicion {
  readonly #clock: Clock;
  /** Numbers of the threads for suspects: from the first to before the second. */
  readonly #theirs: { from: number; to: number };
  /** Both by session id, and bounded: the oldest are forgotten. */
  readonly #suspects = new Set<string>();
  readonly #proven = new Set<string>();
  /** Who was in trouble within the last ALARM_MS, and when last, in that order. */
  readonly #troubles = new Map<string, number>();
  #alarmedUntil = -Infinity;
  #calmed = true;

  constructor({ threads, clock }: SuspicionParts) {
    this.#clock = clock;
    this.#theirs = threadsOfSuspects(threads);
  }

  /** A run of this session took its thread down. */
  struck(id: string): void {
    this.#suspects.add(id);
    forgetOldest(this.#suspects, SUSPECTS_MAX_SESSIONS);
    this.#proven.delete(id);
    this.trouble(id);
  }

  /** A run of this session took its thread down, or holds it up. */
  trouble(id: string): void {
    const now = this.#clock.now();
    this.#troubles.delete(id);
    this.#troubles.set(id, now);
    for (const [other, at] of this.#troubles) {
      if (now - at < ALARM_MS) break;
      this.#troubles.delete(other);
    }
    const last = [...this.#troubles.values()].at(-ALARM_SESSIONS);
    if (last === undefined) return;
    this.#alarmedUntil = last + ALARM_MS;
    this.#calmed = false;
  }

  get #alarmed(): boolean {
    return this.#clock.now() < this.#alarmedUntil;
  }

  /** True once after each alarm, when it is over: whoever was suspected for it alone need not wait any more. */
  hasCalmed(): boolean {
    if (this.#calmed || this.#alarmed) return false;
    return (this.#calmed = true);
  }

  /** A run of this session has completed. */
  completed(id: string): void {
    this.#suspects.delete(id);
    this.#proven.delete(id);
    this.#proven.add(id);
    forgetOldest(this.#proven, PROVEN_MAX_SESSIONS);
  }

  /** It is a session like any other again. */
  forget(id: string): void {
    this.#suspects.delete(id);
  }

  suspects(id: string): boolean {
    return this.#suspects.has(id) || (this.#alarmed && !this.#proven.has(id));
  }

  /** Whether the session's runs may begin there. */
  allows(id: string, thread: { no: number }): boolean {
    return this.#isTheirs(thread) || !this.suspects(id);
  }

  /** Whether the thread is for sessions of its kind; others make do with it. */
  suits(id: string, thread: { no: number }): boolean {
    const anybody = this.#suspects.size > 0 || this.#alarmed;
    return !anybody || this.#isTheirs(thread) === this.suspects(id);
  }

  #isTheirs({ no }: { no: number }): boolean {
    return no >= this.#theirs.from && no < this.#theirs.to;
  }
}

function forgetOldest(ids: Set<string>, max: number): void {
  if (ids.size > max) ids.delete(ids.values().next().value!);
}
