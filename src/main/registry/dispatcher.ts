// Runs from the moment they are due to their outcome: started in order, ended once. (How they come in: intake.ts.)
//
//   intake -> line (admission) -> start (under the session's lock) -> run (thread)
//          -> report (thread) and outcome (store): over when both are in
//
// The outcome reaches main from the store alone, when it is on disk. Whoever ends a run, the store decides: it lets a
// run enter one terminal state, once.

import type { Remote } from '../../protocol/calls.js';
import type { StoreCalls } from '../../protocol/control.js';
import { CabanaError, messageOf } from '../../protocol/errors.js';
import { EVACUATE_IN_FLIGHT_AGENTS, RUN_START_MAX_ATTEMPTS } from '../../protocol/limits.js';
import type { AgentProfile } from '../../protocol/session.js';
import type { StatusTable } from '../../protocol/status-table.js';
import type { Clock } from '../clock.js';
import type { Log } from '../log.js';
import type { AgentThread } from '../pool/agent-thread.js';
import { fateOf, type Fate } from '../pool/verdict.js';
import type { Admission, Admitted } from './admission.js';
import type { Directory } from './directory.js';
import type { Lifecycle } from './lifecycle.js';
import type { Quarantine } from './quarantine.js';
import type { Interrupts } from './interrupts.js';
import type { Loss, Run } from './run.js';
import { FATE_DRAINED, codeOf, endingAfter, endingOf, quarantined, type Endings } from './endings.js';
import { Execution } from './execution.js';
import type { RunTable } from './run-table.js';
import type { Session } from './session.js';
import type { Subscriptions } from './subscriptions.js';

export interface DispatcherParts {
  directory: Directory;
  lifecycle: Lifecycle;
  runs: RunTable;
  endings: Endings;
  interrupts: Interrupts;
  admission: Admission;
  subscriptions: Subscriptions;
  store: Remote<StoreCalls>;
  table: StatusTable;
  quarantine: Quarantine;
  profiles: ReadonlyMap<string, AgentProfile>;
  clock: Clock;
  log: Log;
}

export class Dispatcher {
  readonly #parts: DispatcherParts;
  readonly #runs: RunTable;
  readonly #endings: Endings;
  /** Work that quiet() waits for. */
  readonly #tasks = new Set<Promise<void>>();
  readonly #executing = new Set<Execution>();
  readonly #compacting = new Set<Session>();
  /** Sessions that were asked to leave a busy thread. */
  readonly #evacuating = new Set<Session>();
  #draining = false;
  #closed = false;

  constructor(parts: DispatcherParts) {
    this.#parts = parts;
    this.#runs = parts.runs;
    this.#endings = parts.endings;
  }

  /** Once this is true nothing new comes in, and nothing that waits is started. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Once this is true the host has let go of everything. */
  get closed(): boolean {
    return this.#closed;
  }

  // --- starting

  /** Puts the session in line if its next run is due, and starts whatever may start. */
  pump(session: Session): void {
    if (this.#draining) return;
    if (!session.deleted && !session.current && session.queued > 0 && session.mailbox.head!.isAccepted) {
      const profile = this.#parts.profiles.get(session.profile ?? '');
      this.#parts.admission.enqueue(session, profile?.load ?? 'cpu');
    }
    this.fill();
  }

  /** Starts what may start: after a run, or when a thread is there again. */
  fill(): void {
    if (this.#draining) return;
    const { admission } = this.#parts;
    for (let admitted = admission.next(); admitted; admitted = admission.next()) this.track(this.#serve(admitted));
    if (admission.waiting > 0) this.#makeRoom();
  }

  /** Runs are due and cannot start: compactions step back, and sessions tied to a busy thread are asked to leave it. */
  #makeRoom(): void {
    const { admission, directory } = this.#parts;
    if (admission.full) return;
    for (const session of this.#compacting) session.compaction?.interrupt();
    for (const session of admission.tied(EVACUATE_IN_FLIGHT_AGENTS - this.#evacuating.size)) {
      if (this.#evacuating.has(session)) continue;
      this.#evacuating.add(session);
      this.track(
        this.#parts.lifecycle
          .evacuate(session)
          .catch((error: unknown) => {
            // It stays where it is and runs there, later; its thread's death is told to everybody anyway.
            this.#parts.log.warn({ err: error, sessionId: session.id }, 'a session could not be moved');
          })
          .then(() => {
            this.#evacuating.delete(session);
            directory.touch(session);
            this.fill();
          }),
      );
    }
  }

  /** A compaction begins, as an execution that the watchdog sees. @returns what ends it */
  compacting(session: Session, run: Run, thread: AgentThread): () => void {
    const execution = new Execution(session, run, { thread, load: 'cpu' }, null);
    this.#executing.add(execution);
    this.#compacting.add(session);
    thread.cpuBusy = true;
    return () => {
      this.#executing.delete(execution);
      this.#compacting.delete(session);
      thread.cpuBusy = false;
      this.pump(session);
    };
  }

  /** Everything that threads execute for this dispatcher now. */
  inProgress(): ReadonlySet<Execution> {
    return this.#executing;
  }

  /** Takes one run of an admitted session from its start to its end. */
  async #serve(admitted: Admitted): Promise<void> {
    const { session } = admitted;
    // While it stood in line its oldest run may have been interrupted, and the next one not be accepted yet.
    const run = session.mailbox.head?.isAccepted ? session.mailbox.shift() : undefined;
    if (run) {
      // In the turn in which it leaves the mailbox, so that it is always in one of the two.
      session.current = run;
      // A compaction holds the lock; it is undone, and waited for there.
      session.compaction?.interrupt();
      const execution = new Execution(session, run, admitted, this.#timeoutOf(session, run));
      this.#executing.add(execution);
      try {
        if (await this.#tryToStart(admitted, run)) {
          execution.executes = true;
          await this.#await(admitted, run);
        }
      } finally {
        this.#executing.delete(execution);
        if (session.current === run) session.current = null;
        this.#parts.admission.release(admitted);
      }
    } else {
      this.#parts.admission.release(admitted);
    }
    this.pump(session);
    this.#parts.directory.dropIfUnused(session);
  }

  async #tryToStart(admitted: Admitted, run: Run): Promise<boolean> {
    const { session } = admitted;
    try {
      const started = await session.lock(() => this.#start(admitted, run));
      if (!started && !session.deleted && this.#runs.has(run)) session.mailbox.unshift(run);
      return started;
    } catch (error) {
      await this.#failedToStart(session, run, error);
      return false;
    }
  }

  /** Under the lock: the session is live on the admitted thread and running, or false. */
  async #start(admitted: Admitted, run: Run): Promise<boolean> {
    const { session } = admitted;
    const { lifecycle, admission, table, directory, clock } = this.#parts;
    if (session.deleted || this.#draining) return false;
    if (session.quarantine) {
      await this.#endings.endUnstarted(session, run, quarantined(session.quarantine));
      return false;
    }
    if (run.interruptReason) {
      // Asked to stop before it began: it never does.
      await this.#endings.endUnstarted(session, run, endingOf(run.interruptReason));
      return false;
    }
    if (session.isLive && session.place!.thread !== admitted.thread) {
      const home = session.place!.thread;
      if (!home.cpuBusy || (admitted.load === 'io' && !session.clean)) admission.moveTo(admitted, home);
      else if (!session.clean) return false;
      else await lifecycle.relocate(session, admitted.thread);
    }
    if (!session.isLive && !(await lifecycle.bringUp(session, admitted.thread))) {
      throw new CabanaError('SESSION_NOT_FOUND', `there is no session ${session.id}`);
    }
    directory.busy(session);
    session.clean = false;
    session.compacted = false;
    session.lastRunFailed = false;
    session.live.error = null;
    session.live.errorCode = null;
    session.startedNo = run.no;
    session.moveTo('running');
    const { slot } = session.place!;
    table.set('main', slot, 'runNo', run.no);
    run.start(clock.now());
    if (run.interruptReason) this.#parts.interrupts.signal(session, run);
    this.#parts.subscriptions.publish(session.id, { type: 'run', run: run.info });
    return true;
  }

  async #await(admitted: Admitted, run: Run): Promise<void> {
    const { session, thread } = admitted;
    const input = this.#runs.takeInput(run);
    try {
      const report = thread.calls.run({
        sessionId: session.id,
        runNo: run.no,
        runId: run.id,
        input,
        inputSeq: run.inputSeq,
        resumed: run.resumed,
      });
      const { saved } = await Promise.race([report, run.lost]);
      this.#ranToItsEnd(session, saved);
      if (run.reported()) this.#endings.conclude(session, run);
    } catch (error) {
      await this.#lost(admitted, run, error);
    }
  }

  #timeoutOf(session: Session, run: Run): number | null {
    return run.timeoutMs ?? this.#parts.profiles.get(session.profile ?? '')?.runTimeoutMs ?? null;
  }

  #ranToItsEnd(session: Session, saved: boolean): void {
    if (session.deleted) return;
    session.clean = saved;
    this.#parts.table.set('main', session.place!.slot, 'runNo', 0);
    session.moveTo('idle');
    this.#parts.directory.touch(session);
  }

  /** The run was taken from its thread, or the thread died, or could not execute it. */
  async #lost(admitted: Admitted, run: Run, error: unknown): Promise<void> {
    const { session, thread } = admitted;
    const loss = run.loss ?? (await this.#lossOf(session, thread, error));
    const fate = this.#draining ? FATE_DRAINED : this.#fateOf(session, run, loss);
    await session.lock(async () => {
      if (session.deleted) return;
      // A run that its thread never began is not lost with it, whatever its profile says of retries; within the bound of
      // starts that came to nothing.
      const mayStartAgain = loss.isCulprit !== true && run.interruptReason === null;
      const unstarted = fate.kind === 'end' && mayStartAgain && ++run.startFailures < RUN_START_MAX_ATTEMPTS;
      const again = !this.#draining && (fate.kind === 'retry' || unstarted);
      const retried = again && (await this.#parts.store.requeue(session.id, run.id, unstarted));
      // Without a retry the store tells how it ended: it may have had the outcome before the thread was lost.
      if (!retried) await this.#endings.endUnstarted(session, run, endingAfter(fate, loss));
      await this.#leaveThread(session, thread, run, loss);
      if (retried) this.#retry(session, run);
    });
    if (loss.isCulprit && !this.#draining) await this.#parts.quarantine.strike(session, loss.error.message);
    if (session.quarantine) await this.#endings.failQueued(session);
  }

  async #lossOf(session: Session, thread: AgentThread, error: unknown): Promise<Loss> {
    const death = thread.alive ? null : await thread.death;
    const slot = thread.culpritSlot;
    const isCulprit = slot === null ? null : slot === session.place?.slot;
    if (death) return { isCulprit, error: death };
    return {
      isCulprit: null,
      error: error instanceof CabanaError ? error : new CabanaError('INTERNAL', messageOf(error)),
    };
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

  async #leaveThread(session: Session, thread: AgentThread, run: Run, loss: Loss): Promise<void> {
    const { message } = loss.error;
    if (loss.isCulprit) session.crashes++;
    if (!thread.alive) await this.#parts.lifecycle.failed(session, message);
    else if (run.loss) this.#parts.lifecycle.abandon(session, message);
    else this.#ranToItsEnd(session, false);
  }

  #retry(session: Session, run: Run): void {
    run.retries++;
    run.restart();
    session.mailbox.unshift(run);
  }

  /** The session could not be brought up, or moved: the run fails, unless it was only its thread that died. */
  async #failedToStart(session: Session, run: Run, error: unknown): Promise<void> {
    if (session.deleted) return;
    // Bringing the session up held its thread until that was given up: elsewhere it would do the same.
    if (run.loss) return this.#neverUp(session, run, run.loss);
    if (codeOf(error) === 'THREAD_DIED' && ++run.startFailures < RUN_START_MAX_ATTEMPTS) {
      session.mailbox.unshift(run);
      return;
    }
    this.#parts.log.error({ err: error, sessionId: session.id, runId: run.id }, 'a run could not start');
    // Not THREAD_DIED: bringing this session up is what took its thread down.
    const guilty = codeOf(error) === 'AGENT_CRASHED' || codeOf(error) === 'AGENT_OUT_OF_MEMORY';
    if (guilty) await this.#parts.quarantine.strike(session, messageOf(error));
    await this.#endings.endUnstarted(session, run, { state: 'failed', error: messageOf(error), code: codeOf(error) });
  }

  async #neverUp(session: Session, run: Run, loss: Loss): Promise<void> {
    const fate = this.#fateOf(session, run, loss);
    if (fate.kind === 'retry') return this.#retry(session, run);
    await this.#endings.endUnstarted(session, run, fate.ending);
    if (loss.isCulprit) await this.#parts.quarantine.strike(session, loss.error.message);
  }

  // --- draining

  /** No new work from now on, and nothing that waits is started. */
  drain(): void {
    this.#draining = true;
    for (const session of this.#compacting) session.compaction?.interrupt();
  }

  /** Sessions with a run in progress. */
  running(): Session[] {
    return [...this.#parts.directory.all()].filter((session) => session.current !== null);
  }

  /** Resolves when nothing runs. */
  async quiet(): Promise<void> {
    while (this.#tasks.size > 0) await Promise.allSettled(this.#tasks);
  }

  /** What still waits is on disk and starts with the next host. */
  leaveAll(): void {
    this.#closed = true;
    const left = new CabanaError('HOST_CLOSED', 'the host was closed; the run is on disk and starts with the next one');
    for (const run of this.#runs.clear()) run.leave(left);
  }

  /** Nobody awaits these one by one, so a failure of one is a bug and must be seen. */
  track(task: Promise<void>): void {
    const tracked = task
      .catch((error: unknown) => {
        // A host that is being closed settles pending calls with these.
        if (this.#draining && ['THREAD_DIED', 'STORE_UNAVAILABLE', 'STORE_IO'].includes(codeOf(error))) return;
        this.#parts.log.error({ err: error }, 'dispatching failed');
      })
      .finally(() => this.#tasks.delete(tracked));
    this.#tasks.add(tracked);
  }
}
