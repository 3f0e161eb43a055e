// How runs come in: checked, given their place in the mailbox, accepted when their input is on disk.
//
// The place is taken in the turn of send(), before anything is awaited, so that the order of sending is the order of
// running. What the store then refuses leaves the mailbox again.

import type { Remote } from '../../../protocol/calls.js';
import { encodeValue } from '../../../protocol/codec.js';
import type { PendingRun, StoreCalls, StoredRun } from '../../../protocol/control.js';
import { CabanaError, assertFields } from '../../../protocol/errors.js';
import { assertRunId, assertSessionId, newRunId } from '../../../protocol/ids.js';
import { ACCEPT_MAX_BYTES, PRIORITY_MAX, RUNS_MAX_RUNS, RUN_TIMEOUT_MAX_MS } from '../../../protocol/limits.js';
import { inputEntry } from '../../../protocol/outcome.js';
import { isTerminal, type AgentProfile } from '../../../protocol/session.js';
import type { Clock } from '../../clock.js';
import type { Log } from '../../log.js';
import type { Directory } from '../sessions/directory.js';
import type { RunTable } from '../sessions/run-table.js';
import { WHEN_BUSY, type Run, type WhenBusy } from '../sessions/run.js';
import type { Session } from '../sessions/session.js';
import type { Dispatcher } from './dispatcher.js';
import { DELETED, endedAs, type Endings } from './endings.js';
import type { Interrupts } from './interrupts.js';

export interface IntakeParts {
  directory: Directory;
  dispatcher: Dispatcher;
  endings: Endings;
  interrupts: Interrupts;
  runs: RunTable;
  store: Remote<StoreCalls>;
  profiles: ReadonlyMap<string, AgentProfile>;
  clock: Clock;
  log: Log;
}

export interface SendOptions {
  /** Chosen by the caller, it makes a retry safe: the same id is the same run. */
  runId?: string;
  /** What to do while the session has a run. Default 'enqueue'. */
  whenBusy?: WhenBusy;
  /** Milliseconds after which the run is interrupted. Default: its profile's runTimeoutMs. */
  runTimeoutMs?: number;
  /** -10 to 10, higher first: before the due runs of other sessions, never before earlier ones of its own. Default 0. */
  priority?: number;
}

const SEND_OPTIONS: readonly (keyof SendOptions)[] = ['runId', 'whenBusy', 'runTimeoutMs', 'priority'];

export class Intake {
  readonly #parts: IntakeParts;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
  }

  /** @throws CabanaError for what can be told at once; later refusals reject the run's `accepted` */
  send(sessionId: string, input: unknown, options: SendOptions = {}): Run {
    assertSessionId(sessionId);
    assertFields(options, 'options', SEND_OPTIONS);
    const runId = options.runId ?? newRunId();
    assertRunId(runId);
    // Before anything is made: what is refused here leaves no session behind.
    const timeoutMs = checkTimeout(options.runTimeoutMs);
    const priority = checkPriority(options.priority);
    const whenBusy = checkWhenBusy(options.whenBusy);
    const body = encodeValue(inputEntry(input), 'input');
    const { runs, directory, dispatcher } = this.#parts;
    const known = runs.get(sessionId, runId);
    if (known) return known;
    this.assertOpen();
    if (runs.size >= RUNS_MAX_RUNS || runs.acceptingBytes > ACCEPT_MAX_BYTES) {
      throw new CabanaError('HOST_OVERLOADED', 'too many runs wait in this host; try again later');
    }
    const session = directory.obtain(sessionId);
    const run = runs.make(sessionId, runId, body);
    run.terms = { timeoutMs, priority };
    session.compaction?.interrupt();
    const refusal = this.#enqueue(session, run, whenBusy);
    if (refusal) dispatcher.track(this.#refuse(session, run, refusal, options.runId !== undefined));
    else dispatcher.track(this.#accept(session, run, whenBusy === 'interrupt'));
    return run;
  }

  /** A run that is not over. */
  find(sessionId: string, runId: string): Run | undefined {
    return this.#parts.runs.get(sessionId, runId);
  }

  /** @throws CabanaError HOST_DRAINING */
  assertOpen(): void {
    const { draining, closed } = this.#parts.dispatcher;
    if (closed) throw new CabanaError('HOST_CLOSED', 'the host was closed');
    if (!draining) return;
    throw new CabanaError('HOST_DRAINING', 'the host is shutting down and takes no new work');
  }

  #enqueue(session: Session, run: Run, whenBusy: WhenBusy): CabanaError | null {
    const busy = session.queued > 0 || (session.current !== null && !session.current.isOver);
    if (whenBusy === 'reject' && busy) {
      return new CabanaError('SESSION_BUSY', `session ${session.id} has a run`);
    }
    try {
      session.mailbox.push(run);
    } catch (error) {
      if (error instanceof CabanaError) return error;
      throw error;
    }
    this.#parts.runs.add(run);
    return null;
  }

  /** A retry of a run that the store knows is answered with that run, however busy the session is. */
  async #refuse(session: Session, run: Run, refusal: CabanaError, retry: boolean): Promise<void> {
    try {
      const known = retry ? await this.#parts.store.run(session.id, run.id) : null;
      if (known && isTerminal(known.state)) run.end(known);
      else run.refuse(refusal);
    } catch (error) {
      run.refuse(error as Error);
    }
    this.#parts.directory.dropIfUnused(session);
  }

  async #accept(session: Session, run: Run, interrupts: boolean): Promise<void> {
    const { store, directory, dispatcher, runs, clock } = this.#parts;
    const accepted = runs.accepting(run);
    try {
      const request = { sessionId: session.id, runId: run.id, terms: run.terms, input: run.input!, at: clock.now() };
      const { run: stored, isNew, agentProfile } = await store.accept(request);
      session.profile ??= agentProfile;
      if (!isNew) {
        runs.forget(session, run);
        if (isTerminal(stored.state)) run.end(stored);
        else this.#notYet(run, stored, agentProfile);
      } else if (session.deleted) {
        // The store took it just before its tombstone: it is over with the session.
        this.#parts.endings.over(session, run, endedAs(stored, DELETED, clock.now()));
      } else {
        run.accept(stored);
        runs.shedInput(run);
        if (run.interruptReason) this.#parts.interrupts.request(session.id, run.id, run.interruptReason);
        if (interrupts) this.#parts.interrupts.current(session, 'superseded');
        if (session.quarantine) await this.#parts.endings.failQueued(session);
      }
    } catch (error) {
      runs.forget(session, run);
      run.refuse(error as Error);
    } finally {
      accepted();
    }
    dispatcher.pump(session);
    directory.dropIfUnused(session);
  }

  /** A run id that the store knew, of a run that is open there and not here: the answer is that run. */
  #notYet(run: Run, stored: StoredRun, agentProfile: string): void {
    run.accept(stored);
    run.unfollow(
      this.#parts.profiles.has(agentProfile)
        ? new CabanaError(
            'STORE_FULL',
            `the outcome of run ${stored.runId} could not be stored; the next start settles it`,
          )
        : new CabanaError(
            'UNKNOWN_PROFILE',
            `run ${stored.runId} waits on disk until its profile ${agentProfile} is loaded`,
          ),
    );
  }

  /**
   * Open runs of an earlier process that are to start; those of a profile that is not loaded stay on disk as they are.
   * @returns what has them begin: before any that is sent to the same session later
   */
  takeOver(pending: readonly PendingRun[]): () => void {
    const { directory, dispatcher, runs, profiles, log } = this.#parts;
    const sessions = new Set<Session>();
    const left = pending.filter(({ agentProfile }) => !profiles.has(agentProfile));
    if (left.length > 0) {
      const missing = [...new Set(left.map(({ agentProfile }) => agentProfile))];
      log.warn({ runs: left.length, profiles: missing }, 'runs wait on disk for agent profiles that are not loaded');
    }
    for (const { run: stored, terms, agentProfile } of pending) {
      if (!profiles.has(agentProfile)) continue;
      const session = directory.obtain(stored.sessionId);
      session.profile ??= agentProfile;
      // One that was to be retried has begun as well.
      const resumed = stored.startedAt !== null && profiles.get(agentProfile)?.onInterrupted === 'resume';
      const run = runs.make(stored.sessionId, stored.runId, null, resumed);
      run.terms = terms;
      run.accept(stored);
      session.mailbox.pushAnyway(run);
      runs.add(run);
      sessions.add(session);
    }
    return () => {
      for (const session of sessions) dispatcher.pump(session);
    };
  }
}

/** @throws CabanaError INVALID_ARGUMENT */
function checkWhenBusy(whenBusy: WhenBusy = 'enqueue'): WhenBusy {
  if (WHEN_BUSY.includes(whenBusy)) return whenBusy;
  throw new CabanaError('INVALID_ARGUMENT', `whenBusy is one of ${WHEN_BUSY.join(', ')}`);
}

/** @throws CabanaError INVALID_ARGUMENT */
function checkTimeout(ms: number | undefined): number | null {
  if (ms === undefined) return null;
  if (Number.isInteger(ms) && ms >= 1 && ms <= RUN_TIMEOUT_MAX_MS) return ms;
  throw new CabanaError('INVALID_ARGUMENT', `runTimeoutMs is a whole number from 1 to ${RUN_TIMEOUT_MAX_MS}`);
}

/** @throws CabanaError INVALID_ARGUMENT */
function checkPriority(priority = 0): number {
  if (Number.isInteger(priority) && Math.abs(priority) <= PRIORITY_MAX) return priority;
  throw new CabanaError('INVALID_ARGUMENT', `priority is a whole number from -${PRIORITY_MAX} to ${PRIORITY_MAX}`);
}
