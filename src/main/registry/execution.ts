// A run (or a compaction) while a thread executes it: what the watchdog looks at.

import type { AgentThread } from '../pool/agent-thread.js';
import type { InProgress } from '../pool/watchdog.js';
import type { Run } from './run.js';
import type { Session } from './session.js';

export class Execution implements InProgress {
  /** Epoch milliseconds of the system's clock: threads live in real time, whatever clock the host was given. */
  readonly startedAt = Date.now();
  readonly deadlineAt: number | null;

  constructor(
    readonly session: Session,
    readonly run: Run,
    readonly thread: AgentThread,
    readonly load: 'cpu' | 'io',
    timeoutMs: number | null,
  ) {
    this.deadlineAt = timeoutMs === null ? null : this.startedAt + timeoutMs;
  }

  get interruptedAt(): number | null {
    return this.run.interruptedAt;
  }
}
