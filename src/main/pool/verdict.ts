// What to do about runs and threads that misbehave: pure decisions. The watchdog looks, this judges, the rescue acts.

import type { ErrorCode } from '../../protocol/errors.js';
import { DEAF_AFTER_MS, STANDSTILL_MS, type Backoff } from '../../protocol/limits.js';
import type { RunState } from '../../protocol/session.js';

/** A run in progress (or a compaction), as the watchdog sees it. Instants in milliseconds of LiveTime (clock.ts). */
export interface WatchedRun {
  /** It is to be over by then; null: no limit. */
  deadlineAt: number | null;
  /** When it was asked to stop; null: it was not. */
  interruptedAt: number | null;
  load: 'cpu' | 'io';
  /**
   * Its thread has not begun anything of it, or is executing another's code, or it is in a yield: whatever holds the
   * thread, it is not this.
   */
  waits: boolean;
  /** It does not wait, and is a cpu run, or bringing the session of one up: it may hold the thread. */
  holds: boolean;
}

/**
 * - fine: nothing to do
 * - timeout: past its deadline; ask it to stop
 * - deaf: a cpu run has ignored its interrupt for DEAF_AFTER_MS; its thread counts as held up
 * - abandon: an io run has ignored its interrupt for the whole grace time, but its thread's event loop turns; end the
 *   run and keep the thread
 * - giveUp: the grace time is over and the run blocks its thread; give the thread up
 */
export type RunVerdict = 'fine' | 'timeout' | 'deaf' | 'abandon' | 'giveUp';

/** What is known of a run's thread. */
export interface ThreadSigns {
  /** Milliseconds since its heartbeat last changed. */
  beatAgeMs: number;
  /** Likewise, not counting the time in which a cpu run had it: that may hold it for as long as it likes. */
  standstillMs: number;
}

export function judgeRun(run: WatchedRun, thread: ThreadSigns, now: number, graceMs: number): RunVerdict {
  if (run.interruptedAt === null) return run.deadlineAt !== null && now >= run.deadlineAt ? 'timeout' : 'fine';
  if (run.waits) return 'fine';
  const graceEndsAt = run.interruptedAt + graceMs;
  if (now < graceEndsAt) return run.load === 'cpu' && now - run.interruptedAt >= DEAF_AFTER_MS ? 'deaf' : 'fine';
  if (run.load === 'cpu') return 'giveUp';
  const hasTurned = now - thread.beatAgeMs >= graceEndsAt;
  if (hasTurned) return 'abandon';
  // Its thread is held: by a cpu run, which is waited for, or by itself.
  return thread.standstillMs >= STANDSTILL_MS ? 'giveUp' : 'fine';
}

export interface StandInNeeds {
  /** Threads that are held up. */
  heldUp: number;
  /** Threads that are dead, and about to be replaced. */
  dead: number;
  /** Stand-ins that there are. */
  open: number;
  /** Somebody waits for a thread. */
  starved: boolean;
  max: number;
}

/**
 * How many threads should stand in for others: one for each that is held up, while somebody waits for a thread. Once they
 * are there they stay as long as a thread is missing.
 */
export function standInsWanted({ heldUp, dead, open, starved, max }: StandInNeeds): number {
  const kept = Math.min(open, heldUp + dead);
  return Math.min(max, starved ? Math.max(heldUp, kept) : kept);
}

/** Whether a thread hangs in code that is no cpu run: a timer of an idle agent, a hook, an io run. */
export function hangs({ standstillMs }: ThreadSigns, hangMaxMs: number): boolean {
  return standstillMs >= hangMaxMs;
}

export interface Ending {
  state: Extract<RunState, 'failed' | 'interrupted'>;
  error: string;
  code: ErrorCode;
}

/** What becomes of a run whose thread is gone. */
export type Fate = { kind: 'end'; ending: Ending } | { kind: 'retry' };

export interface LostRun {
  /** It took the thread down, as far as is known; null: nobody is known to have. */
  isCulprit: boolean | null;
  /** It was asked to stop before. */
  wasInterrupted: boolean;
  /** How often its profile lets it start again. */
  retriesLeft: number;
}

/** What takes a thread down. (Other losses are the run's own, whoever is to blame.) */
const DEATHS: ReadonlySet<ErrorCode> = new Set(['AGENT_CRASHED', 'AGENT_OUT_OF_MEMORY', 'THREAD_DIED']);

/**
 * The culprit ends with the reason of the death; a neighbour ends failed and may be sent again, or starts again by itself
 * if its profile says so. With no culprit known, everyone is told the truth, the reason of the death; and as all but one
 * of them are neighbours, whose profile says so starts again.
 */
export function fateOf(run: LostRun, death: { code: ErrorCode; message: string }): Fate {
  const mayBeInnocent = run.isCulprit === false || (run.isCulprit === null && DEATHS.has(death.code));
  if (mayBeInnocent && run.retriesLeft > 0 && !run.wasInterrupted) return { kind: 'retry' };
  if (run.isCulprit !== false) {
    const state = death.code === 'AGENT_UNRESPONSIVE' ? 'interrupted' : 'failed';
    return { kind: 'end', ending: { state, error: death.message, code: death.code } };
  }
  const error = `its thread was taken down by another session: ${death.message}`;
  return { kind: 'end', ending: { state: 'failed', error, code: 'THREAD_DIED' } };
}

/** Strikes within the window, the new one included, and whether they are too many. */
export function withStrike(
  strikes: readonly number[],
  now: number,
  limits: { count: number; windowMs: number },
): { strikes: number[]; quarantined: boolean } {
  const recent = [...strikes.filter((at) => now - at < limits.windowMs), now];
  return { strikes: recent, quarantined: recent.length >= limits.count };
}

/** Short lives of a thread number in a row, after one of this length. */
export function shortLivesAfter(shortLives: number, livedMs: number, { stableMs }: Backoff): number {
  return livedMs < stableMs ? shortLives + 1 : 0;
}

/** Wait before the next incarnation of a thread: none after a long life and the first short ones, then doubling. */
export function replaceDelayMs(shortLives: number, { freeLives, firstMs, maxMs }: Backoff): number {
  return shortLives <= freeLives ? 0 : Math.min(firstMs * 2 ** (shortLives - freeLives - 1), maxMs);
}
