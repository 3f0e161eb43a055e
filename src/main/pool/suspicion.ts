// Whose run might take its thread down or hold it.
//
// A session that did so is a suspect until a run of it completes. When several did lately, so is everyone of whom nothing
// good is known. Suspects are kept to one half of the threads (placement.ts): the others' runs are not in their way, and no
// thread dies under them.

import {
  ALARM_MS,
  ALARM_SESSIONS,
  PROVEN_MAX_SESSIONS,
  QUARANTINE_WINDOW_MS,
  SUSPECTS_MAX_SESSIONS,
  WARY_MS,
} from '../../protocol/limits.js';
import { monotonic, type Clock } from '../clock.js';

export class Suspicion {
  readonly #clock: Clock;
  /** Since when, by session id. Both are bounded: the oldest are forgotten. */
  readonly #suspects = new Map<string, number>();
  readonly #proven = new Set<string>();
  /** Who was in trouble within the last ALARM_MS, and when last, in that order. */
  readonly #troubles = new Map<string, number>();
  #alarmedUntil = -Infinity;
  #waryUntil = -Infinity;
  /** Somebody has stopped being suspected, or will when the alarm is over. */
  #easing = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A run of this session took its thread down. */
  struck(id: string): void {
    this.#suspects.delete(id);
    this.#suspects.set(id, monotonic(this.#clock));
    forgetOldest(this.#suspects, SUSPECTS_MAX_SESSIONS);
    this.#proven.delete(id);
    this.trouble(id);
  }

  /** A run of this session took its thread down, or holds it up. */
  trouble(id: string): void {
    const now = monotonic(this.#clock);
    this.#waryUntil = now + WARY_MS;
    this.#troubles.delete(id);
    this.#troubles.set(id, now);
    for (const [other, at] of this.#troubles) {
      if (now - at < ALARM_MS) break;
      this.#troubles.delete(other);
    }
    const last = [...this.#troubles.values()].at(-ALARM_SESSIONS);
    if (last === undefined) return;
    this.#alarmedUntil = last + ALARM_MS;
    this.#easing = true;
  }

  /** A run of this session has completed. */
  completed(id: string): void {
    this.forget(id);
    this.#proven.delete(id);
    this.#proven.add(id);
    forgetOldest(this.#proven, PROVEN_MAX_SESSIONS);
  }

  /** It is a session like any other again, or takes no more runs. */
  forget(id: string): void {
    if (this.#suspects.delete(id)) this.#easing = true;
  }

  /** Whether, since it was last asked, somebody who was suspected, and may be waiting for that, is not any more. */
  takeEasing(): boolean {
    if (!this.#easing || this.#alarmed) return false;
    this.#easing = false;
    return true;
  }

  suspects(id: string): boolean {
    const since = this.#suspects.get(id);
    if (since !== undefined && monotonic(this.#clock) - since < QUARANTINE_WINDOW_MS) return true;
    return this.#alarmed && !this.#proven.has(id);
  }

  /**
   * False only for WARY_MS after trouble, and only if the thread belongs to the other kind of session. A preference,
   * not a ban.
   */
  suits(id: string, { forSuspects }: { forSuspects: boolean }): boolean {
    return monotonic(this.#clock) >= this.#waryUntil || forSuspects === this.suspects(id);
  }

  get #alarmed(): boolean {
    return monotonic(this.#clock) < this.#alarmedUntil;
  }
}

function forgetOldest(ids: Map<string, unknown> | Set<string>, max: number): void {
  if (ids.size > max) ids.delete(ids.keys().next().value!);
}
