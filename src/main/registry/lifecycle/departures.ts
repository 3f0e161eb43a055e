// How agents leave memory: passivation, which persists first; evacuation, so that a run can start elsewhere; and what is
// left of a thread that died. Everything happens under the session's lock.

import type { Remote } from '../../../protocol/calls.js';
import type { StoreCalls } from '../../../protocol/control.js';
import { isPassing } from '../../../protocol/errors.js';
import { SAVE_RETRY_FIRST_MS, SAVE_RETRY_MAX_MS } from '../../../protocol/limits.js';
import type { StatusTable } from '../../../protocol/status-table.js';
import { monotonic, type Clock } from '../../clock.js';
import type { Log } from '../../log.js';
import type { AgentThread } from '../../pool/agent-thread.js';
import type { Directory } from '../sessions/directory.js';
import type { ActivationPlace, Session } from '../sessions/session.js';
import type { Places } from './places.js';

export interface DeparturesParts {
  directory: Directory;
  places: Places;
  store: Remote<StoreCalls>;
  table: StatusTable;
  /** Holds a session to account whose save or stop took its thread down. */
  strike: (session: Session, reason: string) => Promise<void>;
  /** A session with a due run has left, or stays after all: the run may have a thread now. */
  onSettled: () => void;
  clock: Clock;
  log: Log;
}

/** A session that its thread could not save, or died over. */
interface NotSaved {
  place: ActivationPlace;
  error: unknown;
}

export class Departures {
  readonly #parts: DeparturesParts;

  constructor(parts: DeparturesParts) {
    this.#parts = parts;
  }

  /**
   * Makes an idle session durable and releases it. False: it is in use, or not in memory.
   * @throws CabanaError SAVE_FAILED, STORE_FULL: it stays in memory, and is tried again later
   */
  async passivate(session: Session): Promise<boolean> {
    return this.#passivate(session, () => session.isUnused);
  }

  /**
   * Saves an idle session and takes it from its thread, so that its due run can start on another.
   * @param from false: it is not on this thread any more
   */
  async evacuate(session: Session, from = session.place?.thread): Promise<boolean> {
    const left = await this.#passivate(session, () => session.current === null && session.place?.thread === from);
    if (left) session.migrations++;
    if (left && from) this.#parts.table.countThread(from.no, 'migrations');
    return left;
  }

  async #passivate(session: Session, mayLeave: () => boolean): Promise<boolean> {
    // It has the lock for as long as it likes, and less to do than whoever wants the session away.
    session.compaction?.interrupt();
    try {
      const left = await session.lock(() => this.#leave(session, mayLeave));
      if (typeof left === 'boolean') return left;
      // Only now: a strike is written to the disk, and nobody needs to wait for that with the lock.
      const { thread, slot } = left.place;
      const death = thread.alive || thread.culpritSlot !== slot ? null : await thread.death;
      if (death) await this.#parts.strike(session, death.message);
      throw left.error;
    } finally {
      this.#parts.directory.dropIfUnused(session);
      if (session.queued > 0) this.#parts.onSettled();
    }
  }

  /** Under the lock. */
  async #leave(session: Session, mayLeave: () => boolean): Promise<boolean | NotSaved> {
    const { directory, places, store } = this.#parts;
    // What held when it was chosen may not hold any more.
    if (session.state !== 'idle' || !mayLeave() || !session.place?.thread.alive) return false;
    const place = session.place;
    // Everything is on disk, and the thread may be deaf for long: it is not asked.
    if (session.clean && place.thread.cpuBusy) {
      await this.discard(session);
      return true;
    }
    directory.busy(session);
    session.moveTo('flushing');
    try {
      await place.thread.calls.passivate(session.id);
    } catch (error) {
      await this.#notSaved(session, place, error);
      return { place, error };
    }
    try {
      await store.release(session.id, place.epoch);
    } finally {
      // It has left its thread, also if the store has failed for good: nobody may wait for it then.
      session.place = null;
      places.vacate(place);
      session.moveTo('cold');
      session.record = null;
      session.clean = true;
      session.saveFailures = 0;
    }
    return true;
  }

  /** Under the lock: an idle session of which everything is on disk leaves memory, without its thread being asked. */
  async discard(session: Session): Promise<void> {
    const { directory, places, store } = this.#parts;
    directory.busy(session);
    const place = session.detach()!;
    session.record = null;
    await store.release(session.id, place.epoch);
    session.clean = true;
    places.retire(session.id, place);
  }

  async #notSaved(session: Session, { thread }: ActivationPlace, error: unknown): Promise<void> {
    // Also if its thread died, and the store takes nothing now: left as one that is leaving, its runs would wait for ever,
    // and whoever flushes it as well.
    session.moveTo('idle');
    this.#parts.directory.touch(session);
    if (!thread.alive) return this.#buryIfRoom(session);
    const wait = Math.min(SAVE_RETRY_FIRST_MS * 2 ** session.saveFailures, SAVE_RETRY_MAX_MS);
    session.saveFailures++;
    session.saveRetryAt = monotonic(this.#parts.clock) + wait;
    this.#parts.log.error({ err: error, sessionId: session.id, retryInMs: wait }, 'a session could not be saved');
  }

  /**
   * Under the lock: a session whose thread has died becomes cold, so that it can be activated again.
   * @throws CabanaError STORE_FULL, STORE_UNAVAILABLE: what its thread had posted waits for room; it stays as it is
   */
  async bury(session: Session): Promise<void> {
    if (session.state === 'cold') return;
    const { place } = session;
    // The store takes in what the dead thread had posted before it forgets the activation.
    if (place) await this.#parts.store.release(session.id, place.epoch, 'refuseInOrder');
    this.#parts.directory.busy(session);
    // In one turn: an innocent session is not seen as failed.
    if (session.state !== 'failed') session.moveTo('failed', 'its thread died');
    session.place = null;
    if (place) this.#parts.places.vacate(place);
    session.moveTo('cold');
    session.record = null;
  }

  /** The same; while the store takes nothing it stays, and is buried when it is used. */
  async #buryIfRoom(session: Session): Promise<void> {
    try {
      await this.bury(session);
    } catch (error) {
      if (!isPassing(error)) throw error;
    }
  }

  /**
   * Under the lock: takes a session from a living thread whose run of it does not end. What that run still writes meets
   * the epoch with which its end was stored; its row is free when it ends after all.
   */
  abandon(session: Session, reason: string): void {
    const { place } = session;
    this.#parts.directory.busy(session);
    session.moveTo('failed', reason);
    session.place = null;
    if (place) this.#parts.places.retire(session.id, place);
  }

  /**
   * A thread is gone. Its idle sessions leave memory and come back on demand elsewhere; what was running there is ended
   * by the dispatcher, whose call was rejected. A session in the middle of something is buried by whoever holds its lock.
   */
  async threadDied(thread: AgentThread): Promise<void> {
    const orphans = [...this.#parts.directory.all()].filter((session) => session.place?.thread === thread);
    await Promise.all(
      orphans.map(async (session) => {
        await session.lock(async () => {
          if (session.state === 'idle' && session.place?.thread === thread) await this.#buryIfRoom(session);
        });
        this.#parts.directory.dropIfUnused(session);
      }),
    );
  }

  /** Under the lock: the session was running on a thread that is gone. It stays as failed, with the reason, until used. */
  async failed(session: Session, reason: string): Promise<void> {
    const { place } = session;
    if (session.state !== 'failed') session.moveTo('failed', reason);
    this.#parts.directory.busy(session);
    session.place = null;
    if (!place) return;
    // Whichever epoch: ending the run in the store has fenced the activation off with a new one.
    await this.#parts.store.release(session.id, null);
    this.#parts.places.vacate(place);
  }

  /** A failed session that nobody has used for long leaves the registry, and its reason with it. */
  async forgetFailed(session: Session): Promise<void> {
    await session.lock(async () => {
      if (session.state === 'failed' && session.isUnused) await this.bury(session);
    });
    this.#parts.directory.dropIfUnused(session);
  }
}
