// A run (or a compaction) in the hands of a thread, from its session being brought up there to its end: what the watchdog
// looks at.

import { liveTime } from '../../clock.js';
import type { AgentThread } from '../../pool/agent-thread.js';
import type { InProgress } from '../../pool/watchdog.js';
import type { Run } from '../sessions/run.js';
import type { Session } from '../sessions/session.js';

interface At {
  thread: AgentThread;
  load: 'cpu' | 'io';
}

/** Whether the thread is at work on the session's activation. */
type HasBegun = (session: Session, thread: AgentThread) => boolean;

export class Execution implements InProgress {
  readonly startedAt = liveTime.now();
  readonly deadlineAt: number | null;
  readonly session: Session;
  readonly run: Run;
  readonly #at: At;
  readonly #hasBegun: HasBegun;
  /** False while the session is being brought up for it. */
  executes = false;
  /** Its thread has said that it ended. */
  reported = false;

  constructor(session: Session, run: Run, at: At, timeoutMs: number | null, hasBegun: HasBegun) {
    this.session = session;
    this.run = run;
    this.#at = at;
    this.#hasBegun = hasBegun;
    this.deadlineAt = timeoutMs === null ? null : this.startedAt + timeoutMs;
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

  /**
   * The thread has not begun anything for this run: the activation is queued behind other work, or not asked for yet.
   */
  get waits(): boolean {
    return !this.executes && !this.#hasBegun(this.session, this.thread);
  }

  get interruptedAt(): number | null {
    return this.run.interruptedAt;
  }
}
