// The sessions in memory, by id, and in the order in which they became idle.

import type { StatusTable } from '../../../protocol/status-table.js';
import { monotonic, type Clock } from '../../clock.js';
import { Session } from './session.js';

export class Directory {
  readonly #table: StatusTable;
  readonly #clock: Clock;
  readonly #sessions = new Map<string, Session>();
  /** Idle sessions, least recently used first: a Set keeps the order of insertion. */
  readonly #idle = new Set<Session>();

  constructor(table: StatusTable, clock: Clock) {
    this.#table = table;
    this.#clock = clock;
  }

  get size(): number {
    return this.#sessions.size;
  }

  get idleCount(): number {
    return this.#idle.size;
  }

  get(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  /** The session of this id, made (cold) if it is not in memory. */
  obtain(id: string): Session {
    let session = this.#sessions.get(id);
    if (!session) {
      session = new Session(id, this.#table, this.#clock);
      this.#sessions.set(id, session);
    }
    return session;
  }

  all(): IterableIterator<Session> {
    return this.#sessions.values();
  }

  /** Idle sessions, the least recently used first. */
  idle(): IterableIterator<Session> {
    return this.#idle.values();
  }

  /** Something was asked of the session: it goes to the young end of the idle order, if it is idle. */
  touch(session: Session): void {
    session.usedAtUnixMs = this.#clock.now();
    session.usedAtMonotonicMs = monotonic(this.#clock);
    this.#idle.delete(session);
    if (session.state === 'idle') this.#idle.add(session);
  }

  /** It is not idle any more. */
  busy(session: Session): void {
    this.#idle.delete(session);
  }

  /** Forgets a session that is neither in memory nor waited for. */
  dropIfUnused(session: Session): void {
    if (session.state !== 'cold' || !session.isUnused || session.isLocked || session.held > 0) return;
    if (this.#sessions.get(session.id) === session) this.#sessions.delete(session.id);
  }

  /** Out of the registry, whatever its state: it was deleted. */
  remove(session: Session): void {
    this.#idle.delete(session);
    if (this.#sessions.get(session.id) === session) this.#sessions.delete(session.id);
  }
}
