// How much a thread may have on its way to main. Main gives back what it has dealt with by a counter in shared memory, so
// that code which never turns its event loop is held back as well.

import { EVENT_WAIT_MAX_MS } from '../protocol/limits.js';
import { monotonicMs, setTimeout } from './platform.js';

export class NoteWindow {
  readonly #counter: Int32Array;
  readonly #bytes: number;
  #posted = 0;
  /** What the counter read when a wait for it came to nothing: until it moves, nobody waits again. */
  #stalledAt: number | null = null;

  /** @param counter the weight that main has dealt with (control.ts) */
  constructor(counter: SharedArrayBuffer, bytes: number) {
    this.#counter = new Int32Array(counter);
    this.#bytes = bytes;
  }

  /** Whether one thing more may be posted, whatever its weight: the window is overdrawn by one at most. */
  get isOpen(): boolean {
    return this.#isOpenAt(Atomics.load(this.#counter, 0));
  }

  take(weight: number): void {
    this.#posted = (this.#posted + weight) | 0;
  }

  /**
   * Holds the thread until the window opens, for EVENT_WAIT_MAX_MS at most. Nothing can be waiting for this thread
   * meanwhile that would keep the window shut: main deals with notes without ever waiting for a thread.
   * @returns whether it is open
   */
  waitOpen(): boolean {
    const until = monotonicMs() + EVENT_WAIT_MAX_MS;
    for (;;) {
      const seen = Atomics.load(this.#counter, 0);
      if (this.#isOpenAt(seen)) return true;
      const leftMs = until - monotonicMs();
      if (leftMs <= 0 || seen === this.#stalledAt) {
        this.#stalledAt = seen;
        return false;
      }
      Atomics.wait(this.#counter, 0, seen, leftMs);
    }
  }

  /** The same without holding the thread; undefined: there is nothing to wait for. */
  opened(): Promise<void> | undefined {
    const seen = Atomics.load(this.#counter, 0);
    return this.#isOpenAt(seen) || seen === this.#stalledAt ? undefined : this.#watched();
  }

  async #watched(): Promise<void> {
    const until = monotonicMs() + EVENT_WAIT_MAX_MS;
    while (!this.isOpen) {
      if (monotonicMs() >= until) {
        this.#stalledAt = Atomics.load(this.#counter, 0);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Both numbers wrap; their difference does not. */
  #isOpenAt(dealtWith: number): boolean {
    return ((this.#posted - dealtWith) | 0) < this.#bytes;
  }
}
