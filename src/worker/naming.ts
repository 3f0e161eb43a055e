// Limits the writes of rename() in one event-loop turn: the first at once, since the agent may never yield, and the
// last when the loop turns, or before that with settle().

import { setImmediate } from './platform.js';

export class Naming {
  readonly #write: (name: string, calledAt: number) => void;
  #next: { name: string; calledAt: number } | null = null;
  #isBurst = false;

  constructor(write: (name: string, calledAt: number) => void) {
    this.#write = write;
  }

  /** @param calledAt when the agent gave the name, by instant.ts */
  rename(name: string, calledAt: number): void {
    if (this.#isBurst) {
      this.#next = { name, calledAt };
      return;
    }
    this.#isBurst = true;
    this.#write(name, calledAt);
    setImmediate(() => {
      this.#isBurst = false;
      this.settle();
    });
  }

  /** Writes what has yet to be written: before the run's outcome, and before the agent leaves memory. */
  settle(): void {
    if (this.#next === null) return;
    this.#write(this.#next.name, this.#next.calledAt);
    this.#next = null;
  }
}
