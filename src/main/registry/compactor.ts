// Compaction: a definition's compact() is called once after a while of idleness, steps back for anything else, and is
// undone if it does not come to its end.

import { codeOf } from '../../protocol/errors.js';
import { INTERRUPT_REASONS } from '../../protocol/interrupt.js';
import { COMPACT_RETRY_MAX_MS, COMPACT_RETRY_MIN_MS } from '../../protocol/limits.js';
import type { AgentProfile } from '../../protocol/session.js';
import type { StatusTable } from '../../protocol/status-table.js';
import { liveTime, monotonic, type Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { AgentThread } from '../pool/agent-thread.js';
import { isFree } from '../pool/placement.js';
import type { Departures } from './lifecycle/departures.js';
import type { Dispatcher } from './runs/dispatcher.js';
import type { Quarantine } from './runs/quarantine.js';
import type { Directory } from './sessions/directory.js';
import type { RunTable } from './sessions/run-table.js';
import type { Run } from './sessions/run.js';
import type { ActivationPlace, Session } from './sessions/session.js';

export interface CompactorParts {
  directory: Directory;
  departures: Departures;
  dispatcher: Dispatcher;
  quarantine: Quarantine;
  runs: RunTable;
  table: StatusTable;
  profiles: ReadonlyMap<string, AgentProfile>;
  clock: Clock;
  log: Log;
  /** Milliseconds of idleness. */
  compactAfterMs: number;
}

export class Compactor {
  readonly #parts: CompactorParts;

  constructor(parts: CompactorParts) {
    this.#parts = parts;
  }

  /**
   * Compacts whoever is due: on each thread that is free one agent after the other, the least recently used first, until
   * somebody else needs the thread. Resolves when they have ended.
   */
  async sweep(): Promise<void> {
    const { directory, clock, compactAfterMs } = this.#parts;
    const before = monotonic(clock) - compactAfterMs;
    const due = new Map<AgentThread, Session[]>();
    for (const session of directory.idle()) {
      // Least recently used first: the rest is younger.
      if (session.usedAtMonotonicMs > before) break;
      if (!this.#isDue(session)) continue;
      const { thread } = session.place!;
      const others = due.get(thread);
      if (others) others.push(session);
      else due.set(thread, [session]);
    }
    await Promise.all([...due].map(([thread, sessions]) => this.#compactAll(thread, sessions)));
  }

  async #compactAll(thread: AgentThread, sessions: readonly Session[]): Promise<void> {
    for (const session of sessions) {
      // A run has the thread now, or the next sweep's compactions: those see to the rest.
      if (!isFree(thread)) return;
      if (session.place?.thread === thread && this.#isDue(session)) await this.#compact(session, session.place);
    }
  }

  #isDue(session: Session): boolean {
    const { profiles, clock, dispatcher } = this.#parts;
    if (dispatcher.draining || session.state !== 'idle') return false;
    if (session.compacted || session.compaction || session.current || session.queued > 0) return false;
    const { place, profile, postponed } = session;
    if (!profiles.get(profile ?? '')?.compacts) return false;
    if (postponed && monotonic(clock) < postponed.until) return false;
    return place !== null && isFree(place.thread) && !session.isLocked;
  }

  /** It had to step back, for a run of another session: others first, and each time it is tried again later. */
  #postpone(session: Session): void {
    const waitMs = Math.min(2 * (session.postponed?.waitMs ?? COMPACT_RETRY_MIN_MS / 2), COMPACT_RETRY_MAX_MS);
    session.postponed = { waitMs, until: monotonic(this.#parts.clock) + waitMs };
  }

  /** Holds the session's lock: whoever needs the session interrupts the compaction and then waits for its rollback. */
  async #compact(session: Session, place: ActivationPlace): Promise<void> {
    const { dispatcher, runs, quarantine, log } = this.#parts;
    const run = runs.make(session.id, 'compaction', null);
    // In the turn of the choice, so that the thread is not chosen twice.
    session.compaction = { interrupt: () => this.#interrupt(session, place, run) };
    const end = dispatcher.compacting(session, run, place.thread);
    try {
      await session.lock(async () => {
        if (session.state !== 'idle' || session.place !== place || run.interruptReason) return;
        const completed = await this.#compactThere(session, place, run);
        // One that threw is not tried again before the next run; one that had to step back is.
        session.compacted = completed || run.interruptReason === null;
        if (completed) session.clean = true;
        if (!session.compacted) this.#postpone(session);
      });
    } catch (error) {
      // Its thread died or was given up, or it could not be undone: the state on disk is that before the compaction.
      session.compacted = true;
      // Or it could not be saved: what is in memory is newer than what is on disk.
      if (session.place === place && place.thread.alive) session.clean = false;
      if (run.loss?.isCulprit) await quarantine.strike(session, run.loss.error.message);
      log.warn({ err: error, sessionId: session.id }, 'a compaction failed');
    } finally {
      session.compaction = null;
      end();
    }
  }

  /** @returns whether it completed. One that could not be undone leaves memory: what was before it is on disk. */
  async #compactThere(session: Session, place: ActivationPlace, run: Run): Promise<boolean> {
    try {
      return await Promise.race([place.thread.calls.compact(session.id, run.no), run.lost]);
    } catch (error) {
      const isSpoilt = codeOf(error) === 'RESTORE_FAILED';
      if (isSpoilt && session.state === 'idle' && session.place === place)
        await this.#parts.departures.discard(session);
      throw error;
    }
  }

  #interrupt(session: Session, place: ActivationPlace, run: Run): void {
    if (run.interruptReason) return;
    run.interruptReason = 'superseded';
    run.interruptedAt = liveTime.now();
    const { table, dispatcher } = this.#parts;
    table.set('main', place.slot, 'interruptReason', INTERRUPT_REASONS.superseded.number);
    table.set('main', place.slot, 'interruptRunNo', run.no);
    const told = place.thread.calls.interrupt(session.id, run.no);
    // A dead thread needs no interrupt.
    dispatcher.track(told.catch(() => undefined));
  }
}
