// Sessions whose runs take their thread down: after a strike they are suspects until a run of theirs completes
// (admission.ts); after a number of strikes within a while they take no more runs, until an operator clears them.

import type { Remote } from '../../protocol/calls.js';
import type { StoreCalls } from '../../protocol/control.js';
import { QUARANTINE_MAX_SESSIONS, QUARANTINE_STRIKES_COUNT, QUARANTINE_WINDOW_MS } from '../../protocol/limits.js';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import { strike } from '../pool/verdict.js';
import type { Directory } from './directory.js';
import type { Session } from './session.js';

export interface QuarantineParts {
  store: Remote<StoreCalls>;
  directory: Directory;
  clock: Clock;
  log: Log;
}

export class Quarantine {
  readonly #parts: QuarantineParts;
  /** Instants of strikes by session; the oldest session is forgotten when there are too many. */
  readonly #strikes = new Map<string, number[]>();
  /** Likewise: as many at most. */
  readonly #suspects = new Set<string>();

  constructor(parts: QuarantineParts) {
    this.#parts = parts;
  }

  /** A run of this session took its thread down. */
  async strike(session: Session, reason: string): Promise<void> {
    const { clock, store, log } = this.#parts;
    const limits = { count: QUARANTINE_STRIKES_COUNT, windowMs: QUARANTINE_WINDOW_MS };
    const verdict = strike(this.#strikes.get(session.id) ?? [], clock.now(), limits);
    this.#strikes.delete(session.id);
    this.#strikes.set(session.id, verdict.strikes);
    if (this.#strikes.size > QUARANTINE_MAX_SESSIONS) this.#strikes.delete(this.#strikes.keys().next().value!);
    this.#suspects.add(session.id);
    if (this.#suspects.size > QUARANTINE_MAX_SESSIONS) this.#suspects.delete(this.#suspects.keys().next().value!);
    if (!verdict.quarantined || session.deleted) return;
    const why = `its runs took their thread down ${verdict.strikes.length} times; the last time: ${reason}`;
    // In memory first: what is due before the store has it is refused as well.
    session.quarantine = why;
    log.error({ sessionId: session.id, reason: why }, 'a session was quarantined');
    try {
      await store.update(session.id, { quarantine: why }, clock.now());
    } catch (error) {
      // A full disk: until the process ends, memory knows. A strike never fails the one who strikes.
      log.error({ err: error, sessionId: session.id }, 'a quarantine could not be stored');
    }
  }

  /** Whether no run of the session has completed since it took a thread down. */
  suspects(session: Session): boolean {
    return this.#suspects.has(session.id);
  }

  /** A run of the session has completed. */
  absolve(id: string): void {
    this.#suspects.delete(id);
  }

  /** It may run again. False: there is no such session. */
  async clear(id: string): Promise<boolean> {
    this.#strikes.delete(id);
    this.#suspects.delete(id);
    const record = await this.#parts.store.update(id, { quarantine: null }, this.#parts.clock.now());
    const session = this.#parts.directory.get(id);
    if (session) session.quarantine = null;
    return record !== null;
  }
}
