// Agents come up: restore, and moving to another thread. (existence.ts: how sessions come into being and are deleted;
// departures.ts: how agents leave memory.)
//
// Everything here happens under the session's lock, so one thing at a time happens to a session; sessions never wait for
// each other. The store's epochs guard what the lock cannot: a thread that main has given up on.

import type { Remote } from '../../../protocol/calls.js';
import type { Activated, StoreCalls } from '../../../protocol/control.js';
import { CabanaError, codeOf, isPassing, messageOf } from '../../../protocol/errors.js';
import { assertSessionId } from '../../../protocol/ids.js';
import { profileOf } from '../../../protocol/session.js';
import type { StatusTable } from '../../../protocol/status-table.js';
import type { AgentThread } from '../../pool/agent-thread.js';
import { leastBusy } from '../../pool/placement.js';
import type { Suspicion } from '../../pool/suspicion.js';
import type { Subscriptions } from '../events/subscriptions.js';
import type { Directory } from '../sessions/directory.js';
import type { ActivationPlace, Session } from '../sessions/session.js';
import type { Activations, Asked } from './activations.js';
import type { Departures } from './departures.js';
import type { Places } from './places.js';

export interface LifecycleParts {
  directory: Directory;
  places: Places;
  activations: Activations;
  departures: Departures;
  suspicion: Suspicion;
  table: StatusTable;
  store: Remote<StoreCalls>;
  /** The agent threads, dead ones included. */
  threads: () => readonly AgentThread[];
  /** Resolves when a dead thread has been replaced, or when none will be. */
  threadReplaced: () => Promise<void>;
  /** The threads are being shut down: none is replaced any more. */
  threadsClosing: () => boolean;
  subscriptions: Subscriptions;
}

export class Lifecycle {
  readonly #parts: LifecycleParts;

  constructor(parts: LifecycleParts) {
    this.#parts = parts;
  }

  /** See SessionRegistry.ensure. Callers at the same time share one restore: none of them sees a half-built agent. */
  async ensure(id: string): Promise<boolean> {
    assertSessionId(id);
    const session = this.#parts.directory.obtain(id);
    if (session.isLive) {
      this.#parts.directory.touch(session);
      return true;
    }
    // Set in the same turn as it is looked at, so there is never a second restore.
    session.restoring ??= this.#restore(session);
    return session.restoring;
  }

  async #restore(session: Session): Promise<boolean> {
    try {
      return await session.lock(async () => {
        if (session.deleted) return false;
        // Without an await in between: of many at once each sees where the one before it was put.
        const thread = this.chooseNow(session);
        return session.isLive || (await this.bringUp(session, thread ?? (await this.choose(session))));
      });
    } catch (error) {
      // While it waited for its thread.
      if (codeOf(error) === 'SESSION_DELETED') return false;
      // Its thread was shut down while it was at it.
      if (codeOf(error) !== 'THREAD_DIED' || !this.#parts.threadsClosing()) throw error;
      throw new CabanaError('HOST_CLOSED', 'the host was closed', { cause: error });
    } finally {
      session.restoring = null;
      this.#parts.directory.dropIfUnused(session);
    }
  }

  /** The thread that is kept for the session's run, or the least busy one; null: all of them are dead. */
  chooseNow({ id, reserved }: Session): AgentThread | null {
    const { threads, suspicion } = this.#parts;
    if (reserved?.thread.alive) return reserved.thread;
    return leastBusy(threads(), (thread) => suspicion.suits(id, thread));
  }

  /** Likewise; with all of them dead, the first that is replaced. @throws CabanaError HOST_CLOSED */
  async choose(session: Session): Promise<AgentThread> {
    for (;;) {
      const thread = this.chooseNow(session);
      if (thread) return thread;
      await this.#parts.threadReplaced();
      if (this.#parts.threadsClosing()) throw new CabanaError('HOST_CLOSED', 'the host was closed');
    }
  }

  /**
   * Under the lock: activates a session that is not live. False: it exists nowhere.
   * @param isForRun for a run of it that was admitted to this thread
   * @throws what its restore threw; the session is then as it was, on disk only
   */
  async bringUp(session: Session, thread: AgentThread, { isForRun } = { isForRun: false }): Promise<boolean> {
    // Counted before the first await: whoever chooses a thread meanwhile takes this one into account.
    thread.sessions++;
    try {
      await this.#parts.departures.bury(session);
    } catch (error) {
      thread.sessions--;
      throw error;
    }
    for (let there = thread; ;) {
      const place = this.#enter(session, there);
      let asked: Asked;
      try {
        asked = await this.#parts.activations.ask(session, place, isForRun);
        if ('activated' in asked) return await this.#arrive(session, place, asked.activated);
      } catch (error) {
        await this.#giveBack(session, messageOf(error));
        throw (await this.#guilt(place)) ?? error;
      }
      this.#takeBack(session, place);
      if ('refused' in asked) return this.#stayCold(session, asked.refused);
      // The run is admitted again, to another thread.
      if (!asked.elsewhere && isForRun) return this.#stayCold(session, died(there));
      there = asked.elsewhere ?? (await this.#chooseAndCount(session));
    }
  }

  #stayCold(session: Session, error: CabanaError): never {
    session.lastRunFailed = false;
    session.moveTo('cold');
    throw error;
  }

  async #chooseAndCount(session: Session): Promise<AgentThread> {
    const thread = await this.choose(session);
    thread.sessions++;
    return thread;
  }

  /** The session takes a place in a thread that has counted it. */
  #enter(session: Session, thread: AgentThread): ActivationPlace {
    const { places, subscriptions } = this.#parts;
    try {
      const place = places.take(session, thread, subscriptions.watchers(session.id));
      session.moveTo('restoring');
      return place;
    } catch (error) {
      thread.sessions--;
      throw error;
    }
  }

  /** Its thread has not begun to activate it, and will not. */
  #takeBack(session: Session, place: ActivationPlace): void {
    session.moveTo('failed', 'its thread is busy');
    session.place = null;
    this.#parts.places.retire(session.id, place);
  }

  async #arrive(session: Session, place: ActivationPlace, activated: Activated | null): Promise<boolean> {
    if (!activated) {
      await this.#giveBack(session, 'it exists nowhere');
      return false;
    }
    place.epoch = activated.epoch;
    this.#learn(session, activated);
    session.moveTo('idle');
    this.#parts.directory.touch(session);
    return true;
  }

  /** The reason of the thread's death, if it was this session's start or restore that took it down. */
  async #guilt({ thread, slot }: ActivationPlace): Promise<CabanaError | null> {
    if (thread.alive || thread.culpritSlot !== slot) return null;
    const death = await thread.death;
    // Given up for it. THREAD_DIED is for those whose thread another took down.
    if (death?.code !== 'THREAD_DIED') return death;
    return new CabanaError('AGENT_UNRESPONSIVE', 'start or restore held its thread without a pause', { cause: death });
  }

  #learn(session: Session, { epoch, record }: Activated): void {
    session.restored(record, epoch);
    session.profile = profileOf(record);
    session.clean = true;
    session.publishCounters();
    session.watchers = this.#parts.subscriptions.watchers(session.id);
    session.updatedAt = Date.parse(record.updatedAt);
    session.lastRunFailed = record.stats.errorCode !== null;
  }

  /**
   * A restore that came to nothing leaves nothing behind: no slot, no head in the store. Unless the disk is full, or the
   * database held by another process: whoever waits for the restore is told now, and not when there is room. The head
   * stays until the next load of the session takes its place, whose epoch ends this one; it is of this activation or
   * of one before it, whose entries may wait for room and must come before its end (refuseInOrder).
   */
  async #giveBack(session: Session, reason: string): Promise<void> {
    session.moveTo('failed', reason);
    const place = session.place;
    session.place = null;
    if (place) {
      try {
        await this.#parts.store.release(session.id, null, 'refuseInOrder');
      } catch (error) {
        if (!isPassing(error)) throw error;
      }
      this.#parts.places.vacate(place);
    }
    session.lastRunFailed = false;
    session.moveTo('cold');
  }

  /** The session's run has ended on its thread. `saved`: the state after it went to the store with its outcome. */
  ranToItsEnd(session: Session, saved: boolean): void {
    if (session.deleted) return;
    session.clean = saved;
    if (saved) session.saveFailures = session.saveRetryAt = 0;
    this.#parts.table.set('main', session.place!.slot, 'runNo', 0);
    session.moveTo('idle');
    this.#parts.directory.touch(session);
  }

  /**
   * Under the lock: moves an idle session to the thread to which a run of it was admitted, without asking the one where
   * it is (that one may be busy for long). What it has is on disk (`clean`); the new activation's epoch makes the old one
   * unable to write.
   */
  async relocate(session: Session, thread: AgentThread): Promise<boolean> {
    this.#parts.directory.busy(session);
    this.#parts.table.countThread(session.place!.thread.no, 'migrations');
    this.#parts.places.retire(session.id, session.detach()!);
    session.migrations++;
    return this.bringUp(session, thread, { isForRun: true });
  }
}

function died({ no }: AgentThread): CabanaError {
  return new CabanaError('THREAD_DIED', `thread ${no} died before it could bring the session up`);
}
