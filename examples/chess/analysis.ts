// An analysis: one search of a game's position, a report for each finished depth, within a depth and a time budget.

import { toUci } from './board.js';
import { MATE_SCORE, Search, mateIn } from './search.js';
import type { Game } from './game.js';

export interface Limits {
  /** The last depth to search, in half moves. */
  depth: number;
  /** Thinking time in milliseconds; depth 1 is finished whatever it takes. */
  ms: number;
}

/** What one finished depth found. Scores are centipawns for the side to move. */
export interface DepthReport {
  depth: number;
  /** The best move in UCI, and in SAN. */
  best: string;
  san: string;
  /** Near plus or minus 30000 when it is a mate: 30000 less the half moves to it. */
  score: number;
  /** N: the side to move mates in N moves. -N: it is mated in N. */
  mate: number | null;
  /** Nodes, and milliseconds of thinking, since the analysis began. */
  nodes: number;
  ms: number;
  /** The best line in SAN. */
  pv: string[];
}

/** Ends a search whose time is up; never leaves this file. */
class TimeUp extends Error {}

/** Beyond this share of its time a search does not begin another depth: it would be thrown away unfinished. */
const WORTH_BEGINNING = 0.6;

/**
 * Searches one depth more each time it is resumed. Only time spent in here counts: what a caller does between two
 * reports (waiting its turn in a busy thread, for one) costs the analysis nothing. The game must not be over.
 * @param checkpoint called every millisecond or so; what it throws ends the analysis and is passed on
 * @param now a clock in milliseconds
 */
export function* analyse(
  game: Game,
  limits: Limits,
  checkpoint: () => void,
  now: () => number = () => performance.now(),
): Generator<DepthReport, void, void> {
  let spent = 0;
  let resumedAt = 0;
  let depth = 1;
  const search = new Search(game.board, game.inCheck, () => {
    checkpoint();
    if (depth > 1 && spent + now() - resumedAt >= limits.ms) throw new TimeUp();
  });
  for (; depth <= limits.depth; depth++) {
    resumedAt = now();
    let line;
    try {
      line = search.deepen(depth);
    } catch (error) {
      if (error instanceof TimeUp) return;
      throw error;
    }
    const [best] = line.moves;
    if (best === undefined) throw new Error('assertion failed: a search of a live position found no move');
    const pv = game.toSan(line.moves);
    spent += now() - resumedAt;
    const { score, nodes } = line;
    yield { depth, best: toUci(best), san: pv[0] ?? '', score, mate: mateIn(score), nodes, ms: Math.round(spent), pv };
    // A mate no longer than the depth stands: shorter ones have been looked for, and more depth would only confirm it.
    if (mateIn(score) !== null && MATE_SCORE - Math.abs(score) <= depth) return;
    if (spent >= limits.ms * WORTH_BEGINNING) return;
  }
}
