// Bringing agents up and letting them go: activation, passivation, moving to another thread, deletion, thread death.
//
// Everything here happens under the session's lock, so one thing at a time happens to a session; sessions never wait for
// each other. The store's epochs guard what the lock cannot: a thread that main has given up on.

import type { Remote } from '../../protocol/calls.js';
import type { StoreCalls } from '../../protocol/control.js';
import { CabanaError, messageOf } from '../../protocol/errors.js';
import { assertSessionId } from '../../protocol/ids.js';
import { profileOf, type SessionRecord } from '../../protocol/session.js';
import type { StatusTable } from '../../protocol/status-table.js';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { AgentThread } from '../pool/agent-thread.js';
import { leastBusy } from '../pool/placement.js';
import type { Directory } from './directory.js';
import type { ActivationPlace, Session } from './session.js';
import { Slots } from './slots.js';
import type { Subscriptions } from './subscriptions.js';

export interface LifecycleParts {
  directory: Directory;
  table: StatusTable;
  store: Remote<StoreCalls>;
  /** The agent threads, dead ones included. */
  threads: () => readonly AgentThread[];
  /** Resolves when a dead thread has been replaced; false: the host is closing, and none will be. */
  threadReplaced: () => Promise<boolean>;
  subscriptions: Subscriptions;
  clock: Clock;
  log: Log;
}

/** A failed save is tried again after this long, doubling up to the maximum. */
const SAVE_RETRY_FIRST_MS = 1_000;
const SAVE_RETRY_MAX_MS = 5 * 60_000;

export class Lifecycle {
  readonly #parts: LifecycleParts;
  readonly #slots: Slots;
  /** Activations that were superseded or deleted, until their thread has let go of them. */
  readonly #retiring = new Set<Promise<void>>();

  constructor(parts: LifecycleParts) {
    this.#parts = parts;
    this.#slots = new Slots(parts.table);
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
        const place = leastBusy(this.#parts.threads());
        return session.isLive || (await this.bringUp(session, place ?? (await this.#choose())));
      });
    } finally {
      session.restoring = null;
      this.#parts.directory.dropIfUnused(session);
    }
  }

  async create(record: SessionRecord): Promise<void> {
    const { directory, store } = this.#parts;
    const session = directory.obtain(record.sessionId);
    try {
      await session.lock(async () => {
        if (session.state !== 'cold') throw new CabanaError('SESSION_EXISTS', `session ${session.id} exists`);
        await store.create(record);
        const thread = leastBusy(this.#parts.threads()) ?? (await this.#choose());
        // With every thread busy the agent would be awaited for as long as somebody else's run takes. It is on disk: its
        // first use brings it up.
        if (thread.cpuBusy) return;
        try {
          await this.bringUp(session, thread);
        } catch (error) {
          // As if it had never been: the caller may try again under the same id.
          await store.remove(session.id, this.#parts.clock.now(), true);
          throw error;
        }
      });
    } finally {
      directory.dropIfUnused(session);
    }
  }

  /** The least busy thread; with all of them dead, the first that is replaced. @throws CabanaError HOST_CLOSED */
  async #choose(): Promise<AgentThread> {
    for (;;) {
      const thread = leastBusy(this.#parts.threads());
      if (thread) return thread;
      if (!(await this.#parts.threadReplaced())) throw new CabanaError('HOST_CLOSED', 'the host was closed');
    }
  }

  /**
   * Under the lock: activates a session that is not live. False: it exists nowhere.
   * @throws what its restore threw; the session is then as it was, on disk only
   */
  async bringUp(session: Session, thread: AgentThread): Promise<boolean> {
    const { table, directory, subscriptions } = this.#parts;
    thread.sessions++;
    try {
      await this.#bury(session);
    } catch (error) {
      thread.sessions--;
      throw error;
    }
    const place: ActivationPlace = { ...this.#slots.take(), thread, epoch: 0 };
    session.place = place;
    table.set('main', place.slot, 'thread', thread.no);
    table.set('main', place.slot, 'watchers', subscriptions.watchers(session.id));
    session.moveTo('restoring');
    try {
      const { slot, generation } = place;
      const activated = await thread.calls.activate({ sessionId: session.id, slot, generation });
      if (activated) {
        place.epoch = activated.epoch;
        this.#adopt(session, activated.record);
        session.moveTo('idle');
        directory.touch(session);
        return true;
      }
      await this.#giveBack(session, 'it exists nowhere');
      return false;
    } catch (error) {
      await this.#giveBack(session, messageOf(error));
      throw (await this.#guilt(place)) ?? error;
    }
  }

  /** The reason of the thread's death, if it was this session's start or restore that took it down. */
  async #guilt({ thread, slot }: ActivationPlace): Promise<CabanaError | null> {
    if (thread.alive || thread.culpritSlot !== slot) return null;
    return thread.death;
  }

  #adopt(session: Session, record: SessionRecord): void {
    session.record = record;
    session.profile = profileOf(record);
    session.clean = true;
    // What it was like before it left memory is not known; there is something to compact after its next run.
    session.compacted = true;
    session.live = {};
    session.quarantine = record.quarantine;
    session.publishCounters();
    session.watchers = this.#parts.subscriptions.watchers(session.id);
    session.updatedAt = Date.parse(record.updatedAt);
    session.lastRunFailed = record.stats.errorCode !== null;
  }

  /** A restore that came to nothing leaves nothing behind: no slot, no head in the store. */
  async #giveBack(session: Session, reason: string): Promise<void> {
    session.moveTo('failed', reason);
    const place = session.place;
    session.place = null;
    if (place) {
      await this.#parts.store.release(session.id, null);
      this.#vacate(place);
    }
    session.lastRunFailed = false;
    session.moveTo('cold');
  }

  /** Under the lock: a session whose thread has died becomes cold, so that it can be activated again. */
  async #bury(session: Session): Promise<void> {
    if (session.state === 'cold') return;
    const { place } = session;
    this.#parts.directory.busy(session);
    // The store takes in what the dead thread had posted before it forgets the activation.
    if (place) await this.#parts.store.release(session.id, place.epoch);
    // In one turn: an innocent session is not seen as failed.
    if (session.state !== 'failed') session.moveTo('failed', 'its thread died');
    session.place = null;
    if (place) this.#vacate(place);
    session.moveTo('cold');
    session.record = null;
  }

  /** The session's run has ended on its thread. `saved`: the state after it went to the store with its outcome. */
  ranToItsEnd(session: Session, saved: boolean): void {
    if (session.deleted) return;
    session.clean = saved;
    this.#parts.table.set('main', session.place!.slot, 'runNo', 0);
    session.moveTo('idle');
    this.#parts.directory.touch(session);
  }

  /**
   * Under the lock: moves an idle session to another thread, without asking the one where it is (that one may be busy
   * for long). What it has is on disk (`clean`); the new activation's epoch makes the old one unable to write.
   */
  async relocate(session: Session, thread: AgentThread): Promise<boolean> {
    const old = session.place!;
    this.#parts.directory.busy(session);
    session.moveTo('flushing');
    session.place = null;
    session.moveTo('cold');
    this.#retire(session.id, old);
    session.migrations++;
    return this.bringUp(session, thread);
  }

  /**
   * Under the lock: takes a session from a living thread whose run of it does not end. What that run still writes meets
   * the epoch with which its end was stored; its row is free when it ends after all.
   */
  abandon(session: Session, reason: string): void {
    const { place } = session;
    session.moveTo('failed', reason);
    session.place = null;
    if (place) this.#retire(session.id, place);
  }

  /** Has a thread let go of an activation that is not the session's any more; its row is free only then. */
  #retire(id: string, place: ActivationPlace): void {
    const gone = place.thread.calls
      .discard(id, place.epoch)
      .catch((error: unknown) => {
        // Its thread died: then it is gone as well.
        if ((error as CabanaError).code === 'THREAD_DIED') return;
        this.#parts.log.error({ err: error, sessionId: id }, 'an agent could not be discarded');
      })
      .then(() => this.#vacate(place))
      .finally(() => this.#retiring.delete(gone));
    this.#retiring.add(gone);
  }

  /** The place is nobody's. Its row waits for the end of a dying thread, which may write to it until then. */
  #vacate(place: ActivationPlace): void {
    place.thread.sessions--;
    if (place.thread.alive) return this.#slots.give(place);
    const freed = place.thread.exited.then(() => this.#slots.give(place)).finally(() => this.#retiring.delete(freed));
    this.#retiring.add(freed);
  }

  /**
   * Makes an idle session durable and releases it. False: it is in use, or not in memory.
   * @throws CabanaError SAVE_FAILED, STORE_FULL: it stays in memory, and is tried again later
   */
  async passivate(session: Session): Promise<boolean> {
    return this.#passivate(session, () => session.isUnused);
  }

  /** Saves an idle session and takes it from its thread, so that its due run can start on another. */
  async evacuate(session: Session): Promise<boolean> {
    const left = await this.#passivate(session, () => session.current === null);
    if (left) session.migrations++;
    return left;
  }

  async #passivate(session: Session, mayLeave: () => boolean): Promise<boolean> {
    const { directory, store } = this.#parts;
    try {
      return await session.lock(async () => {
        // What held when it was chosen may not hold any more.
        if (session.state !== 'idle' || !mayLeave() || !session.place?.thread.alive) return false;
        const place = session.place;
        directory.busy(session);
        session.moveTo('flushing');
        if (session.clean && place.thread.cpuBusy) {
          // Everything is on disk, and the thread may be deaf for long: it is not asked.
          session.place = null;
          session.moveTo('cold');
          session.record = null;
          await store.release(session.id, place.epoch);
          this.#retire(session.id, place);
          return true;
        }
        try {
          await place.thread.calls.passivate(session.id);
        } catch (error) {
          await this.#notSaved(session, error);
          throw error;
        }
        await store.release(session.id, place.epoch);
        session.place = null;
        this.#vacate(place);
        session.moveTo('cold');
        session.record = null;
        session.saveFailures = 0;
        return true;
      });
    } finally {
      directory.dropIfUnused(session);
    }
  }

  async #notSaved(session: Session, error: unknown): Promise<void> {
    if (!session.place?.thread.alive) {
      await this.#bury(session);
      return;
    }
    const wait = Math.min(SAVE_RETRY_FIRST_MS * 2 ** session.saveFailures, SAVE_RETRY_MAX_MS);
    session.saveFailures++;
    session.saveRetryAt = this.#parts.clock.now() + wait;
    session.moveTo('idle');
    this.#parts.directory.touch(session);
    this.#parts.log.error({ err: error, sessionId: session.id, retryInMs: wait }, 'a session could not be saved');
  }

  /**
   * Deletes for good. False: there is no such session.
   * @param onGone called in the same turn in which the session leaves the registry: ends its runs
   */
  async remove(id: string, onGone: (session: Session) => void): Promise<boolean> {
    const { directory, store, subscriptions, clock } = this.#parts;
    const session = directory.obtain(id);
    try {
      return await session.lock(async () => {
        // From here on nothing of this session is written: the store's tombstone carries a new epoch.
        if (session.deleted || !(await store.remove(id, clock.now()))) return false;
        session.deleted = true;
        const { place } = session;
        if (session.state === 'running') session.moveTo('interrupting');
        if (session.state === 'idle' || session.state === 'interrupting') session.moveTo('flushing');
        session.place = null;
        if (session.state !== 'cold') session.moveTo('cold');
        directory.remove(session);
        onGone(session);
        subscriptions.end(id);
        if (place) this.#retire(id, place);
        return true;
      });
    } finally {
      directory.dropIfUnused(session);
    }
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
          if (session.state === 'idle' && session.place?.thread === thread) await this.#bury(session);
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
    this.#vacate(place);
  }

  /** A failed session that nobody has used for long leaves the registry, and its reason with it. */
  async forgetFailed(session: Session): Promise<void> {
    await session.lock(async () => {
      if (session.state === 'failed' && session.isUnused) await this.#bury(session);
    });
    this.#parts.directory.dropIfUnused(session);
  }

  /** Resolves when every superseded activation is gone. */
  async retired(): Promise<void> {
    await Promise.all(this.#retiring);
  }
}
