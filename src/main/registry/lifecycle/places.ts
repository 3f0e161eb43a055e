// Where agents live: a row of the table and a thread, taken by one activation and free again only when nothing of it can
// write any more.

import { codeOf } from '../../../protocol/errors.js';
import type { StatusTable } from '../../../protocol/status-table.js';
import type { Log } from '../../log.js';
import type { AgentThread } from '../../pool/agent-thread.js';
import { Tasks } from '../../tasks.js';
import type { ActivationPlace, Session } from '../sessions/session.js';
import { Slots } from '../sessions/slots.js';

export class Places {
  readonly #table: StatusTable;
  readonly #log: Log;
  readonly #slots: Slots;
  /** Places that are nobody's, until their thread has let go of them. */
  readonly #retiring: Tasks;

  constructor(table: StatusTable, log: Log) {
    this.#table = table;
    this.#log = log;
    this.#slots = new Slots(table);
    this.#retiring = new Tasks((error) => log.error({ err: error }, 'a row of the status table is lost'));
  }

  /** @throws CabanaError HOST_OVERLOADED: the table is at its maximum */
  take(session: Session, thread: AgentThread, watchers: number): ActivationPlace {
    const place: ActivationPlace = { ...this.#slots.take(), thread, epoch: 0 };
    this.#table.set('main', place.slot, 'watchers', watchers);
    session.place = place;
    return place;
  }

  /** Has a thread let go of an activation that is not the session's any more; its row is free only then. */
  retire(id: string, place: ActivationPlace): void {
    const gone = place.thread.calls
      .discard(id, place.epoch)
      .catch((error: unknown) => {
        // Its thread died: then it is gone as well.
        if (codeOf(error) === 'THREAD_DIED') return;
        this.#log.error({ err: error, sessionId: id }, 'an agent could not be discarded');
      })
      .then(() => this.vacate(place));
    this.#retiring.track(gone);
  }

  /** The thread has let go of the place. The row of a dying one waits for its end: it may be written to until then. */
  vacate(place: ActivationPlace): void {
    place.thread.sessions--;
    if (place.thread.alive) return this.#slots.give(place);
    this.#retiring.track(place.thread.exited.then(() => this.#slots.give(place)));
  }

  /** Resolves when every activation that is nobody's any more is gone. */
  retired(): Promise<void> {
    return this.#retiring.settled();
  }
}
