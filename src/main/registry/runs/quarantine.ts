// Sessions that take their threads down, or do not mind their interrupts: after a number of strikes within a while they
// take no more runs, until an operator clears them. (What one strike means for them: suspicion.ts.)

import type { Remote } from '../../../protocol/calls.js';
import type { StoreCalls } from '../../../protocol/control.js';
import { QUARANTINE_MAX_SESSIONS, QUARANTINE_STRIKES_COUNT, QUARANTINE_WINDOW_MS } from '../../../protocol/limits.js';
import { monotonic, type Clock } from '../../clock.js';
import type { Log } from '../../log.js';
import type { Suspicion } from '../../pool/suspicion.js';
import { withStrike } from '../../pool/verdict.js';
import type { Directory } from '../sessions/directory.js';
import type { Session } from '../sessions/session.js';

export interface QuarantineParts {
  store: Remote<StoreCalls>;
  directory: Directory;
  suspicion: Suspicion;
  clock: Clock;
  log: Log;
}

export class Quarantine {
  readonly #parts: QuarantineParts;
  /** Instants of strikes by session; the oldest session is forgotten when there are too many. */
  readonly #strikes = new Map<string, number[]>();

  constructor(parts: QuarantineParts) {
    this.#parts = parts;
  }

  /** Code of this session took its thread down, or did not mind its interrupt. */
  async strike(session: Session, reason: string): Promise<void> {
    const { clock, store, suspicion, log } = this.#parts;
    const limits = { count: QUARANTINE_STRIKES_COUNT, windowMs: QUARANTINE_WINDOW_MS };
    const verdict = withStrike(this.#strikes.get(session.id) ?? [], monotonic(clock), limits);
    this.#strikes.delete(session.id);
    this.#strikes.set(session.id, verdict.strikes);
    if (this.#strikes.size > QUARANTINE_MAX_SESSIONS) this.#strikes.delete(this.#strikes.keys().next().value!);
    suspicion.struck(session.id);
    session.crashes++;
    if (!verdict.quarantined || session.deleted) return;
    const why = `it took its thread down, or did not mind an interrupt, ${verdict.strikes.length} times; the last time: ${reason}`;
    // In memory first: what is due before the store has it is refused as well.
    session.judge(why);
    suspicion.forget(session.id);
    log.error({ sessionId: session.id, reason: why }, 'a session was quarantined');
    try {
      await store.update(session.id, { quarantine: why }, clock.now());
    } catch (error) {
      // A full disk: until the process ends, memory knows. A strike never fails the one who strikes.
      log.error({ err: error, sessionId: session.id }, 'a quarantine could not be stored');
    }
  }

  /** It may run again. False: there is no such session. */
  async clear(id: string): Promise<boolean> {
    this.#strikes.delete(id);
    this.#parts.suspicion.forget(id);
    const updated = await this.#parts.store.update(id, { quarantine: null }, this.#parts.clock.now());
    this.#parts.directory.get(id)?.judge(null);
    return updated !== null;
  }
}
