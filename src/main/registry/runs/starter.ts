// An admitted run begins: its session is brought up on the admitted thread, stays where it is, or moves there; or the run
// does not begin, and says why. (Which run is due, and what follows: dispatcher.ts.)

import { CabanaError } from '../../../protocol/errors.js';
import type { StatusTable } from '../../../protocol/status-table.js';
import type { Clock } from '../../clock.js';
import type { AgentThread } from '../../pool/agent-thread.js';
import type { Suspicion } from '../../pool/suspicion.js';
import type { Subscriptions } from '../events/subscriptions.js';
import type { Lifecycle } from '../lifecycle/lifecycle.js';
import type { Directory } from '../sessions/directory.js';
import type { RunTable } from '../sessions/run-table.js';
import type { Run } from '../sessions/run.js';
import type { Session } from '../sessions/session.js';
import type { Admission, Admitted } from './admission.js';
import { endingOf, quarantineEnding, type Endings } from './endings.js';
import type { Interrupts } from './interrupts.js';
import type { Losses } from './losses.js';

export interface StarterParts {
  directory: Directory;
  lifecycle: Lifecycle;
  runs: RunTable;
  endings: Endings;
  losses: Losses;
  interrupts: Interrupts;
  admission: Admission;
  suspicion: Suspicion;
  subscriptions: Subscriptions;
  table: StatusTable;
  clock: Clock;
}

export class Starter {
  readonly #parts: StarterParts;
  readonly #mayStart: () => boolean;

  /** @param mayStart false from the moment at which nothing that waits is started any more */
  constructor(parts: StarterParts, mayStart: () => boolean) {
    this.#parts = parts;
    this.#mayStart = mayStart;
  }

  /** Whether the run has begun. One that has not is back in its mailbox, or over. */
  async start(admitted: Admitted, run: Run): Promise<boolean> {
    const { session } = admitted;
    try {
      const started = await session.lock(() => this.#start(admitted, run));
      if (!started && !session.deleted && this.#parts.runs.has(run)) session.mailbox.unshift(run);
      return started;
    } catch (error) {
      await this.#parts.losses.failedToStart(session, run, error);
      return false;
    }
  }

  /** Under the lock: the session is live on the admitted thread and running, or false. */
  async #start(admitted: Admitted, run: Run): Promise<boolean> {
    const { session } = admitted;
    const { lifecycle, admission, endings } = this.#parts;
    if (session.deleted || !this.#mayStart()) return false;
    if (session.quarantine) return this.#refuse(session, run, session.quarantine);
    if (run.interruptReason) {
      // Asked to stop before it began: it never does.
      await endings.endUnstarted(session, run, endingOf(run.interruptReason));
      return false;
    }
    if (session.isLive && session.place!.thread !== admitted.thread) {
      const home = session.place!.thread;
      if (this.#mayStay(session, home, admitted.load)) admission.moveTo(admitted, home);
      else if (!session.clean) return false;
      else await lifecycle.relocate(session, admitted.thread);
    }
    if (!session.isLive && !(await lifecycle.bringUp(session, admitted.thread, { isForRun: true }))) {
      throw new CabanaError('SESSION_NOT_FOUND', `there is no session ${session.id}`);
    }
    // Of a session that was cold this is known only now.
    if (session.quarantine) return this.#refuse(session, run, session.quarantine);
    // That thread was held up, and another has brought it up.
    if (session.place!.thread !== admitted.thread) admission.moveTo(admitted, session.place!.thread);
    // A thread that was given up meanwhile may still have brought the session up: nothing begins there.
    if (!session.isLive) throw new CabanaError('THREAD_DIED', `thread ${admitted.thread.no} was given up`);
    this.begin(session, run);
    return true;
  }

  async #refuse(session: Session, run: Run, quarantine: string): Promise<false> {
    await this.#parts.endings.endUnstarted(session, run, quarantineEnding(quarantine));
    return false;
  }

  /** Whether the run of a session that lives on another thread than it was admitted to begins there. */
  #mayStay(session: Session, home: AgentThread, load: 'cpu' | 'io'): boolean {
    if (session.saveFailures > 0) return load === 'io' || !home.cpuBusy;
    if (home.retiring || (!home.forSuspects && this.#parts.suspicion.suspects(session.id))) return false;
    return !home.cpuBusy || (load === 'io' && !session.clean);
  }

  /** The session is running, as everybody sees from this turn on. */
  begin(session: Session, run: Run): void {
    const { table, directory, clock, interrupts, subscriptions } = this.#parts;
    directory.busy(session);
    session.clean = false;
    session.compacted = false;
    session.postponed = null;
    session.lastRunFailed = false;
    session.tell({ error: null, errorCode: null });
    session.startedNo = run.no;
    session.moveTo('running');
    table.set('main', session.place!.slot, 'runNo', run.no);
    run.start(clock.now());
    if (run.interruptReason) interrupts.signal(session, run);
    subscriptions.publish(session.id, { type: 'run', run: run.info });
  }
}
