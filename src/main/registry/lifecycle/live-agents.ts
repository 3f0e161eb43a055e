// Visits every agent that is in memory: what the flush at shutdown is made of.

import { CabanaError, codeOf } from '../../../protocol/errors.js';
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
    await fn(id, new LiveAgentHandle(directory, session), { no: session.place!.thread.no });
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
  readonly #directory: Directory;
  #session: Session;

  constructor(directory: Directory, session: Session) {
    this.#directory = directory;
    this.#session = session;
  }

  get sessionId(): string {
    return this.#session.id;
  }

  get state(): SessionState {
    return this.#session.state;
  }

  async flush(): Promise<void> {
    // It may have left memory since and have come back, as another entry.
    const session = (this.#session = this.#directory.get(this.sessionId) ?? this.#session);
    // It takes as long as it likes, and is undone before the agent is saved.
    session.compaction?.interrupt();
    // Whoever has it saved, to leave memory, or brings it up, holds its lock until that is done, or has failed.
    while (session.state === 'flushing' || session.state === 'restoring') await settled(session);
    const { state, place, id, clean, deleted } = session;
    if (deleted || (state === 'cold' && clean)) return;
    if (!place) throw new CabanaError('THREAD_DIED', `session ${id} has left memory`);
    try {
      await place.thread.calls.flush(id);
    } catch (error) {
      if (codeOf(error) !== 'STALE_EPOCH') throw error;
      // It was saved otherwise, moved or deleted before its thread came to this. Whoever did that holds its lock until it
      // is known here as well, which it need not be yet: a refusal does not wait for the commit that it met.
      await settled(session);
      if (session.place === place) throw error;
      return this.flush();
    }
  }
}

/** Resolves when whoever has the session's lock, or waits for it, is done. */
function settled(session: Session): Promise<void> {
  return session.lock(() => Promise.resolve());
}
