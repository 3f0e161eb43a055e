// Limits the writes of rename() in one event-loop turn: the first at once, since the agent may never yield, and the
// last when the loop turns, or before that with settle().

import { setImmediate } from './platform.js';

export class Naming {
  readonly #write: (name: string) => void;
  #next: string | null = null;
  #isBurst = false;

  constructor(write: (name: string) => void) {
    this.#write = write;
  }

  rename(name: string): void {
    if (this.#isBurst) {
      this.#next = name;
      return;
    }
    this.#isBurst = true;
    this.#write(name);
    setImmediate(() => {
      this.#isBurst = false;
      this.settle();
    });
  }

  /** Writes what has yet to be written: before the run's outcome, and before the agent leaves memory. */
  settle(): void {
    if (this.#next === null) return;
    this.#write(this.#next);
    this.#next = null;
  }
}
