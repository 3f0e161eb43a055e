// The transposition table: what an earlier visit found out about a position, in typed arrays of fixed size.
// It belongs to one search and dies with it: it is never part of a session's state, and an idle session has none.

import type { Move } from './board.js';

export const EXACT = 1;
export const AT_LEAST = 2;
export const AT_MOST = 3;

/** Entries of 16 bytes: 1 MB for each search that is under way. */
const ENTRIES = 1 << 16;
const MASK = ENTRIES - 1;

export class Table {
  readonly #low = new Int32Array(ENTRIES);
  readonly #high = new Int32Array(ENTRIES);
  readonly #move = new Int32Array(ENTRIES);
  readonly #score = new Int16Array(ENTRIES);
  readonly #depth = new Int8Array(ENTRIES);
  readonly #bound = new Uint8Array(ENTRIES);

  /** The slot that holds the position, or -1. A slot stays valid until the next store(). */
  find(low: number, high: number): number {
    const slot = low & MASK;
    return this.#bound[slot] !== 0 && this.#low[slot] === low && this.#high[slot] === high ? slot : -1;
  }

  move(slot: number): Move {
    return this.#move[slot] ?? 0;
  }

  score(slot: number): number {
    return this.#score[slot] ?? 0;
  }

  depth(slot: number): number {
    return this.#depth[slot] ?? 0;
  }

  bound(slot: number): number {
    return this.#bound[slot] ?? 0;
  }

  /** Replaces whatever was in the slot, unless that is the same position searched deeper to an exact score. */
  store(low: number, high: number, depth: number, score: number, bound: number, move: Move): void {
    const slot = low & MASK;
    const same = this.#low[slot] === low && this.#high[slot] === high;
    if (same && bound !== EXACT && this.#bound[slot] === EXACT && (this.#depth[slot] ?? 0) > depth) return;
    // A fail-low node knows no best move; the one an earlier visit found still orders the moves well.
    if (move !== 0 || !same) this.#move[slot] = move;
    this.#low[slot] = low;
    this.#high[slot] = high;
    this.#depth[slot] = depth;
    this.#score[slot] = score;
    this.#bound[slot] = bound;
  }
}
