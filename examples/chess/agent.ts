// The chess agent: plays and analyses. One session is one game; each run analyses its current position (or one it is
// given), and may play the move it found. The search is in search.ts; the rules are chess.js's (game.ts, moves.ts).

import { defineAgent } from 'cabana/agent';
import { type DepthReport, type Limits, analyse } from './analysis.js';
import { Game, MAX_GAME_PLIES } from './game.js';
import { MATE_SCORE, MAX_DEPTH } from './search.js';
import type { AgentContext, StoredEntry } from 'cabana/agent';

export const DEFAULT_MS = 1000;
export const MAX_MS = 600_000;

/** What a run is asked. All optional: {} analyses the session's game as it stands, for a second. */
export interface ChessInput {
  /** Begins a new game from this position. */
  fen?: string;
  /** Played first, UCI or SAN. Without `fen` they begin a new game from the start position. */
  moves?: string[];
  /** Played after `moves`, in the session's game if neither `fen` nor `moves` is given: the opponent's move. */
  move?: string;
  /** Whether the move found is played in the session's game. Default: true if `move` is given. */
  play?: boolean;
  /** Half moves, 1 to 40. Alone, it is the only limit. */
  depth?: number;
  /** Milliseconds of thinking, 1 to 600000. Default 1000 if there is no depth either. */
  ms?: number;
}

export interface ChessOutput {
  /** UCI; null if the game is over. */
  best: string | null;
  san: string | null;
  /** Centipawns for the side to move. */
  score: number;
  /** N: the side to move mates in N moves; -N: it is mated in N (0: it has been); null: no mate in sight. */
  mate: number | null;
  depth: number;
  nodes: number;
  /** Only when the game is over: how it ended. */
  result?: string;
}

/** The session's game. Plain data; it always equals what the last assistant entry of the history says. */
export interface ChessState {
  /** Where the game began, and the moves since, in UCI. */
  fen: string;
  moves: string[];
  /** Runs finished. */
  analyses: number;
}

/** @throws Error naming what is wrong with the input */
function readInput(input: unknown): ChessInput {
  if (input === undefined || input === null) return {};
  if (typeof input !== 'object' || Array.isArray(input)) throw new Error('Bad input: expected an object');
  const { fen, moves, move, play, depth, ms } = input as Record<string, unknown>;
  if (fen !== undefined && typeof fen !== 'string') throw new Error('Bad FEN: expected a string');
  if (moves !== undefined && !isTextList(moves)) throw new Error('Bad moves: expected a list of UCI or SAN strings');
  if (moves !== undefined && moves.length > MAX_GAME_PLIES) throw new Error(`Bad moves: more than ${MAX_GAME_PLIES}`);
  if (move !== undefined && typeof move !== 'string') throw new Error('Bad move: expected a UCI or SAN string');
  if (play !== undefined && typeof play !== 'boolean') throw new Error('Bad play: expected true or false');
  return {
    ...(fen === undefined ? {} : { fen }),
    ...(moves === undefined ? {} : { moves }),
    ...(move === undefined ? {} : { move }),
    ...(play === undefined ? {} : { play }),
    ...(depth === undefined ? {} : { depth: readInteger('depth', depth, MAX_DEPTH) }),
    ...(ms === undefined ? {} : { ms: readInteger('ms', ms, MAX_MS) }),
  };
}

const isTextList = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string');

function readInteger(name: string, value: unknown, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > max) {
    throw new Error(`Bad ${name}: expected a whole number from 1 to ${max}, not ${String(value)}`);
  }
  return value;
}

/** The game a run is about: the session's own, unless the input begins another. */
function openGame(state: ChessState, input: ChessInput): Game {
  const isNew = input.fen !== undefined || input.moves !== undefined;
  const game = new Game(isNew ? input.fen : state.fen);
  for (const move of isNew ? (input.moves ?? []) : state.moves) game.play(move);
  if (input.move !== undefined) game.play(input.move);
  return game;
}

function limitsOf({ depth, ms }: ChessInput): Limits {
  return { depth: depth ?? MAX_DEPTH, ms: ms ?? (depth === undefined ? DEFAULT_MS : MAX_MS) };
}

const pawns = (score: number): string => `${score < 0 ? '-' : '+'}${(Math.abs(score) / 100).toFixed(2)}`;

function verdict({ score, mate }: { score: number; mate: number | null }): string {
  if (mate === null) return pawns(score);
  return mate > 0 ? `mate in ${mate}` : `mated in ${-mate}`;
}

function resultOf(game: Game, report: DepthReport | undefined): ChessOutput {
  const outcome = game.outcome();
  if (outcome !== null) {
    const { result, isMate } = outcome;
    const score = isMate ? -MATE_SCORE : 0;
    return { best: null, san: null, score, mate: isMate ? 0 : null, depth: 0, nodes: 0, result };
  }
  if (report === undefined) throw new Error('assertion failed: depth 1 is always finished');
  const { best, san, score, mate, depth, nodes } = report;
  return { best, san, score, mate, depth, nodes };
}

/** Writes the run's one history entry and brings the state up to it, so that neither is ever ahead of the other. */
async function conclude(
  ctx: AgentContext<ChessState>,
  game: Game,
  output: ChessOutput,
  report: DepthReport | undefined,
  play: boolean,
): Promise<void> {
  const fen = game.fen;
  if (play && output.best !== null) game.play(output.best);
  const next: ChessState = { fen: game.start, moves: [...game.moves], analyses: ctx.state.analyses + 1 };
  const verb = play ? 'I play' : 'Best is';
  const content =
    report === undefined
      ? `The game is over, ${output.result ?? ''}.`
      : `${verb} ${report.san} (${verdict(report)}) at depth ${report.depth}: ${report.pv.join(' ')}`;
  const room = ctx.history.append({ role: 'assistant', content, ...output, position: fen, state: next });
  ctx.state = next;
  await room;
}

/** The state an assistant entry carries, or undefined if the entry is not one of ours. */
function stateIn(entry: StoredEntry): ChessState | undefined {
  if (entry.role !== 'assistant' || typeof entry['state'] !== 'object' || entry['state'] === null) return undefined;
  const { fen, moves, analyses } = entry['state'] as Partial<ChessState>;
  if (typeof fen !== 'string' || !isTextList(moves) || typeof analyses !== 'number') return undefined;
  return { fen, moves: [...moves], analyses };
}

const newState = (): ChessState => ({ fen: new Game().start, moves: [], analyses: 0 });

export default defineAgent<ChessState, ChessInput | undefined, ChessOutput>({
  profile: 'chess',
  load: 'cpu',
  start: newState,

  // A run changes the state only with its entry, so the last entry of the tail is the state: a run that was cut off
  // before it left neither.
  restore: (_ctx, saved, tail) => tail.map(stateIn).findLast((state) => state !== undefined) ?? saved,

  async *run(ctx, rawInput) {
    const input = readInput(rawInput);
    const game = openGame(ctx.state, input);
    const limits = limitsOf(input);
    const play = input.play ?? input.move !== undefined;
    let last: DepthReport | undefined;
    if (game.outcome() === null) {
      for (const report of analyse(game, limits, () => ctx.checkpoint())) {
        last = report;
        const done = Math.max(report.depth / limits.depth, report.ms / limits.ms);
        ctx.progress(Math.min(1, done), `depth ${report.depth} ${report.san} ${verdict(report)}`);
        yield report;
        await ctx.yield();
        // Also between depths, for a host that asks a run to stop while it had given the thread up.
        ctx.checkpoint();
      }
    }
    const output = resultOf(game, last);
    await conclude(ctx, game, output, last, play);
    ctx.progress(1, output.result ?? `${output.san ?? ''} ${verdict(output)}`);
    return output;
  },
});
