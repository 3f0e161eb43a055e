// Gives a thread back what main has dealt with of its notes, so that no turn of main's event loop is spent on more of
// them than the thread's window and a half.

import { newNoteCounter } from '../../protocol/control.js';
import { NOTES_IN_FLIGHT_BYTES, NOTES_IN_FLIGHT_MIN_BYTES } from '../../protocol/limits.js';

/** The window of each of so many threads: main deals with those of all of them in one turn. */
export function noteWindowOf(threads: number): number {
  return Math.max(NOTES_IN_FLIGHT_MIN_BYTES, Math.floor(NOTES_IN_FLIGHT_BYTES / threads));
}

export class NoteCredit {
  readonly counter = newNoteCounter();
  readonly #counter = new Int32Array(this.counter);
  /** What may be given back in one turn before the turn is over. */
  readonly #perTurnBytes: number;
  #givenBytes = 0;
  #heldBytes = 0;
  #turnEnds = false;

  constructor(windowBytes: number) {
    this.#perTurnBytes = windowBytes / 2;
  }

  /**
   * Half a window goes back at once, so that the thread works while main does. The rest is held until the turn is over: a
   * port is drained in one turn as long as anything comes in.
   */
  dealtWith(weight: number): void {
    if (this.#givenBytes < this.#perTurnBytes) {
      this.#givenBytes += weight;
      this.#give(weight);
    } else {
      this.#heldBytes += weight;
    }
    if (this.#turnEnds) return;
    this.#turnEnds = true;
    setImmediate(() => {
      this.#turnEnds = false;
      this.#givenBytes = 0;
      if (this.#heldBytes > 0) this.#give(this.#heldBytes);
      this.#heldBytes = 0;
    });
  }

  #give(bytes: number): void {
    Atomics.add(this.#counter, 0, bytes);
    Atomics.notify(this.#counter, 0);
  }
}
