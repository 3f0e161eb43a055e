// The search: iterative deepening over an alpha-beta search with a transposition table, null move, reductions of late
// moves and a quiescence search. Mate claims are sound: whatever prunes is switched off where a mate score is at stake.

import { type Board, CAPTURE, CHECK, MATE, type Move, promotionOf, toOf } from './board.js';
import { evaluate, hasPieces } from './evaluate.js';
import { candidates } from './exchange.js';
import { MoveSource, isDeadMaterial } from './moves.js';
import { MoveOrder } from './order.js';
import { AT_LEAST, AT_MOST, EXACT, Table } from './table.js';

/** The score of having mated now; a mate in n half moves scores n less. */
export const MATE_SCORE = 30_000;
const MATE_BOUND = MATE_SCORE - 1000;
const INFINITE = 31_000;
/** The deepest a search may be asked to go, in half moves. */
export const MAX_DEPTH = 40;
/** How far a line may run beyond its depth, in half moves from the root. */
const MAX_PLY = 96;
/** How many half moves into the quiescence search a check is still answered with every move. */
const QUIESCENCE_EVASIONS = 4;
/** Nodes between two polls. A node that asks chess.js costs about 0.1 ms, so this is a millisecond or so. */
const POLL_NODES = 32;
/** By depth left: how much better than beta a position must stand to be left at that. */
const FUTILITY_MARGIN = 110;
/** What a quiescence capture may win besides material. */
const DELTA_MARGIN = 150;

/** What a finished depth found. */
export interface Line {
  depth: number;
  /** Centipawns for the side to move; beyond MATE_BOUND it is a mate (see mateIn). */
  score: number;
  /** The best line, the best move first. */
  moves: readonly Move[];
  /** Nodes searched since the search began, all depths together. */
  nodes: number;
}

/** Moves to mate that a score means: positive if the side to move mates, negative if it is mated, null if neither. */
export function mateIn(score: number): number | null {
  if (Math.abs(score) < MATE_BOUND) return null;
  const moves = Math.ceil((MATE_SCORE - Math.abs(score)) / 2);
  return score > 0 ? moves : -moves;
}

export class Search {
  /** Nodes searched so far, those of the quiescence search included. */
  nodes = 0;
  readonly #board: Board;
  readonly #poll: () => void;
  readonly #rootPlayed: number;
  readonly #inCheck: boolean;
  #rootDepth = 0;
  readonly #table = new Table();
  readonly #source = new MoveSource();
  readonly #order = new MoveOrder();
  /** The best line from each ply on, as far as it is known. */
  readonly #lines: Move[][] = Array.from({ length: MAX_PLY + 2 }, () => []);

  /**
   * @param board the position, with the game so far played on it (repetitions count); the search leaves it as it was
   * @param inCheck whether the side to move is in check
   * @param poll called every millisecond or so; what it throws ends the search, which must then not be used again
   */
  constructor(board: Board, inCheck: boolean, poll: () => void) {
    this.#board = board;
    this.#rootPlayed = board.played;
    this.#inCheck = inCheck;
    this.#poll = poll;
  }

  /** Searches to `depth` half moves and returns what it found. The position must have a legal move. */
  deepen(depth: number): Line {
    this.#rootDepth = depth;
    const score = this.#visit(depth, -INFINITE, INFINITE, 0, this.#inCheck, true);
    // Adding zero turns the -0 that negating a draw gives into 0: JSON and equality would tell them apart.
    return { depth, score: score + 0, moves: [...(this.#lines[0] ?? [])], nodes: this.nodes };
  }

  #visit(depth: number, alpha: number, beta: number, ply: number, inCheck: boolean, mayPass: boolean): number {
    if (depth <= 0) return this.#quiesce(alpha, beta, ply, inCheck, 0);
    this.#countNode();
    this.#lines[ply] = [];
    const board = this.#board;
    if (ply > 0) {
      if (board.isRepetition(this.#rootPlayed) || isDeadMaterial(board)) return 0;
      // Mate outranks the fifty-move rule, so only a position with a legal reply is drawn by it.
      if (board.halfMoves >= 100 && this.#source.all(board, ply).length > 0) return 0;
      if (ply >= MAX_PLY) return evaluate(board);
      alpha = Math.max(alpha, ply - MATE_SCORE);
      beta = Math.min(beta, MATE_SCORE - ply - 1);
      if (alpha >= beta) return alpha;
    }
    const isPv = beta - alpha > 1;
    const slot = this.#table.find(board.low, board.high);
    const hint = slot < 0 ? 0 : this.#table.move(slot);
    if (slot >= 0 && !isPv && this.#table.depth(slot) >= depth) {
      const known = fromTable(this.#table.score(slot), ply);
      const bound = this.#table.bound(slot);
      if (bound === EXACT || (bound === AT_LEAST ? known >= beta : known <= alpha)) return known;
    }
    const isCalm = !inCheck && !isPv && Math.abs(beta) < MATE_BOUND;
    const stand = isCalm ? evaluate(board) : 0;
    if (isCalm) {
      const cut = this.#standsAbove(stand, depth, beta, ply, mayPass);
      if (cut !== undefined) return cut;
    }
    const moves = this.#source.all(board, ply);
    if (moves.length === 0) return inCheck ? ply - MATE_SCORE : 0;
    const mating = moves.find((move) => (move & MATE) !== 0);
    if (mating !== undefined) {
      this.#lines[ply] = [mating];
      return MATE_SCORE - ply - 1;
    }
    // Near the leaves, a quiet move of a side that stands far below alpha will not lift it there.
    const skipQuiet = isCalm && depth <= 2 && alpha > -MATE_BOUND && stand + FUTILITY_MARGIN * (depth + 1) <= alpha;
    return this.#searchMoves(moves, { depth, alpha, beta, ply, inCheck, isPv, hint, skipQuiet, stand });
  }

  /** A bound, if the position stands so well, as it is or even after a pass, that its moves need not be tried. */
  #standsAbove(stand: number, depth: number, beta: number, ply: number, mayPass: boolean): number | undefined {
    // Not for the first reply: the threat of a quiet move, a mate in two say, is for the root to see at once.
    if (ply > 1 && depth <= 3 && stand - FUTILITY_MARGIN * depth >= beta) return stand;
    if (!mayPass || depth < 2 || stand < beta || !hasPieces(this.#board)) return undefined;
    this.#board.makeNull();
    // One half move at least, so that a threat to mate at once refutes the pass.
    const score = -this.#visit(Math.max(1, depth - 3 - (depth >> 2)), -beta, 1 - beta, ply + 1, false, false);
    this.#board.unmake();
    return score >= beta && score < MATE_BOUND ? score : undefined;
  }

  #searchMoves(moves: readonly Move[], node: Node): number {
    const { depth, beta, ply, inCheck, isPv } = node;
    const board = this.#board;
    const ordered = this.#order.sort(moves, board, node.hint, ply);
    let { alpha } = node;
    let best = node.skipQuiet ? node.stand : -INFINITE;
    let bestMove = 0;
    let searched = 0;
    for (const move of ordered) {
      const isQuiet = (move & (CAPTURE | CHECK)) === 0 && promotionOf(move) === 0;
      if (node.skipQuiet && isQuiet) continue;
      const givesCheck = (move & CHECK) !== 0;
      // A check narrows the replies to a few: looking one half move further is cheap, and finds most combinations.
      const next = depth - 1 + (givesCheck && ply < 2 * this.#rootDepth ? 1 : 0);
      const reduction = isQuiet && !inCheck && depth >= 3 && searched >= 3 ? (isPv || searched < 9 ? 1 : 2) : 0;
      board.make(move);
      let score = 0;
      if (searched > 0) {
        score = -this.#visit(next - reduction, -alpha - 1, -alpha, ply + 1, givesCheck, true);
      }
      if (searched > 0 && reduction > 0 && score > alpha) {
        score = -this.#visit(next, -alpha - 1, -alpha, ply + 1, givesCheck, true);
      }
      if (searched === 0 || (score > alpha && score < beta)) {
        score = -this.#visit(next, -beta, -alpha, ply + 1, givesCheck, true);
      }
      board.unmake();
      searched++;
      if (score <= best) continue;
      best = score;
      if (score <= alpha) continue;
      alpha = score;
      bestMove = move;
      this.#lines[ply] = [move, ...(this.#lines[ply + 1] ?? [])];
      if (score >= beta) {
        if (isQuiet) this.#order.credit(move, board, ply, depth);
        break;
      }
    }
    const bound = best >= beta ? AT_LEAST : bestMove !== 0 ? EXACT : AT_MOST;
    this.#table.store(board.low, board.high, depth, toTable(best, ply), bound, bestMove);
    return best;
  }

  /** Plays out captures until the position is quiet enough to be evaluated; checks, at first, with every reply. */
  #quiesce(alpha: number, beta: number, ply: number, inCheck: boolean, into: number): number {
    this.#countNode();
    this.#lines[ply] = [];
    if (ply >= MAX_PLY) return evaluate(this.#board);
    if (inCheck && into < QUIESCENCE_EVASIONS) return this.#evade(alpha, beta, ply, into);
    const stand = evaluate(this.#board);
    if (stand >= beta) return stand;
    let best = stand;
    if (stand > alpha) alpha = stand;
    for (const { from, to } of candidates(this.#board, alpha - stand - DELTA_MARGIN)) {
      const move = this.#source.of(this.#board, ply, from).find((m) => toOf(m) === to && isBestPromotion(m));
      if (move === undefined) continue;
      const score = this.#follow(move, alpha, beta, ply, into);
      if (score <= best) continue;
      best = score;
      if (score <= alpha) continue;
      alpha = score;
      this.#lines[ply] = [move, ...(this.#lines[ply + 1] ?? [])];
      if (score >= beta) break;
    }
    return best;
  }

  #evade(alpha: number, beta: number, ply: number, into: number): number {
    if (this.#board.isRepetition(this.#rootPlayed)) return 0;
    const moves = this.#source.all(this.#board, ply);
    let best = ply - MATE_SCORE;
    for (const move of this.#order.sort(moves, this.#board, 0, ply)) {
      const score = this.#follow(move, alpha, beta, ply, into);
      if (score <= best) continue;
      best = score;
      if (score <= alpha) continue;
      alpha = score;
      this.#lines[ply] = [move, ...(this.#lines[ply + 1] ?? [])];
      if (score >= beta) break;
    }
    return best;
  }

  #follow(move: Move, alpha: number, beta: number, ply: number, into: number): number {
    if ((move & MATE) !== 0) {
      this.#lines[ply + 1] = [];
      return MATE_SCORE - ply - 1;
    }
    this.#board.make(move);
    const score = -this.#quiesce(-beta, -alpha, ply + 1, (move & CHECK) !== 0, into + 1);
    this.#board.unmake();
    return score;
  }

  #countNode(): void {
    if (++this.nodes % POLL_NODES === 0) this.#poll();
  }
}

interface Node {
  depth: number;
  alpha: number;
  beta: number;
  ply: number;
  inCheck: boolean;
  isPv: boolean;
  hint: Move;
  skipQuiet: boolean;
  stand: number;
}

const isBestPromotion = (move: Move): boolean => promotionOf(move) === 0 || promotionOf(move) === 5;

// Mates are counted from the root while searching, but from the position itself in the table, which many lines share.
const toTable = (score: number, ply: number): number =>
  score >= MATE_BOUND ? score + ply : score <= -MATE_BOUND ? score - ply : score;
const fromTable = (score: number, ply: number): number =>
  score >= MATE_BOUND ? score - ply : score <= -MATE_BOUND ? score + ply : score;
