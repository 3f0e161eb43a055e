// How runs end, whoever ends them: the store has the last word, and tells it once; then it is told to whoever waits.

import type { Remote } from '../../../protocol/calls.js';
import { encodeEntry } from '../../../protocol/codec.js';
import type { StoreCalls, StoredRun } from '../../../protocol/control.js';
import { CabanaError, codeOf } from '../../../protocol/errors.js';
import { INTERRUPT_REASONS, type InterruptReason } from '../../../protocol/interrupt.js';
import { outcomeEntry } from '../../../protocol/outcome.js';
import type { Clock } from '../../clock.js';
import type { Log } from '../../log.js';
import type { Suspicion } from '../../pool/suspicion.js';
import type { Ending, Fate } from '../../pool/verdict.js';
import type { Subscriptions } from '../events/subscriptions.js';
import type { Directory } from '../sessions/directory.js';
import type { RunTable } from '../sessions/run-table.js';
import type { Loss, Run } from '../sessions/run.js';
import type { Session } from '../sessions/session.js';

export interface EndingsParts {
  directory: Directory;
  runs: RunTable;
  suspicion: Suspicion;
  subscriptions: Subscriptions;
  store: Remote<StoreCalls>;
  clock: Clock;
  log: Log;
}

export class Endings {
  readonly #parts: EndingsParts;
  readonly #runs: RunTable;

  constructor(parts: EndingsParts) {
    this.#parts = parts;
    this.#runs = parts.runs;
  }

  /** Ends a run that no thread will end. */
  async endUnstarted(session: Session, run: Run, ending: Ending): Promise<void> {
    try {
      this.over(session, run, await this.#endInStore(run, ending));
    } catch (error) {
      // The store has failed or is closing (a full disk alone only delays endRun). On disk the run stays open and is
      // settled at the next start; in memory it is over. Of a closed host that is as it should be; and of a deleted session
      // there is nothing to store: the store's answer to its deletion came before this one, and in that turn its runs were
      // over.
      if (!session.deleted && codeOf(error) !== 'HOST_CLOSED') {
        this.#parts.log.error({ err: error, sessionId: session.id, runId: run.id }, 'an outcome could not be stored');
      }
      this.#runs.forget(session, run);
      run.unfollow(error as Error);
    }
  }

  async #endInStore(run: Run, ending: Ending): Promise<StoredRun> {
    const entry = encodeEntry(outcomeEntry(run.id, ending));
    const at = this.#parts.clock.now();
    return this.#parts.store.endRun({ sessionId: run.sessionId, runId: run.id, ...ending, entry, at });
  }

  /** The store has told that these outcomes are on disk. */
  ended(runs: readonly StoredRun[]): void {
    for (const stored of runs) {
      const run = this.#runs.get(stored.sessionId, stored.runId);
      if (!run) continue;
      if (run.stored(stored)) this.conclude(this.#parts.directory.get(stored.sessionId), run);
    }
  }

  /** Ends a run of which nothing more will be heard. */
  over(session: Session, run: Run, stored: StoredRun): void {
    run.end(stored);
    this.conclude(session, run);
  }

  /** The run is over, on disk and told to whoever waited for it. */
  conclude(session: Session | undefined, run: Run): void {
    this.#runs.forget(session, run);
    const { info } = run;
    if (info.state === 'completed') this.#parts.suspicion.completed(run.sessionId);
    // It may have left memory while its outcome was on the way to the disk. The instant is the one that is stored with the
    // outcome: whoever reads the row later, when the session has left memory, must not see an earlier one.
    if (session && info.endedAt !== null) session.updatedAt = Math.max(session.updatedAt, Date.parse(info.endedAt));
    // A later run of the session may have started already; then this one's failure is not its status any more.
    if (session && session.startedNo <= run.no && info.state === 'failed') {
      session.lastRunFailed = true;
      session.tell({ error: info.error, errorCode: info.code });
    }
    this.#parts.subscriptions.publish(run.sessionId, { type: 'run', run: info });
  }

  /** Ends all that waits in a session that takes no more runs. */
  async failQueued(session: Session): Promise<void> {
    const ending = quarantineEnding(session.quarantine ?? 'quarantined');
    // One that its thread has begun does not wait any more.
    session.offer?.withdraw();
    const waiting: Run[] = [];
    for (const run of session.mailbox.takeAll()) {
      // The store may yet refuse one whose input is on the way to the disk, and then has none to end. When it is
      // accepted, intake asks again.
      if (run.isAccepted) waiting.push(run);
      else session.mailbox.pushAnyway(run);
    }
    for (const run of waiting) await this.endUnstarted(session, run, ending);
  }

  /** In the turn in which a deleted session leaves the registry: all its runs are over. */
  sessionDeleted(session: Session): void {
    this.#parts.suspicion.forget(session.id);
    // Also the one that its thread has reported already, whose outcome the store may have refused since.
    for (const run of this.#runs.of(session.id)) {
      if (run.isAccepted) this.over(session, run, endedAs(storedOf(run), DELETED, this.#parts.clock.now()));
    }
  }

  /** In the turn in which a session that could not be created leaves the registry: nothing is known of its runs any more. */
  sessionErased(session: Session): void {
    for (const run of this.#runs.of(session.id)) {
      if (!run.isAccepted) continue;
      this.#runs.forget(session, run);
      run.unfollow(new CabanaError('SESSION_NOT_FOUND', NEVER_CREATED));
    }
  }
}

const NEVER_CREATED = 'the session could not be created, and is not there any more';

export const DELETED: Ending = endingOf('deleted');

export const FATE_DRAINED: Fate = { kind: 'end', ending: endingOf('draining') };

/** What a run ends with that cannot be started again after all. */
export function endingAfter(fate: Fate, loss: Loss): Ending {
  return fate.kind === 'end' ? fate.ending : { state: 'failed', error: loss.error.message, code: 'THREAD_DIED' };
}

export function quarantineEnding(why: string): Ending {
  return { state: 'failed', error: `the session is quarantined: ${why}`, code: 'SESSION_QUARANTINED' };
}

export function endingOf(reason: InterruptReason): Ending {
  const { message, code } = INTERRUPT_REASONS[reason];
  return { state: 'interrupted', error: message, code };
}

export function endedAs(run: StoredRun, ending: Ending, endedAt: number): StoredRun {
  return { ...run, ...ending, output: null, endedAt };
}

/** A run of a deleted session as the store had it; the store has nothing of it any more. */
function storedOf(run: Run): StoredRun {
  const { sessionId, id, inputSeq } = run;
  const startedAt = run.info.startedAt === null ? null : Date.parse(run.info.startedAt);
  const blank = { output: null, error: null, code: null, endedAt: null, attempts: 0 };
  return { sessionId, runId: id, inputSeq, state: 'interrupted', startedAt, ...blank };
}
