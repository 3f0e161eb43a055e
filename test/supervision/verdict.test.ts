// The decisions of supervision, as tables: what is done about a run, a hanging thread, a run whose thread is gone, a
// session that keeps crashing, and a thread that keeps dying.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  fateOf,
  hangs,
  judgeRun,
  replaceDelayMs,
  shortLivesAfter,
  standInsWanted,
  withStrike,
  type LostRun,
  type WatchedRun,
} from '../../src/main/pool/verdict.js';
import { REPLACE_AFTER_CULPRIT, REPLACE_AFTER_OWN_DEATH, STANDSTILL_MS } from '../../src/protocol/limits.js';

const GRACE = 100;
const watched = (fields: Partial<WatchedRun>): WatchedRun => ({
  deadlineAt: null,
  interruptedAt: null,
  load: 'cpu',
  waits: false,
  holds: true,
  ...fields,
});

describe('the verdict about a run', () => {
  const cases: [string, Partial<WatchedRun>, boolean, number, ReturnType<typeof judgeRun>][] = [
    ['a run without a limit may go on for ever', {}, true, 1e12, 'fine'],
    ['so may one on a thread that does not turn', {}, false, 1e12, 'fine'],
    ['before its deadline a run is fine', { deadlineAt: 1_500 }, true, 1_499, 'fine'],
    ['at its deadline it is asked to stop', { deadlineAt: 1_500 }, true, 1_500, 'timeout'],
    ['also when its thread does not turn', { deadlineAt: 1_500 }, false, 1_500, 'timeout'],
    ['an interrupted run has its grace', { interruptedAt: 1_500 }, false, 1_599, 'fine'],
    ['a cpu run that used it up costs its thread', { interruptedAt: 1_500 }, false, 1_600, 'giveUp'],
    ['even one whose thread turns', { interruptedAt: 1_500 }, true, 1_600, 'giveUp'],
    [
      'a deadline passed in the grace is no second timeout',
      { interruptedAt: 1_500, deadlineAt: 1_550 },
      true,
      1_560,
      'fine',
    ],
    ['an io run on a thread that is well is abandoned', { interruptedAt: 1_500, load: 'io' }, true, 1_600, 'abandon'],
    ['an io run has its grace too', { interruptedAt: 1_500, load: 'io' }, true, 1_599, 'fine'],
    ['an io run that blocks its thread costs it', { interruptedAt: 1_500, load: 'io' }, false, 5_000, 'giveUp'],
    ['without a grace the verdict comes at once', { interruptedAt: 1_500 }, true, 1_500 + GRACE, 'giveUp'],
  ];
  it('an io run is not judged while a cpu run holds its thread, nor before its thread has shown how it is', () => {
    const run = watched({ interruptedAt: 1_500, load: 'io' });
    const stands = (standstillMs: number) => ({ beatAgeMs: 60_000, standstillMs });
    assert.equal(judgeRun(run, stands(0), 5_000, GRACE), 'fine');
    assert.equal(judgeRun(run, stands(STANDSTILL_MS - 1), 1_700, GRACE), 'fine');
    assert.equal(judgeRun(run, stands(STANDSTILL_MS), 1_700, GRACE), 'giveUp');
  });
  it('an io run that had its chance is abandoned, though cpu runs have its thread one after the other', () => {
    const run = watched({ interruptedAt: 1_500, load: 'io' });
    assert.equal(judgeRun(run, { beatAgeMs: 50, standstillMs: 0 }, 1_650, GRACE), 'abandon');
    assert.equal(judgeRun(run, { beatAgeMs: 51, standstillMs: 0 }, 1_650, GRACE), 'fine');
  });
  it('a cpu run that has not minded its interrupt for a while holds its thread up, until its grace is used up', () => {
    const run = watched({ interruptedAt: 1_500 });
    const signs = { beatAgeMs: 0, standstillMs: 0 };
    const verdicts = [99, 100, 1_999, 2_000].map((ms) => judgeRun(run, signs, 1_500 + ms, 2_000));
    assert.deepEqual(verdicts, ['fine', 'deaf', 'deaf', 'giveUp']);
    assert.equal(judgeRun({ ...run, load: 'io' }, signs, 1_700, 2_000), 'fine');
  });
  it('one that waits for its thread is not what holds it', () => {
    const signs = { beatAgeMs: 60_000, standstillMs: 60_000 };
    assert.equal(judgeRun(watched({ interruptedAt: 1_500, waits: true }), signs, 1e9, GRACE), 'fine');
    assert.equal(judgeRun(watched({ deadlineAt: 1_500, waits: true }), signs, 1_500, GRACE), 'timeout');
  });
  for (const [title, run, turns, now, verdict] of cases) {
    // A thread that turns has just shown it; one that does not has been silent for long.
    const signs = turns ? { beatAgeMs: 0, standstillMs: 0 } : { beatAgeMs: 60_000, standstillMs: 60_000 };
    it(title, () => assert.equal(judgeRun(watched(run), signs, now, GRACE), verdict));
  }
});

it('as many threads stand in as are held up, if somebody waits, and stay as long as they are', () => {
  const wanted = (heldUp: number, open: number, starved: boolean, dead = 0): number =>
    standInsWanted({ heldUp, dead, open, starved, max: 2 });
  assert.deepEqual([wanted(1, 0, false), wanted(1, 0, true), wanted(3, 0, true)], [0, 1, 2]);
  assert.deepEqual([wanted(1, 1, false), wanted(2, 1, false), wanted(0, 1, true)], [1, 1, 0]);
  // A dead thread is replaced; until then a stand-in that is there stays.
  assert.deepEqual([wanted(0, 1, false, 1), wanted(0, 0, true, 1), wanted(1, 1, true, 1)], [1, 0, 1]);
});

it('a thread hangs when it stands still for the whole bound while no cpu run has it', () => {
  const table: [number, number, boolean][] = [
    [999, 999, false],
    [1_000, 1_000, true],
    [1e9, 0, false],
    [0, 0, false],
  ];
  for (const [beatAgeMs, standstillMs, verdict] of table) {
    assert.equal(hangs({ beatAgeMs, standstillMs }, 1_000), verdict, `${beatAgeMs} ${standstillMs}`);
  }
});

describe('the fate of a run whose thread is gone', () => {
  const lost = (fields: Partial<LostRun>): LostRun => ({
    isCulprit: false,
    wasInterrupted: false,
    retriesLeft: 0,
    ...fields,
  });
  const end = (state: string, code: string) => ({ state, code });
  const unresponsive = { code: 'AGENT_UNRESPONSIVE', message: 'deaf' } as const;
  const crashed = { code: 'AGENT_CRASHED', message: 'boom' } as const;
  const memory = { code: 'AGENT_OUT_OF_MEMORY', message: 'full' } as const;
  const refused = { code: 'JOURNAL_GAP', message: 'a gap' } as const;
  type Death = typeof unresponsive | typeof crashed | typeof memory | typeof refused;
  const cases: [string, Partial<LostRun>, Death, object | 'retry'][] = [
    ['deaf culprits read interrupted', { isCulprit: true }, unresponsive, end('interrupted', 'AGENT_UNRESPONSIVE')],
    ['crashed culprits read failed', { isCulprit: true }, crashed, end('failed', 'AGENT_CRASHED')],
    ['culprits out of memory read failed', { isCulprit: true }, memory, end('failed', 'AGENT_OUT_OF_MEMORY')],
    ['a culprit is never run again', { isCulprit: true, retriesLeft: 5 }, crashed, end('failed', 'AGENT_CRASHED')],
    ['with no culprit known all read the truth', { isCulprit: null }, memory, end('failed', 'AGENT_OUT_OF_MEMORY')],
    ['and those that may are run again', { isCulprit: null, retriesLeft: 1 }, memory, 'retry'],
    ['but not one that the store refused', { isCulprit: null, retriesLeft: 1 }, refused, end('failed', 'JOURNAL_GAP')],
    ['a neighbour reads failed', {}, crashed, end('failed', 'THREAD_DIED')],
    ["a neighbour does not read its culprit's code", {}, memory, end('failed', 'THREAD_DIED')],
    ["a neighbour's run is run again if it may be", { retriesLeft: 1 }, crashed, 'retry'],
    [
      'but not one that was to stop',
      { retriesLeft: 1, wasInterrupted: true },
      unresponsive,
      end('failed', 'THREAD_DIED'),
    ],
  ];
  for (const [title, run, death, fate] of cases) {
    it(title, () => {
      const verdict = fateOf(lost(run), death);
      if (verdict.kind === 'retry') return assert.equal(fate, 'retry');
      const { state, code, error } = verdict.ending;
      assert.deepEqual({ state, code }, fate);
      assert.match(error, new RegExp(death.message));
    });
  }
});

describe('strikes', () => {
  const limits = { count: 3, windowMs: 600 };
  const after = (...instants: number[]) => {
    let verdict = { strikes: [] as number[], quarantined: false };
    for (const at of instants) verdict = withStrike(verdict.strikes, at, limits);
    return verdict;
  };

  it('the third within the window is one too many', () => {
    assert.equal(after(0, 1).quarantined, false);
    assert.deepEqual(after(0, 1, 599), { strikes: [0, 1, 599], quarantined: true });
  });

  it('those that are as old as the window are forgotten', () => {
    assert.deepEqual(after(0, 1, 600), { strikes: [1, 600], quarantined: false });
    assert.deepEqual(after(0, 1, 600, 600), { strikes: [1, 600, 600], quarantined: true });
  });

  it('once in a while, for ever, is not too often', () => {
    const instants = Array.from({ length: 50 }, (_, i) => i * 300);
    assert.equal(after(...instants).quarantined, false);
  });

  it('the strikes that were given are not changed', () => {
    const strikes = Object.freeze([0, 1]);
    withStrike(strikes, 2, limits);
    assert.deepEqual(strikes, [0, 1]);
  });
});

describe('the wait before a thread is replaced', () => {
  const backoff = { stableMs: 500, freeLives: 2, firstMs: 100, maxMs: 1_000 };

  it('a long life is followed by none, short ones by waits that double up to a bound', () => {
    const waits = Array.from({ length: 9 }, (_, shortLives) => replaceDelayMs(shortLives, backoff));
    assert.deepEqual(waits, [0, 0, 0, 100, 200, 400, 800, 1_000, 1_000]);
    assert.equal(replaceDelayMs(10_000, backoff), 1_000);
  });

  it('short lives are counted until one is not', () => {
    const counts = [499, 0, 500, 499].reduce<number[]>(
      (all, livedMs) => [...all, shortLivesAfter(all.at(-1) ?? 0, livedMs, backoff)],
      [],
    );
    assert.deepEqual(counts, [1, 2, 0, 1]);
  });

  it('sessions that take threads down do not keep the others from having one for long', () => {
    assert.ok(replaceDelayMs(1_000, REPLACE_AFTER_CULPRIT) <= 250);
    assert.ok(replaceDelayMs(1_000, REPLACE_AFTER_OWN_DEATH) >= 10_000);
  });
});
