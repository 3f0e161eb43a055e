// Runs that their thread lost: it died, was given up, or could not bring the session up. Each ends or starts again, as the
// pure fateOf() of verdict.ts decides; then the session leaves that thread.

import type { Remote } from '../../../protocol/calls.js';
import type { StoreCalls } from '../../../protocol/control.js';
import { CabanaError, codeOf, messageOf } from '../../../protocol/errors.js';
import { RUN_START_MAX_ATTEMPTS } from '../../../protocol/limits.js';
import type { AgentProfile } from '../../../protocol/session.js';
import type { Log } from '../../log.js';
import type { AgentThread } from '../../pool/agent-thread.js';
import { fateOf, type Fate } from '../../pool/verdict.js';
import type { Departures } from '../lifecycle/departures.js';
import type { Loss, Run } from '../sessions/run.js';
import type { Session } from '../sessions/session.js';
import { FATE_DRAINED, endingAfter, endingOf, type Endings } from './endings.js';
import type { Execution } from './execution.js';
import type { Quarantine } from './quarantine.js';

export interface LossesParts {
  departures: Departures;
  endings: Endings;
  quarantine: Quarantine;
  store: Remote<StoreCalls>;
  profiles: ReadonlyMap<string, AgentProfile>;
  log: Log;
  /** Nothing starts again any more. */
  draining: () => boolean;
  /** How many runs a thread had begun and not ended. */
  runsOn: (thread: AgentThread) => number;
}

/** How bringing a session up may end its thread. */
const TAKES_THREAD_DOWN: ReadonlySet<string> = new Set(['AGENT_CRASHED', 'AGENT_OUT_OF_MEMORY', 'AGENT_UNRESPONSIVE']);

export class Losses {
  readonly #parts: LossesParts;

  constructor(parts: LossesParts) {
    this.#parts = parts;
  }

  /** The run was taken from its thread, or the thread died, or could not execute it. */
  async lost(execution: Execution, error: unknown): Promise<void> {
    const { session, run, hasBegun } = execution;
    const { endings, quarantine, store, draining } = this.#parts;
    const loss = run.loss ?? (await this.#lossOf(execution, error));
    const fate = draining() ? FATE_DRAINED : this.#fateOf(session, run, loss);
    // Counted before anybody is told of the run's end, and written without the session's lock.
    const struck = loss.isCulprit && !draining() ? quarantine.strike(session, loss.error.message) : null;
    await session.lock(async () => {
      if (session.deleted) return;
      // A run that its thread had not begun goes back in line whatever the profile's retry says, for
      // RUN_START_MAX_ATTEMPTS attempts in all. Only the store knows whether it had begun; requeue() refuses if so.
      const mayStartAgain = loss.isCulprit !== true && run.interruptReason === null;
      const ifUnstarted = fate.kind === 'end' && mayStartAgain && ++run.startFailures < RUN_START_MAX_ATTEMPTS;
      const again = !draining() && (fate.kind === 'retry' || ifUnstarted);
      const retried = again && (await store.requeue(session.id, run.id, ifUnstarted));
      // One that had not begun, and was asked to stop, does not.
      const ending = !hasBegun && run.interruptReason ? endingOf(run.interruptReason) : endingAfter(fate, loss);
      // Not requeued, so end it. If the thread had posted an outcome before it was lost, the store keeps that one and
      // returns it.
      if (!retried) await endings.endUnstarted(session, run, ending);
      await this.#leaveThread(session, loss);
      if (retried) retry(session, run);
    });
    await struck;
    if (session.quarantine) await endings.failQueued(session);
  }

  /** The session could not be brought up, or moved: the run fails, unless it was only its thread that died. */
  async failedToStart(session: Session, run: Run, error: unknown): Promise<void> {
    if (session.deleted) return;
    const { endings, log, quarantine } = this.#parts;
    // Bringing the session up held its thread until that was given up: elsewhere it would do the same.
    if (run.loss && run.loss.isCulprit !== false) return this.#neverUp(session, run, run.loss);
    // It was asked to stop while it waited.
    if (run.interruptReason) return endings.endUnstarted(session, run, endingOf(run.interruptReason));
    const threadDied = run.loss !== null || codeOf(error) === 'THREAD_DIED';
    if (threadDied && ++run.startFailures < RUN_START_MAX_ATTEMPTS) {
      run.restart();
      session.mailbox.unshift(run);
      return;
    }
    log.error({ err: error, sessionId: session.id, runId: run.id }, 'a run could not start');
    // Not THREAD_DIED: bringing this session up is what took its thread down.
    const guilty = TAKES_THREAD_DOWN.has(codeOf(error) ?? '');
    if (guilty) await quarantine.strike(session, messageOf(error));
    await endings.endUnstarted(session, run, { state: 'failed', error: messageOf(error), code: codeOf(error) });
  }

  async #neverUp(session: Session, run: Run, loss: Loss): Promise<void> {
    const fate = this.#fateOf(session, run, loss);
    if (fate.kind === 'retry') return retry(session, run);
    if (loss.isCulprit) await this.#parts.quarantine.strike(session, loss.error.message);
    await this.#parts.endings.endUnstarted(session, run, fate.ending);
  }

  async #lossOf({ thread, slot }: Execution, error: unknown): Promise<Loss> {
    const death = thread.alive ? null : await thread.death;
    if (death) return { isCulprit: this.#isCulprit(thread, slot, death), error: death };
    return {
      isCulprit: null,
      error: error instanceof CabanaError ? error : new CabanaError('INTERNAL', messageOf(error)),
    };
  }

  /** A thread whose heap is full has no time to say whose fault it is: then it is the only run's, if there was only one. */
  #isCulprit(thread: AgentThread, slot: number | null, death: CabanaError): boolean | null {
    if (thread.culpritSlot !== null) return thread.culpritSlot === slot;
    return death.code === 'AGENT_OUT_OF_MEMORY' && this.#parts.runsOn(thread) === 1 ? true : null;
  }

  #fateOf(session: Session, run: Run, loss: Loss): Fate {
    const retries = this.#parts.profiles.get(session.profile ?? '')?.retry ?? 0;
    return fateOf(
      {
        isCulprit: loss.isCulprit,
        wasInterrupted: run.interruptReason !== null,
        retriesLeft: retries - run.retries,
      },
      loss.error,
    );
  }

  /**
   * Not always the run's thread: between that one's end and this, somebody may have asked for the session, and had it
   * brought up on another. The run's end has fenced that activation off as well.
   */
  async #leaveThread(session: Session, { error: { message, code } }: Loss): Promise<void> {
    const { departures, store } = this.#parts;
    // Unless its run has failed, with a reason of its own.
    if (!session.live.errorCode) session.tell({ error: message, errorCode: code });
    // It was taken from its thread, and could not be brought up elsewhere.
    if (!session.place) return;
    if (!session.place.thread.alive) return departures.failed(session, message);
    // Whatever it was that went wrong: with the run's end the store has fenced this activation off, and may forget it.
    departures.abandon(session, message);
    await store.release(session.id, null);
  }
}

function retry(session: Session, run: Run): void {
  run.retries++;
  run.restart();
  session.mailbox.unshift(run);
}
