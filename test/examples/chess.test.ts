// The chess agent: its board against chess.js, its search against known positions, its runs against the agent contract.
// Searches are limited by depth, not time, so that what is asserted does not depend on the machine.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { AgentInterrupted, type AgentContext, type JournalEntry, type StoredEntry } from 'cabana/agent';
import { Chess } from 'chess.js';
import agent, { type ChessInput, type ChessOutput, type ChessState } from '../../examples/chess/agent.js';
import { type DepthReport, analyse } from '../../examples/chess/analysis.js';
import { Board, type Move, toUci } from '../../examples/chess/board.js';
import { evaluate } from '../../examples/chess/evaluate.js';
import { Game } from '../../examples/chess/game.js';
import { MoveSource } from '../../examples/chess/moves.js';

interface Position {
  id: string;
  fen: string;
  bm: string[];
  mate?: number;
  depth: number;
  source: string;
}

// The compiled test runs from dist/test/examples; fixtures stay where they were written.
const POSITIONS = JSON.parse(
  readFileSync(new URL('../../../test/fixtures/chess-positions.json', import.meta.url), 'utf8'),
) as Position[];
const START = new Chess().fen();

const noCheckpoint = (): void => undefined;

/** What the last depth found. */
function search(game: Game, depth: number): DepthReport {
  const last = [...analyse(game, { depth, ms: 600_000 }, noCheckpoint)].at(-1);
  assert.ok(last);
  return last;
}

function gameFrom(fen: string | undefined, moves: string[]): Game {
  const game = new Game(fen);
  for (const move of moves) game.play(move);
  return game;
}

/** True if the side to move can force mate in at most `n` moves. Every line is tried, with chess.js alone. */
function forcesMate(fen: string, n: number): boolean {
  const chess = new Chess(fen);
  if (n === 1) return chess.moves().some((san) => san.endsWith('#'));
  const moves = chess.moves({ verbose: true });
  return moves.some((move) => move.san.endsWith('#') || isMatedWithin(move.after, n - 1));
}

function isMatedWithin(fen: string, n: number): boolean {
  const replies = new Chess(fen).moves({ verbose: true });
  return replies.length > 0 && replies.every((reply) => forcesMate(reply.after, n));
}

/** A context that keeps the contract and records what the agent does with it. */
class RecordedContext implements AgentContext<ChessState> {
  readonly sessionId = 'chess-test';
  readonly params = {};
  readonly workingDir = null;
  readonly resumed = false;
  readonly #abort = new AbortController();
  readonly signal = this.#abort.signal;
  state: ChessState;
  checkpoints = 0;
  yields = 0;
  /** The checkpoint, counted from 1, at which the run is asked to stop. */
  interruptAt = Infinity;
  readonly fractions: number[] = [];
  readonly entries: StoredEntry[] = [];
  readonly emitted: unknown[] = [];
  readonly log = { debug: noCheckpoint, info: noCheckpoint, warn: noCheckpoint, error: noCheckpoint };

  constructor(state: ChessState) {
    this.state = state;
  }

  readonly history = ((entries: StoredEntry[]) => ({
    append: (entry: JournalEntry): void => {
      // As the host does: the entry is encoded when it is appended, so later changes to it are not in the history.
      const stored = structuredClone(entry);
      entries.push({ ...stored, seq: entries.length + 1, created_at: new Date(0).toISOString() });
    },
    async *entries({ from = 1, limit = Infinity } = {}): AsyncIterableIterator<StoredEntry> {
      yield* entries.slice(from - 1, from - 1 + limit);
    },
    get length(): number {
      return entries.length;
    },
    get durableSeq(): number {
      return entries.length;
    },
    durable: (): Promise<void> => Promise.resolve(),
  }))(this.entries);

  checkpoint(): void {
    if (++this.checkpoints < this.interruptAt) return;
    this.#abort.abort();
    throw new AgentInterrupted();
  }

  yield(): Promise<void> {
    this.yields++;
    return Promise.resolve();
  }

  progress(fraction: number, label = ''): void {
    assert.ok(fraction >= 0 && fraction <= 1, `progress ${fraction}`);
    assert.ok(Buffer.byteLength(label) <= 39, `label '${label}' would be cut`);
    this.fractions.push(fraction);
  }

  emit(event: unknown): void {
    this.emitted.push(event);
  }

  report(): void {
    assert.fail('the chess agent has no figures to report');
  }

  rename(): void {
    assert.fail('the chess agent names no session');
  }
}

async function newContext(state?: ChessState): Promise<RecordedContext> {
  const context = new RecordedContext(state ?? { fen: START, moves: [], analyses: 0 });
  assert.ok(agent.start);
  if (state === undefined) context.state = await agent.start(context);
  return context;
}

async function run(ctx: RecordedContext, input?: unknown): Promise<{ events: DepthReport[]; output: ChessOutput }> {
  const steps = agent.run(ctx, input as ChessInput) as AsyncGenerator<unknown, ChessOutput, void>;
  const events: DepthReport[] = [];
  for (;;) {
    const step = await steps.next();
    if (step.done === true) return { events, output: step.value };
    events.push(step.value as DepthReport);
  }
}

describe('the board of the chess search', () => {
  // Positions with every special move near: castling both ways, en passant, promotion with and without capture, pins.
  const FENS = [
    START,
    'r3k2r/p1ppqpb1/bn2pnp1/3PN3/1p2P3/2N2Q1p/PPPBBPPP/R3K2R w KQkq - 0 1',
    '8/2p5/3p4/KP5r/1R3p1k/8/4P1P1/8 w - - 0 1',
    'r3k2r/Pppp1ppp/1b3nbN/nP6/BBP1P3/q4N2/Pp1P2PP/R2Q1RK1 w kq - 0 1',
    'rnbq1k1r/pp1Pbppp/2p5/8/2B5/8/PPP1NnPP/RNBQK2R w KQ - 1 8',
  ];

  it('has the legal moves, position and key that chess.js and a fresh board have, along random games', () => {
    const source = new MoveSource();
    let seed = 7;
    const pick = (n: number): number => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 1) % n;
    for (const fen of FENS) {
      const chess = new Chess(fen);
      const board = new Board(chess.fen());
      for (let ply = 0; ply < 40; ply++) {
        const moves = source.all(board, 0);
        const expected = chess.moves({ verbose: true });
        assert.deepEqual(moves.map(toUci).sort(), expected.map((move) => move.lan).sort(), chess.fen());
        if (chess.isGameOver()) break;
        const move = moves[pick(moves.length)] ?? 0;
        board.make(move);
        chess.move(expected.find(({ lan }) => lan === toUci(move))?.san ?? '');
        assert.equal(withoutEnPassant(board.fen()), withoutEnPassant(chess.fen()));
        const fresh = new Board(board.fen());
        assert.deepEqual([board.low, board.high], [fresh.low, fresh.high], chess.fen());
      }
    }
  });

  // chess.js hides an en passant square that only a pinned pawn could use; the field and the move number aside, both
  // must agree.
  const withoutEnPassant = (fen: string): string => fen.split(' ').toSpliced(3, 1).slice(0, 4).join(' ');

  it('is as it was after a move is taken back, whatever the move', () => {
    const source = new MoveSource();
    const walk = (board: Board, depth: number): number => {
      const before = `${board.fen()} ${board.low} ${board.high}`;
      const moves: readonly Move[] = source.all(board, depth);
      let leaves = depth === 1 ? moves.length : 0;
      for (const move of depth === 1 ? [] : moves) {
        board.make(move);
        leaves += walk(board, depth - 1);
        board.unmake();
        assert.equal(`${board.fen()} ${board.low} ${board.high}`, before, toUci(move));
      }
      return leaves;
    };
    // The counts are the published perft numbers of these positions.
    const perft = [
      [20, 400],
      [48, 2039],
      [14, 191],
      [6, 264],
      [44, 1486],
    ];
    for (const [i, fen] of FENS.entries()) {
      assert.deepEqual([walk(new Board(fen), 1), walk(new Board(fen), 2)], perft[i], fen);
    }
  });

  it('is evaluated alike for both colours', () => {
    for (const { fen } of POSITIONS) {
      const [placement = '', side, castling = '-'] = fen.split(' ');
      const swapped = placement.replace(/[a-z]/gi, (c) => (c < 'a' ? c.toLowerCase() : c.toUpperCase()));
      const mirrored = `${swapped.split('/').reverse().join('/')} ${side === 'w' ? 'b' : 'w'} ${castling} - 0 1`;
      assert.equal(evaluate(new Board(mirrored)), evaluate(new Board(fen)), fen);
    }
  });
});

describe('the chess search', () => {
  for (const { id, fen, bm, mate, depth, source } of POSITIONS) {
    const aim = mate === undefined ? `the best move ${bm.join(' or ')}` : `the mate in ${mate}`;
    it(`finds ${aim} in ${id} (${source})`, () => {
      const found = search(new Game(fen), depth);
      assert.ok(bm.includes(found.san), `${found.san} instead of ${bm.join(' or ')}`);
      assert.equal(found.mate, mate ?? null);
    });
  }

  it('claims only mates that an exhaustive search with chess.js confirms, and the shortest', () => {
    for (const { id, fen, bm, mate } of POSITIONS) {
      if (mate === undefined) continue;
      const key = new Chess(fen);
      key.move(bm[0] ?? '');
      assert.ok(isMatedWithin(key.fen(), mate - 1), `${id}: ${bm[0]} mates in ${mate}`);
      assert.equal(forcesMate(fen, mate - 1), false, `${id}: no mate in ${mate - 1}`);
    }
  });

  it('says in how many moves the side to move is mated', () => {
    // After 1. Qd1+ in Bratko-Kopec 1 the king must take, and is mated two moves later.
    const game = gameFrom('1k1r4/pp1b1R2/3q2pp/4p3/2B5/4Q3/PPP2B2/2K5 b - - 0 1', ['Qd1+']);
    const found = search(game, 5);
    assert.deepEqual([found.san, found.mate, found.score], ['Kxd1', -2, -29996]);
    assert.deepEqual(found.pv.at(-1), 'Rd1#');
  });

  it('is the same search each time, though an earlier one has filled the table of legal moves', () => {
    const fen = 'r1bq1rk1/pp2bppp/2n1pn2/3p4/2PP4/2N2N2/PP2BPPP/R1BQ1RK1 w - - 0 9';
    const [first, second] = [search(new Game(fen), 4), search(new Game(fen), 4)];
    assert.deepEqual({ ...second, ms: 0 }, { ...first, ms: 0 });
  });

  it('gives a line of legal moves that begins with the best move', () => {
    const fen = 'r1bqkbnr/pppp1ppp/2n5/4p3/4P3/5N2/PPPP1PPP/RNBQKB1R w KQkq - 2 3';
    for (const report of analyse(new Game(fen), { depth: 4, ms: 600_000 }, noCheckpoint)) {
      const chess = new Chess(fen);
      for (const san of report.pv) chess.move(san, { strict: true });
      assert.equal(report.pv[0], report.san);
    }
  });

  it('takes the draw by perpetual check when it is lost otherwise', () => {
    // White is two rooks down; Qe8+ Kh7 Qh5+ Kg8 goes round for ever.
    const found = search(new Game('6k1/6p1/8/7Q/8/1r6/1r6/7K w - - 0 1'), 8);
    assert.deepEqual([found.san, found.score, found.mate], ['Qe8+', 0, null]);
  });

  it('sees that stalemate is a draw', () => {
    // Qb6 would stalemate; Qb7 mates.
    assert.equal(search(new Game('k7/8/2K5/8/8/8/1Q6/8 w - - 0 1'), 4).mate, 1);
    // A pawn up means nothing: Kf3 stalemates, and anything else loses the pawn.
    assert.equal(search(new Game('8/8/8/8/8/4k3/5p2/5K2 b - - 0 1'), 4).score, 0);
  });

  it('stops within its time budget, with the last finished depth as its answer', () => {
    let clock = 0;
    const tick = (): number => (clock += 1);
    const reports = [...analyse(new Game(), { depth: 40, ms: 60 }, noCheckpoint, tick)];
    const last = reports.at(-1);
    assert.ok(last && last.depth >= 1 && last.depth < 8, `depth ${last?.depth}`);
    assert.ok(clock <= 70, `asked the clock ${clock} times`);
  });

  it('does not count the time it waits between two depths', () => {
    let clock = 0;
    let depths = 0;
    for (const _ of analyse(new Game(), { depth: 3, ms: 1000 }, noCheckpoint, () => clock)) {
      depths++;
      clock += 10_000;
    }
    assert.equal(depths, 3);
  });
});

describe('the chess agent', () => {
  it('yields an event for each finished depth and gives the thread up between them', async () => {
    const ctx = await newContext();
    const { events, output } = await run(ctx, { depth: 4 });
    assert.deepEqual(
      events.map(({ depth }) => depth),
      [1, 2, 3, 4],
    );
    for (const event of events) {
      assert.deepEqual(Object.keys(event).sort(), ['best', 'depth', 'mate', 'ms', 'nodes', 'pv', 'san', 'score']);
      assert.match(event.best, /^[a-h][1-8][a-h][1-8]$/);
    }
    assert.equal(ctx.yields, 4);
    const { best, san, score, mate, depth, nodes } = events[3] ?? assert.fail();
    assert.deepEqual(output, { best, san, score, mate, depth, nodes });
    assert.equal(ctx.fractions.at(-1), 1);
    assert.deepEqual(
      ctx.fractions,
      ctx.fractions.toSorted((a, b) => a - b),
    );
  });

  it('asks at least once every 64 nodes whether it should stop', async () => {
    const ctx = await newContext();
    const { output } = await run(ctx, { depth: 4 });
    assert.ok(ctx.checkpoints >= output.nodes / 64, `${ctx.checkpoints} checkpoints in ${output.nodes} nodes`);
  });

  it('writes one readable entry a run, which agrees with its result and its state', async () => {
    const ctx = await newContext();
    const { output } = await run(ctx, { fen: 'k7/8/1K6/8/8/8/8/7R w - - 0 1', depth: 3 });
    assert.deepEqual(output, { best: 'h1h8', san: 'Rh8#', score: 29_999, mate: 1, depth: 1, nodes: output.nodes });
    const [entry] = ctx.entries;
    assert.equal(ctx.entries.length, 1);
    assert.equal(entry?.role, 'assistant');
    assert.equal(entry.content, 'Best is Rh8# (mate in 1) at depth 1: Rh8#');
    for (const [field, value] of Object.entries(output)) assert.deepEqual(entry[field], value, field);
    assert.deepEqual(ctx.state, { fen: 'k7/8/1K6/8/8/8/8/7R w - - 0 1', moves: [], analyses: 1 });
  });

  it('lets an interrupt end the run at once, and then leaves neither an entry nor a changed state', async () => {
    const ctx = await newContext();
    const before = structuredClone(ctx.state);
    ctx.interruptAt = 50;
    await assert.rejects(run(ctx, { moves: ['e4', 'e5'], depth: 12 }), AgentInterrupted);
    assert.equal(ctx.checkpoints, 50);
    assert.equal(ctx.entries.length, 0);
    assert.deepEqual(ctx.state, before);
  });

  it('plays a game: takes a move, answers it, and goes on from there', async () => {
    const ctx = await newContext();
    const first = await run(ctx, { move: 'e2e4', depth: 2 });
    assert.deepEqual(ctx.state.moves, ['e2e4', first.output.best]);
    const second = await run(ctx, { move: 'd4', depth: 2 });
    assert.deepEqual(ctx.state.moves.slice(2), ['d2d4', second.output.best]);
    await run(ctx, { depth: 1 });
    assert.deepEqual([ctx.state.moves.length, ctx.state.analyses], [4, 3]);
    assert.match(String(ctx.entries[1]?.content), /^I play /);
  });

  it('takes moves in UCI and in SAN, and begins a new game with them', async () => {
    const ctx = await newContext({ fen: START, moves: ['a2a3'], analyses: 4 });
    await run(ctx, { moves: ['e4', 'e7e5', 'Nf3', 'b8c6', 'Bb5', 'a6', 'Bxc6', 'dxc6', 'e1g1'], depth: 1 });
    const moves = 'e2e4 e7e5 g1f3 b8c6 f1b5 a7a6 b5c6 d7c6 e1g1'.split(' ');
    assert.deepEqual(ctx.state, { fen: START, moves, analyses: 5 });
  });

  const OVER = [
    ['checkmate: Black wins', { moves: ['f3', 'e5', 'g4', 'Qh4#'] }, 0, -30_000],
    ['draw: stalemate', { fen: 'k7/8/1Q6/8/8/8/8/K7 b - - 0 1' }, null, 0],
    ['draw: insufficient material', { fen: 'k7/8/8/8/8/8/8/KB6 w - - 0 1' }, null, 0],
    ['draw: fifty-move rule', { fen: 'k7/8/8/8/8/8/8/KR6 w - - 100 90' }, null, 0],
    ['draw: threefold repetition', { moves: ['Nf3', 'Nf6', 'Ng1', 'Ng8', 'Nf3', 'Nf6', 'Ng1', 'Ng8'] }, null, 0],
  ] as const;
  for (const [result, input, mate, score] of OVER) {
    it(`finds no move when the game is over, and says why (${result})`, async () => {
      const ctx = await newContext();
      const { events, output } = await run(ctx, input);
      assert.deepEqual(output, { best: null, san: null, score, mate, depth: 0, nodes: 0, result });
      assert.deepEqual(events, []);
      assert.equal(ctx.entries[0]?.content, `The game is over, ${result}.`);
    });
  }

  const REFUSED: [string, unknown, RegExp][] = [
    ['an illegal move', { moves: ['e4', 'e4'] }, /^Illegal move "e4" in /],
    ['a move of a pinned piece', { fen: '4r2k/8/8/8/8/8/4N3/4K3 w - - 0 1', move: 'e2c3' }, /^Illegal move "e2c3"/],
    ['a promotion to nothing', { fen: '7k/P7/8/8/8/8/8/K7 w - - 0 1', move: 'a7a8' }, /^Illegal move "a7a8"/],
    ['a promotion of a piece that is no pawn', { move: 'g1f3q' }, /^Illegal move "g1f3q"/],
    ['passing the turn', { move: '--' }, /^Illegal move "--"/],
    ['a move after the end', { moves: ['f3', 'e5', 'g4', 'Qh4#', 'a3'] }, /the game is over \(checkmate: Black wins\)/],
    ['a FEN that is none', { fen: 'nonsense' }, /^Bad FEN "nonsense": /],
    ['a FEN without a king', { fen: '8/8/8/8/8/8/8/K7 w - - 0 1' }, /^Bad FEN .*king/],
    ['a FEN whose king could be taken', { fen: 'k7/8/8/8/8/8/8/K6Q w - - 0 1' }, /^Bad FEN .*in check/],
    ['a depth out of range', { depth: 41 }, /^Bad depth: expected a whole number from 1 to 40, not 41/],
    ['a depth that is no whole number', { depth: 2.5 }, /^Bad depth/],
    ['a time of nothing', { ms: 0 }, /^Bad ms: expected a whole number from 1 to 600000, not 0/],
    ['moves that are no list', { moves: 'e2e4' }, /^Bad moves/],
    ['an input that is no object', 'e2e4', /^Bad input/],
  ];
  for (const [what, input, message] of REFUSED) {
    it(`refuses ${what}, and nothing has happened`, async () => {
      const ctx = await newContext();
      const before = structuredClone(ctx.state);
      await assert.rejects(
        run(ctx, input),
        (error: Error) => message.test(error.message) || assert.fail(error.message),
      );
      assert.deepEqual([ctx.state, ctx.entries.length], [before, 0]);
    });
  }

  it('drops castling rights that the position cannot have', () => {
    const game = new Game('4k3/8/8/8/8/8/8/4K2R w KQkq - 0 1');
    assert.equal(game.start, '4k3/8/8/8/8/8/8/4K2R w K - 0 1');
  });

  it('restores the state that the tail of the history tells of', async () => {
    assert.ok(agent.restore);
    const ctx = await newContext();
    await run(ctx, { move: 'e4', depth: 1 });
    const saved = structuredClone(ctx.state);
    await run(ctx, { move: 'd4', depth: 1 });
    const stored = (seq: number, entry: JournalEntry): StoredEntry => ({ ...entry, seq, created_at: '' });
    const user = stored(9, { role: 'user', content: { move: 'h4' } });
    const foreign = stored(10, { role: 'assistant', content: 'not of this agent' });
    assert.deepEqual(await agent.restore(ctx, saved, [...ctx.entries.slice(1), user, foreign]), ctx.state);
    const started = { fen: START, moves: [], analyses: 0 };
    assert.deepEqual(await agent.restore(ctx, started, ctx.entries), ctx.state);
    assert.deepEqual(await agent.restore(ctx, saved, []), saved);
  });

  it('keeps plain data as its state, and no search in it', async () => {
    const ctx = await newContext();
    await run(ctx, { move: 'e4', depth: 3 });
    assert.deepEqual(JSON.parse(JSON.stringify(ctx.state)), ctx.state);
    assert.ok(JSON.stringify(ctx.state).length < 200);
    assert.equal(agent.save, undefined);
  });
});
