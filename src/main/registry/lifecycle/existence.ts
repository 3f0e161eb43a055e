// Sessions come into being, and are deleted for good.
//
// Both happen under the session's lock, as everything of its lifecycle does: a deletion that comes while the creation is
// going on finds it finished.

import type { Remote } from '../../../protocol/calls.js';
import type { StoreCalls } from '../../../protocol/control.js';
import { CabanaError, codeOf, isPassing } from '../../../protocol/errors.js';
import type { SessionRecord } from '../../../protocol/session.js';
import type { Clock } from '../../clock.js';
import type { Subscriptions } from '../events/subscriptions.js';
import type { Directory } from '../sessions/directory.js';
import type { Session } from '../sessions/session.js';
import type { Activations } from './activations.js';
import type { Lifecycle } from './lifecycle.js';
import type { Places } from './places.js';

/** The session leaves the registry for good: in this turn its runs end. */
export type OnGone = (session: Session) => void;

export interface ExistenceParts {
  directory: Directory;
  lifecycle: Lifecycle;
  places: Places;
  activations: Activations;
  store: Remote<StoreCalls>;
  subscriptions: Subscriptions;
  clock: Clock;
}

export class Existence {
  readonly #parts: ExistenceParts;

  constructor(parts: ExistenceParts) {
    this.#parts = parts;
  }

  /** @param onGone see remove(): called if the session is erased again, because it cannot be brought up */
  async create(record: SessionRecord, onGone: OnGone): Promise<void> {
    const { directory } = this.#parts;
    for (;;) {
      const session = directory.obtain(record.sessionId);
      try {
        // One that was deleted, or whose creation failed, while this call waited for its lock is another session.
        const isGone = await session.lock(async () => {
          if (!session.deleted) await this.#create(session, record, onGone);
          return session.deleted;
        });
        if (!isGone) return;
      } finally {
        directory.dropIfUnused(session);
      }
    }
  }

  async #create(session: Session, record: SessionRecord, onGone: OnGone): Promise<void> {
    const { directory, lifecycle, store, subscriptions, clock } = this.#parts;
    if (session.state !== 'cold') throw new CabanaError('SESSION_EXISTS', `session ${session.id} exists`);
    const streams = subscriptions.begun;
    await store.create(record);
    const thread = lifecycle.chooseNow(session) ?? (await lifecycle.choose(session));
    // With every thread busy the agent would be awaited for as long as somebody else's run takes. It is on disk: its
    // first use brings it up.
    if (thread.cpuBusy) return;
    try {
      await lifecycle.bringUp(session, thread);
    } catch (error) {
      // Its thread was taken down by another session, or it is to be deleted, or the store takes nothing by now, also not
      // that it is undone: it is on disk, as if that thread had been busy. A deletion waits for its lock, and finds it.
      if (['THREAD_DIED', 'SESSION_DELETED'].includes(codeOf(error)) || isPassing(error)) return;
      // As if it had never been: the caller may try again under the same id. Runs that were accepted meanwhile are over.
      // (On a full disk that waits for room, as its release did: half undone, the session would be in the way of its id.)
      await store.erase(session.id, clock.now());
      session.deleted = true;
      directory.remove(session);
      onGone(session);
      // Whoever listened before it was created waits for a session of this id; whoever came to it listened to it alone.
      subscriptions.end(session.id, streams);
      throw error;
    }
  }

  /**
   * Deletes for good. False: there is no such session.
   * @param onGone called in the same turn in which the session leaves the registry: ends its runs
   */
  async remove(id: string, onGone: OnGone): Promise<boolean> {
    const { directory, places, activations, store, subscriptions, clock } = this.#parts;
    const session = directory.obtain(id);
    // A restore that waits for a busy thread would have the deletion wait as well.
    activations.refuse(session, 'any', new CabanaError('SESSION_DELETED', `session ${id} is deleted`));
    try {
      return await session.lock(async () => {
        // Another deletion came first, or its creation failed.
        if (session.deleted) return false;
        // From here on nothing of this session is written: the store's tombstone carries a new epoch.
        if (!(await store.remove(id, clock.now()))) return false;
        session.deleted = true;
        const place = session.detach();
        directory.remove(session);
        onGone(session);
        subscriptions.end(id);
        if (place) places.retire(id, place);
        return true;
      });
    } finally {
      directory.dropIfUnused(session);
    }
  }
}
