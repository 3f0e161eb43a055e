// The drain, as an ordered list of phases, each with its deadline. Its time grows with the work there is to write, never
// with the number of agents times a timeout: all agents are flushed at once, against one deadline.

import { codeOf, type CabanaError } from '../protocol/errors.js';
import { CLOSE_DEADLINE_MS } from '../protocol/limits.js';
import { monotonic, within } from './clock.js';
import type { HostConfig } from './config.js';
import type { StoreThread } from './pool/store-thread.js';
import type { ThreadGroup } from './pool/thread-group.js';
import type { Subscriptions } from './registry/events/subscriptions.js';
import type { Places } from './registry/lifecycle/places.js';
import type { Dispatcher } from './registry/runs/dispatcher.js';
import type { Interrupts } from './registry/runs/interrupts.js';
import type { SessionRegistry } from './registry/session-registry.js';
import type { Directory } from './registry/sessions/directory.js';
import type { Session } from './registry/sessions/session.js';
import type { Tasks } from './tasks.js';

export interface ShutdownReport {
  /** Agents in memory when flushing began. */
  live: number;
  /** Agents whose state is on disk. */
  flushed: number;
  /** Ids of the sessions whose state could not be saved. What they appended to their history is on disk. */
  unflushed: string[];
  /** Runs that were asked to stop because the drain time was over. */
  interrupted: number;
  ms: number;
  /** Set when the storage failed, or could not take everything. */
  storageFailed: boolean;
}

/** Who is told how the shutdown goes on. */
export interface DrainProgress {
  /** Runs are being waited for. */
  draining?(running: number): void;
  flushing?(done: number, live: number): void;
}

export interface ShutdownParts {
  config: HostConfig;
  registry: SessionRegistry;
  directory: Directory;
  dispatcher: Dispatcher;
  interrupts: Interrupts;
  places: Places;
  threads: ThreadGroup;
  store: StoreThread;
  subscriptions: Subscriptions;
  stopTimers: () => void;
  background: Tasks;
  fatal: () => CabanaError | null;
}

export async function shutDown(parts: ShutdownParts, listener: DrainProgress = {}): Promise<ShutdownReport> {
  const progress = guarded(listener, parts.config);
  const startedAt = monotonic(parts.config.clock);
  refuseWork(parts);
  const interrupted = await letRunsFinish(parts, progress);
  const { live, unflushed } = await flushAll(parts, progress);
  const complete = await closeAll(parts);
  return {
    live,
    flushed: live - unflushed.length,
    unflushed,
    interrupted,
    ms: Math.round(monotonic(parts.config.clock) - startedAt),
    storageFailed: !complete || parts.fatal() !== null,
  };
}

/** Whatever who listens throws: the shutdown goes on. */
function guarded(listener: DrainProgress, { log }: HostConfig): DrainProgress {
  const tell = (call: () => void): void => {
    try {
      call();
    } catch (error) {
      log.error({ err: error }, 'the progress of the shutdown could not be shown');
    }
  };
  return {
    draining: (running) => tell(() => listener.draining?.(running)),
    flushing: (done, live) => tell(() => listener.flushing?.(done, live)),
  };
}

/** (1) No new work; what waits stays on disk for the next start; nothing leaves memory by a timer any more. */
function refuseWork({ dispatcher, stopTimers }: ShutdownParts): void {
  dispatcher.drain();
  stopTimers();
}

/** (2) Runs may finish for drainMs; then they are interrupted, and have a moment to stop (stopGrace). */
async function letRunsFinish(parts: ShutdownParts, progress: DrainProgress): Promise<number> {
  const { dispatcher, interrupts, config } = parts;
  progress.draining?.(dispatcher.running().length);
  await within(config.clock, config.drainMs, dispatcher.quiet());
  const running = dispatcher.running();
  for (const session of running) interrupts.current(session, 'draining');
  if (running.length > 0) await within(config.clock, stopGrace(config), dispatcher.quiet());
  return running.length;
}

/** A share of the flush deadline: runs that obey are flushed after their end, those that do not cost nobody else. */
function stopGrace(config: HostConfig): number {
  return Math.min(config.flushDeadlineMs / 4, 1_000);
}

/** (3) Every live agent at once; (4) those that do not answer by the deadline are given up and named. */
async function flushAll(parts: ShutdownParts, progress: DrainProgress): Promise<{ live: number; unflushed: string[] }> {
  const { registry, directory, store, config, fatal } = parts;
  store.drain();
  // The sessions themselves: one whose thread dies meanwhile leaves the directory.
  const waiting = new Map<string, Session>();
  const failed = new Set<Session>();
  let live = 0;
  let done = 0;
  const all = registry.eachLiveAgent(async (id, agent) => {
    const session = directory.get(id);
    if (!session) return;
    live++;
    waiting.set(id, session);
    if (fatal()) return;
    try {
      await agent.flush();
      waiting.delete(id);
    } catch (error) {
      // Nothing of a deleted session is kept.
      if (session.deleted) return;
      // Of a thread that was given up at the deadline the report tells enough.
      if (codeOf(error) !== 'THREAD_DIED') {
        failed.add(session);
        config.log.error({ err: error, sessionId: id }, 'a session could not be flushed');
      }
    }
    progress.flushing?.(++done, live);
  });
  progress.flushing?.(done, live);
  await within(config.clock, config.flushDeadlineMs, all);
  // A session of which everything is in its last snapshot loses nothing by not answering.
  const unflushed = [...waiting]
    .filter(([, session]) => !session.deleted && (fatal() !== null || failed.has(session) || !session.clean))
    .map(([id]) => id);
  return { live, unflushed };
}

/** (5) Threads, then the store, which takes in what the threads had posted. False: it could not write everything. */
async function closeAll(parts: ShutdownParts): Promise<boolean> {
  const { threads, store, dispatcher, subscriptions, places, background, config, fatal } = parts;
  await threads.close();
  // Every pending call was answered with the end of its thread. What follows from that may wait for room on the disk,
  // which comes with the store's last try if at all.
  const settled = Promise.allSettled([dispatcher.quiet(), places.retired(), background.settled()]);
  await within(config.clock, CLOSE_DEADLINE_MS, settled);
  dispatcher.close();
  subscriptions.endAll();
  // Also when it has failed: its thread would keep the process alive.
  const closed = store.close().catch((error: unknown) => {
    if (!fatal()) config.log.error({ err: error }, 'the store could not be closed');
    return false;
  });
  return (await within(config.clock, CLOSE_DEADLINE_MS, closed)) === true;
}
