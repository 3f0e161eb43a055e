// Hooks of many agents that are due at once: after a time slice of them the event loop turns, so that the thread is seen
// to live, and whatever else it has to do is done.

import { TIME_SLICE_MS } from '../protocol/limits.js';
import { monotonicMs, queueMicrotask, setTimeout } from './platform.js';

/** How many are let in together while they are quick: what they send leaves as one message then. */
const TOGETHER_MAX = 32;

export class Turns {
  readonly #waiting: (() => void)[] = [];
  #letting = false;
  #together = 1;
  #sliceStart = 0;

  /** Resolves when the next hook may begin. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#letting) return;
      this.#letting = true;
      this.#beginSlice();
    });
  }

  #beginSlice(): void {
    this.#sliceStart = monotonicMs();
    this.#letIn();
  }

  #letIn(): void {
    for (let n = 0; n < this.#together && this.#waiting.length > 0; n++) this.#waiting.shift()!();
    // Behind what they do before they await anything.
    queueMicrotask(() => this.#goOn());
  }

  #goOn(): void {
    const usedMs = monotonicMs() - this.#sliceStart;
    this.#together = usedMs < TIME_SLICE_MS / 2 ? Math.min(2 * this.#together, TOGETHER_MAX) : 1;
    if (this.#waiting.length === 0) this.#letting = false;
    else if (usedMs < TIME_SLICE_MS) this.#letIn();
    // A timer's turn, as the heartbeat's is: all immediates that are due are one turn.
    else setTimeout(() => this.#beginSlice(), 0);
  }
}
