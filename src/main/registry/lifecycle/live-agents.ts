// Visits every agent that is in memory: what the flush at shutdown is made of.

import { CabanaError } from '../../../protocol/errors.js';
import type { SessionState } from '../../../protocol/session-state.js';
import type { Directory } from '../sessions/directory.js';
import type { Session } from '../sessions/session.js';

/** What eachLiveAgent hands to its callback. */
export interface LiveAgent {
  readonly sessionId: string;
  readonly state: SessionState;
  /** Makes the agent's state and history durable; it stays in memory. @throws SAVE_FAILED, STORE_FULL, THREAD_DIED */
  flush(): Promise<void>;
}

export type LiveAgentVisitor = (id: string, agent: LiveAgent, thread: { no: number }) => void | Promise<void>;

/** See SessionRegistry.eachLiveAgent(). @throws AggregateError of what the calls threw, after all of them have ended */
export async function eachLive(directory: Directory, fn: LiveAgentVisitor): Promise<void> {
  const ids = [...directory.all()].filter(isInMemory).map((session) => session.id);
  const calls = ids.map(async (id) => {
    const session = directory.get(id);
    if (!session || !isInMemory(session)) return;
    await fn(id, new LiveAgentHandle(session), { no: session.place!.thread.no });
  });
  const failures = (await Promise.allSettled(calls)).filter((result) => result.status === 'rejected');
  if (failures.length === 0) return;
  throw new AggregateError(
    failures.map((failure) => failure.reason as unknown),
    `${failures.length} of ${ids.length} calls of eachLiveAgent failed`,
  );
}

/** One that is about to leave memory is there until it has been saved. */
function isInMemory(session: Session): boolean {
  return session.isLive || (session.state === 'flushing' && session.place !== null && session.place.thread.alive);
}

class LiveAgentHandle implements LiveAgent {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  get sessionId(): string {
    return this.#session.id;
  }

  get state(): SessionState {
    return this.#session.state;
  }

  async flush(): Promise<void> {
    // It takes as long as it likes, and is undone before the agent is saved.
    this.#session.compaction?.interrupt();
    // Whoever has it saved, to leave memory, holds its lock until that is done, or has failed.
    if (this.#session.state === 'flushing') await this.#session.lock(() => Promise.resolve());
    const { state, place, id, clean } = this.#session;
    if (state === 'cold' && clean) return;
    if (!place) throw new CabanaError('THREAD_DIED', `session ${id} has left memory`);
    await place.thread.calls.flush(id);
  }
}
