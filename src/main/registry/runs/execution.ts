// A run (or a compaction) in the hands of a thread, from its session being brought up there to its end: what the watchdog
// looks at.

import type { StatusTable } from '../../../protocol/status-table.js';
import { liveTime } from '../../clock.js';
import type { AgentThread } from '../../pool/agent-thread.js';
import type { InProgress } from '../../pool/watchdog.js';
import type { Run } from '../sessions/run.js';
import type { Session } from '../sessions/session.js';

interface At {
  thread: AgentThread;
  load: 'cpu' | 'io';
}

/** Whether the thread is at work on bringing the session up. */
type IsComingUp = (session: Session, thread: AgentThread) => boolean;

export class Execution implements InProgress {
  readonly deadlineAt: number | null;
  readonly session: Session;
  readonly run: Run;
  readonly #at: At;
  readonly #table: StatusTable;
  readonly #isComingUp: IsComingUp;
  /** The row in which its thread says that it has begun. The session may give it up (it is deleted) before the run ends. */
  #slot: number | null = null;
  /** When it was first seen to have begun. */
  #begunAt: number | null = null;
  /** Its thread has said that it ended. */
  reported = false;

  constructor(
    session: Session,
    run: Run,
    at: At,
    timeoutMs: number | null,
    table: StatusTable,
    isComingUp: IsComingUp = () => false,
  ) {
    this.session = session;
    this.run = run;
    this.#at = at;
    this.#table = table;
    this.#isComingUp = isComingUp;
    this.deadlineAt = timeoutMs === null ? null : liveTime.now() + timeoutMs;
  }

  /** The session is there, in this row, and the thread has been told to execute it. */
  handOver(slot: number): void {
    this.#slot = slot;
    this.#begunAt = null;
  }

  look(now: number): void {
    if (this.#begunAt === null && this.hasBegun) this.#begunAt = now;
  }

  /** The row that the session had when the run was handed over; null: it is being brought up for it. */
  get slot(): number | null {
    return this.#slot;
  }

  /** False while the session is being brought up for it. */
  get executes(): boolean {
    return this.#slot !== null;
  }

  /** The thread may still change while the session is looked for. */
  get thread(): AgentThread {
    return this.#at.thread;
  }

  /**
   * 'cpu' while the session is being brought up, whatever its profile says: a run can be abandoned because it reports
   * its end later; a restore cannot, so its thread must be given up.
   */
  get load(): 'cpu' | 'io' {
    return this.executes ? this.#at.load : 'cpu';
  }

  /** Its thread is at work on it: on bringing its session up, or on the run. */
  get hasBegun(): boolean {
    if (this.#slot === null) return this.#isComingUp(this.session, this.thread);
    return this.#table.get(this.#slot, 'begunNo') === this.run.no;
  }

  get waits(): boolean {
    const entered = this.thread.enteredSlot;
    const isOthers = entered !== null && entered !== (this.#slot ?? this.session.place?.slot);
    return isOthers || !this.hasBegun || this.#table.getThread(this.thread.no, 'yieldedNo') === this.run.no;
  }

  get holds(): boolean {
    return this.#at.load === 'cpu' && !this.waits;
  }

  /** What was told to stop before it began has its grace from its beginning: it could not know before. */
  get interruptedAt(): number | null {
    const { interruptedAt } = this.run;
    return interruptedAt === null ? null : Math.max(interruptedAt, this.#begunAt ?? interruptedAt);
  }
}
