// The order in which a node tries its moves: the table's move, captures by what they take and with what (MVV-LVA),
// then the quiet moves that cut elsewhere (killers, history). Alpha-beta lives by it.

import { type Board, CAPTURE, CHECK, type Move, fromOf, promotionOf, toOf } from './board.js';

const HINT = 1 << 28;
const GOOD_CAPTURE = 1 << 24;
const KILLER = 1 << 22;
const CHECKING = 1 << 21;
const MAX_CREDIT = 1 << 20;

export class MoveOrder {
  /** Two quiet moves a ply that cut last there. */
  readonly #killers: Move[] = [];
  /** How often, weighed by depth, moving this piece to this square cut. */
  readonly #credit = new Int32Array(16 * 64);

  sort(moves: readonly Move[], board: Board, hint: Move, ply: number): Move[] {
    const ranks = new Map<Move, number>();
    for (const move of moves) ranks.set(move, this.#rank(move, board, hint, ply));
    return [...moves].sort((a, b) => (ranks.get(b) ?? 0) - (ranks.get(a) ?? 0));
  }

  /** Remembers a quiet move that cut. */
  credit(move: Move, board: Board, ply: number, depth: number): void {
    if (this.#killers[2 * ply] !== move) {
      this.#killers[2 * ply + 1] = this.#killers[2 * ply] ?? 0;
      this.#killers[2 * ply] = move;
    }
    const index = this.#index(move, board);
    const credit = (this.#credit[index] ?? 0) + depth * depth;
    this.#credit[index] = credit;
    // Halving keeps what is recent heavier than what is old, and ranks below CHECKING.
    if (credit >= MAX_CREDIT)
      for (let i = 0; i < this.#credit.length; i++) this.#credit[i] = (this.#credit[i] ?? 0) >> 1;
  }

  #rank(move: Move, board: Board, hint: Move, ply: number): number {
    if (move === hint) return HINT;
    const promotion = promotionOf(move);
    if ((move & CAPTURE) !== 0 || promotion !== 0) {
      // En passant takes from an empty square; the pawn it takes is counted as 1.
      const victim = (board.squares[toOf(move)] ?? 0) & 7 || ((move & CAPTURE) !== 0 ? 1 : 0);
      return GOOD_CAPTURE + (victim + promotion) * 16 - ((board.squares[fromOf(move)] ?? 0) & 7);
    }
    if (move === this.#killers[2 * ply]) return KILLER + 1;
    if (move === this.#killers[2 * ply + 1]) return KILLER;
    return ((move & CHECK) !== 0 ? CHECKING : 0) + (this.#credit[this.#index(move, board)] ?? 0);
  }

  #index(move: Move, board: Board): number {
    return (board.squares[fromOf(move)] ?? 0) * 64 + toOf(move);
  }
}
