// The static evaluation: material, where pieces stand, pawns and king shelter, in centipawns for the side to move.
// The piece-square tables follow Tomasz Michniewski's Simplified Evaluation Function (chessprogramming.org); the pawn,
// rook and ending terms are added to it. It is counted afresh each time: beside chess.js's move generation it is free.

import { BISHOP, BLACK, type Board, KING, KNIGHT, PAWN, QUEEN, ROOK } from './board.js';

/** Worth of a piece in centipawns, by type. */
export const VALUES: readonly number[] = [0, 100, 320, 330, 500, 900, 20_000];

// As White sees them, a8 first.
// prettier-ignore
const TABLES: readonly (readonly number[])[] = [
  [],
  [
     0,  0,  0,  0,  0,  0,  0,  0,   50, 50, 50, 50, 50, 50, 50, 50,
    10, 10, 20, 30, 30, 20, 10, 10,    5,  5, 10, 25, 25, 10,  5,  5,
     0,  0,  0, 20, 20,  0,  0,  0,    5, -5,-10,  0,  0,-10, -5,  5,
     5, 10, 10,-20,-20, 10, 10,  5,    0,  0,  0,  0,  0,  0,  0,  0,
  ],
  [
    -50,-40,-30,-30,-30,-30,-40,-50,  -40,-20,  0,  0,  0,  0,-20,-40,
    -30,  0, 10, 15, 15, 10,  0,-30,  -30,  5, 15, 20, 20, 15,  5,-30,
    -30,  0, 15, 20, 20, 15,  0,-30,  -30,  5, 10, 15, 15, 10,  5,-30,
    -40,-20,  0,  5,  5,  0,-20,-40,  -50,-40,-30,-30,-30,-30,-40,-50,
  ],
  [
    -20,-10,-10,-10,-10,-10,-10,-20,  -10,  0,  0,  0,  0,  0,  0,-10,
    -10,  0,  5, 10, 10,  5,  0,-10,  -10,  5,  5, 10, 10,  5,  5,-10,
    -10,  0, 10, 10, 10, 10,  0,-10,  -10, 10, 10, 10, 10, 10, 10,-10,
    -10,  5,  0,  0,  0,  0,  5,-10,  -20,-10,-10,-10,-10,-10,-10,-20,
  ],
  [
     0,  0,  0,  0,  0,  0,  0,  0,    5, 10, 10, 10, 10, 10, 10,  5,
    -5,  0,  0,  0,  0,  0,  0, -5,   -5,  0,  0,  0,  0,  0,  0, -5,
    -5,  0,  0,  0,  0,  0,  0, -5,   -5,  0,  0,  0,  0,  0,  0, -5,
    -5,  0,  0,  0,  0,  0,  0, -5,    0,  0,  0,  5,  5,  0,  0,  0,
  ],
  [
    -20,-10,-10, -5, -5,-10,-10,-20,  -10,  0,  0,  0,  0,  0,  0,-10,
    -10,  0,  5,  5,  5,  5,  0,-10,   -5,  0,  5,  5,  5,  5,  0, -5,
      0,  0,  5,  5,  5,  5,  0, -5,  -10,  5,  5,  5,  5,  5,  0,-10,
    -10,  0,  5,  0,  0,  0,  0,-10,  -20,-10,-10, -5, -5,-10,-10,-20,
  ],
  [
    -30,-40,-40,-50,-50,-40,-40,-30,  -30,-40,-40,-50,-50,-40,-40,-30,
    -30,-40,-40,-50,-50,-40,-40,-30,  -30,-40,-40,-50,-50,-40,-40,-30,
    -20,-30,-30,-40,-40,-30,-30,-20,  -10,-20,-20,-20,-20,-20,-20,-10,
     20, 20,  0,  0,  0,  0, 20, 20,   20, 30, 10,  0,  0, 10, 30, 20,
  ],
];
/** A passed pawn's worth by how far it has come: rank 2 first. More, twice over, once the pieces are gone. */
const PASSED: readonly number[] = [5, 10, 15, 30, 50, 80];
const PHASE: readonly number[] = [0, 0, 1, 1, 2, 4, 0];
const FULL_PHASE = 24;

/** How far a square is from the middle of the board: 0 to 6. */
const fromMiddle = (square: number): number =>
  Math.floor(Math.abs((square & 7) - 3.5)) + Math.floor(Math.abs((square >> 3) - 3.5));
const between = (a: number, b: number): number => Math.max(Math.abs((a & 7) - (b & 7)), Math.abs((a >> 3) - (b >> 3)));

// One side's share of a position, gathered in a pass over the board.
interface Camp {
  middle: number;
  end: number;
  pieces: number;
  bishops: number;
  king: number;
  /** Per file, with an empty file either side: pawns, and the row (0 is rank 8) of the one furthest back. */
  pawns: Int8Array;
  rearmost: Int8Array;
}
const camp = (): Camp => ({
  middle: 0,
  end: 0,
  pieces: 0,
  bishops: 0,
  king: 0,
  pawns: new Int8Array(10),
  rearmost: new Int8Array(10),
});
// Reused by every call: an evaluation is synchronous and a thread runs one at a time.
const white = camp();
const black = camp();

/** Centipawns, positive when the side to move stands better. */
export function evaluate(board: Board): number {
  const { squares } = board;
  reset(white, 0);
  reset(black, 7);
  let phase = 0;
  for (let square = 0; square < 64; square++) {
    const piece = squares[square] ?? 0;
    if (piece === 0) continue;
    phase += PHASE[piece & 7] ?? 0;
    if (piece < BLACK) count(white, piece, square, square);
    else count(black, piece & 7, square, square ^ 56);
  }
  for (let square = 0; square < 64; square++) {
    const piece = squares[square] ?? 0;
    const type = piece & 7;
    if (type !== PAWN && type !== ROOK) continue;
    if (piece < BLACK) placePawnOrRook(white, black, type, square, 1);
    else placePawnOrRook(black, white, type, square, -1);
  }
  shelter(white, 1);
  shelter(black, -1);
  const weight = Math.min(phase, FULL_PHASE);
  const middle = white.middle - black.middle;
  const end = white.end - black.end;
  // Truncated, not rounded: rounding favours White by a centipawn, and the search takes scores to be symmetrical.
  let score = Math.trunc((middle * weight + end * (FULL_PHASE - weight)) / FULL_PHASE);
  score += driveToTheEdge(white, black) - driveToTheEdge(black, white);
  return board.side === BLACK ? -score : score;
}

function reset(side: Camp, farthestRow: number): void {
  side.middle = side.end = side.pieces = side.bishops = side.king = 0;
  side.pawns.fill(0);
  side.rearmost.fill(farthestRow);
}

/** @param seen the square as this side's own table numbers it */
function count(side: Camp, type: number, square: number, seen: number): void {
  const place = TABLES[type]?.[seen] ?? 0;
  if (type === KING) {
    side.king = square;
    side.middle += place;
    side.end += 30 - 10 * fromMiddle(square);
    return;
  }
  const value = VALUES[type] ?? 0;
  side.middle += value + place;
  side.end += value + (type === PAWN ? place >> 1 : place);
  if (type === PAWN) {
    const file = (square & 7) + 1;
    side.pawns[file] = (side.pawns[file] ?? 0) + 1;
    const row = square >> 3;
    const rear = side.rearmost[file] ?? 0;
    side.rearmost[file] = square === seen ? Math.max(rear, row) : Math.min(rear, row);
    return;
  }
  side.pieces += value;
  if (type === BISHOP && ++side.bishops === 2) {
    side.middle += 30;
    side.end += 45;
  }
}

/** @param forward 1 for White, whose pawns walk towards row 0; -1 for Black */
function placePawnOrRook(own: Camp, other: Camp, type: number, square: number, forward: number): void {
  const file = (square & 7) + 1;
  const row = square >> 3;
  if (type === ROOK) {
    if (own.pawns[file] === 0) own.middle += other.pawns[file] === 0 ? 25 : 12;
    return;
  }
  if ((own.pawns[file] ?? 0) > 1) {
    own.middle -= 8;
    own.end -= 15;
  }
  if (own.pawns[file - 1] === 0 && own.pawns[file + 1] === 0) {
    own.middle -= 12;
    own.end -= 12;
  }
  for (let f = file - 1; f <= file + 1; f++) {
    // An enemy pawn on this or the next file that is still ahead stops it or can take it.
    if ((other.pawns[f] ?? 0) > 0 && ((other.rearmost[f] ?? 0) - row) * forward < 0) return;
  }
  const come = PASSED[forward === 1 ? 6 - row : row - 1] ?? 0;
  own.middle += come;
  own.end += 2 * come + 5 * (between(other.king, square) - between(own.king, square));
}

function shelter(own: Camp, forward: number): void {
  const row = own.king >> 3;
  if ((forward === 1 ? 7 - row : row) > 1) return;
  const file = (own.king & 7) + 1;
  for (let f = Math.max(1, file - 1); f <= Math.min(8, file + 1); f++) if (own.pawns[f] === 0) own.middle -= 18;
}

/** Against a side left with little, the win is made by driving its king to the edge and bringing one's own near. */
function driveToTheEdge(winner: Camp, loser: Camp): number {
  const pawns = loser.pawns.some((n) => n > 0);
  if (pawns || loser.pieces > 0 || winner.pieces < (VALUES[ROOK] ?? 0)) return 0;
  return 15 * fromMiddle(loser.king) + 8 * (7 - between(winner.king, loser.king));
}

/** True if the side to move has two pieces beside its pawns: with fewer, passing may be the best move (zugzwang). */
export function hasPieces(board: Board): boolean {
  let pieces = 0;
  for (let square = 0; square < 64; square++) {
    const piece = board.squares[square] ?? 0;
    const type = piece & 7;
    if ((piece & BLACK) === board.side && type >= KNIGHT && type <= QUEEN && ++pieces === 2) return true;
  }
  return false;
}
