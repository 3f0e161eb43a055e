// What send() gives back: the run's acceptance, its events and its outcome.

import type { RunInfo } from '../protocol/session.js';
import type { SessionEvent } from './registry/events/event-stream.js';
import type { Subscriptions } from './registry/events/subscriptions.js';
import type { Run } from './registry/sessions/run.js';

/** A run that was sent. */
export interface RunHandle {
  readonly runId: string;
  /** Resolves when the run's input is on disk; rejects with a CabanaError if the run was refused. */
  readonly accepted: Promise<RunInfo>;
  /** What the run yields and emits, until its end. Taken in the turn of send(), it misses nothing. */
  readonly events: AsyncIterableIterator<SessionEvent>;
  /**
   * Resolves with the outcome once it is on disk. Rejects if the run was refused, if the host closes (or its storage
   * fails) before the run has ended, or if the outcome could not be stored.
   */
  readonly result: Promise<RunInfo>;
}

export function handleOf(run: Run, subscriptions: Subscriptions): RunHandle {
  let stream: RunHandle['events'] | null = null;
  return {
    runId: run.id,
    accepted: run.accepted,
    result: run.result,
    // Made when it is asked for: a subscription keeps the session in memory.
    get events() {
      return (stream ??= eventsOf(run, subscriptions));
    },
  };
}

function eventsOf(run: Run, subscriptions: Subscriptions): RunHandle['events'] {
  const stream = subscriptions.subscribe(run.sessionId, run.id);
  run.result.then(
    () => stream.close(),
    () => stream.close(),
  );
  return stream;
}

/** The handle of a run that was refused at once. */
export function refusedHandle(runId: string, error: Error): RunHandle {
  const rejected = Promise.reject<RunInfo>(error);
  // Whoever awaits it sees the rejection; a caller who only wanted the other promise need not.
  rejected.catch(() => undefined);
  return { runId, accepted: rejected, result: rejected, events: noEvents() };
}

async function* noEvents(): AsyncGenerator<SessionEvent, undefined> {}
