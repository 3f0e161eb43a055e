// One game: a starting position and the moves played from it, held on a chess.js board, which validates every move and
// knows the rules of drawing, and in step with it on the search's own board.

import { Chess } from 'chess.js';
import { Board, CAPTURE, CASTLE, EN_PASSANT, type Move, encodeMove, squareIndex, toUci } from './board.js';
import type { Color, Move as ChessMove } from 'chess.js';

/** More half moves than any real game; a bound on what one input may ask for. */
export const MAX_GAME_PLIES = 1200;
const UCI = /^[a-h][1-8][a-h][1-8][qrbn]?$/i;

/** Why a game is over, for people, and whether the side to move has been mated. */
export interface Outcome {
  result: string;
  isMate: boolean;
}

export class Game {
  /** The FEN the game began with, as chess.js writes it. */
  readonly start: string;
  /** The moves played, in UCI. */
  readonly moves: string[] = [];
  readonly board: Board;
  readonly #chess: Chess;

  /** @throws Error if the FEN is malformed, or no game could reach the position (the side not to move is in check) */
  constructor(fen?: string) {
    this.#chess = readFen(fen);
    this.start = this.#chess.fen();
    this.board = new Board(this.start);
  }

  get inCheck(): boolean {
    return this.#chess.inCheck();
  }

  get fen(): string {
    return this.#chess.fen();
  }

  /**
   * Plays a move in UCI ('e7e8q') or SAN ('e8=Q').
   * @throws Error if it is not legal, the game is over or too long
   */
  play(text: string): void {
    if (this.moves.length >= MAX_GAME_PLIES) throw new Error(`A game may have at most ${MAX_GAME_PLIES} half moves`);
    const outcome = this.outcome();
    if (outcome !== null) throw new Error(`Illegal move ${quote(text)}: the game is over (${outcome.result})`);
    const move = playOn(this.#chess, text);
    this.board.make(encode(move));
    this.moves.push(move.lan);
  }

  /** Null while the game goes on. */
  outcome(): Outcome | null {
    const chess = this.#chess;
    if (chess.isCheckmate()) {
      return { result: `checkmate: ${chess.turn() === 'w' ? 'Black' : 'White'} wins`, isMate: true };
    }
    const draw = chess.isStalemate()
      ? 'stalemate'
      : chess.isInsufficientMaterial()
        ? 'insufficient material'
        : chess.isThreefoldRepetition()
          ? 'threefold repetition'
          : chess.isDrawByFiftyMoves()
            ? 'fifty-move rule'
            : null;
    return draw === null ? null : { result: `draw: ${draw}`, isMate: false };
  }

  /** A line of moves from the current position in SAN. The game itself is not changed. */
  toSan(line: readonly Move[]): string[] {
    const chess = new Chess(this.fen);
    return line.map((move) => playOn(chess, toUci(move)).san);
  }
}

function readFen(fen: string | undefined): Chess {
  if (fen === undefined) return new Chess();
  let chess: Chess;
  try {
    chess = new Chess(fen.trim());
  } catch (error) {
    throw new Error(`Bad FEN ${quote(fen)}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  const other: Color = chess.turn() === 'w' ? 'b' : 'w';
  const [king] = chess.findPiece({ type: 'k', color: other });
  if (king !== undefined && chess.isAttacked(king, chess.turn())) {
    throw new Error(`Bad FEN ${quote(fen)}: the side not to move is in check`);
  }
  // Test suites are careless with castling rights; those whose king or rook is not at home are dropped, since chess.js
  // would move a rook that is not there.
  chess.setCastlingRights('w', {});
  return new Chess(chess.fen());
}

/** @throws Error if the move is not legal on that board */
function playOn(chess: Chess, text: string): ChessMove {
  const name = text.trim();
  // chess.js reads '--' as passing the turn, which is no move of chess.
  if (!name.startsWith('--') && name.length <= 12) {
    try {
      if (!UCI.test(name)) return chess.move(name);
      const uci = name.toLowerCase();
      const promotion = uci.charAt(4);
      const squares = { from: uci.slice(0, 2), to: uci.slice(2, 4) };
      const move = chess.move(promotion === '' ? squares : { ...squares, promotion });
      if (move.lan === uci) return move;
      chess.undo();
    } catch (error) {
      throw new Error(`Illegal move ${quote(text)} in ${chess.fen()}`, { cause: error });
    }
  }
  throw new Error(`Illegal move ${quote(text)} in ${chess.fen()}`);
}

function encode(move: ChessMove): Move {
  const promotion = move.promotion === undefined ? 0 : ' pnbrqk'.indexOf(move.promotion);
  const castle = move.isKingsideCastle() || move.isQueensideCastle() ? CASTLE : 0;
  const capture = move.captured === undefined ? 0 : CAPTURE;
  const flags = castle | capture | (move.isEnPassant() ? EN_PASSANT : 0);
  return encodeMove(squareIndex(move.from), squareIndex(move.to), promotion, flags);
}

const quote = (text: string): string => JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text);
