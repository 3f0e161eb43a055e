// The next run in a thread's hand. While a thread executes one run, it is offered the one that it would execute next; when
// it is free it begins that at once, without the way to main and back, on which it would do nothing.
//
// Main can take an offer back until the thread has begun it: both compete for one word of the status table, and whoever
// is first has the run. So an offer binds nobody: the session stays in line, and as soon as anything else is to happen to
// it (its lock is taken, another thread is free, its run is interrupted) the offer is withdrawn. If the thread was first,
// the run is taken charge of in the same turn: nobody sees a session whose run has begun as one that waits.

import type { RunReport } from '../../../protocol/control.js';
import { OFFERS_UNANSWERED_MAX } from '../../../protocol/limits.js';
import type { StatusTable } from '../../../protocol/status-table.js';
import type { AgentThread, Revocable } from '../../pool/agent-thread.js';
import type { Run } from '../sessions/run.js';
import type { Session } from '../sessions/session.js';

/** A run that its thread has taken: it has begun it, or does so in a moment. */
export interface Begun {
  session: Session;
  run: Run;
  thread: AgentThread;
  report: Promise<RunReport | null>;
}

export interface OffersParts {
  table: StatusTable;
  /** Takes charge of a run that a thread has begun. */
  onBegun: (begun: Begun) => void;
}

class Offer implements Revocable {
  readonly begun: Begun;
  readonly #no: number;
  readonly #parts: OffersParts;
  readonly #onClose: () => void;

  constructor(no: number, begun: Begun, parts: OffersParts, onClose: () => void) {
    this.#no = no;
    this.begun = begun;
    this.#parts = parts;
    this.#onClose = onClose;
  }

  withdraw(): boolean {
    this.#close();
    if (this.#parts.table.takeOffer(this.begun.thread.no, this.#no)) return true;
    this.#parts.onBegun(this.begun);
    return false;
  }

  #close(): void {
    this.begun.session.offer = null;
    this.begun.thread.offer = null;
    this.#onClose();
  }
}

export class Offers {
  readonly #parts: OffersParts;
  /** By the run that each comes after. */
  readonly #open = new Map<Run, Offer>();
  /** How many each thread has yet to answer. */
  readonly #unanswered = new WeakMap<AgentThread, number>();
  #lastNo = 0;

  constructor(parts: OffersParts) {
    this.#parts = parts;
  }

  /**
   * Whether the thread may be offered a run. One that was taken back lies before the thread, with its input, until that is
   * free: offered and taken back again and again during a long run, they would fill the memory.
   */
  mayMake(thread: AgentThread): boolean {
    return !thread.offer && this.#unansweredBy(thread) < OFFERS_UNANSWERED_MAX;
  }

  #unansweredBy(thread: AgentThread): number {
    return this.#unanswered.get(thread) ?? 0;
  }

  /** Offers the session's oldest waiting run to the thread where its agent lives, and which executes `after`. */
  make(session: Session, thread: AgentThread, after: Run): void {
    const run = session.mailbox.head!;
    // Never the number of an earlier offer that the thread has yet to look at.
    const no = (this.#lastNo = this.#lastNo === 0x7fffffff ? 1 : this.#lastNo + 1);
    // Before the call: the thread may look for it at once.
    this.#parts.table.offer(thread.no, no);
    const report = thread.calls.run(run.request(no));
    this.#unanswered.set(thread, this.#unansweredBy(thread) + 1);
    const answered = (): void => void this.#unanswered.set(thread, this.#unansweredBy(thread) - 1);
    // Whoever takes charge of the run hears of the thread's death; of an offer that was taken back nobody needs to.
    report.then(answered, answered);
    const offer = new Offer(no, { session, run, thread, report }, this.#parts, () => this.#open.delete(after));
    session.offer = offer;
    thread.offer = offer;
    this.#open.set(after, offer);
  }

  /** What its thread is to begin after this run. */
  after(run: Run): Offer | undefined {
    return this.#open.get(run);
  }

  /** Takes back what is offered of lower priority than this. */
  yieldTo(priority: number): void {
    for (const offer of [...this.#open.values()]) if (offer.begun.run.terms.priority < priority) offer.withdraw();
  }

  withdrawAll(): void {
    for (const offer of [...this.#open.values()]) offer.withdraw();
  }
}
