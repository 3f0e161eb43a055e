// Which captures are worth a look: a static exchange evaluation on the search's own board. Nothing here decides what is
// legal. It only chooses what chess.js is asked about, since asking is what costs (see moves.ts).

import { BISHOP, BLACK, type Board, KING, KNIGHT, PAWN, QUEEN, ROOK, type SquareIndex } from './board.js';
import { VALUES } from './evaluate.js';

/** A capture or promotion that may win something; not yet known to be legal. */
export interface Candidate {
  from: SquareIndex;
  to: SquareIndex;
  /** What it should win, exchanges on `to` included; among equals the cheapest attacker of the dearest piece first. */
  rank: number;
}

const STEPS = [-9, -7, 7, 9, -8, -1, 1, 8];
const KNIGHT_STEPS = [-17, -15, -10, -6, 6, 10, 15, 17];
/** For each square, eight rays outwards: four diagonals, then four straight lines. */
const RAYS: readonly (readonly (readonly SquareIndex[])[])[] = eachSquare((square) =>
  STEPS.map((step) => {
    const ray: SquareIndex[] = [];
    for (let at = square; isStep(at, at + step, 1); at += step) ray.push(at + step);
    return ray;
  }),
);
const KNIGHT_TARGETS: readonly (readonly SquareIndex[])[] = eachSquare((square) =>
  KNIGHT_STEPS.map((step) => square + step).filter((to) => isStep(square, to, 2)),
);
const PROMOTION_GAIN = (VALUES[QUEEN] ?? 0) - (VALUES[PAWN] ?? 0);

function eachSquare<T>(of: (square: SquareIndex) => T): T[] {
  return Array.from({ length: 64 }, (_, square) => of(square));
}

/** True if both squares are on the board and at most `files` files apart: a step never wraps round an edge. */
function isStep(from: number, to: number, files: number): boolean {
  return to >= 0 && to < 64 && Math.abs((from & 7) - (to & 7)) <= files;
}

/** Captures and queen promotions of the side to move that may gain at least `least` (never less than 0), best first. */
export function candidates(board: Board, least: number): Candidate[] {
  const found: Candidate[] = [];
  const { squares, side } = board;
  const floor = Math.max(0, least);
  const consider = (from: SquareIndex, to: SquareIndex, extra: number): void => {
    const victim = squares[to] ?? 0;
    if (victim === 0 && extra === 0) return;
    if (victim !== 0 && (victim & BLACK) === side) return;
    const first = (VALUES[victim & 7] ?? 0) + extra;
    if (first < floor) return;
    const gain = first - answer(squares, from, to, extra);
    if (gain >= floor) found.push({ from, to, rank: gain * 16 + ((victim & 7) - ((squares[from] ?? 0) & 7)) });
  };
  for (let from = 0; from < 64; from++) {
    const piece = squares[from] ?? 0;
    if (piece === 0 || (piece & BLACK) !== side) continue;
    const type = piece & 7;
    if (type === PAWN) pawnCandidates(squares, side, from, consider);
    else if (type === KNIGHT) for (const to of KNIGHT_TARGETS[from] ?? []) consider(from, to, 0);
    else {
      const rays = RAYS[from] ?? [];
      const first = type === ROOK ? 4 : 0;
      const last = type === BISHOP ? 4 : 8;
      for (let i = first; i < last; i++) {
        for (const to of rays[i] ?? []) {
          if (squares[to] !== 0) {
            consider(from, to, 0);
            break;
          }
          if (type === KING) break;
        }
      }
    }
  }
  return found.sort((a, b) => b.rank - a.rank);
}

function pawnCandidates(
  squares: Int8Array,
  side: number,
  from: SquareIndex,
  consider: (from: SquareIndex, to: SquareIndex, extra: number) => void,
): void {
  const forward = side === BLACK ? 8 : -8;
  const extra = from >> 3 === (side === BLACK ? 6 : 1) ? PROMOTION_GAIN : 0;
  for (const to of [from + forward - 1, from + forward + 1]) {
    if (isStep(from, to, 1) && squares[to] !== 0) consider(from, to, extra);
  }
  if (extra !== 0 && squares[from + forward] === 0) consider(from, from + forward, extra);
}

/** What the other side gets back on `to`, best play on that square by both, after the piece on `from` went there. */
function answer(squares: Int8Array, from: SquareIndex, to: SquareIndex, promoted: number): number {
  const mover = squares[from] ?? 0;
  const target = squares[to] ?? 0;
  squares[from] = 0;
  squares[to] = promoted === 0 ? mover : QUEEN | (mover & BLACK);
  const back = swing(squares, to, (mover & BLACK) ^ BLACK);
  squares[from] = mover;
  squares[to] = target;
  return back;
}

/** The most `side` can win by taking on `to`, its cheapest attacker first; 0 if it had better not. */
function swing(squares: Int8Array, to: SquareIndex, side: number): number {
  const from = cheapestAttacker(squares, to, side);
  if (from < 0) return 0;
  const taker = squares[from] ?? 0;
  const target = squares[to] ?? 0;
  squares[from] = 0;
  squares[to] = taker;
  const gain = (VALUES[target & 7] ?? 0) - swing(squares, to, side ^ BLACK);
  squares[from] = taker;
  squares[to] = target;
  return Math.max(0, gain);
}

/** The square of the least valuable piece of `side` that attacks `to`, or -1. */
function cheapestAttacker(squares: Int8Array, to: SquareIndex, side: number): number {
  const back = side === BLACK ? -8 : 8;
  for (const from of [to + back - 1, to + back + 1]) {
    if (isStep(to, from, 1) && squares[from] === (PAWN | side)) return from;
  }
  for (const from of KNIGHT_TARGETS[to] ?? []) if (squares[from] === (KNIGHT | side)) return from;
  const rays = RAYS[to] ?? [];
  let best = -1;
  let bestType = KING + 1;
  for (let i = 0; i < 8; i++) {
    const ray = rays[i] ?? [];
    for (let distance = 0; distance < ray.length; distance++) {
      const from = ray[distance] ?? 0;
      const piece = squares[from] ?? 0;
      if (piece === 0) continue;
      const type = piece & 7;
      const reaches = type === QUEEN || type === (i < 4 ? BISHOP : ROOK) || (type === KING && distance === 0);
      if ((piece & BLACK) === side && reaches && type < bestType) {
        best = from;
        bestType = type;
      }
      break;
    }
  }
  return best;
}
