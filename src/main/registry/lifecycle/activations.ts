// Activations that main has asked for. A thread that is held by a run does not get to them; as long as it has not begun
// one, main can take it back and have another thread do it.
//
// Main and the thread compete for one word of the session's row, and whoever is first has the activation. So a session
// is never activated twice: a thread that was too late does not even ask the store for it, which would fence the other
// activation off with a newer epoch.

import type { Activated } from '../../../protocol/control.js';
import type { CabanaError } from '../../../protocol/errors.js';
import { ACTIVATIONS_WINDOW } from '../../../protocol/limits.js';
import type { StatusTable } from '../../../protocol/status-table.js';
import type { AgentThread } from '../../pool/agent-thread.js';
import { isFree, leastBusy } from '../../pool/placement.js';
import type { Suspicion } from '../../pool/suspicion.js';
import type { ActivationPlace, Session } from '../sessions/session.js';

/**
 * The result of ask().
 * - activated: the thread's answer (null: no such session)
 * - elsewhere: not begun here; use this thread (null: this one died, choose any)
 * - refused: not begun, and no longer wanted
 */
export type Asked = { activated: Activated | null } | { elsewhere: AgentThread | null } | { refused: CabanaError };

interface Pending {
  place: ActivationPlace;
  /** It is the beginning of a run. */
  isForRun: boolean;
  /** Where it was redirected to; it is counted there. */
  to: AgentThread | null;
  answer: (asked: Asked) => void;
}

export interface ActivationsParts {
  table: StatusTable;
  threads: () => readonly AgentThread[];
  suspicion: Suspicion;
}

export class Activations {
  readonly #parts: ActivationsParts;
  readonly #pending = new Map<Session, Pending>();

  constructor(parts: ActivationsParts) {
    this.#parts = parts;
  }

  /** Asks the place's thread to activate the session there. @throws what the restore threw, or THREAD_DIED */
  async ask(session: Session, place: ActivationPlace, isForRun: boolean): Promise<Asked> {
    const { table } = this.#parts;
    const { slot, generation, thread } = place;
    // Before the call: the thread may look for it at once.
    table.offerActivation(slot);
    const answer = thread.calls.activate({ sessionId: session.id, slot, generation });
    let takeBack!: (asked: Asked) => void;
    const takenBack = new Promise<Asked>((resolve) => (takeBack = resolve));
    const pending: Pending = { place, isForRun, to: null, answer: takeBack };
    this.#pending.set(session, pending);
    // Its run was admitted before there was anything to redirect.
    if (session.reserved) this.redirect(session, session.reserved.thread);
    try {
      return await Promise.race([answer.then((activated) => ({ activated })), takenBack]);
    } catch (error) {
      // It was redirected in the moment in which the thread died.
      if (pending.to) return { elsewhere: pending.to };
      if (!thread.alive && table.takeActivation(slot)) return { elsewhere: null };
      throw error;
    } finally {
      this.#pending.delete(session);
    }
  }

  /** Whether this thread is at work on the session's activation. */
  hasBegun(session: Session, thread: AgentThread): boolean {
    const pending = this.#pending.get(session);
    return pending?.place.thread === thread && !this.#parts.table.isActivationOffered(pending.place.slot);
  }

  /** Whether any waits for one of these threads. */
  waitFor(threads: ReadonlySet<AgentThread>): boolean {
    if (threads.size === 0) return false;
    for (const { place } of this.#pending.values()) if (threads.has(place.thread)) return true;
    return false;
  }

  /** The session's activation, if it waits for a busy thread, is to take place on this one. */
  redirect(session: Session, to: AgentThread): void {
    const pending = this.#pending.get(session);
    if (!to.alive || !pending?.place.thread.cpuBusy || pending.place.thread === to) return;
    if (!this.#takeBack(pending)) return;
    // In this turn, like whoever else chooses a thread.
    to.sessions++;
    pending.to = to;
    pending.answer({ elsewhere: to });
  }

  /**
   * The session's activation, if it has not begun, is not wanted any more.
   * @param whose the run's, or whoever's
   * @returns whether there was such a one
   */
  refuse(session: Session, whose: 'run' | 'any', error: CabanaError): boolean {
    const pending = this.#pending.get(session);
    if (!pending || (whose === 'run' && !pending.isForRun) || !this.#takeBack(pending)) return false;
    pending.answer({ refused: error });
    return true;
  }

  /** False: the thread was first. */
  #takeBack({ place }: Pending): boolean {
    return this.#parts.table.takeActivation(place.slot);
  }

  /** Activations that wait for busy threads are to take place on free ones, if there are any. */
  spread(): void {
    const { suspicion, threads } = this.#parts;
    if (this.#pending.size === 0 || !threads().some(isFree)) return;
    let seen = 0;
    for (const [session, { place }] of this.#pending) {
      if (seen++ >= ACTIVATIONS_WINDOW) return;
      // A cpu run that was admitted has its thread, and counts there.
      if (!place.thread.cpuBusy || session.reserved?.load === 'cpu') continue;
      const free = leastBusy(threads(), (thread) => suspicion.suits(session.id, thread));
      if (!free || !isFree(free)) return;
      this.redirect(session, free);
    }
  }
}
