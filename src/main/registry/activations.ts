// Activations that main has asked for. A thread that is held by a run does not get to them; as long as it has not begun
// one, main can take it back and have another thread do it.
//
// Main and the thread compete for one word of the session's row, and whoever is first has the activation. So a session
// is never activated twice: a thread that was too late does not even ask the store for it, which would fence the other
// activation off with a newer epoch.

import type { Activated } from '../../protocol/control.js';
import type { StatusTable } from '../../protocol/status-table.js';
import type { AgentThread } from '../pool/agent-thread.js';
import { leastBusy } from '../pool/placement.js';
import type { ActivationPlace, Session } from './session.js';
import type { Suspicion } from './suspicion.js';

/** What came of asking: the thread's answer (null: there is no such session), or that another thread is to be asked. */
export type Asked = { activated: Activated | null } | { elsewhere: AgentThread };

interface Pending {
  place: ActivationPlace;
  redirect: (to: AgentThread) => void;
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
  async ask(session: Session, place: ActivationPlace): Promise<Asked> {
    const { slot, generation, thread } = place;
    // Before the call: the thread may look for it at once.
    this.#parts.table.offerActivation(slot);
    const answer = thread.calls.activate({ sessionId: session.id, slot, generation });
    const redirected = new Promise<Asked>((resolve) => {
      this.#pending.set(session, { place, redirect: (elsewhere) => resolve({ elsewhere }) });
    });
    try {
      return await Promise.race([answer.then((activated) => ({ activated })), redirected]);
    } finally {
      this.#pending.delete(session);
    }
  }

  /** The session's activation, if it waits for a busy thread, is to take place on this one. */
  redirect(session: Session, to: AgentThread): void {
    const pending = this.#pending.get(session);
    if (!pending?.place.thread.cpuBusy || pending.place.thread === to) return;
    // The thread was first: it is at work on it.
    if (!this.#parts.table.takeActivation(pending.place.slot)) return;
    // In this turn, like whoever else chooses a thread.
    to.sessions++;
    pending.redirect(to);
  }

  /** Activations that wait for threads that are held up are to take place on free ones, if there are any. */
  redirectFrom(heldUp: ReadonlySet<AgentThread>): void {
    const { suspicion, threads } = this.#parts;
    for (const [session, { place }] of this.#pending) {
      if (!heldUp.has(place.thread)) continue;
      const free = leastBusy(threads(), (thread) => suspicion.suits(session.id, thread));
      if (!free || free.cpuBusy) return;
      this.redirect(session, free);
    }
  }
}
