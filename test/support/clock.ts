// A clock that stands still until it is told: a day passes in a millisecond.

import type { Clock, Timer } from '../../src/main/clock.js';

interface Entry {
  at: number;
  every: number | null;
  callback: () => void;
}

export class VirtualClock implements Clock {
  #now: number;
  readonly #entries = new Set<Entry>();

  constructor(startMs = Date.parse('2026-01-01T00:00:00Z')) {
    this.#now = startMs;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): Timer {
    return this.#add({ at: this.#now + ms, every: null, callback });
  }

  every(ms: number, callback: () => void): Timer {
    return this.#add({ at: this.#now + ms, every: ms, callback });
  }

  #add(entry: Entry): Timer {
    this.#entries.add(entry);
    return { cancel: () => this.#entries.delete(entry) };
  }

  /** Moves on, calling back what is due, in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      let next: Entry | null = null;
      for (const entry of this.#entries) if (entry.at <= end && (!next || entry.at < next.at)) next = entry;
      if (!next) break;
      this.#now = next.at;
      if (next.every === null) this.#entries.delete(next);
      else next.at += next.every;
      next.callback();
    }
    this.#now = end;
  }
}
