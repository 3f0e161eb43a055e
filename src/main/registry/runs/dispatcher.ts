// Runs from the moment they are due to their outcome: started in order, ended once. (How they come in: intake.ts.)
//
//   intake -> line (admission) -> start (starter), or begun by its thread (offers) -> run (thread)
//          -> report (thread) and outcome (store): over when both are in
//
// The outcome reaches main from the store alone, when it is on disk. Whoever ends a run, the store decides: it lets a
// run enter one terminal state, once.

import type { RunReport } from '../../../protocol/control.js';
import { CabanaError, codeOf } from '../../../protocol/errors.js';
import type { AgentProfile } from '../../../protocol/session.js';
import type { Log } from '../../log.js';
import type { AgentThread } from '../../pool/agent-thread.js';
import { Tasks } from '../../tasks.js';
import type { Activations } from '../lifecycle/activations.js';
import type { Departures } from '../lifecycle/departures.js';
import type { RunTable } from '../sessions/run-table.js';
import type { Run } from '../sessions/run.js';
import type { Session } from '../sessions/session.js';
import type { Admitted } from './admission.js';
import type { Endings } from './endings.js';
import { Evacuations } from './evacuations.js';
import { Execution } from './execution.js';
import type { Losses } from './losses.js';
import { Offers, type Begun } from './offers.js';
import { Starter, type StarterParts } from './starter.js';

export interface DispatcherParts extends StarterParts {
  activations: Activations;
  departures: Departures;
  profiles: ReadonlyMap<string, AgentProfile>;
  log: Log;
}

export class Dispatcher {
  readonly #parts: DispatcherParts;
  readonly #runs: RunTable;
  readonly #endings: Endings;
  readonly #losses: Losses;
  readonly #tasks = new Tasks((error) => {
    // A host that is being closed settles pending calls with these.
    if (this.#draining && ['THREAD_DIED', 'HOST_CLOSED', 'STORE_UNAVAILABLE', 'STORE_IO'].includes(codeOf(error)))
      return;
    this.#parts.log.error({ err: error }, 'dispatching failed');
  });
  readonly #executing = new Set<Execution>();
  /** The run that each thread executes alone. */
  readonly #onCpu = new Map<AgentThread, { session: Session; run: Run }>();
  readonly #starter: Starter;
  readonly #offers: Offers;
  readonly #compacting = new Set<Session>();
  readonly #evacuations: Evacuations;
  #draining = false;
  #closed = false;

  constructor(parts: DispatcherParts) {
    this.#parts = parts;
    this.#runs = parts.runs;
    this.#endings = parts.endings;
    this.#losses = parts.losses;
    this.#starter = new Starter(parts, () => !this.#draining);
    this.#offers = new Offers({ table: parts.table, onBegun: (begun) => this.#enterBegun(begun) });
    this.#evacuations = new Evacuations({
      ...parts,
      track: (task) => this.#tasks.track(task),
      onMoved: () => this.fill(),
    });
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

  /**
   * Puts the session in line if its next run is due, and starts whatever may start.
   * @param again a run of it is just over
   */
  pump(session: Session, again = false): void {
    if (this.#draining) return;
    const { held, deleted, current, queued } = session;
    if (held === 0 && !deleted && !current && queued > 0 && session.mailbox.head!.isAccepted) {
      const profile = this.#parts.profiles.get(session.profile ?? '');
      this.#parts.admission.enqueue(session, profile?.load ?? 'cpu', again);
      this.#offers.yieldTo(session.mailbox.head!.terms.priority);
    }
    this.fill();
  }

  /**
   * Keeps the session's runs out of the line while `work` needs its lock: an admitted run would occupy a thread just to
   * wait for that lock.
   */
  async withhold<T>(session: Session, work: () => Promise<T>): Promise<T> {
    session.held++;
    this.#parts.admission.withdraw(session);
    session.compaction?.interrupt();
    try {
      return await work();
    } finally {
      session.held--;
      this.pump(session);
    }
  }

  /** Starts what may start: after a run, or when a thread is there again. */
  fill(): void {
    if (this.#draining) return;
    const { admission } = this.#parts;
    for (let admitted = admission.next(); admitted; admitted = admission.next()) this.track(this.#serve(admitted));
    for (const [thread, { session, run }] of this.#onCpu) this.#offerNext(thread, session, run);
    if (admission.waiting > 0) this.#makeRoom();
    // What is free now is for nobody in line.
    this.#parts.activations.spread();
  }

  /** Has the thread begin its next run by itself when this one ends, if it is clear which that will be. */
  #offerNext(thread: AgentThread, session: Session, run: Run): void {
    const { admission } = this.#parts;
    if (this.#draining || !thread.alive || thread.retiring || admission.goesOn(session)) return;
    if (!this.#offers.mayMake(thread)) return;
    const next = admission.successor(thread);
    if (next) this.#offers.make(next, thread, run);
  }

  /** Runs are due and cannot start: compactions step back, and sessions tied to a busy thread are asked to leave it. */
  #makeRoom(): void {
    if (this.#parts.admission.full) return;
    for (const session of this.#compacting) session.compaction?.interrupt();
    this.#evacuations.begin();
  }

  /** A compaction begins, as an execution that the watchdog sees. @returns what ends it */
  compacting(session: Session, run: Run, thread: AgentThread): () => void {
    const execution = new Execution(session, run, { thread, load: 'cpu' }, null, this.#parts.table);
    execution.handOver(session.place!.slot);
    this.#executing.add(execution);
    this.#compacting.add(session);
    thread.cpuRuns++;
    return () => {
      this.#executing.delete(execution);
      this.#compacting.delete(session);
      thread.cpuRuns--;
      this.pump(session);
    };
  }

  /** Everything that threads execute for this dispatcher now. */
  inProgress(): ReadonlySet<Execution> {
    return this.#executing;
  }

  /** How many runs the thread has begun and not ended. */
  runsOn(thread: AgentThread): number {
    return [...this.#executing].filter((execution) => execution.thread === thread && execution.hasBegun).length;
  }

  /** Takes one run of an admitted session from its start to its end. */
  async #serve(admitted: Admitted): Promise<void> {
    const { session } = admitted;
    // While it stood in line its oldest run may have been interrupted, and the next one not be accepted yet.
    const run = session.mailbox.head?.isAccepted ? session.mailbox.shift() : undefined;
    if (!run) {
      this.#parts.admission.release(admitted);
      this.pump(session);
      this.#parts.directory.dropIfUnused(session);
      return;
    }
    // In the turn in which it leaves the mailbox, so that it is always in one of the two.
    const execution = this.#enter(admitted, run);
    // A running compaction holds the session's lock: interrupt it; start() waits for its rollback.
    session.compaction?.interrupt();
    // A restore may hold the lock too. One queued behind a busy thread is redirected to this thread now; one that
    // begins later finds session.reserved.
    this.#parts.activations.redirect(session, admitted.thread);
    session.reserved = admitted;
    try {
      if (!(await this.#starter.start(admitted, run).finally(() => (session.reserved = null)))) return;
      const report = admitted.thread.calls.run(run.request(0));
      await this.#await(execution, admitted, report);
    } finally {
      this.#exit(execution, admitted);
    }
  }

  /** A thread has begun an offered run, or will in a moment. In one turn, so that nobody sees it as one that waits. */
  #enterBegun({ session, run, thread, report }: Begun): void {
    const admitted = this.#parts.admission.admitBegun(session, thread);
    session.mailbox.remove(run);
    const execution = this.#enter(admitted, run);
    this.#starter.begin(session, run);
    this.track(this.#await(execution, admitted, report).finally(() => this.#exit(execution, admitted)));
  }

  #enter(admitted: Admitted, run: Run): Execution {
    const { session } = admitted;
    session.current = run;
    const { activations, table } = this.#parts;
    const isComingUp = (of: Session, on: AgentThread): boolean => activations.hasBegun(of, on);
    const execution = new Execution(session, run, admitted, this.#timeoutOf(session, run), table, isComingUp);
    this.#executing.add(execution);
    return execution;
  }

  #exit(execution: Execution, admitted: Admitted): void {
    const { session, run } = execution;
    const { admission, directory } = this.#parts;
    this.#executing.delete(execution);
    if (this.#onCpu.get(admitted.thread)?.run === run) this.#onCpu.delete(admitted.thread);
    if (session.current === run) session.current = null;
    admission.release(admitted);
    // If it ended as it should, its thread has taken what it was offered; that is taken charge of here.
    this.#offers.after(run)?.withdraw();
    // Told only now: whoever hears that the run is over finds its place free.
    if (execution.reported && run.reported()) this.#endings.conclude(session, run);
    this.pump(session, execution.executes);
    directory.dropIfUnused(session);
  }

  /** From its being handed to the thread to its end there. */
  async #await(execution: Execution, admitted: Admitted, report: Promise<RunReport | null>): Promise<void> {
    const { session, run } = execution;
    const { thread, load } = admitted;
    const place = session.place!;
    execution.handOver(place.slot);
    this.#runs.dropInput(run);
    if (load === 'cpu') {
      this.#onCpu.set(thread, execution);
      this.#offerNext(thread, session, run);
    }
    try {
      const done = await Promise.race([report, run.lost]);
      if (!done) throw new CabanaError('INTERNAL', `thread ${thread.no} did not begin run ${run.id}`);
      // Its thread was given up, and before that ended somebody had the session brought up elsewhere: with the epoch of
      // that, the store may have refused this run's outcome.
      if (session.place !== place && !session.deleted)
        throw new CabanaError('THREAD_DIED', `thread ${thread.no} was given up`);
      this.#parts.lifecycle.ranToItsEnd(session, done.saved);
      execution.reported = true;
    } catch (error) {
      await this.#losses.lost(execution, error);
    }
  }

  #timeoutOf(session: Session, run: Run): number | null {
    return run.terms.timeoutMs ?? this.#parts.profiles.get(session.profile ?? '')?.runTimeoutMs ?? null;
  }

  // --- draining

  /** No new work from now on, and nothing that waits is started. */
  drain(): void {
    this.#draining = true;
    this.#offers.withdrawAll();
    for (const session of this.#compacting) session.compaction?.interrupt();
  }

  /** Sessions with a run in progress. */
  running(): Session[] {
    return [...this.#parts.directory.all()].filter((session) => session.current !== null);
  }

  /** Resolves when nothing runs. */
  quiet(): Promise<void> {
    return this.#tasks.settled();
  }

  /** Takes charge of work that belongs to a run; quiet() waits for it. */
  track(task: Promise<void>): void {
    this.#tasks.track(task);
  }

  /** What still waits is on disk and starts with the next host. */
  close(): void {
    this.#closed = true;
    const left = new CabanaError('HOST_CLOSED', 'the host was closed; the run is on disk and starts with the next one');
    for (const run of this.#runs.clear()) run.unfollow(left);
  }
}
